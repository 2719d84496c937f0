"""Environments: ordered places to promote to."""

from django.conf import settings
from django.db import models

from pipelines.models.pipeline import check_slug


class Environment(models.Model):
    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    rank = models.PositiveIntegerField(help_text="Lower comes first on the way to production.")
    description = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by policies.py.
    policy = models.ForeignKey(
        "PolicyRevision", null=True, on_delete=models.PROTECT, related_name="current_of"
    )

    class Meta:
        ordering = ["rank", "name"]

    def __str__(self) -> str:
        return self.name
