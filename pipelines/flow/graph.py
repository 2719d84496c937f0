"""A definition as a graph: stages, their jobs, and the artifacts that flow between them.

What is joined to what is decided here, where it is drawn in `graph_layout`, and the same is told in
words for those who do not see the drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from unicodedata import east_asian_width

from pipelines.flow.checks.artifacts import CheckedReference
from pipelines.flow.document import Definition, Job, Source, Stage, as_text
from pipelines.flow.graph_layout import Drawn, Link, Place, arrange
from pipelines.flow.order import effective_needs
from pipelines.flow.references import DEFAULT_ARTIFACT
from pipelines.flow.schema import Catalog

JOB_LIMIT: Final = 60  # a drawing of more helps nobody
SIDE_LIMIT: Final = 40  # of stages and of sources, for the same reason
LISTED_JOBS: Final = 10  # of one stage, where only a list is given
TITLE_WIDTH: Final = 24  # in letters of usual width
NOTE_WIDTH: Final = 27
LABEL_WIDTH: Final = 20

NodeKind: TypeAlias = Literal["job", "code", "pipeline", "artifact", "other"]
EdgeKind: TypeAlias = Literal["need", "artifact", "source"]


@dataclass(frozen=True, slots=True)
class Node:
    """A job, or a source. `title` and `note` are cut to fit; `name` is whole."""

    key: str
    kind: NodeKind
    name: str
    title: str
    note: str
    line: int
    pipeline: str | None  # the id of the other pipeline that it stands for
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Edge:
    """From who gives to who takes. `path` and `arrow` are SVG path data.

    `implied` tells a `needs` that nobody wrote, because a reference says it already.
    """

    start: str
    end: str
    kind: EdgeKind
    implied: bool
    artifacts: tuple[str, ...]
    label: str
    label_x: int
    label_y: int
    path: str
    arrow: str


@dataclass(frozen=True, slots=True)
class Band:
    """The frame around a stage, or around the sources."""

    name: str
    title: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A node in words: what it takes, and from whom."""

    name: str
    note: str
    pipeline: str | None = None
    takes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    entries: tuple[Entry, ...]
    more: int = 0  # how many jobs the list leaves out


