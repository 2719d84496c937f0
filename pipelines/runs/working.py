"""What the worker that executes a job reports, and what becomes of a job whose worker died."""

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from pipelines.errors import WrongState
from pipelines.models import ExecutionState, Job, Run, Step
from pipelines.queue import nudge
from pipelines.runs.advancing import dispatch
from pipelines.runs.ending import ADVANCE, close_steps
from pipelines.states import move

S = ExecutionState
AT_WORK = (S.RUNNING, S.WAITING)


def claim(job_id: int, *, runner: str = "") -> Job | None:
    """Take a dispatched job for this worker; None when somebody else did, or it has ended."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job_id, state=S.QUEUED, dispatched_at__isnull=False)
        job = waiting.select_for_update().first()
        # Asked once the job is locked: whoever ends the run has to end this job too.
        if job is None or not Run.objects.filter(pk=job.run_id, state__in=AT_WORK).exists():
            return None
        now = timezone.now()
        return move(
            job,
            S.RUNNING,
            only={"state": S.QUEUED},
            lease_until=now + settings.LEASE,
            attempt=F("attempt") + 1,
            # A deployment that paused goes on; it is shown since when it is at work.
            started_at=job.started_at or now,
            runner=runner[:100],
            waits_for="",
        )


def renew(job: Job) -> bool:
    """Extend the lease; False when this attempt is no longer the one that should run."""
    return bool(
        Job.objects.filter(pk=job.pk, state=S.RUNNING, attempt=job.attempt).update(
            lease_until=timezone.now() + settings.LEASE
        )
    )


def begin_step(step: Step) -> Step:
    return move(step, S.RUNNING, started_at=step.started_at or timezone.now())


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
            close_steps(job, state)
            nudge(ADVANCE, job.run_id)
    except WrongState:
        return


def pause_job(job: Job, waits_for: str) -> None:
    """Have this attempt's job wait for people; its next attempt goes on where this one stopped."""
    try:
        with transaction.atomic():
            move(
                job,
                S.WAITING,
                only={"attempt": job.attempt},
                lease_until=None,
                gate=F("gate") + 1,
                is_passed=False,
                waits_for=waits_for,
            )
            job.steps.filter(state=S.RUNNING).update(state=S.QUEUED)
            nudge(ADVANCE, job.run_id)
    except WrongState:
        return


def take_over(job: Job) -> None:
    """Have a job begun anew whose worker died, but not for ever."""
    deaths = job.deaths + 1
    if deaths >= settings.MAX_ATTEMPTS:
        end_job(job, S.ERRORED, f"Its worker died {deaths} times.")
        return
    try:
        with transaction.atomic():
            move(
                job,
                S.QUEUED,
                only={"attempt": job.attempt},
                lease_until=None,
                started_at=None,
                deaths=deaths,
                log_since=F("attempt") + 1,
            )
            # The next attempt begins again from the first step, in a fresh workspace.
            begin_steps_anew(job)
            dispatch(job)
    except WrongState:
        return


def begin_steps_anew(job: Job) -> None:
    job.steps.update(state=S.QUEUED, started_at=None, finished_at=None, exit_code=None, error="")
