"""Bytes named by what they are."""

from django.db import models

from pipelines.seals import Sealed


class Blob(Sealed):
    """Bytes in the blob storage. A row exists only when all its bytes are there."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    md5 = models.CharField(max_length=32)
    size = models.BigIntegerField(help_text="In bytes.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(size__gte=0), name="blob_size_is_not_negative"
            )
        ]

    def __str__(self) -> str:
        return self.sha256[:12]

    @property
    def storage_name(self) -> str:
        """Where the bytes are. Made of the digest alone: no name that anybody sent takes part."""
        return f"sha256/{self.sha256[:2]}/{self.sha256}"
