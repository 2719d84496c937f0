"""A part of a job's log as a page shows it: its end, what surrounds a line, or what came since."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from pipelines import tails
from pipelines.ansi import Style
from pipelines.models import Job
from pipelines.tails import Place, RawLine
from pipelines.templatetags.output import Heading, OutputLine, output_line

#: A page that opens shows at most this many lines; the whole log is a download.
SHOWN_LINES = 2000
#: So many lines stand before the one that was asked for.
BEFORE = 20
MOST_FOUND = 500
LONGEST_QUERY = 200
#: Of a found line so many characters are shown before what was found, and after its beginning.
BEFORE_FOUND = 100
AFTER_FOUND = 300


@dataclass(frozen=True, slots=True)
class Window:
    """Some lines of a log that follow each other."""

    lines: list[OutputLine]
    #: How many lines stand before the first.
    hidden: int
    #: How many lines the whole log has.
    total: int
    place: Place
    #: Whether nothing stands behind them yet, so that what comes belongs there.
    is_end: bool

    @property
    def first(self) -> int:
        return self.hidden + 1

    @property
    def last(self) -> int:
        return self.hidden + len(self.lines)

    @property
    def earlier(self) -> int:
        return max(self.hidden - SHOWN_LINES + BEFORE + 1, 1)


@dataclass(frozen=True, slots=True)
class Found:
    """A line that has what was looked for, around it."""

    number: int
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class Search:
    query: str
    found: list[Found]
    is_cut: bool


def end(job: Job, *, whole: bool) -> Window:
    index = tails.Index(job)
    return _window(job, index, index.count(whole=whole) - SHOWN_LINES + 1, whole=whole)


def around(job: Job, line: int, *, whole: bool) -> Window:
    return _window(job, tails.Index(job), line - BEFORE, whole=whole)


def of_step(job: Job, step: str, *, whole: bool) -> Window:
    """From where the step's output begins, in the last attempt that it is part of."""
    index = tails.Index(job)
    begins = [part.line for part in index.parts() if part.step == step]
    if not begins:
        return end(job, whole=whole)
    return _window(job, index, begins[-1] - BEFORE, whole=whole)


def _window(job: Job, index: tails.Index, first: int, *, whole: bool) -> Window:
    start = index.before_line(max(first, 1))
    found = list(islice(tails.lines(job, start, whole=whole), SHOWN_LINES + 1))
    lines, place = shown(job, found[:SHOWN_LINES], start)
    total = max(index.count(whole=whole), start.lines + len(found))
    return Window(lines, start.lines, total, place, is_end=len(found) <= SHOWN_LINES)


def since(job: Job, after: Place, *, whole: bool) -> tuple[list[OutputLine], Place]:
    """What came after a place."""
    return shown(job, tails.lines(job, after, whole=whole), after)


def shown(job: Job, found: Iterable[RawLine], place: Place) -> tuple[list[OutputLine], Place]:
    """Lines as a page shows them, with a heading where a step's output begins; and their end."""
    made: list[OutputLine] = []
    names = dict(job.steps.values_list("key", "name"))
    style = Style.of(place.style)
    for raw in found:
        begins = (place.attempt, place.step) != (raw.attempt, tails.mark(raw.step))
        line, style = output_line(raw.number, raw.text, style)
        made.append(replace(line, heading=_heading(job, raw, names)) if begins else line)
        place = place.after(raw)
    return made, replace(place, style=style.code)


def _heading(job: Job, line: RawLine, names: dict[str, str]) -> Heading:
    text = names.get(line.step, line.step) or "Before the steps"
    anchor = f"step-{line.step}" if line.step else "before-steps"
    if line.attempt != job.attempt:
        return Heading(f"{text} (attempt {line.attempt})", f"{anchor}-attempt-{line.attempt}")
    return Heading(text, anchor)


def search(job: Job, query: str) -> Search:
    """The lines that have the query in them, whether in upper or lower case."""
    query = query[:LONGEST_QUERY]
    wanted = query.casefold()
    found: list[Found] = []
    for raw in tails.lines(job, tails.start(job), whole=True):
        text = raw.plain
        at = text.casefold().find(wanted)
        if at < 0:
            continue
        if len(found) == MOST_FOUND:
            return Search(query, found, is_cut=True)
        # Folding may make a text longer; then the mark is a little beside the point.
        end = at + len(query)
        before = text[max(at - BEFORE_FOUND, 0) : at]
        found.append(Found(raw.number, before, text[at:end], text[end : end + AFTER_FOUND]))
    return Search(query, found, is_cut=False)
