"""Log output: written in small pieces while a job runs, read back as one text."""

import codecs
import re
import time
from collections.abc import Iterator

from django.conf import settings
from django.utils import timezone

from pipelines.models import Job, LogChunk

FLUSH_AFTER = 0.3
FLUSH_SIZE = 16 * 1024
SIGNATURE = re.compile(r"signature=[A-Za-z0-9%:_.-]+")


class LogWriter:
    """Writes the output of one attempt of a job, and flushes often, so that readers see it live."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._step = ""
        self._secrets: list[str] = []
        self._sequence = 0
        self._pending: list[str] = []
        self._pending_size = 0
        self._total = 0
        self._since = time.monotonic()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def mask(self, secret: str) -> None:
        self._secrets.append(secret)

    def begin_step(self, key: str) -> None:
        self.flush()
        self._step = key

    def say(self, line: str) -> None:
        """A line of Sluice's own, marked so that it cannot be taken for the program's."""
        self._add(f"[sluice] {line}\n")

    def write(self, data: bytes) -> None:
        # A character may be cut between two reads; the decoder waits for the rest of it.
        self._add(self._decoder.decode(data))

    def _add(self, text: str) -> None:
        if self._total > settings.MAX_LOG_BYTES:
            return
        self._total += len(text)
        if self._total > settings.MAX_LOG_BYTES:
            text += "\n[sluice] the log is full; what comes after this is dropped\n"
        # A signed link needs no sign-in, and more people read logs than may download.
        text = SIGNATURE.sub("signature=…", text)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        # PostgreSQL cannot hold NUL in a text.
        self._pending.append(text.replace("\x00", "\N{REPLACEMENT CHARACTER}"))
        self._pending_size += len(text)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        if self._pending_size > FLUSH_SIZE or time.monotonic() - self._since > FLUSH_AFTER:
            self.flush()

    def flush(self) -> None:
        text, self._pending, self._pending_size = "".join(self._pending), [], 0
        self._since = time.monotonic()
        if text:
            LogChunk.objects.create(
                job=self._job,
                attempt=self._job.attempt,
                sequence=self._sequence,
                step=self._step,
                text=text,
                written_at=timezone.now(),
            )
            self._sequence += 1


def read(job: Job) -> Iterator[str]:
    """The log of the attempts that still count, piece by piece."""
    chunks = LogChunk.objects.filter(
        job=job, attempt__gte=job.log_since, attempt__lte=job.attempt
    ).order_by("attempt", "sequence")
    yield from chunks.values_list("text", flat=True).iterator(chunk_size=50)
