"""Start runs: by hand, by the API, by what happened elsewhere; report those of other systems."""

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from pipelines import asking, rules, sources
from pipelines.definitions import definition_of
from pipelines.errors import Invalid, SluiceError, TooManyRuns, WrongState
from pipelines.flow.check import effective_needs
from pipelines.flow.document import Definition
from pipelines.models import ExecutionState, Job, Pipeline, Revision, Run, Step, Trigger
from pipelines.queue import nudge
from pipelines.runs.ending import BEGIN, end_run
from pipelines.states import move

log = logging.getLogger(__name__)

S = ExecutionState


def start(
    pipeline: Pipeline,
    *,
    by: User,
    trigger: Trigger = Trigger.API,
    variables: Mapping[str, str] | None = None,
    asked: Mapping[str, Mapping[str, Any]] | None = None,
    comment: str = "",
    once: str = "",
) -> Run:
    """Start a run of the pipeline's current revision.

    Sources that the database can pin are pinned here and now, so that a wrong version or run is
    refused in the answer; a worker pins the others. `asked` maps source ids to what the caller
    wants of them. `once` names what causes the run: the same cause again gives the same run.
    """
    rules.require(by, "run.start")
    if once and (caused := pipeline.runs.filter(once=once).first()):
        return caused
    try:
        with transaction.atomic():
            run = _create(pipeline, by=by, trigger=trigger, comment=comment, once=once)
            definition = definition_of(run.revision)
            make_room(run, definition)
            run.variables = asking.checked_variables(variables or {})
            run.asked_sources = asking.checked_sources(definition, asked or {})
            run.sources = {
                source.id: sources.type_of(source.type).pin(
                    run, source, run.asked_sources.get(source.id, {})
                )
                for source in definition.sources.values()
                if not sources.type_of(source.type).remote
            }
            asking.check_references(run, definition)
            run.save(update_fields=["variables", "asked_sources", "sources"])
            _add_jobs(run, definition)
            nudge(BEGIN, run.pk)
    except IntegrityError:
        if once and (caused := pipeline.runs.filter(once=once).first()):
            return caused
        raise
    return run


def start_again(run: Run, *, by: User) -> Run:
    """Start a new run of the same revision on the very inputs that `run` was pinned to."""
    rules.require(by, "run.start")
    if run.is_external:
        raise WrongState(
            f"{run} was executed by another CI system, which can run it again.", current=run.state
        )
    if not S(run.state).is_final:
        raise WrongState(f"{run} is {run.state}; wait for its end or cancel it.", current=run.state)
    if run.started_at is None:
        raise WrongState(
            f"{run} never began, so its sources were not pinned. Retry it, or start a new run.",
            current=run.state,
        )
    with transaction.atomic():
        again = _create(
            run.pipeline, by=by, trigger=Trigger.AGAIN, comment=run.comment, revision=run.revision
        )
        definition = definition_of(again.revision)
        sources.recheck(definition, run.sources)
        make_room(again, definition)
        again.again_of = run
        again.variables, again.asked_sources = run.variables, run.asked_sources
        again.sources = run.sources
        again.save(update_fields=["again_of", "variables", "asked_sources", "sources"])
        _add_jobs(again, definition)
        nudge(BEGIN, again.pk)
    return again


def start_by_event(
    pipeline: Pipeline,
    *,
    by: User,
    trigger: Trigger,
    once: str,
    asked: Mapping[str, Mapping[str, Any]],
    comment: str,
) -> Run:
    """Start a run because of something that happened, with nobody there to be told of a refusal.

    A refusal is kept as a run that ended, for whoever wonders why nothing came of the event.
    """
    try:
        return start(pipeline, by=by, trigger=trigger, asked=asked, comment=comment, once=once)
    except SluiceError as refusal:
        why = refusal.detail
    try:
        with transaction.atomic():
            run = _create(pipeline, by=by, trigger=trigger, comment=comment, once=once)
            run.asked_sources = {source_id: dict(wish) for source_id, wish in asked.items()}
            run.save(update_fields=["asked_sources"])
            end_run(run, S.ERRORED, why)
            return run
    except IntegrityError:
        return pipeline.runs.get(once=once)


