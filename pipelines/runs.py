"""Runs: start, begin, advance, finish, cancel, decide. The only writer of run state.

The rows are the to-do list. `begin`, `advance` and the claims below may be called at any time, any
number of times, by any worker: each looks at the rows and does what they call for.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from pipelines import asking, rules, sources
from pipelines.definitions import definition_of
from pipelines.errors import Invalid, SluiceError, WrongState
from pipelines.flow.check import effective_needs
from pipelines.flow.conditions import evaluate, parse_condition
from pipelines.flow.document import Definition
from pipelines.models import ExecutionState, Job, Pipeline, Run, Step, Trigger
from pipelines.queue import nudge
from pipelines.states import move

log = logging.getLogger(__name__)

S = ExecutionState
BEGIN = "pipelines.begin_run"
ADVANCE = "pipelines.advance_run"
EXECUTE = "pipelines.execute_job"
GOOD = {S.SUCCEEDED, S.SKIPPED}


# ---- Start -------------------------------------------------------------------------------------
def start(
    pipeline: Pipeline,
    *,
    by: User,
    trigger: Trigger = Trigger.API,
    variables: Mapping[str, str] | None = None,
    asked: Mapping[str, Mapping[str, Any]] | None = None,
    comment: str = "",
) -> Run:
    """Start a run of the pipeline's current revision.

    Sources that the database can pin are pinned here and now, so that a wrong version or run is
    refused in the answer; a worker pins the others. `asked` maps source ids to what the caller
    wants of them.
    """
    rules.require(by, "run.start")
    with transaction.atomic():
        run = _create(pipeline, by=by, trigger=trigger, comment=comment)
        definition = definition_of(run.revision)
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
    return run


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


def _create(pipeline: Pipeline, *, by: User, trigger: Trigger, comment: str) -> Run:
    locked = Pipeline.objects.select_for_update().get(pk=pipeline.pk)
    locked.last_run_number = F("last_run_number") + 1
    locked.save(update_fields=["last_run_number"])
    locked.refresh_from_db()
    assert locked.revision is not None
    return Run.objects.create(
        pipeline=locked,
        number=locked.last_run_number,
        revision=locked.revision,
        trigger=trigger,
        comment=comment[:500],
        started_by=by,
        created_at=timezone.now(),
    )


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


# ---- Begin -------------------------------------------------------------------------------------
def begin(run_id: int) -> None:
    """Pin the sources that need another machine, then let the run's first jobs go."""
    now = timezone.now()
    claimed = (
        Run.objects.filter(pk=run_id, state=S.QUEUED)
        .filter(Q(lease_until__isnull=True) | Q(lease_until__lte=now))
        # A remote may take minutes to answer; until then no other worker asks it too.
        .update(lease_until=now + timedelta(minutes=10))
    )
    if not claimed:
        return
    run = Run.objects.with_names().get(pk=run_id)
    try:
        pinned = _pin_remote(run, definition_of(run.revision))
    except SluiceError as error:
        _end(run, S.ERRORED, error.detail)
        return
    except Exception as broken:
        log.exception("The sources of %s could not be pinned", run)
        why = f"Sluice could not pin the run's sources: {type(broken).__name__}."
        _end(run, S.ERRORED, why)
        return
    try:
        move(run, S.RUNNING, sources={**run.sources, **pinned}, started_at=timezone.now())
    except WrongState:
        return  # It was cancelled meanwhile.
    advance(run.pk)


def _pin_remote(run: Run, definition: Definition) -> dict[str, Any]:
    return {
        source.id: sources.type_of(source.type).pin(
            run, source, run.asked_sources.get(source.id, {})
        )
        for source in definition.sources.values()
        if source.id not in run.sources
    }


