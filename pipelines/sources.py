"""Where a run takes its input from: a registry of source types, and the ones that live here.

`promotion` registers `packages` from its own side, because it owns versions and this app may not
know of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.connections import Opened
from pipelines.errors import Invalid, NotFound, UnresolvedReference
from pipelines.flow.document import Definition, Source
from pipelines.models import ExecutionState, Pipeline, Run

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fetch:
    """One source to bring into a job's workspace."""

    run: Run
    pinned: Mapping[str, Any]
    folder: Path
    say: Say
    #: Opens a service connection of the run by name and kind; its secrets are masked in the log.
    connection: Callable[[str, str], Opened]
    #: Why fetching must end now, or an empty text.
    why_stop: Callable[[], str] = lambda: ""


class SourceType(Protocol):
    """How a type of source is pinned to one exact thing, and brought into a workspace."""

    @property
    def types(self) -> tuple[str, ...]:
        """The names that definitions use for it."""

    @property
    def remote(self) -> bool:
        """Whether pinning talks to another machine, and so is done by a worker."""

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the source means for this run, for ever: JSON with `type`, the facts and `why`."""

    def fetch(self, fetch: "Fetch") -> None:
        """Bring what was pinned into the empty folder, checking that it is what was pinned."""

    def recheck(self, source: Source, pinned: Mapping[str, Any]) -> None:
        """Refuse what was pinned once and may no longer be taken, before a run begins anew."""

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        """What `$[sources.<id>]` can be asked for."""


_types: dict[str, SourceType] = {}


def register(source_type: SourceType) -> None:
    for name in source_type.types:
        _types[name] = source_type


def available() -> set[str]:
    return set(_types)


def type_of(name: str) -> SourceType:
    if name not in _types:
        raise Invalid(f"No worker of this site can use a source of type {name}.")
    return _types[name]


def default_folder(source_ids: list[str], code: list[str], default_workspace: str | None) -> str:
    """In which folder of the workspace steps begin: the code source's, or the workspace itself."""
    if default_workspace in source_ids:
        return default_workspace or ""
    return code[0] if len(code) == 1 else ""


class PipelineSource:
    """`flowPipeline`: a run of another pipeline."""

    types = ("flowPipeline",)
    remote = False

    def pin(self, run: Run, source: Source, asked: Mapping[str, Any]) -> dict[str, Any]:
        slug = str(source.fields.get("flowPipeline", ""))
        upstream = Pipeline.objects.filter(slug=slug).first()
        if upstream is None:
            raise NotFound(f"Source {source.id}: there is no pipeline “{slug}”.")
        runs = upstream.runs.order_by("-number")
        if "run" in asked:
            found = runs.filter(number=asked["run"]).first()
            if found is None:
                raise NotFound(f"Source {source.id}: {slug} has no run {asked['run']}.")
            if found.state != ExecutionState.SUCCEEDED:
                raise Invalid(f"Source {source.id}: {found} is {found.state}, not succeeded.")
            why = "the run was named when this run was started"
        else:
            found = runs.filter(state=ExecutionState.SUCCEEDED).first()
            if found is None:
                raise Invalid(
                    f"Source {source.id}: {slug} has no successful run yet. Run it first, "
                    "or name a run."
                )
            why = "the last successful run when this run was started"
        return {"type": source.type, "pipeline": slug, "run": found.number, "why": why}

    def fetch(self, fetch: "Fetch") -> None:
        pinned = fetch.pinned
        fetch.say(f"uses {pinned['pipeline']} #{pinned['run']}: {pinned['why']}")

    def recheck(self, source: Source, pinned: Mapping[str, Any]) -> None:
        """A run that succeeded stays one."""

    def properties(self, pinned: Mapping[str, Any]) -> dict[str, str]:
        return {"version": str(pinned["run"])}


def recheck(definition: Definition, pinned: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to begin anew on inputs of which one may no longer be taken."""
    for source_id, facts in pinned.items():
        source = definition.sources.get(source_id)
        if source is not None:
            type_of(source.type).recheck(source, facts)


def upstream_run(run: Run, source_id: str) -> Run:
    """The run of another pipeline that the source `source_id` of `run` is pinned to."""
    pinned = run.sources.get(source_id)
    if pinned is None or pinned.get("type") != "flowPipeline":
        raise UnresolvedReference(
            f"{run} has no source “{source_id}” of type flowPipeline to look into."
        )
    return Run.objects.select_related("pipeline").get(
        pipeline__slug=pinned["pipeline"], number=pinned["run"]
    )
