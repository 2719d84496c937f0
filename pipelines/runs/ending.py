"""How runs, jobs and steps come to their end. What starting, advancing and deciding share."""

from collections.abc import Iterable
from contextlib import suppress

from django.utils import timezone

from pipelines.errors import WrongState
from pipelines.models import ExecutionState, Job, Run
from pipelines.queue import nudge
from pipelines.states import move

S = ExecutionState
BEGIN = "pipelines.begin_run"
ADVANCE = "pipelines.advance_run"
EXECUTE = "pipelines.execute_job"
FOLLOW = "pipelines.start_followers"

#: Tasks that get the id of each run that succeeded. Other apps add theirs when they are ready.
after_success: list[str] = [FOLLOW]


def end_run(run: Run, state: ExecutionState, error: str) -> None:
    """End a run, cancel what is left of it, and have started what its success starts."""
    succeeded = state == S.SUCCEEDED
    move(
        run,
        state,
        finished_at=timezone.now(),
        error=error,
        lease_until=None,
        is_to_follow=succeeded,
    )
    cancel_open(run.jobs.open(), error)
    if succeeded:
        for task in after_success:
            nudge(task, run.pk)


def cancel_open(jobs: Iterable[Job], why: str) -> None:
    for job in jobs:
        # One that ended by itself in this very moment stays as it ended.
        with suppress(WrongState):
            if not S(job.state).is_final:
                end_unrun(job, S.CANCELLED, why)


def end_unrun(job: Job, state: ExecutionState, why: str) -> None:
    """End a job from the outside; a worker that holds it notices within seconds."""
    move(job, state, finished_at=timezone.now(), error=why, lease_until=None, waits_for="")
    close_steps(job, state)


def close_steps(job: Job, state: ExecutionState) -> None:
    """End the steps of a job that has ended: the one at work with `state`, the rest skipped."""
    now = timezone.now()
    job.steps.filter(state=S.RUNNING).update(state=state, finished_at=now)
    job.steps.filter(state=S.QUEUED).update(state=S.SKIPPED)
