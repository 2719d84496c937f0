"""Which job waits for which, from what is written and from what the references imply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pipelines.flow.document import Job, Stage, Step, walk_strings
from pipelines.flow.references import Reference, find_references

CYCLE_LIMIT: Final = 50  # circles that one search looks at


class JobText(NamedTuple):
    """A text of a job in which references and variables are replaced."""

    path: str
    text: str
    step: Step | None


def job_texts(job: Job, path: str = "") -> Iterator[JobText]:
    """Every such text of a job, in order."""
    runs_on = job.runs_on
    for name, value in (
        ("group", runs_on.group),
        ("container", runs_on.container),
        ("instanceType", runs_on.instance_type),
    ):
        if value is not None:
            yield JobText(f"{path}.runsOn.{name}", value, None)
    for index, label in enumerate(runs_on.labels):
        yield JobText(f"{path}.runsOn.labels[{index}]", label, None)
    for step in job.steps:
        for name, each in step.with_.items():
            for here, text in walk_strings(each, f"{path}.steps.{step.id}.with.{name}"):
                yield JobText(here, text, step)
    for name, each in job.with_.items():
        for here, text in walk_strings(each, f"{path}.with.{name}"):
            yield JobText(here, text, None)
    for index, each in enumerate(job.plugins):
        for here, text in walk_strings(each, f"{path}.plugins[{index}]"):
            yield JobText(here, text, None)


def job_references(job: Job) -> Iterator[Reference]:
    """The well-formed references of a job, in the order of the text."""
    for _, text, _ in job_texts(job):
        if "$[" in text:
            for found in find_references(text):
                if found.reference is not None:
                    yield found.reference


def implied_need(stage: Stage, job: Job, reference: Reference) -> str | None:
    """The job of the same stage that a reference makes this job wait for."""
    here = reference.kind == "job" or (reference.kind == "stage" and reference.stage == stage.id)
    return reference.job if here and reference.job != job.id else None


def implied_needs(stage: Stage, job: Job) -> tuple[str, ...]:
    """The jobs of the stage whose artifacts this one refers to; each once, in order."""
    needs = dict.fromkeys(implied_need(stage, job, each) for each in job_references(job))
    if not needs:
        return ()
    ids = {each.id for each in stage.jobs}
    return tuple(need for need in needs if need is not None and need in ids)


def effective_needs(stage: Stage, job: Job) -> tuple[str, ...]:
    """What the job waits for within its stage: the written needs, then the implied ones."""
    return tuple(dict.fromkeys((*job.needs, *implied_needs(stage, job))))


def reachable(graph: Mapping[str, tuple[str, ...]], start: str) -> set[str]:
    """Everything that is waited for, directly or not."""
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(graph.get(current, ()))
    return seen


def find_cycles(graph: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Circles of a graph: none exactly where there is none, else a bounded number of them.

    Depth first without recursion, since a chain of needs may be as long as the document.
    """
    done: set[str] = set()
    found: dict[frozenset[str], tuple[str, ...]] = {}
    seen = 0
    for root in graph:
        if root in done:
            continue
        trail = {root: 0}
        pending = [(root, iter(graph[root]))]
        while pending:
            current, needs = pending[-1]
            need = next(needs, None)
            if need is None:
                pending.pop()
                del trail[current]
                done.add(current)
            elif need in trail:
                circle = tuple(each for each, _ in pending[trail[need] :])
                found.setdefault(frozenset(circle), circle)
                seen += 1
                if seen >= CYCLE_LIMIT:
                    return list(found.values())
            elif need in graph and need not in done:
                trail[need] = len(pending)
                pending.append((need, iter(graph[need])))
    return list(found.values())
