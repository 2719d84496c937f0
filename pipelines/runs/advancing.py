"""Begin runs and move them on, from what the rows say and nothing else.

The rows are the to-do list. `begin` and `advance` may be called at any time, any number of times,
by any worker: each looks at the rows and does what they call for.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from pipelines import runners, sources
from pipelines.definitions import definition_of
from pipelines.errors import SluiceError, WrongState
from pipelines.flow.conditions import evaluate, parse_condition
from pipelines.flow.document import Definition
from pipelines.models import ExecutionState, Job, Pipeline, Run
from pipelines.queue import nudge
from pipelines.runs.ending import EXECUTE, cancel_open, end_run, end_unrun
from pipelines.runs.gates import open_gate
from pipelines.states import move

log = logging.getLogger(__name__)

S = ExecutionState
GOOD = {S.SUCCEEDED, S.SKIPPED}


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
        _give_up(run, error.detail)
        return
    except Exception as broken:
        log.exception("The sources of %s could not be pinned", run)
        _give_up(run, f"Sluice could not pin the run's sources: {type(broken).__name__}.")
        return
    try:
        move(
            run,
            S.RUNNING,
            only={"state": S.QUEUED},
            sources={**run.sources, **pinned},
            started_at=timezone.now(),
            lease_until=None,
        )
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


def _give_up(run: Run, why: str) -> None:
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        # Another worker may have begun it, when this one took longer than its lease.
        if locked.state == S.QUEUED:
            end_run(locked, S.ERRORED, why)


# ---- Advance -----------------------------------------------------------------------------------
def advance(run_id: int) -> None:
    """Send off every job that may go now, and end the run when none is left."""
    run = Run.objects.with_names().get(pk=run_id)
    if run.state not in {S.RUNNING, S.WAITING} or run.is_external:
        return
    definition = definition_of(run.revision)
    with transaction.atomic():
        if definition.concurrency.max_jobs is not None:
            # Before the run's own row, as everybody locks them: jobs of several runs are counted.
            Pipeline.objects.select_for_update().get(pk=run.pipeline_id)
        run = Run.objects.select_for_update(of=("self",)).with_names().get(pk=run_id)
        if run.state in {S.RUNNING, S.WAITING}:
            _Advance(run, definition).go()


class _Advance:
    """One look at a run whose row is locked."""

    def __init__(self, run: Run, definition: Definition) -> None:
        # Not named `run`, which would read as a verb.
        self.of = run
        self.definition = definition
        self.jobs = list(run.jobs.all())

    def go(self) -> None:
        stages: dict[int, list[Job]] = {}
        for job in self.jobs:
            job.run = self.of
            stages.setdefault(job.stage_position, []).append(job)
        for position in sorted(stages):
            stage = stages[position]
            self._advance_stage(stage)
            if any(not S(job.state).is_final for job in stage):
                break
            if any(job.state not in GOOD for job in stage):
                later = [job for job in self.jobs if job.stage_position > position]
                cancel_open(later, "An earlier stage did not succeed.")
                break
        self._settle()

    def _advance_stage(self, stage: list[Job]) -> None:
        by_key = {job.key: job for job in stage}
        moved = True
        while moved:
            moved = False
            for job in stage:
                if job.state != S.QUEUED or job.dispatched_at is not None:
                    continue
                needs = [by_key[key] for key in job.needs if key in by_key]
                if all(S(need.state).is_final for need in needs):
                    self._release(job, needs)
                    moved = moved or job.state != S.QUEUED

    def _release(self, job: Job, needs: list[Job]) -> None:
        """Decide what becomes of a job whose needs have all ended.

        A condition may ask about whatever has ended in this stage and the ones before it.
        """
        unmet = [need for need in needs if need.state not in GOOD]
        # Where people let it go, what its condition said when it came to its gate stands.
        if job.condition and not job.is_passed:
            variables = {**self._yaml_variables(), **self.of.variables}
            outcomes = {
                other.key: str(other.state) for other in self.jobs if S(other.state).is_final
            }
            if not evaluate(parse_condition(job.condition), variables, outcomes):
                end_unrun(job, S.SKIPPED, "Its condition is false.")
                return
        elif unmet and not job.condition:
            names = ", ".join(need.key for need in unmet)
            end_unrun(job, S.CANCELLED, f"It needs {names}.")
            return
        if job.is_gate or (job.is_manual and not job.is_passed):
            open_gate(job, self.definition)
        elif not self._is_held_back(job):
            dispatch(job)

    def _is_held_back(self, job: Job) -> bool:
        """Whether other runs are at this same job, as many as maxRunningJobInstances allows."""
        most = self.definition.concurrency.max_jobs
        if most is None:
            return False
        same = Job.objects.filter(
            run__pipeline_id=self.of.pipeline_id, stage=job.stage, key=job.key
        ).exclude(run_id=self.of.pk)
        busy = same.filter(
            Q(state=S.RUNNING) | Q(state=S.QUEUED, dispatched_at__isnull=False)
        ).count()
        why = "" if busy < most else f"It waits: {busy} other runs are at this job."
        if job.waits_for != why:
            job.waits_for = why
            Job.objects.filter(pk=job.pk).update(waits_for=why)
        return bool(why)

    def _yaml_variables(self) -> dict[str, str]:
        return {variable.key: str(variable.value) for variable in self.definition.variables}

    def _settle(self) -> None:
        """Bring the run's own state in line with its jobs'."""
        run, jobs = self.of, self.jobs
        states = {S(job.state) for job in jobs}
        if all(state.is_final for state in states):
            for bad in (S.ERRORED, S.FAILED):
                if bad in states:
                    end_run(run, bad, _first_error(jobs, bad))
                    return
            end_run(run, S.CANCELLED if S.CANCELLED in states else S.SUCCEEDED, "")
            return
        busy = any(
            job.state == S.RUNNING or (job.state == S.QUEUED and job.dispatched_at) for job in jobs
        )
        if S.WAITING in states and not busy and run.state == S.RUNNING:
            move(run, S.WAITING)
        elif busy and run.state == S.WAITING:
            move(run, S.RUNNING)


def dispatch(job: Job) -> None:
    """Hand a job to whoever serves its group."""
    job.dispatched_at = timezone.now()
    Job.objects.filter(pk=job.pk).update(dispatched_at=job.dispatched_at, waits_for="")
    nudge(EXECUTE, job.pk, queue=runners.queue_for(job.group))


def _first_error(jobs: list[Job], state: ExecutionState) -> str:
    job = next(job for job in jobs if job.state == state)
    return f"{job.stage}.{job.key}: {job.error}"
