"""Selections: recorded picks of one exact version."""

from django.conf import settings
from django.db import models

from pipelines.seals import Sealed
from promotion.models.environment import Environment
from promotion.models.version import Version


class Selection(Sealed):
    """Who asked for what, which version came back, and why. `receipt` is answered for ever."""

    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    consumer = models.CharField(max_length=200, blank=True)
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="selections")
    environment = models.ForeignKey(
        Environment, null=True, on_delete=models.PROTECT, related_name="selections"
    )
    manifest_digest = models.CharField(max_length=71)
    ledger_size = models.PositiveBigIntegerField(
        help_text="How many ledger entries there were when the version was picked."
    )
    receipt = models.TextField(help_text="Canonical JSON of the answer, without its signature.")
    signature = models.CharField(max_length=200, help_text="Ed25519 over the receipt, base64.")
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # Whoever picked a version, when it is recalled.
            models.Index(fields=["version", "-id"], name="selections_of_version"),
        ]

    def __str__(self) -> str:
        return f"selection {self.pk} of {self.version}"
