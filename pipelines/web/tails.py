"""The end of a job's log, read on from where a reader has got to."""

from dataclasses import dataclass

from pipelines.models import Job, LogChunk
from pipelines.templatetags.sluice import Line, numbered_lines

#: A page that opens shows at most this many lines; the whole log is a download.
SHOWN_LINES = 2000


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has read: into which piece of which attempt, and the lines until there."""

    attempt: int = 0
    sequence: int = 0
    offset: int = 0
    lines: int = 0

    @classmethod
    def read(cls, text: str) -> "Place":
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
            return cls()
        # No log is so long; a longer number is nobody's place.
        return cls(*(int(part[:12]) for part in parts))

    def __str__(self) -> str:
        return f"{self.attempt}.{self.sequence}.{self.offset}.{self.lines}"


@dataclass(frozen=True, slots=True)
class Tail:
    lines: list[Line]
    #: How many lines stand before the first that is shown.
    hidden: int
    place: Place


def tail(job: Job, after: Place | None, *, whole: bool) -> Tail:
    """The lines after the place `after`, or the last ones without it.

    The last line is held back until it is complete, unless `whole` says that nothing follows.
    """
    start = after if after and after.attempt == job.attempt else Place(job.attempt)
    chunks = list(
        LogChunk.objects.filter(job=job, attempt=job.attempt, sequence__gte=start.sequence)
        .order_by("sequence")
        .values_list("sequence", "text")
    )
    text = "".join(piece for _, piece in chunks)[start.offset :]
    if not whole:
        text = text[: text.rfind("\n") + 1]
    lines = numbered_lines(text, start.lines + 1)
    place = _moved(start, chunks, len(text), len(lines))
    hidden = max(len(lines) - SHOWN_LINES, 0) if after is None else 0
    return Tail(lines[hidden:], hidden, place)


def _moved(start: Place, chunks: list[tuple[int, str]], length: int, lines: int) -> Place:
    """The place `length` characters further on."""
    sequence, offset = start.sequence, start.offset + length
    for number, text in chunks:
        sequence = number
        if offset <= len(text):
            break
        offset -= len(text)
    return Place(start.attempt, sequence, offset, start.lines + lines)
