"""The typed form of a definition. Values only: nothing here reads text or decides anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from pipelines.flow.problems import Problem, Severity

__all__ = [
    "BUILT_IN_VARIABLES",
    "DEFAULT_TIMEOUT_MINUTES",
    "Concurrency",
    "Definition",
    "Job",
    "Position",
    "Problem",
    "RunsOn",
    "Severity",
    "Source",
    "Stage",
    "Step",
    "Value",
    "Variable",
    "as_text",
    "walk_strings",
]

Value: TypeAlias = "None | bool | int | float | str | list[Value] | dict[str, Value]"

DEFAULT_TIMEOUT_MINUTES: Final = 240

BUILT_IN_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PIPELINE_ID": "the id of the pipeline",
        "PIPELINE_NAME": "the name of the pipeline",
        "BUILD_NUMBER": "the number of the run within its pipeline, from 1",
        "BUILD_REMARK": "the comment given when the run was started",
        "BUILD_EXECUTOR": "who or what started the run",
        "BUILD_MESSAGE": "why the run was started",
        "PROJECT_DIR": "the folder in which the steps of a job work",
        "DATETIME": "when the run was started, like 2017-06-22-23-26-33",
        "TIMESTAMP": "when the run was started, in milliseconds since 1970",
        "CI_SOURCE_NAME": "the name of the source that a job works on",
        "CI_COMMIT_REF_NAME": "the branch or tag that was checked out",
        "CI_COMMIT_TITLE": "the first line of the commit's message",
        "CI_COMMIT_SHA": "the whole commit id",
        "CI_COMMIT_ID": "the first 8 characters of the commit id",
        "FLOW_ENV": "the file to which a step appends KEY=VALUE for the steps after it",
    }
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the text; both numbers count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Variable:
    key: str
    value: Value
    type: str  # String, Number, Boolean or Object
    at: Position
    path: str = ""  # like variables[0]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run takes input from. `fields` holds all keys as written, except `type`."""

    id: str
    type: str
    fields: Mapping[str, Value]
    at: Position

    @property
    def name(self) -> str:
        return as_text(self.fields.get("name")) or self.id

    @property
    def trigger_events(self) -> tuple[str, ...]:
        """What starts a run, written as one text or as a list."""
        written = self.fields.get("triggerEvents")
        texts = written if isinstance(written, list) else [written]
        return tuple(as_text(each) for each in texts if each is not None)


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many runs, and how many of one job, may be at work at a time; None: as many as come."""

    max_runs: int | None = None
    preempts: bool = False  # a new run takes the place of the oldest, instead of being refused
    max_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class RunsOn:
    group: str | None = None
    container: str | None = None
    labels: tuple[str, ...] = ()
    vm: bool = False
    instance_type: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    name: str
    step: str
    workspace: str | None
    with_: Mapping[str, Value]
    at: Position


@dataclass(frozen=True, slots=True)
class Job:
    """Steps that share a workspace, or one component. `needs` are those written, no others."""

    id: str
    name: str
    runs_on: RunsOn
    timeout_minutes: int
    driven: str  # auto or manual
    needs: tuple[str, ...]
    condition: str | None
    source_option: tuple[str, ...] | None  # None: every source; empty: none
    steps: tuple[Step, ...]
    component: str | None
    with_: Mapping[str, Value]
    plugins: tuple[Value, ...]
    at: Position

    def step(self, step_id: str) -> Step | None:
        return next((each for each in self.steps if each.id == step_id), None)


@dataclass(frozen=True, slots=True)
class Stage:
    id: str
    name: str
    jobs: tuple[Job, ...]
    at: Position

    def job(self, job_id: str) -> Job | None:
        return next((each for each in self.jobs if each.id == job_id), None)


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole pipeline. `positions` maps paths like `stages.a.jobs.b.with.run` to their places."""

    name: str
    sources: Mapping[str, Source]
    default_workspace: str | None
    variables: tuple[Variable, ...]
    variable_groups: tuple[str, ...]
    cache: Value
    concurrency: Concurrency
    stages: tuple[Stage, ...]
    positions: Mapping[str, Position] = field(default_factory=dict, repr=False, compare=False)

    def stage(self, stage_id: str) -> Stage | None:
        return next((each for each in self.stages if each.id == stage_id), None)

    def job(self, stage_id: str, job_id: str) -> Job | None:
        stage = self.stage(stage_id)
        return stage.job(job_id) if stage is not None else None


def as_text(value: Value) -> str:
    """The text of a scalar as its writer wrote it; a list or mapping has none and gives ''."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return ""


def walk_strings(value: Value, path: str) -> Iterator[tuple[str, str]]:
    """Every string inside a value with its path, in the order of the text.

    Neither recursion nor a list of what is left: a value may be deep, or long with long paths.
    """
    waiting: list[Iterator[tuple[str, Value]]] = [iter([(path, value)])]
    while waiting:
        here, current = next(waiting[-1], (None, None))
        if here is None:
            waiting.pop()
        elif isinstance(current, str):
            yield here, current
        elif isinstance(current, dict):
            waiting.append(_entries(here, current))
        elif isinstance(current, list):
            waiting.append(_items(here, current))


def _entries(path: str, value: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    for key, each in value.items():
        yield f"{path}.{key}", each


def _items(path: str, value: list[Value]) -> Iterator[tuple[str, Value]]:
    for index, each in enumerate(value):
        yield f"{path}[{index}]", each
