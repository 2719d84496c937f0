"""What the API answers of pipelines: typed dictionaries, and how each is made from a row."""

import functools
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypedDict

from django.urls import reverse

from pipelines import artifacts, canonical, hooks, links, runners
from pipelines.flow.check import Report
from pipelines.flow.document import Problem
from pipelines.impact import Broken
from pipelines.models import (
    Artifact,
    ExecutionState,
    Job,
    Pipeline,
    PushHook,
    Revision,
    Run,
    Step,
    stage_state,
)
from pipelines.runners import WhyNobody


def timestamp(moment: datetime | None) -> str | None:
    return canonical.timestamp(moment) if moment else None


class ProblemItem(TypedDict):
    line: int
    column: int
    path: str
    code: str
    severity: str
    message: str


class ReferenceItem(TypedDict):
    text: str
    line: int
    column: int
    kind: str
    target: str | None


class BreakItem(TypedDict):
    pipeline: str
    problems: list[ProblemItem]


class CheckAnswer(TypedDict):
    valid: bool
    problems: list[ProblemItem]
    references: list[ReferenceItem]
    breaks: list[BreakItem]


def problem_item(problem: Problem) -> ProblemItem:
    return {
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
    }


def check_answer(report: Report, breaks: Iterable[Broken] = ()) -> CheckAnswer:
    return {
        "valid": report.valid,
        "problems": [problem_item(problem) for problem in report.problems],
        "references": [
            {
                "text": found.text,
                "line": found.line,
                "column": found.column,
                "kind": found.kind,
                "target": found.target,
            }
            for found in report.references
        ],
        "breaks": [
            {
                "pipeline": each.pipeline.slug,
                "problems": [problem_item(problem) for problem in each.problems],
            }
            for each in breaks
        ],
    }


class LastRun(TypedDict):
    number: int
    status: str
    finished_at: str | None


class PipelineAnswer(TypedDict):
    id: str
    name: str
    revision: int
    yaml: str
    last_run: LastRun | None
    created_by: str
    created_at: str | None
    url: str


def pipeline_answer(pipeline: Pipeline) -> PipelineAnswer:
    revision = pipeline.revision
    assert revision is not None, "a pipeline is created with its first revision"
    last: Run | None = next(iter(getattr(pipeline, "newest_runs", ())), None)
    return {
        "id": pipeline.slug,
        "name": pipeline.name,
        "revision": revision.number,
        "yaml": revision.yaml,
        "last_run": (
            {
                "number": last.number,
                "status": last.state,
                "finished_at": timestamp(last.finished_at),
            }
            if last
            else None
        ),
        "created_by": pipeline.created_by.username,
        "created_at": timestamp(pipeline.created_at),
        "url": links.absolute(reverse("pipelines:pipeline", args=[pipeline.slug])),
    }


class RevisionAnswer(TypedDict):
    pipeline: str
    revision: int
    yaml: str
    sha256: str
    created_by: str
    created_at: str | None


def revision_answer(revision: Revision) -> RevisionAnswer:
    return {
        "pipeline": revision.pipeline.slug,
        "revision": revision.number,
        "yaml": revision.yaml,
        "sha256": revision.digest,
        "created_by": revision.created_by.username,
        "created_at": timestamp(revision.created_at),
    }


class StepAnswer(TypedDict):
    id: str
    name: str
    step: str
    status: str
    exit_code: int | None
    error: str
    started_at: str | None
    finished_at: str | None


class DecisionItem(TypedDict):
    by: str
    passed: bool
    comment: str
    at: str | None


class JobAnswer(TypedDict):
    id: str
    name: str
    status: str
    needs: list[str]
    error: str
    waits_for: str
    group: str
    container: str
    runner: str
    attempt: int
    decisions: list[DecisionItem]
    steps: list[StepAnswer]
    started_at: str | None
    finished_at: str | None


class StageAnswer(TypedDict):
    id: str
    name: str
    status: str
    jobs: list[JobAnswer]


class RunAnswer(TypedDict):
    pipeline: str
    number: int
    status: str
    trigger: str
    external: bool
    revision: int
    variables: dict[str, str]
    sources: dict[str, dict[str, Any]]
    comment: str
    commit: str
    external_url: str
    stages: list[StageAnswer]
    error: str
    started_by: str
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    again_of: int | None
    url: str


