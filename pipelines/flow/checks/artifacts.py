"""References: that each hop exists, that it comes first, and what it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipelines.flow.checks.context import Context, Index
from pipelines.flow.checks.waits import Backwards
from pipelines.flow.document import Job, Position, Source, Stage, Step, as_text
from pipelines.flow.nodes import shorten
from pipelines.flow.order import implied_need, job_texts
from pipelines.flow.references import (
    DEFAULT_ARTIFACT,
    LENGTH_LIMIT,
    Kind,
    Reference,
    ReferenceError_,
    expand_reference,
    expand_variables,
    find_references,
)
from pipelines.flow.schema import ARTIFACT_PROPERTIES, Makes, is_open


@dataclass(frozen=True, slots=True)
class CheckedReference:
    """A reference and what it leads to.

    `target` is None where that is unknown; otherwise like
    `stages.build.compile.upload.artifacts.default`, after `sources.<id>.` for another pipeline,
    or `sources.<id>` for an artifact source. `path` says where it is used.
    """

    text: str
    line: int
    column: int
    path: str
    kind: Kind
    target: str | None
    reference: Reference
    artifact_type: Makes | None = None
    pipeline: str | None = None  # the id of the other pipeline, where it leads to one
    source: str | None = None  # the id of the source that it goes through, where it leads on
    made_by: tuple[str, str, str] | None = None  # in this pipeline: stage, job, step
    used_by: tuple[str, str] = ("", "")  # the stage and job in which it stands


@dataclass(frozen=True, slots=True)
class _Use:
    """Where a reference stands."""

    stage: Stage
    job: Job
    step: Step | None
    path: str
    at: Position


class _Fault(Exception):
    """The first hop of a reference that does not hold."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class _Target:
    text: str
    makes: Makes | None
    step: tuple[str, str, str] | None = None  # in this pipeline: stage, job, step
    pipeline: str | None = None
    source: str | None = None


_UNKNOWN: Final = _Target("", None)


def check_references(context: Context, backwards: Backwards) -> tuple[CheckedReference, ...]:
    checker = _Checker(context, backwards)
    checked = tuple(each for stage in context.definition.stages for each in checker.stage(stage))
    checker.report_unused()
    return checked