def start_followers(run_id: int) -> None:
    """Start each pipeline that a success of this run's pipeline starts: once for this run.

    In the name of the author of the follower's revision, who asked for it.
    """
    run = Run.objects.with_names().get(pk=run_id)
    if not run.is_to_follow:
        return
    following = Pipeline.objects.filter(upstreams__slug=run.pipeline.slug).distinct()
    for pipeline in following.select_related("revision__created_by"):
        revision = pipeline.revision
        assert revision is not None, "a pipeline is created with its first revision"
        try:
            declared = definition_of(revision).sources.values()
        except SluiceError:
            log.exception("%s cannot follow %s", pipeline, run)
            continue
        asked = {
            source.id: {"run": run.number}
            for source in declared
            if source.type == "flowPipeline"
            and source.fields.get("flowPipeline") == run.pipeline.slug
            and "buildSuccess" in source.trigger_events
        }
        if asked:
            start_by_event(
                pipeline,
                by=revision.created_by,
                trigger=Trigger.PIPELINE,
                once=f"run:{run.pk}",
                asked=asked,
                comment=f"{run} succeeded",
            )
    Run.objects.filter(pk=run.pk).update(is_to_follow=False)


def report(
    pipeline: Pipeline, *, by: User, url: str = "", commit: str = "", comment: str = ""
) -> Run:
    """Open a run that another CI system executes and will finish."""
    rules.require(by, "run.report")
    if url:
        try:
            URLValidator(schemes=["http", "https"])(url)
        except ValidationError as error:
            raise Invalid("url is not a http or https address.") from error
    with transaction.atomic():
        run = _create(pipeline, by=by, trigger=Trigger.EXTERNAL, comment=comment)
        run.url, run.commit = url, commit[:64]
        run.save(update_fields=["url", "commit"])
        return move(run, S.RUNNING, started_at=timezone.now())


def _create(
    pipeline: Pipeline,
    *,
    by: User,
    trigger: Trigger,
    comment: str,
    once: str = "",
    revision: Revision | None = None,
) -> Run:
    locked = Pipeline.objects.select_for_update().get(pk=pipeline.pk)
    locked.last_run_number = F("last_run_number") + 1
    locked.save(update_fields=["last_run_number"])
    locked.refresh_from_db()
    assert locked.revision is not None
    return Run.objects.create(
        pipeline=locked,
        number=locked.last_run_number,
        revision=revision or locked.revision,
        trigger=trigger,
        comment=comment[:500],
        once=once,
        started_by=by,
        created_at=timezone.now(),
    )


def make_room(run: Run, definition: Definition) -> None:
    """Keep to concurrencyConfig; the pipeline's row is locked, so runs are counted one by one."""
    most = definition.concurrency.max_runs
    if most is None:
        return
    others = run.pipeline.runs.open().exclude(trigger=Trigger.EXTERNAL).exclude(pk=run.pk)
    surplus = others.count() - most + 1
    if surplus <= 0:
        return
    if not definition.concurrency.preempts:
        raise TooManyRuns(
            f"{run.pipeline.slug} has {most} running already, as many as its "
            "maxRunningPipelineInstances allows. Wait for one to end, or cancel one.",
            current=[other.number for other in others.order_by("number")],
        )
    for oldest in others.select_for_update().order_by("number")[:surplus]:
        end_run(oldest, S.CANCELLED, f"{run} took its place (pipelineMaxRunningBehavior).")


def _add_jobs(run: Run, definition: Definition) -> None:
    for stage_position, stage in enumerate(definition.stages):
        for position, job in enumerate(stage.jobs):
            row = Job.objects.create(
                run=run,
                stage=stage.id,
                stage_name=stage.name,
                stage_position=stage_position,
                key=job.id,
                position=position,
                name=job.name,
                needs=list(effective_needs(stage, job)),
                condition=job.condition or "",
                is_manual=job.driven == "manual",
                component=(job.component or "")[:64],
                group=(job.runs_on.group or "")[:200],
                container=(job.runs_on.container or "")[:500],
                timeout_minutes=min(job.timeout_minutes, settings.MAX_JOB_MINUTES),
            )
            Step.objects.bulk_create(
                Step(job=row, key=step.id, position=index, name=step.name, kind=step.step)
                for index, step in enumerate(job.steps)
            )
            if job.component:
                # A component is a job of one step that bears the component's name.
                Step.objects.create(
                    job=row, key=job.id, position=0, name=job.component, kind=job.component
                )