def run_answer(run: Run, why_nobody: WhyNobody | None = None) -> RunAnswer:
    why_nobody = why_nobody or functools.cache(runners.why_nobody)
    stages: dict[str, list[Job]] = {}
    for job in run.jobs.all():
        stages.setdefault(job.stage, []).append(job)
    return {
        "pipeline": run.pipeline.slug,
        "number": run.number,
        "status": run.state,
        "trigger": run.trigger,
        "external": run.is_external,
        "revision": run.revision.number,
        "variables": run.variables,
        "sources": run.sources,
        "comment": run.comment,
        "commit": run.commit,
        "external_url": run.url,
        "stages": [_stage_answer(stage, jobs, why_nobody) for stage, jobs in stages.items()],
        "error": run.error,
        "started_by": run.started_by.username,
        "created_at": timestamp(run.created_at),
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at),
        "again_of": run.again_of.number if run.again_of else None,
        "url": links.absolute(reverse("pipelines:run", args=[run.pipeline.slug, run.number])),
    }


def _stage_answer(stage: str, jobs: list[Job], why_nobody: WhyNobody) -> StageAnswer:
    return {
        "id": stage,
        "name": jobs[0].stage_name,
        "status": stage_state([ExecutionState(job.state) for job in jobs]),
        "jobs": [_job_answer(job, why_nobody) for job in jobs],
    }


def _job_answer(job: Job, why_nobody: WhyNobody) -> JobAnswer:
    return {
        "id": job.key,
        "name": job.name,
        "status": job.state,
        "needs": job.needs,
        "error": job.error,
        "waits_for": runners.why_held(job, why_nobody),
        "group": job.group,
        "container": job.container,
        "runner": job.runner,
        "attempt": job.attempt,
        "decisions": [
            {
                "by": decision.by.username,
                "passed": decision.passed,
                "comment": decision.comment,
                "at": timestamp(decision.at),
            }
            for decision in job.decisions.all()
        ],
        "steps": [_step_answer(step) for step in job.steps.all()],
        "started_at": timestamp(job.started_at),
        "finished_at": timestamp(job.finished_at),
    }


def _step_answer(step: Step) -> StepAnswer:
    return {
        "id": step.key,
        "name": step.name,
        "step": step.kind,
        "status": step.state,
        "exit_code": step.exit_code,
        "error": step.error,
        "started_at": timestamp(step.started_at),
        "finished_at": timestamp(step.finished_at),
    }


class FileAnswer(TypedDict):
    path: str
    size: int
    sha256: str
    md5: str


class ArtifactAnswer(TypedDict):
    id: int
    name: str
    type: str
    reference: str
    artifact: dict[str, str]
    digest: str
    sha256: str | None
    size: int | None
    files: list[FileAnswer]
    pipeline: str
    run: int
    stage: str
    job: str
    step: str
    created_by: str
    created_at: str | None
    pruned_at: str | None
    url: str


def artifact_answer(artifact: Artifact) -> ArtifactAnswer:
    return {
        "id": artifact.pk,
        "name": artifact.name,
        "type": artifact.type,
        "reference": artifact.reference,
        "artifact": artifacts.descriptor(artifact),
        "digest": artifact.digest,
        "sha256": artifact.bundle.sha256 if artifact.bundle else None,
        "size": artifact.size,
        "files": [
            {
                "path": file.path,
                "size": file.blob.size,
                "sha256": file.blob.sha256,
                "md5": file.blob.md5,
            }
            for file in artifact.files.all()
        ],
        "pipeline": artifact.run.pipeline.slug,
        "run": artifact.run.number,
        "stage": artifact.stage,
        "job": artifact.job,
        "step": artifact.step,
        "created_by": artifact.created_by.username,
        "created_at": timestamp(artifact.created_at),
        "pruned_at": timestamp(artifact.pruned_at),
        "url": links.absolute(reverse("pipelines:artifact", args=[artifact.pk])),
    }


# ---- Push hooks --------------------------------------------------------------------------------
class LastDelivery(TypedDict):
    at: str | None
    delivery: str
    why: str
    run: int | None


class HookAnswer(TypedDict):
    pipeline: str
    source: str
    url: str
    created_by: str
    created_at: str | None
    changed_at: str | None
    last: LastDelivery | None


class SecretAnswer(HookAnswer):
    secret: str


class DeliveryAnswer(TypedDict):
    started: int | None
    why: str


def hook_answer(hook: PushHook) -> HookAnswer:
    last: LastDelivery = {
        "at": timestamp(hook.last_at),
        "delivery": hook.last_delivery,
        "why": hook.last_why,
        "run": hook.last_run.number if hook.last_run else None,
    }
    return {
        "pipeline": hook.pipeline.slug,
        "source": hook.source,
        "url": hooks.address(hook.pipeline, hook.source),
        "created_by": hook.created_by.username,
        "created_at": timestamp(hook.created_at),
        "changed_at": timestamp(hook.changed_at),
        "last": last if hook.last_at else None,
    }


def secret_answer(hook: PushHook, secret: str) -> SecretAnswer:
    return {**hook_answer(hook), "secret": secret}
