"""Log output: written in small pieces while a job runs, merged when it has ended, read as one."""

import codecs
import time
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from pipelines.masking import Masker
from pipelines.models import Job, LogChunk
from pipelines.models.log import packed, unpacked

FLUSH_AFTER = 0.3
FLUSH_SIZE = 16 * 1024
#: So many characters a merged piece may have.
PIECE = 256 * 1024
#: What Sluice itself says is kept beyond the end of a full log, up to so many characters.
OWN_ROOM = 64 * 1024
OWN = "[sluice] "
FULL = f"{OWN}the log is full; what comes after this is dropped\n"


class LogWriter:
    """Writes the output of one attempt of a job, and flushes often, so that readers see it live.

    Neither what programs write nor what Sluice says of them gets past `masker` with a secret.
    """

    def __init__(self, job: Job, masker: Masker | None = None) -> None:
        self._job = job
        self._masker = masker or Masker()
        self._step = ""
        self._sequence = 0
        self._pending: list[str] = []
        self._pending_size = 0
        self._room = settings.MAX_LOG_BYTES
        self._own_room = OWN_ROOM
        self._dropped = 0
        self._is_full = False
        self._at_line_start = True
        self._since = time.monotonic()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def mask(self, secret: str) -> bool:
        """Hide the secret from now on; False where it is too short to be hidden sensibly."""
        return self._masker.add(secret)

    def begin_step(self, key: str) -> None:
        """What comes from now on is this step's. It begins on a line of its own."""
        if not self._at_line_start:
            self._add("\n")
        self.flush()
        self._step = key

    def say(self, line: str) -> None:
        """A line of Sluice's own, marked so that it cannot be taken for the program's."""
        text = f"{OWN}{line}\n" if self._at_line_start else f"\n{OWN}{line}\n"
        if len(text) <= self._own_room:
            self._own_room -= len(text)
            self._add(text)

    def write(self, data: bytes) -> None:
        if self._is_full:
            self._dropped += len(data)
            return
        # A character may be cut between two reads; the decoder waits for the rest of it.
        text = self._decoder.decode(data)
        kept = text[: self._room]
        self._room -= len(kept)
        self._add(kept)
        if len(kept) < len(text):
            self._is_full = True
            self._dropped += len(text[len(kept) :].encode())
            self._add(FULL if self._at_line_start else f"\n{FULL}")

    def _add(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            self._keep(self._masker.feed(text))
            self.flush_if_due()

    def _keep(self, text: str) -> None:
        # A NUL ends a text in many a program that reads logs.
        self._pending.append(text.replace("\x00", "\N{REPLACEMENT CHARACTER}"))
        self._pending_size += len(text)

    def flush_if_due(self) -> None:
        if self._pending_size > FLUSH_SIZE or time.monotonic() - self._since > FLUSH_AFTER:
            self._store()

    def flush(self) -> None:
        """Store all that came, also what was held back because it may begin a secret.

        Only for where something has ended: what comes later is not looked at together with it.
        """
        if rest := self._decoder.decode(b"", final=True):
            self._add(rest)
        self._keep(self._masker.finish())
        self._store()

    def close(self) -> None:
        """Store the rest of the output, and say how much was dropped. Safe to call twice."""
        if self._dropped:
            self.say(f"{self._dropped:,} bytes were dropped")
            self._dropped = 0
        self.flush()

    def _store(self) -> None:
        text, self._pending, self._pending_size = "".join(self._pending), [], 0
        self._since = time.monotonic()
        if text:
            LogChunk.objects.create(
                job=self._job,
                attempt=self._job.attempt,
                sequence=self._sequence,
                step=self._step,
                written_at=timezone.now(),
                **packed(text),
            )
            self._sequence += len(text)


def read(job: Job) -> Iterator[str]:
    """The log of the job's attempts that count, piece by piece."""
    chunks = LogChunk.objects.filter(job=job, attempt__range=(job.log_since, job.attempt))
    ordered = chunks.order_by("attempt", "sequence").values_list("data", flat=True)
    for data in ordered.iterator(chunk_size=50):
        yield unpacked(data)


# ---- When an attempt has ended -----------------------------------------------------------------
def seal(job: Job) -> None:
    """Merge the small pieces of the job's log into few. Safe to call twice and to interrupt.

    Places in the log stay true: a merged piece stands where its first piece stood.
    """
    rows = LogChunk.objects.filter(job=job, attempt__lte=job.attempt).defer("data")
    for group in _groups(rows.order_by("attempt", "sequence")):
        if len(group) > 1:
            _merge([row.pk for row in group])


def _groups(rows: Iterable[LogChunk]) -> Iterator[list[LogChunk]]:
    """Pieces that follow each other in one step, as many as go into one piece."""
    group: list[LogChunk] = []
    size = 0
    for row in rows:
        if group:
            last = group[-1]
            follows = (row.attempt, row.step, row.sequence) == (last.attempt, last.step, last.end)
            if not follows or size + row.characters > PIECE:
                yield group
                group, size = [], 0
        group.append(row)
        size += row.characters
    yield group


def _merge(keys: list[int]) -> None:
    with transaction.atomic():
        rows = list(LogChunk.objects.select_for_update().filter(pk__in=keys).order_by("sequence"))
        if len(rows) < len(keys):
            return  # Somebody else merged them meanwhile.
        text = "".join(row.text for row in rows)
        LogChunk.objects.filter(pk__in=keys[1:]).delete()
        LogChunk.objects.filter(pk=keys[0]).update(written_at=rows[-1].written_at, **packed(text))
