"""Log output of jobs, appended while they run."""

import zlib
from typing import Any

from django.db import models

from pipelines.models.run import Job


class LogChunk(models.Model):
    """A piece of a job's output, as it came; once the attempt has ended, many of them in one."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_chunks")
    attempt = models.PositiveIntegerField()
    # The characters of the attempt that stand before this piece. So a place in a log stays true
    # when small pieces are merged into larger ones.
    sequence = models.PositiveIntegerField()
    step = models.CharField(max_length=64, blank=True)
    data = models.BinaryField(help_text="The text in UTF-8, compressed with zlib.")
    characters = models.PositiveIntegerField()
    lines = models.PositiveIntegerField(help_text="How many lines end in this piece.")
    written_at = models.DateTimeField()

    class Meta:
        ordering = ["attempt", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "attempt", "sequence"], name="one_chunk_per_job_attempt_and_sequence"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job} log {self.sequence}"

    @property
    def text(self) -> str:
        return unpacked(self.data)

    @property
    def end(self) -> int:
        """Where in its attempt the piece ends."""
        return self.sequence + self.characters


def packed(text: str) -> dict[str, Any]:
    """The fields of a piece that hold its text."""
    return {
        "data": zlib.compress(text.encode("utf-8", "replace")),
        "characters": len(text),
        "lines": text.count("\n"),
    }


def unpacked(data: bytes | memoryview) -> str:
    return zlib.decompress(data).decode("utf-8")