@dataclass(frozen=True, slots=True)
class Graph:
    """`drawn` is false where there is too much to draw; then there are groups, and nothing else."""

    jobs: int
    drawn: bool
    width: int
    height: int
    bands: tuple[Band, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    groups: tuple[Group, ...]


def draw(definition: Definition, references: Iterable[CheckedReference], catalog: Catalog) -> Graph:
    """The graph of a checked definition; the same input always gives the same graph."""
    count = sum(len(stage.jobs) for stage in definition.stages)
    if is_too_large(definition):
        return Graph(count, False, 0, 0, (), (), (), tuple(_outline(definition)))
    return _Drawing(definition, catalog).finished(count, references)


def is_too_large(definition: Definition) -> bool:
    """Whether there are more jobs, stages or sources than one can make out in a drawing."""
    return (
        sum(len(stage.jobs) for stage in definition.stages) > JOB_LIMIT
        or max(len(definition.stages), len(definition.sources)) > SIDE_LIMIT
    )


def _outline(definition: Definition) -> Iterator[Group]:
    for stage in definition.stages[: 2 * SIDE_LIMIT]:
        shown = stage.jobs[:LISTED_JOBS]
        entries = tuple(Entry(_plain(job.name), _job_note(job)) for job in shown)
        yield Group(_plain(stage.name), entries, len(stage.jobs) - len(shown))


@dataclass(slots=True)
class _Join:
    """What is known so far of the edge between two nodes."""

    kind: EdgeKind
    implied: bool = False
    artifacts: dict[str, None] = field(default_factory=dict)


class _Drawing:
    def __init__(self, definition: Definition, catalog: Catalog) -> None:
        self._definition = definition
        self._catalog = catalog
        self._sources = {id_: f"source-{n}" for n, id_ in enumerate(definition.sources)}
        self._jobs = {
            (stage.id, job.id): f"job-{s}-{j}"
            for s, stage in enumerate(definition.stages)
            for j, job in enumerate(stage.jobs)
        }
        self._joins: dict[tuple[str, str], _Join] = {}

    def finished(self, count: int, references: Iterable[CheckedReference]) -> Graph:
        columns, bands = self._columns()
        self._join_needs()
        self._join_references(references)
        self._join_sources()
        # A job that waits for itself is reported by the checker; there is nothing to draw of it.
        joins = {ends: join for ends, join in self._joins.items() if ends[0] != ends[1]}
        links = [Link(*ends, labelled=bool(join.artifacts)) for ends, join in joins.items()]
        drawn = arrange(columns, [band for _, band in bands], links)
        nodes = tuple(self._nodes(drawn.places))
        return Graph(
            count,
            True,
            drawn.width,
            drawn.height,
            tuple(
                Band(name, _fit(name, TITLE_WIDTH), at.x, at.y, at.width, at.height)
                for (name, _), at in zip(bands, drawn.bands, strict=True)
            ),
            nodes,
            tuple(_edges(joins, drawn)),
            tuple(self._groups(nodes, joins)),
        )

    def _columns(self) -> tuple[list[list[str]], list[tuple[str, int]]]:
        """The nodes column by column, and for each frame its name and how many columns it has."""
        columns: list[list[str]] = []
        bands: list[tuple[str, int]] = []
        if self._sources:
            columns.append(list(self._sources.values()))
            bands.append(("Sources", 1))
        for stage in self._definition.stages:
            layers = self._layers(stage)
            columns += layers
            bands.append((_plain(stage.name), len(layers)))
        return columns, bands

    def _layers(self, stage: Stage) -> list[list[str]]:
        """The jobs of a stage by the longest chain of needs before them.

        Where jobs wait for one another in a circle, the first in the text goes first.
        """
        needs = {job.id: effective_needs(stage, job) for job in stage.jobs}
        depths: dict[str, int] = {}
        while len(depths) < len(needs):
            waiting = [each for each in needs if each not in depths]
            ready = [
                each
                for each in waiting
                if all(need in depths or need not in needs for need in needs[each])
            ]
            for each in ready or waiting[:1]:
                before = [depths[need] for need in needs[each] if need in depths]
                depths[each] = max(before, default=-1) + 1
        layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=0) + 1)]
        for job in stage.jobs:
            layers[depths[job.id]].append(self._jobs[stage.id, job.id])
        return layers

    def _join_needs(self) -> None:
        for stage in self._definition.stages:
            for job in stage.jobs:
                for need in effective_needs(stage, job):
                    if start := self._jobs.get((stage.id, need)):
                        ends = (start, self._jobs[stage.id, job.id])
                        self._joins[ends] = _Join("need", implied=need not in job.needs)

    def _join_references(self, references: Iterable[CheckedReference]) -> None:
        for each in references:
            end = self._jobs.get(each.used_by)
            if end is None or each.target is None:
                continue
            if each.made_by is not None:
                start = self._jobs.get(each.made_by[:2])
            else:
                start = self._sources.get(each.source or "")
            if start is not None:
                join = self._joins.setdefault((start, end), _Join("artifact"))
                join.kind = "artifact"
                join.artifacts[self._artifact(each)] = None

    def _artifact(self, reference: CheckedReference) -> str:
        """What the artifact is called; `default` becomes the step's own name for it."""
        if reference.kind == "source":
            source = self._definition.sources[reference.source or ""]
            called = as_text(source.fields.get("artifact")) or as_text(
                source.fields.get("imageRepo")
            )
            return _plain(called) or source.id
        name = (reference.target or "").partition(".artifacts.")[2]
        if name == DEFAULT_ARTIFACT and reference.made_by is not None:
            stage, job_id, step_id = reference.made_by
            job = self._definition.job(stage, job_id)
            step = job.step(step_id) if job is not None else None
            schema = self._catalog.step(step.step) if step is not None else None
            if step is not None and schema is not None:
                name = schema.artifact_name(step.with_) or name
        return _plain(name)

    def _join_sources(self) -> None:
        """What a job finds in its workspace without a word: every source, or those it chose."""
        for stage in self._definition.stages:
            for job in stage.jobs:
                end = self._jobs[stage.id, job.id]
                if job.source_option is not None:
                    chosen = [each for each in job.source_option if each in self._sources]
                elif job.steps:
                    chosen = [
                        each.id
                        for each in self._definition.sources.values()
                        if self._kind(each) in ("code", "artifact")
                    ]
                else:
                    chosen = []
                for each in chosen:
                    self._joins.setdefault((self._sources[each], end), _Join("source"))

    def _kind(self, source: Source) -> NodeKind:
        schema = self._catalog.sources.get(source.type)
        return schema.kind if schema is not None else "other"

    def _nodes(self, places: Mapping[str, Place]) -> Iterator[Node]:
        for source in self._definition.sources.values():
            pipeline = as_text(source.fields.get("flowPipeline")) or None
            kind = self._kind(source)
            other = pipeline if kind == "pipeline" else None
            key = self._sources[source.id]
            yield _node(
                key,
                kind,
                places[key],
                name=other or source.name,
                note=_source_note(source, kind),
                line=source.at.line,
                pipeline=other,
            )
        for stage in self._definition.stages:
            for job in stage.jobs:
                key = self._jobs[stage.id, job.id]
                at, note = places[key], _job_note(job)
                yield _node(key, "job", at, name=job.name, note=note, line=job.at.line)

    def _groups(
        self, nodes: Iterable[Node], joins: Mapping[tuple[str, str], _Join]
    ) -> Iterator[Group]:
        by_key = {node.key: node for node in nodes}
        takes: dict[str, list[str]] = {}
        for (start, end), join in joins.items():
            takes.setdefault(end, []).append(_in_words(by_key[start].name, join))
        if self._sources:
            entries = [by_key[key] for key in self._sources.values()]
            yield Group(
                "Sources", tuple(Entry(each.name, each.note, each.pipeline) for each in entries)
            )
        for stage in self._definition.stages:
            keys = [self._jobs[stage.id, job.id] for job in stage.jobs]
            yield Group(
                _plain(stage.name),
                tuple(
                    Entry(by_key[key].name, by_key[key].note, None, tuple(takes.get(key, ())))
                    for key in keys
                ),
            )


