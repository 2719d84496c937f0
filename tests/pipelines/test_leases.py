"""Workers that die, nudges that are lost: the rows are the to-do list, and the sweeper reads it."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from pipelines import execution, logs, runs, sweeping
from pipelines.models import ExecutionState, Job, Run
from tests.cast import Site, external_run, work_off
from tests.pipelines.working import job, job_of, log_of, said, started, states, steps, yaml
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
Queue = list[tuple[str, int]]


@pytest.fixture
def run(site: Site) -> Run:
    run = started(site, yaml({"only": job("echo one", "echo two")}))
    runs.begin(run.pk)
    return run


def die(run: Run) -> Job:
    """A worker takes the job, begins its first step, and is never heard of again."""
    claimed = runs.claim(job_of(run).pk)
    assert claimed is not None
    runs.begin_step(claimed.steps.all()[0])
    Job.objects.filter(pk=claimed.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    return claimed


def test_a_job_whose_worker_died_begins_again_from_the_first_step(
    run: Run, nobody_listens_to_the_queue: Queue
) -> None:
    die(run)
    nobody_listens_to_the_queue.clear()
    sweeping.sweep()
    only = job_of(run)
    assert (only.state, only.attempt, only.lease_until) == (S.QUEUED, 1, None)
    assert steps(run) == ["queued", "queued"]
    assert (runs.EXECUTE, only.pk) in nobody_listens_to_the_queue
    assert work_off(run).state == S.SUCCEEDED
    assert (job_of(run).attempt, said(run)) == (2, ["one", "two"])


def test_the_third_death_is_an_error(run: Run) -> None:
    for death in (1, 2, 3):
        die(run)
        sweeping.sweep()
        assert job_of(run).state == (S.ERRORED if death == 3 else S.QUEUED)
    assert job_of(run).error == "Its worker died 3 times."
    runs.advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.error) == (S.ERRORED, "stage1.only: Its worker died 3 times.")
    assert steps(run) == ["errored", "skipped"]
    with nothing_changes():
        execution.execute(job_of(run).pk)
        sweeping.sweep()


def test_a_worker_that_renews_its_lease_is_left_alone(run: Run) -> None:
    claimed = die(run)
    assert runs.renew(claimed)
    with nothing_changes():
        sweeping.sweep()


def test_a_worker_that_comes_back_too_late_changes_nothing(run: Run) -> None:
    late = die(run)
    sweeping.sweep()
    assert not runs.renew(late)
    assert work_off(run).state == S.SUCCEEDED
    with nothing_changes():
        runs.end_job(late, S.FAILED, "It was late.")
        assert not runs.renew(late)


def test_the_log_that_is_read_is_that_of_the_last_attempt(run: Run) -> None:
    late = die(run)
    writer = logs.LogWriter(late)
    writer.write(b"from the first attempt\n")
    writer.flush()
    assert log_of(run) == "from the first attempt\n"
    sweeping.sweep()
    work_off(run)
    writer.write(b"still talking\n")
    writer.flush()
    assert said(run) == ["one", "two"]


def test_nudges_that_were_lost_are_repeated(
    site: Site, run: Run, nobody_listens_to_the_queue: Queue
) -> None:
    waiting = started(site, yaml({"only": job("true")}), slug="other")
    external = external_run(site.cast.ada, site.pipeline)
    long_ago = timezone.now() - 2 * settings.SWEEP_EVERY
    Run.objects.update(created_at=long_ago)
    Job.objects.filter(dispatched_at__isnull=False).update(dispatched_at=long_ago)
    nobody_listens_to_the_queue.clear()
    with nothing_changes():
        sweeping.sweep()
    assert set(nobody_listens_to_the_queue) == {
        (runs.BEGIN, waiting.pk),
        (runs.ADVANCE, run.pk),
        (runs.EXECUTE, job_of(run).pk),
    }
    assert external.pk not in {pk for _, pk in nobody_listens_to_the_queue}


def test_a_run_that_another_worker_is_beginning_is_left_to_it(site: Site) -> None:
    run = started(site, yaml({"only": job("true")}), slug="other")
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() + timedelta(minutes=1))
    with nothing_changes():
        runs.begin(run.pk)
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(minutes=1))
    assert work_off(run).state == S.SUCCEEDED
    assert states(run) == {"only": "succeeded"}
