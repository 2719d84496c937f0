"""The ledger's rows. Only promotion/ledger/append.py writes them."""

from django.conf import settings
from django.db import models

from pipelines.seals import Sealed


class LedgerEntry(Sealed):
    """One act. `body` holds the exact bytes that were hashed; the other columns only find it."""

    sequence = models.PositiveBigIntegerField(primary_key=True)
    body = models.BinaryField(help_text="RFC 8785 canonical JSON.")
    leaf_hash = models.CharField(max_length=64, help_text="RFC 6962 leaf hash of the body, hex.")
    type = models.CharField(max_length=64)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    repository = models.CharField(max_length=64, blank=True)
    package = models.CharField(max_length=64, blank=True)
    environment = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "ledger entries"
        indexes = [
            # The history page's filters, newest first.
            models.Index(fields=["type", "-sequence"], name="ledger_by_type"),
            models.Index(fields=["actor", "-sequence"], name="ledger_by_actor"),
            models.Index(fields=["repository", "package", "-sequence"], name="ledger_by_package"),
            models.Index(fields=["environment", "-sequence"], name="ledger_by_environment"),
            models.Index(fields=["at"], name="ledger_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.type}"


class LedgerHead(models.Model):
    """How far the ledger goes: one row, locked by whoever appends."""

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    size = models.PositiveBigIntegerField(default=0)
    root = models.CharField(max_length=64, help_text="RFC 6962 Merkle tree hash, hex.")
    frontier = models.JSONField(
        default=list, help_text="Roots of the perfect subtrees from left to right, hex."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="the_ledger_has_one_head")
        ]

    def __str__(self) -> str:
        return f"{self.size} entries, root {self.root[:12]}"
