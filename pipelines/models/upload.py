"""Uploads that come in parts, and what of them is there already."""

from collections.abc import Iterator
from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models

from pipelines.models.artifact import Artifact
from pipelines.models.blob import Blob
from pipelines.models.run import ExecutionState, Run
from pipelines.states import State, Stateful


class UploadState(State):
    """The machine of an upload.

    open ──▶ completed   all parts were there, and its artifact is
      ├────▶ aborted     whoever began it gave it up
      └────▶ expired     its time was over, or its run had ended
    """

    OPEN = "open"
    COMPLETED = "completed"
    ABORTED = "aborted"
    EXPIRED = "expired"

    @classmethod
    def edges(cls) -> "dict[UploadState, frozenset[UploadState]]":
        return {cls.OPEN: frozenset({cls.COMPLETED, cls.ABORTED, cls.EXPIRED})}


class UploadQuerySet(models.QuerySet["Upload"]):
    def open(self) -> Self:
        return self.filter(state=UploadState.OPEN)

    def overdue(self, now: datetime) -> Self:
        """Those that nobody can complete any more."""
        return self.open().filter(
            models.Q(expires_at__lte=now) | ~models.Q(run__state=ExecutionState.RUNNING)
        )


class Upload(Stateful):
    """An artifact of an external run that is being sent in parts."""

    # What was asked for. Never changes.
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="uploads")
    stage = models.CharField(max_length=64)
    job = models.CharField(max_length=64)
    step = models.CharField(max_length=64)
    name = models.CharField(max_length=128, help_text="Of the artifact to be.")
    part_size = models.BigIntegerField(
        help_text="Of each part in bytes; the last one of a file may be smaller."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    # What has happened. Written only by receiving.py.
    state = models.CharField(max_length=10, choices=UploadState, default=UploadState.OPEN)
    ended_at = models.DateTimeField(null=True)
    artifact = models.OneToOneField(
        Artifact, null=True, on_delete=models.PROTECT, related_name="upload"
    )

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=UploadState.values), name="upload_state_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state="completed", artifact__isnull=False)
                | (~models.Q(state="completed") & models.Q(artifact__isnull=True)),
                name="a_completed_upload_has_its_artifact",
            ),
        ]
        indexes = [
            # The sweeper: what is open, and whose time is over.
            models.Index(
                fields=["expires_at"], condition=models.Q(state="open"), name="uploads_to_expire"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.run}"


class UploadFile(models.Model):
    """One file of an upload: what was announced of it."""

    # What was asked for. Never changes.
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="files")
    number = models.PositiveIntegerField(help_text="In the order of the announcement, from 1.")
    path = models.CharField(max_length=1024)
    size = models.BigIntegerField(help_text="In bytes.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Empty: not announced.")
    executable = models.BooleanField(default=False)

    # What has happened. Written only by receiving.py.
    blob = models.ForeignKey(
        Blob,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The whole file, once its parts were joined.",
    )

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["upload", "number"], name="one_file_per_upload_and_number"
            ),
            models.UniqueConstraint(fields=["upload", "path"], name="one_file_per_upload_and_path"),
            models.CheckConstraint(
                condition=models.Q(size__gte=0), name="upload_file_size_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.path

    def part_count(self, part_size: int) -> int:
        """In how many parts it comes; an empty file in none."""
        return -(-self.size // part_size)

    def length_of(self, number: int, part_size: int) -> int:
        """How many bytes its part `number` has."""
        return min(part_size, self.size - (number - 1) * part_size)

    def missing(self, part_size: int) -> Iterator[int]:
        """The numbers of the parts that have not come in."""
        if self.blob_id is None:
            there = {part.number for part in self.parts.all()}
            for number in range(1, self.part_count(part_size) + 1):
                if number not in there:
                    yield number


class UploadPart(models.Model):
    """One part of a file that has come in. Its row goes when the upload ends."""

    file = models.ForeignKey(UploadFile, on_delete=models.PROTECT, related_name="parts")
    number = models.PositiveIntegerField()
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    held_at = models.DateTimeField(
        help_text="The blob's kept_at then: the same now means that nobody else wanted it since."
    )

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["file", "number"], name="one_part_per_file_and_number")
        ]

    def __str__(self) -> str:
        return f"part {self.number} of {self.file_id}"
