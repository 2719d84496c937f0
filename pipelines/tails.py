"""A job's log by lines: all of it, what came after a reader's place, or what surrounds a line."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.db.models import F, Subquery
from django.db.models.functions import Coalesce

from pipelines import ansi
from pipelines.models import Job, LogChunk

#: So many pieces are read at once: few enough for the memory, and no query stays open meanwhile.
TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader has read: which attempt, how many of its characters, and lines until there.

    `style` is the terminal style that goes on from there, `step` tells in whose output it is.
    """

    attempt: int = 0
    offset: int = 0
    lines: int = 0
    style: int = 0
    step: int = 0

    @classmethod
    def read(cls, text: str) -> "Place":
        """The place that was written as `text`; anything else is nobody's place, attempt 0."""
        parts = text.split(".")
        if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts):
            return cls()
        # No log is so long; a longer number is nobody's place.
        return cls(*(int(part[:10]) for part in parts))

    def __str__(self) -> str:
        return f"{self.attempt}.{self.offset}.{self.lines}.{self.style}.{self.step}"

    def after(self, line: "RawLine") -> "Place":
        return replace(
            self, attempt=line.attempt, offset=line.end, lines=line.number, step=mark(line.step)
        )


@dataclass(frozen=True, slots=True)
class RawLine:
    """One line as it was written, without its end. `end` is where in its attempt it ends."""

    number: int
    text: str
    attempt: int
    step: str
    end: int

    @property
    def plain(self) -> str:
        """The line as it would stand in a terminal at last, without colours."""
        return ansi.stripped(self.text).rstrip("\r").rpartition("\r")[2]


@dataclass(frozen=True, slots=True)
class Part:
    """What of a log one step wrote in one attempt: where it begins."""

    attempt: int
    step: str
    line: int


@dataclass(frozen=True, slots=True)
class _Piece:
    attempt: int
    sequence: int
    step: str
    lines: int


def mark(step: str) -> int:
    """A step's key as a number for a reader's place."""
    return zlib.crc32(step.encode()) % 10**9 + 1


def is_stale(place: Place, job: Job) -> bool:
    """Whether the place lies in no attempt whose log still counts."""
    return not job.log_since <= place.attempt <= max(job.attempt, job.log_since)


def start(job: Job) -> Place:
    return Place(job.log_since)


def lines(job: Job, after: Place, *, whole: bool) -> Iterator[RawLine]:
    """The lines after a place, attempt after attempt.

    The last line is held back until it is complete, unless `whole` says that nothing follows. An
    attempt after which another one began has ended.
    """
    place = start(job) if is_stale(after, job) else after
    number = place.lines
    for attempt in range(place.attempt, job.attempt + 1):
        offset = place.offset if attempt == place.attempt else 0
        for line in _of_attempt(job, attempt, offset, whole=whole or attempt < job.attempt):
            number += 1
            yield replace(line, number=number)


def _of_attempt(job: Job, attempt: int, offset: int, *, whole: bool) -> Iterator[RawLine]:
    """The lines of one attempt, not yet numbered."""
    begun: list[str] = []
    line_step, end = "", offset
    for chunk in _pieces(job, attempt, offset):
        if not begun:
            line_step = chunk.step
        *ended, last = chunk.text[max(offset - chunk.sequence, 0) :].split("\n")
        for text in ended:
            text = "".join([*begun, text])  # noqa: PLW2901  # its beginning came before
            end += len(text) + 1
            yield RawLine(0, text, attempt, line_step, end)
            begun, line_step = [], chunk.step
        if last:
            begun.append(last)
    if begun and whole:
        text = "".join(begun)
        yield RawLine(0, text, attempt, line_step, end + len(text))


def _pieces(job: Job, attempt: int, offset: int) -> Iterator[LogChunk]:
    """The pieces of an attempt from the one on that goes beyond `offset`."""
    all_pieces = LogChunk.objects.filter(job=job, attempt=attempt)
    while True:
        before = all_pieces.filter(sequence__lte=offset).order_by("-sequence").values("sequence")
        found = list(
            all_pieces.filter(
                sequence__gte=Coalesce(Subquery(before[:1]), 0),
                sequence__gt=offset - F("characters"),
            ).order_by("sequence")[:TOGETHER]
        )
        yield from found
        if len(found) < TOGETHER:
            return
        offset = found[-1].end


# ---- What there is, without reading it ---------------------------------------------------------
class Index:
    """How the lines of a log are spread over its pieces, at the moment it was made."""

    def __init__(self, job: Job) -> None:
        self._job = job
        #: Each piece, and how many lines end before it.
        self._pieces: list[tuple[_Piece, int]] = []
        rows = LogChunk.objects.filter(job=job, attempt__range=(job.log_since, job.attempt))
        before = 0
        last: _Piece | None = None
        for row in rows.order_by("attempt", "sequence").values_list(
            "attempt", "sequence", "step", "lines"
        ):
            piece = _Piece(*row)
            if last and last.attempt != piece.attempt and self._is_open(last):
                before += 1
            self._pieces.append((piece, before))
            before += piece.lines
            last = piece
        self._ended = before

    def count(self, *, whole: bool) -> int:
        """How many lines there are; an incomplete last one counts when nothing follows."""
        is_open = whole and self._pieces and self._is_open(self._pieces[-1][0])
        return self._ended + bool(is_open)

    def parts(self) -> list[Part]:
        found: list[Part] = []
        for piece, before in self._pieces:
            if not found or (found[-1].attempt, found[-1].step) != (piece.attempt, piece.step):
                found.append(Part(piece.attempt, piece.step, before + 1))
        return found

    def before_line(self, number: int) -> Place:
        """The place at which the line begins, or the end of a log that is shorter."""
        wanted = number - 1
        ends = [(piece, before) for piece, before in self._pieces if before < wanted]
        if not ends:
            return start(self._job)
        # The line before it ends in the last piece before which fewer lines end.
        piece, lines_before = ends[-1]
        text, offset = self._text_of(piece), 0
        while lines_before < wanted and (end := text.find("\n", offset)) >= 0:
            offset, lines_before = end + 1, lines_before + 1
        if lines_before < wanted and len(ends) < len(self._pieces):
            # It was never completed: its attempt ended.
            return Place(self._pieces[len(ends)][0].attempt, lines=wanted)
        offset = offset if lines_before == wanted else len(text)
        return Place(piece.attempt, piece.sequence + offset, lines_before, step=mark(piece.step))

    def _is_open(self, piece: _Piece) -> bool:
        return not self._text_of(piece).endswith("\n")

    def _text_of(self, piece: _Piece) -> str:
        rows = LogChunk.objects.filter(job=self._job, attempt=piece.attempt)
        return rows.get(sequence=piece.sequence).text
