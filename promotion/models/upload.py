"""What became of the files that a pipeline uploaded for a repository."""

from django.db import models

from pipelines.models import Artifact
from pipelines.seals import Sealed
from promotion.models.version import Version


class UploadOutcome(Sealed):
    """The version that an artifact became once its run had succeeded, or why it became none."""

    artifact = models.OneToOneField(
        Artifact, on_delete=models.PROTECT, related_name="upload_outcome"
    )
    version = models.ForeignKey(
        Version, null=True, on_delete=models.PROTECT, related_name="upload_outcomes"
    )
    refused = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(version__isnull=False, refused="")
                | (models.Q(version__isnull=True) & ~models.Q(refused="")),
                name="an_upload_became_a_version_or_was_refused",
            )
        ]

    def __str__(self) -> str:
        return f"{self.artifact} → {self.version or self.refused}"
