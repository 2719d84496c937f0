"""Evidence: statements about a version."""

from django.conf import settings
from django.db import models

from pipelines.seals import Sealed
from promotion.models.version import Version


class Evidence(Sealed):
    """A statement that somebody made about a version, as it came, with the digest of its bytes."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="evidence")
    predicate_type = models.CharField(max_length=255)
    result = models.CharField(max_length=40, blank=True)
    payload = models.TextField(help_text="Canonical JSON of the whole statement.")
    digest = models.CharField(max_length=71, help_text="sha256:… of the payload.")
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    added_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "evidence"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "predicate_type", "digest"],
                name="one_evidence_per_version_type_and_digest",
            )
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.predicate_type}"

    @property
    def standing(self) -> str:
        """No signature is checked yet, so every statement stands on its sender's word alone."""
        return "claimed"
