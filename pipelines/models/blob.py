"""Bytes named by what they are."""

from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from pipelines.seals import Sealed
from pipelines.states import State, Stateful


class BlobState(State):
    """The machine of stored bytes. The row stays for ever; the bytes may go and come back.

        kept ──▶ condemned ──▶ removed ──▶ kept
          ◀──────────┘

    `condemned`: nothing refers to the bytes and they are about to be removed. Whoever needs them
    before that takes them back. `removed`: the storage no longer has them, until the same bytes
    come in again.
    """

    KEPT = "kept"
    CONDEMNED = "condemned"
    REMOVED = "removed"

    @classmethod
    def edges(cls) -> "dict[BlobState, frozenset[BlobState]]":
        return {
            cls.KEPT: frozenset({cls.CONDEMNED}),
            cls.CONDEMNED: frozenset({cls.KEPT, cls.REMOVED}),
            cls.REMOVED: frozenset({cls.KEPT}),
        }


class Collection(models.Model):
    """One run of the collector, once it has ended."""

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    condemned = models.PositiveIntegerField(help_text="How many blobs it condemned.")
    removed = models.PositiveIntegerField(help_text="How many blobs' bytes it removed.")
    removed_bytes = models.PositiveBigIntegerField()
    failed = models.PositiveIntegerField(help_text="How many the storage did not let it remove.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.removed} blobs, {self.removed_bytes} bytes"


#: How many bytes a blob takes in the storage: none where it is composed.
ROOM = models.Case(models.When(recipe__isnull=True, then=models.F("size")), default=models.Value(0))


class BlobQuerySet(models.QuerySet["Blob"]):
    def there(self) -> Self:
        """Those whose bytes can be read."""
        return self.filter(state=BlobState.KEPT)


class Blob(Stateful, Sealed):
    """Bytes in the blob storage, or composed of such bytes whenever they are read.

    A row comes into being only when all its bytes are there.
    """

    unsealed = frozenset({"state", "kept_at", "recipe"})

    # What the bytes are. Never changes.
    sha256 = models.CharField(max_length=64, primary_key=True)
    md5 = models.CharField(max_length=32)
    size = models.BigIntegerField(help_text="In bytes.")
    created_at = models.DateTimeField()

    # What has happened to them. Written only by blobs.py and collecting.py.
    state = models.CharField(
        max_length=10, choices=BlobState, default=BlobState.KEPT, db_default=BlobState.KEPT
    )
    kept_at = models.DateTimeField(
        default=timezone.now,
        db_default=Now(),
        help_text="When somebody last kept them or began to refer to them.",
    )
    recipe = models.JSONField(
        null=True,
        help_text="Of which other blobs they are composed; null where they are stored themselves.",
    )

    objects = BlobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(size__gte=0), name="blob_size_is_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=BlobState.values), name="blob_state_is_known"
            ),
        ]
        indexes = [
            # What the collector looks at, the longest forgotten first.
            models.Index(fields=["state", "kept_at"], name="blobs_to_collect"),
        ]

    def __str__(self) -> str:
        return self.sha256[:12]

    @property
    def storage_name(self) -> str:
        """Where the bytes are. Made of the digest alone: no name that anybody sent takes part."""
        return f"sha256/{self.sha256[:2]}/{self.sha256}"