class _Checker:
    def __init__(self, context: Context, backwards: Backwards) -> None:
        self._context = context
        self._backwards = backwards
        self._used: set[tuple[str, str, str]] = set()
        self._open = False  # some reference may lead anywhere

    def stage(self, stage: Stage) -> Iterator[CheckedReference]:
        for job in stage.jobs:
            base = f"stages.{stage.id}.jobs.{job.id}"
            for path, text, step in job_texts(job, base):
                if "$[" not in text:
                    continue
                place = self._context.positions.walker(path)
                for found in find_references(text):
                    at = place(found.text)
                    if found.reference is None:
                        why = found.error.message if found.error is not None else ""
                        self._context.report(
                            "bad_reference",
                            f"`{shorten(found.text)}` is not a reference: {why}",
                            path,
                            at=at,
                        )
                        continue
                    use = _Use(stage, job, step, path, at)
                    yield self._one(found.reference, use)

    def report_unused(self) -> None:
        if self._open:
            return
        for stage in self._context.definition.stages:
            for job in stage.jobs:
                for step in job.steps:
                    schema = self._context.schema(step)
                    key = (stage.id, job.id, step.id)
                    # What goes to a repository is meant for others from the start.
                    if schema is None or key in self._used:
                        continue
                    if schema.made_type(step.with_) not in (None, "packages"):
                        name = schema.artifact_name(step.with_) or DEFAULT_ARTIFACT
                        self._context.report(
                            "unused_artifact",
                            f"nothing in this pipeline refers to the artifact `{shorten(name)}`",
                            f"stages.{stage.id}.jobs.{job.id}.steps.{step.id}",
                            severity="hint",
                        )

    def _one(self, reference: Reference, use: _Use) -> CheckedReference:
        target = _UNKNOWN
        try:
            target = self._resolve(reference, use)
            self._check_property(reference, target)
        except _Fault as fault:
            self._context.report(fault.code, fault.message, use.path, at=use.at)
            if fault.code != "wrong_property":
                target = _UNKNOWN
        if target.step is not None:
            self._used.add(target.step)
        return CheckedReference(
            text=reference.text,
            line=use.at.line,
            column=use.at.column,
            path=use.path,
            kind=reference.kind,
            target=target.text or None,
            reference=reference,
            artifact_type=target.makes,
            pipeline=target.pipeline,
            source=target.source,
            made_by=target.step,
            used_by=(use.stage.id, use.job.id),
        )

    def _resolve(self, written: Reference, use: _Use) -> _Target:
        try:
            reference = expand_reference(written, self._context.index.variables)
        except ReferenceError_ as error:
            raise _Fault(
                "bad_reference",
                f"with its variables replaced, this is not a reference: {error.message}",
            ) from error
        hops = (reference.source, reference.stage, reference.job, reference.step)
        if any(hop is not None and "${" in hop for hop in hops):
            self._open = True
            self._dynamic(use)
            return _UNKNOWN
        if reference.kind == "source":
            return self._source(reference)
        if reference.kind == "pipeline":
            return self._pipeline(written, reference, use)
        return self._here(written, reference, use)

    def _here(self, written: Reference, reference: Reference, use: _Use) -> _Target:
        """Within this pipeline: `jobs.…` in the same stage, `stages.…` in any before it."""
        index = self._context.index
        stage_id = reference.stage if reference.stage is not None else use.stage.id
        if reference.kind == "job" and reference.job not in index.jobs[stage_id]:
            other = index.first_stage.get(reference.job or "")
            if other is not None:
                raise _Fault(
                    "unknown_job",
                    f"job `{reference.job}` is in stage `{other}`, not in this one; write "
                    f"`$[stages.{other}.{reference.text.removeprefix('$[jobs.')}`",
                )
        if stage_id in index.order and index.order[stage_id] > index.order[use.stage.id]:
            raise _Fault(
                "later_stage",
                f"stage `{stage_id}` runs after this one; refer to an earlier stage, or move it",
            )
        target = self._hops(index, stage_id, written, reference, use)
        self._check_order(stage_id, reference, use)
        return target

    def _check_order(self, stage_id: str, reference: Reference, use: _Use) -> None:
        if stage_id != use.stage.id:
            return
        if reference.job == use.job.id:
            steps = self._context.index.steps(stage_id, use.job)
            mine = steps[use.step.id][0] if use.step is not None else 0
            if steps[reference.step or ""][0] >= mine:
                raise _Fault(
                    "later_step",
                    f"step `{reference.step}` has not run yet when this is needed; move it up",
                )
            return
        need = implied_need(use.stage, use.job, reference)
        if need is not None and (use.stage.id, use.job.id, need) in self._backwards:
            raise _Fault(
                "later_job",
                f"job `{need}` waits for this one by its `needs`, so it has not run yet",
            )

    def _pipeline(self, written: Reference, reference: Reference, use: _Use) -> _Target:
        source = self._find_source(reference)
        schema = self._context.catalog.sources.get(source.type)
        if schema is None:
            return _UNKNOWN  # the unknown type is reported at the source
        if schema.kind != "pipeline":
            raise _Fault(
                "wrong_source_type",
                f"source `{source.id}` is of type `{source.type}`; only a `flowPipeline` source "
                "leads to the stages of another pipeline",
            )
        pipeline = as_text(source.fields.get("flowPipeline"))
        if not pipeline or is_open(pipeline):
            return _UNKNOWN
        other = self._context.other(pipeline)
        if other is None:
            return _UNKNOWN  # reported once, at the source
        target = self._hops(other, reference.stage or "", written, reference, use)
        return _Target(
            f"sources.{source.id}.{target.text}",
            target.makes,
            pipeline=pipeline,
            source=source.id,
        )

    def _source(self, reference: Reference) -> _Target:
        source = self._find_source(reference)
        schema = self._context.catalog.sources.get(source.type)
        if schema is None:
            return _UNKNOWN
        if schema.kind == "pipeline":
            raise _Fault(
                "wrong_source_type",
                f"source `{source.id}` is a pipeline with many artifacts; go on to one, like "
                f"`$[sources.{source.id}.stages.<stage>.<job>.<step>.artifacts.<artifact>]`",
            )
        if schema.kind != "artifact":
            raise _Fault(
                "wrong_source_type",
                f"source `{source.id}` is of type `{source.type}`, which holds code and no "
                "artifact; the steps find it in their workspace",
            )
        return _Target(f"sources.{source.id}", schema.gives, source=source.id)

    def _find_source(self, reference: Reference) -> Source:
        sources = self._context.definition.sources
        name = reference.source or ""
        if name not in sources:
            raise _Fault(
                "unknown_source",
                f"there is no source `{name}`" + self._context.did_you_mean(name, sources),
            )
        return sources[name]

    def _hops(
        self, index: Index, stage_id: str, written: Reference, reference: Reference, use: _Use
    ) -> _Target:
        """Stage, job, step and artifact in turn; the first that is not there is the fault."""
        where = "" if index is self._context.index else f" of pipeline `{index.pipeline_id}`"
        meant = self._context.did_you_mean
        stage = index.stages.get(stage_id)
        if stage is None:
            raise _Fault(
                "unknown_stage",
                f"there is no stage `{stage_id}`{where}" + meant(stage_id, index.stages),
            )
        job_id, step_id = reference.job or "", reference.step or ""
        job = index.jobs[stage_id].get(job_id)
        if job is None:
            raise _Fault(
                "unknown_job",
                f"stage `{stage_id}`{where} has no job `{job_id}`"
                + meant(job_id, index.jobs[stage_id]),
            )
        steps = index.steps(stage_id, job)
        if step_id not in steps:
            remedy = meant(step_id, steps)
            if job.component is not None and not steps:
                remedy = f"; it runs the component `{shorten(job.component)}`, which has no steps"
            raise _Fault(
                "unknown_step_id", f"job `{job_id}`{where} has no step `{step_id}`{remedy}"
            )
        step = steps[step_id][1]
        schema = self._context.schema(step)
        text = f"stages.{stage_id}.{job_id}.{step_id}.artifacts."
        mine = (stage_id, job_id, step_id) if index is self._context.index else None
        if schema is None:  # the unknown step is reported where it stands
            return _Target(text + (reference.artifact or ""), None, mine)
        name = schema.artifact_name(step.with_)
        if name is None:
            raise _Fault(
                "makes_no_artifact",
                f"step `{step_id}`{where} is a `{step.step}`, which makes no artifact",
            )
        return _Target(
            text + self._artifact(index, name, written, reference, use),
            schema.made_type(step.with_),
            mine,
        )

    def _artifact(
        self, index: Index, name: str, written: Reference, reference: Reference, use: _Use
    ) -> str:
        """The artifact's name as the target shows it."""
        if reference.artifact == DEFAULT_ARTIFACT:
            return DEFAULT_ARTIFACT
        if index is self._context.index and written.artifact == name:
            return name
        # A name longer than any reference is not worth expanding.
        called = expand_variables(name[:LENGTH_LIMIT], index.variables)
        asked = reference.artifact or ""
        if called == asked and "${" not in called:
            return name
        if "${" in asked or ("${" in called and _may_become(called, asked)):
            self._dynamic(use)
            return asked
        raise _Fault(
            "unknown_artifact",
            f"step `{reference.step}` makes no artifact `{shorten(asked)}`; it makes "
            f"`{shorten(called)}`, which `{DEFAULT_ARTIFACT}` names too",
        )

    def _check_property(self, reference: Reference, target: _Target) -> None:
        if reference.property is None or target.makes is None:
            return
        allowed = ARTIFACT_PROPERTIES[target.makes]
        if reference.property not in allowed:
            listed = ", ".join(f"`{each}`" for each in allowed)
            raise _Fault(
                "wrong_property",
                f"an artifact of type `{target.makes}` has no `{reference.property}`; it has "
                f"{listed}",
            )

    def _dynamic(self, use: _Use) -> None:
        self._context.report(
            "dynamic_reference",
            "only a run knows the variables in this reference, so it is not checked; write the "
            "ids out, or `default` for the artifact",
            use.path,
            at=use.at,
            severity="warning",
        )


def _may_become(called: str, asked: str) -> bool:
    """Whether a name with variables in it can turn out so, judged by its two ends."""
    head, tail = called.partition("${")[0], called.rpartition("}")[2]
    return asked.startswith(head) and asked.endswith(tail)