def _edges(joins: Mapping[tuple[str, str], _Join], drawn: Drawn) -> Iterator[Edge]:
    for (start, end), join in joins.items():
        route = drawn.routes[start, end]
        names = tuple(join.artifacts)
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        label = _fit(names[0], LABEL_WIDTH - len(more)) + more if names else ""
        yield Edge(
            start,
            end,
            join.kind,
            join.implied,
            names,
            label,
            route.label_x,
            route.label_y,
            route.path,
            route.arrow,
        )


def _in_words(giver: str, join: _Join) -> str:
    if join.artifacts:
        shown = list(join.artifacts)[:5]
        more = len(join.artifacts) - len(shown)
        names = ", ".join(shown) + (f" and {more} more" if more else "")
        return f"takes {names} from {giver}"
    if join.kind == "need":
        return f"needs {giver}" + (", because it refers to it" if join.implied else "")
    return f"works on {giver}"


def _node(
    key: str,
    kind: NodeKind,
    at: Place,
    *,
    name: str,
    note: str,
    line: int,
    pipeline: str | None = None,
) -> Node:
    name = _plain(name)
    title, note = _fit(name, TITLE_WIDTH), _fit(note, NOTE_WIDTH)
    return Node(key, kind, name, title, note, line, pipeline, at.x, at.y, at.width, at.height)


def _job_note(job: Job) -> str:
    if job.component is not None:
        work = _plain(job.component)
    else:
        work = "1 step" if len(job.steps) == 1 else f"{len(job.steps)} steps"
    return f"{work}, started by hand" if job.driven == "manual" else work


def _source_note(source: Source, kind: NodeKind) -> str:
    fields = source.fields
    if kind == "artifact":
        parts = [fields.get("repo") or fields.get("namespace"), fields.get("artifact")]
        return _plain("/".join(as_text(each) for each in parts if each)) or _plain(source.type)
    if kind == "code" and (branch := as_text(fields.get("branch"))):
        return f"{_plain(source.type)}, {_plain(branch)}"
    return "pipeline" if kind == "pipeline" else _plain(source.type)


def _plain(text: str) -> str:
    """One line without characters that have no width or a meaning of their own to a terminal."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _fit(text: str, width: int) -> str:
    """The text cut to a width in letters, where one of Chinese or Japanese takes two."""
    used = 0
    for at, letter in enumerate(text):
        used += 2 if east_asian_width(letter) in "WF" else 1
        if used > width:
            return text[: max(at - 1, 0)].rstrip() + "…"
    return text
