"""The order of jobs: `needs`, circles, and what conditions ask for."""

from __future__ import annotations

from itertools import chain
from typing import Final

from pipelines.flow.checks.context import Context
from pipelines.flow.conditions import Condition, ConditionError, parse_condition
from pipelines.flow.document import Job, Stage
from pipelines.flow.nodes import shorten
from pipelines.flow.order import effective_needs, find_cycles, reachable

SHOWN: Final = 6  # jobs of a circle that a message spells out

ROUNDS: Final = 20

Graph = dict[str, tuple[str, ...]]

# The implied needs that point at a job which runs later, as (stage, from, to).
Backwards = set[tuple[str, str, str]]


def check_waits(context: Context) -> Backwards:
    """Report on `needs` and conditions; says which references run against the written order."""
    backwards: Backwards = set()
    for stage in context.definition.stages:
        _check_needs(context, stage)
        graph = {job.id: effective_needs(stage, job) for job in stage.jobs}
        graph, against, circles = _break_open(stage, graph)
        backwards |= {(stage.id, job, need) for job, need in against}
        for circle in circles:
            _report_circle(context, stage, circle)
        for job in stage.jobs:
            if job.condition is not None:
                _check_condition(context, stage, job, graph)
    return backwards


def _break_open(
    stage: Stage, graph: Graph
) -> tuple[Graph, set[tuple[str, str]], list[tuple[str, ...]]]:
    """Tell references against the written order from true circles.

    A circle that only one reference closes is that reference's fault. Taking it out may show
    further circles, hence the rounds.
    """
    written = {job.id: set(job.needs) for job in stage.jobs}
    against: set[tuple[str, str]] = set()
    circles = find_cycles(graph)
    for _ in range(ROUNDS):
        fresh: set[tuple[str, str]] = set()
        for circle in circles:
            edges = zip(circle, (*circle[1:], circle[0]), strict=True)
            implied = [(job, need) for job, need in edges if need not in written[job]]
            if len(implied) == 1:
                fresh.add(implied[0])
        if not fresh:
            break
        against |= fresh
        graph = {
            job: tuple(each for each in needs if (job, each) not in fresh)
            for job, needs in graph.items()
        }
        circles = find_cycles(graph)
    return graph, against, circles


def _check_needs(context: Context, stage: Stage) -> None:
    here = context.index.jobs[stage.id]
    for job in stage.jobs:
        for number, need in enumerate(job.needs):
            if need in here:
                continue
            path = f"stages.{stage.id}.jobs.{job.id}.needs"
            numbered = f"{path}[{number}]"
            other = context.index.first_stage.get(need)
            if other is not None:
                remedy = f"; it is in stage `{other}`, and stages already wait for one another"
            else:
                remedy = context.did_you_mean(need, here)
            context.report(
                "unknown_need",
                f"stage `{stage.id}` has no job `{shorten(need)}`{remedy}",
                numbered if numbered in context.positions else path,
            )


def _report_circle(context: Context, stage: Stage, circle: tuple[str, ...]) -> None:
    # Told from the job that is written first, so that the report does not depend on the search.
    order = {job.id: number for number, job in enumerate(stage.jobs)}
    first = circle.index(min(circle, key=lambda each: order.get(each, 0)))
    told = [*circle[first:], *circle[:first]]
    shown = " → ".join(told[:SHOWN]) + (" → …" if len(told) > SHOWN else f" → {told[0]}")
    path = f"stages.{stage.id}.jobs.{told[0]}"
    needs = f"{path}.needs"
    context.report(
        "needs_cycle",
        f"these jobs wait for one another: {shown}; remove one `needs` or reference",
        needs if needs in context.positions else path,
    )


def _check_condition(context: Context, stage: Stage, job: Job, graph: Graph) -> None:
    path = f"stages.{stage.id}.jobs.{job.id}.condition"
    text = job.condition or ""
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        context.report(
            "bad_condition",
            f"this condition cannot be read: {error.message}",
            path,
            at=context.positions.walker(path).offset(text, error.offset),
        )
        return
    _check_asked_jobs(context, stage, job, graph, condition)


def _check_asked_jobs(
    context: Context,
    stage: Stage,
    job: Job,
    graph: Graph,
    condition: Condition,
) -> None:
    path = f"stages.{stage.id}.jobs.{job.id}.condition"
    index = context.index
    waited = reachable(graph, job.id) if condition.jobs else set()
    for asked in condition.jobs:
        name = asked.value
        if "${" in name or name in waited:
            continue
        first = index.first_stage.get(name)
        if first is not None and index.order[first] < index.order[stage.id]:
            continue
        at = context.positions.walker(path).offset(condition.text, asked.offset)
        if name == job.id:
            context.report("condition_order", "a job cannot ask how it ended itself", path, at=at)
        elif name in graph:
            context.report(
                "condition_order",
                f"`{name}` may still be running when this is asked; add it to `needs`",
                path,
                at=at,
                severity="warning",
            )
        else:
            context.report(
                "unknown_job",
                f"no job `{shorten(name)}` runs before this one"
                + context.did_you_mean(name, chain(graph, index.first_stage)),
                path,
                at=at,
            )
