"""How one definition differs from another: line by line, and in what it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal, TypeAlias

from pipelines.flow.document import Definition, Job

CONTEXT: Final = 3  # unchanged lines that are shown around a change
# Past this, looking for what two texts share takes too long: then all is taken as rewritten.
COMPARED_LINES: Final = 5000
SHOWN_LINES: Final = 4000

Mark: TypeAlias = Literal["same", "added", "removed"]
Change: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number in each text that has it."""

    mark: Mark
    old: int | None
    new: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that stand together, after `folded` unchanged ones that are left out."""

    folded: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`folded` unchanged lines follow the last block; `left_out` lines of changes are not kept."""

    blocks: tuple[Block, ...]
    folded: int
    added: int
    removed: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a definition that came, went or is another now."""

    change: Change
    kind: Literal["source", "stage", "job", "step"]
    name: str


def compare_texts(old: str, new: str) -> Difference:
    """The lines of two texts, with unchanged runs folded to CONTEXT lines around each change."""
    lines = list(_lines(_split(old), _split(new)))
    added = sum(each.mark == "added" for each in lines)
    removed = sum(each.mark == "removed" for each in lines)
    near = _near_changes(lines)
    blocks: list[Block] = []
    folded, shown = 0, 0
    together: list[Line] = []
    for line, is_near in zip(lines, near, strict=True):
        if is_near and shown < SHOWN_LINES:
            together.append(line)
            shown += 1
            continue
        if together:
            blocks.append(Block(folded, tuple(together)))
            together, folded = [], 0
        if not is_near:
            folded += 1
    if together:
        blocks.append(Block(folded, tuple(together)))
        folded = 0
    return Difference(tuple(blocks), folded, added, removed, sum(near) - shown)


def _split(text: str) -> list[str]:
    """Lines as the checker counts them: only a line feed ends one."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    begin = _shared(old, new)
    end = _shared(old[begin:][::-1], new[begin:][::-1])
    for at in range(begin):
        yield Line("same", at + 1, at + 1, old[at])
    old_end, new_end = len(old) - end, len(new) - end
    before, after = old[begin:old_end], new[begin:new_end]
    if max(len(before), len(after)) > COMPARED_LINES:
        steps = [("replace", 0, len(before), 0, len(after))]
    else:
        steps = list(SequenceMatcher(None, before, after).get_opcodes())
    for step, old_from, old_to, new_from, new_to in steps:
        if step == "equal":
            for at, line in enumerate(before[old_from:old_to]):
                yield Line("same", begin + old_from + at + 1, begin + new_from + at + 1, line)
            continue
        for at in range(old_from, old_to):
            yield Line("removed", begin + at + 1, None, before[at])
        for at in range(new_from, new_to):
            yield Line("added", None, begin + at + 1, after[at])
    for at in range(end):
        yield Line("same", old_end + at + 1, new_end + at + 1, old[old_end + at])


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines two texts share from the start."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _near_changes(lines: Sequence[Line]) -> list[bool]:
    near = [each.mark != "same" for each in lines]
    changed = [at for at, is_changed in enumerate(near) if is_changed]
    for at in changed:
        for beside in range(max(at - CONTEXT, 0), min(at + CONTEXT + 1, len(lines))):
            near[beside] = True
    return near


def compare_definitions(old: Definition, new: Definition) -> tuple[Part, ...]:
    """The sources, stages, jobs and steps that came, went or changed, in the order of the text.

    Of something that came or went its own parts are not told; a change is told where it is made.
    """
    return (*_sources(old, new), *_stages(old, new))


def _sources(old: Definition, new: Definition) -> Iterator[Part]:
    for id_ in dict.fromkeys((*old.sources, *new.sources)):
        before, after = old.sources.get(id_), new.sources.get(id_)
        if before is None or after is None:
            yield Part("added" if before is None else "removed", "source", id_)
        elif (before.type, before.fields) != (after.type, after.fields):
            yield Part("changed", "source", id_)


def _stages(old: Definition, new: Definition) -> Iterator[Part]:
    before = {stage.id: stage for stage in old.stages}
    after = {stage.id: stage for stage in new.stages}
    for id_ in dict.fromkeys((*before, *after)):
        if id_ not in before or id_ not in after:
            yield Part("removed" if id_ in before else "added", "stage", id_)
            continue
        if before[id_].name != after[id_].name:
            yield Part("changed", "stage", id_)
        jobs = {job.id: job for job in before[id_].jobs}, {job.id: job for job in after[id_].jobs}
        for job_id in dict.fromkeys((*jobs[0], *jobs[1])):
            name = f"{id_}.{job_id}"
            if job_id not in jobs[0] or job_id not in jobs[1]:
                yield Part("removed" if job_id in jobs[0] else "added", "job", name)
            else:
                yield from _job(name, jobs[0][job_id], jobs[1][job_id])


def _job(name: str, old: Job, new: Job) -> Iterator[Part]:
    if _own(old) != _own(new):
        yield Part("changed", "job", name)
    before = {step.id: step for step in old.steps}
    after = {step.id: step for step in new.steps}
    for id_ in dict.fromkeys((*before, *after)):
        here = f"{name}.{id_}"
        if id_ not in before or id_ not in after:
            yield Part("removed" if id_ in before else "added", "step", here)
            continue
        one, other = before[id_], after[id_]
        if (one.name, one.step, one.workspace, one.with_) != (
            other.name,
            other.step,
            other.workspace,
            other.with_,
        ):
            yield Part("changed", "step", here)


def _own(job: Job) -> tuple[object, ...]:
    """All that a job says itself, without its steps and without its place in the text."""
    return (
        job.name,
        job.runs_on,
        job.timeout_minutes,
        job.driven,
        job.needs,
        job.condition,
        job.source_option,
        job.component,
        job.with_,
        job.plugins,
    )
