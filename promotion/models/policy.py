"""Policies: what it takes to be promoted to an environment, as immutable revisions."""

from django.conf import settings
from django.db import models

from pipelines.seals import Sealed
from promotion.models.environment import Environment


class PolicyRevision(Sealed):
    environment = models.ForeignKey(
        Environment, on_delete=models.PROTECT, related_name="policy_revisions"
    )
    number = models.PositiveIntegerField()
    rules = models.TextField(help_text="Canonical JSON; gates.py says what it may hold.")
    digest = models.CharField(max_length=71, help_text="sha256:… of the rules.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "number"], name="one_policy_per_environment_and_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.environment} policy {self.number}"
