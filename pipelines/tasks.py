"""What workers do for pipelines: take an id, call one verb. Every task may be delivered twice."""

from celery import shared_task

from pipelines import (
    collecting,
    execution,
    forgetting,
    receiving,
    runs,
    scrubbing,
    strays,
    sweeping,
)


@shared_task(name=runs.BEGIN, acks_late=True, time_limit=1200)
def begin_run(run_id: int) -> None:
    runs.begin(run_id)


@shared_task(name=runs.ADVANCE, acks_late=True, time_limit=300)
def advance_run(run_id: int) -> None:
    runs.advance(run_id)


@shared_task(name=runs.EXECUTE, acks_late=True)
def execute_job(job_id: int) -> None:
    """No time limit of Celery's: the job's own is kept by execution.py, which also cleans up."""
    execution.execute(job_id)


@shared_task(name=runs.FOLLOW, acks_late=True, time_limit=300)
def start_followers(run_id: int) -> None:
    runs.start_followers(run_id)


@shared_task(name=receiving.RELEASE, acks_late=True, time_limit=3000)
def release_upload(upload_id: int) -> None:
    receiving.release(upload_id)


@shared_task(name=scrubbing.MEND, acks_late=True, time_limit=3000)
def mend_bytes(sha256: str) -> None:
    scrubbing.mend(sha256)


@shared_task(name="pipelines.sweep", acks_late=True, time_limit=300)
def sweep() -> None:
    sweeping.sweep()


@shared_task(name="pipelines.collect", acks_late=True, time_limit=3000)
def collect() -> None:
    receiving.forget_given_up()
    forgetting.forget_outdated()
    collecting.run()


@shared_task(name="pipelines.tidy", acks_late=True, time_limit=6 * 3600)
def tidy() -> None:
    strays.tidy()