# ---- Advance -----------------------------------------------------------------------------------
def advance(run_id: int) -> None:
    """Send off every job that may go now, and end the run when none is left."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.state not in {S.RUNNING, S.WAITING} or run.is_external:
            return
        jobs = list(run.jobs.all())
        stages: dict[int, list[Job]] = {}
        for job in jobs:
            stages.setdefault(job.stage_position, []).append(job)
        for position in sorted(stages):
            stage = stages[position]
            _advance_stage(run, stage, jobs)
            if any(not S(job.state).is_final for job in stage):
                break
            if any(job.state not in GOOD for job in stage):
                later = [job for job in jobs if job.stage_position > position]
                _cancel_open(later, "An earlier stage did not succeed.")
                break
        _settle(run, jobs)


def _advance_stage(run: Run, stage: list[Job], jobs: list[Job]) -> None:
    by_key = {job.key: job for job in stage}
    moved = True
    while moved:
        moved = False
        for job in stage:
            if job.state != S.QUEUED or job.dispatched_at is not None:
                continue
            needs = [by_key[key] for key in job.needs if key in by_key]
            if all(S(need.state).is_final for need in needs):
                _release(run, job, jobs, needs)
                moved = moved or job.state != S.QUEUED


def _release(run: Run, job: Job, jobs: list[Job], needs: list[Job]) -> None:
    """Decide what becomes of a job whose needs have all ended.

    A condition may ask about whatever has ended in this stage and the ones before it.
    """
    unmet = [need for need in needs if need.state not in GOOD]
    if job.condition:
        variables = {**_yaml_variables(run), **run.variables}
        outcomes = {other.key: str(other.state) for other in jobs if S(other.state).is_final}
        if not evaluate(parse_condition(job.condition), variables, outcomes):
            move(job, S.SKIPPED, finished_at=timezone.now(), error="Its condition is false.")
            return
    elif unmet:
        names = ", ".join(need.key for need in unmet)
        move(job, S.CANCELLED, finished_at=timezone.now(), error=f"It needs {names}.")
        return
    if job.is_manual:
        move(job, S.WAITING)
    else:
        _dispatch(job)


def _dispatch(job: Job) -> None:
    job.dispatched_at = timezone.now()
    Job.objects.filter(pk=job.pk).update(dispatched_at=job.dispatched_at)
    nudge(EXECUTE, job.pk)


def _settle(run: Run, jobs: list[Job]) -> None:
    """Bring the run's own state in line with its jobs'."""
    states = {S(job.state) for job in jobs}
    if all(state.is_final for state in states):
        if S.ERRORED in states:
            _end(run, S.ERRORED, _first_error(jobs, S.ERRORED))
        elif S.FAILED in states:
            _end(run, S.FAILED, _first_error(jobs, S.FAILED))
        elif S.CANCELLED in states:
            _end(run, S.CANCELLED, "")
        else:
            _end(run, S.SUCCEEDED, "")
        return
    busy = any(
        job.state == S.RUNNING or (job.state == S.QUEUED and job.dispatched_at) for job in jobs
    )
    if S.WAITING in states and not busy and run.state == S.RUNNING:
        move(run, S.WAITING)
    elif busy and run.state == S.WAITING:
        move(run, S.RUNNING)


def _first_error(jobs: list[Job], state: ExecutionState) -> str:
    job = next(job for job in jobs if job.state == state)
    return f"{job.stage}.{job.key}: {job.error}"


def _end(run: Run, state: ExecutionState, error: str) -> None:
    if run.state == S.WAITING and state not in {S.FAILED, S.CANCELLED}:
        move(run, S.RUNNING)
    move(run, state, finished_at=timezone.now(), error=error, lease_until=None)
    _cancel_open(run.jobs.open(), error)


def _cancel_open(jobs: Iterable[Job], why: str) -> None:
    for job in jobs:
        if not S(job.state).is_final:
            move(job, S.CANCELLED, finished_at=timezone.now(), error=why, lease_until=None)
            _close_steps(job, S.CANCELLED)


def _close_steps(job: Job, state: ExecutionState) -> None:
    """End the steps of a job that has ended: the one at work with `state`, the rest skipped."""
    now = timezone.now()
    job.steps.filter(state=S.RUNNING).update(state=state, finished_at=now)
    job.steps.filter(state=S.QUEUED).update(state=S.SKIPPED)


def _yaml_variables(run: Run) -> dict[str, str]:
    definition = definition_of(run.revision)
    return {variable.key: str(variable.value) for variable in definition.variables}


# ---- What the worker that executes a job reports -----------------------------------------------
def claim(job_id: int) -> Job | None:
    """Take a dispatched job for this worker; None when somebody else did, or it has ended."""
    job = Job.objects.filter(pk=job_id, dispatched_at__isnull=False).first()
    if job is None:
        return None
    now = timezone.now()
    try:
        return move(
            job,
            S.RUNNING,
            only={"state": S.QUEUED, "run__state__in": [S.RUNNING, S.WAITING]},
            lease_until=now + settings.LEASE,
            attempt=F("attempt") + 1,
            started_at=now,
        )
    except WrongState:
        return None


def renew(job: Job) -> bool:
    """Extend the lease; False when this attempt is no longer the one that should run."""
    return bool(
        Job.objects.filter(pk=job.pk, state=S.RUNNING, attempt=job.attempt).update(
            lease_until=timezone.now() + settings.LEASE
        )
    )


def begin_step(step: Step) -> Step:
    return move(step, S.RUNNING, started_at=timezone.now())


def end_step(
    step: Step, state: ExecutionState, *, exit_code: int | None = None, error: str = ""
) -> Step:
    return move(step, state, finished_at=timezone.now(), exit_code=exit_code, error=error)


def end_job(job: Job, state: ExecutionState, error: str = "") -> None:
    """End this attempt of a job and go on with its run; a cancelled one stays cancelled."""
    try:
        with transaction.atomic():
            move(
                job,
                state,
                only={"attempt": job.attempt},
                finished_at=timezone.now(),
                lease_until=None,
                error=error,
            )
            _close_steps(job, state)
            nudge(ADVANCE, job.run_id)
    except WrongState:
        return


# ---- What people and other systems decide ------------------------------------------------------
def finish(run: Run, state: ExecutionState, *, by: User) -> Run:
    """End a run that another CI system executed."""
    rules.require(by, "run.report")
    if not run.is_external:
        raise WrongState(f"{run} runs inside Sluice, which ends it itself.", current=run.state)
    if not state.is_final:
        raise Invalid(f"A run is not finished while it is {state}.")
    return move(run, state, finished_at=timezone.now())


def cancel(run: Run, *, by: User) -> Run:
    """Stop a run. Its worker notices within seconds and kills what is running."""
    rules.require(by, "run.cancel")
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        why = f"Cancelled by {by.username}."
        move(locked, S.CANCELLED, finished_at=timezone.now(), error=why, lease_until=None)
        _cancel_open(locked.jobs.open(), why)
    run.refresh_from_db()
    return run


def pass_job(job: Job, *, by: User) -> Job:
    """Let a job go that waits at its manual gate."""
    rules.require(by, "run.decide")
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=job.run_id)
        move(job, S.QUEUED, only={"state": S.WAITING})
        _dispatch(job)
        nudge(ADVANCE, job.run_id)
    return job


def refuse_job(job: Job, *, by: User) -> Job:
    """Refuse a job that waits at its manual gate: it failed, and so did its run."""
    rules.require(by, "run.decide")
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=job.run_id)
        move(
            job,
            S.FAILED,
            only={"state": S.WAITING},
            finished_at=timezone.now(),
            error=f"Refused by {by.username}.",
        )
        _close_steps(job, S.CANCELLED)
        nudge(ADVANCE, job.run_id)
    return job


# ---- Left undone -------------------------------------------------------------------------------
def take_over(job: Job) -> None:
    """Have a job begun anew whose worker died, but not for ever."""
    if job.attempt >= settings.MAX_ATTEMPTS:
        end_job(job, S.ERRORED, f"Its worker died {job.attempt} times.")
        return
    try:
        with transaction.atomic():
            move(job, S.QUEUED, only={"attempt": job.attempt}, lease_until=None)
            # The next attempt begins again from the first step, in a fresh workspace.
            job.steps.update(
                state=S.QUEUED, started_at=None, finished_at=None, exit_code=None, error=""
            )
            _dispatch(job)
    except WrongState:
        return
