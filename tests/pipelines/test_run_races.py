"""What happens to jobs and runs in the same moment: one winner, and nothing left between."""

from functools import partial

import pytest

from pipelines import execution, runs, sweeping
from pipelines.errors import WrongState
from pipelines.models import ExecutionState, Job, Run
from pipelines.states import move
from tests.cast import Site, make_pipeline, work_off
from tests.parallel import outcomes
from tests.pipelines.working import job, job_of, log_of, started, states, steps, upload, yaml
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
TRIES = 8


def sent_off(site: Site, slug: str = "work", script: str = "true") -> Run:
    run = started(site, yaml({"only": job(script)}), slug=slug)
    runs.begin(run.pk)
    return run


@pytest.mark.postgres
def test_of_twenty_workers_one_claims_a_job(site: Site) -> None:
    for number in range(TRIES):
        run = sent_off(site, f"work{number}")
        answers = outcomes([partial(runs.claim, job_of(run).pk)] * 20)
        assert sum(answer is not None for answer in answers) == 1
        assert job_of(run).attempt == 1


@pytest.mark.postgres
def test_a_job_that_is_claimed_while_its_run_is_cancelled_is_not_left_running(site: Site) -> None:
    for number in range(TRIES):
        run = sent_off(site, f"work{number}")
        outcomes([partial(runs.claim, job_of(run).pk), partial(runs.cancel, run, by=site.cast.ada)])
        run.refresh_from_db()
        assert run.state == S.CANCELLED
        assert states(run) == {"only": "cancelled"}


@pytest.mark.postgres
def test_cancelling_while_a_job_ends_is_not_refused(site: Site) -> None:
    for number in range(TRIES):
        definition = yaml({"one": job("true"), "two": job("true")}, {"later": job("true")})
        run = started(site, definition, slug=f"work{number}")
        runs.begin(run.pk)
        claimed = runs.claim(job_of(run, "one").pk)
        assert claimed is not None
        answers = outcomes(
            [
                partial(runs.end_job, claimed, S.SUCCEEDED),
                partial(runs.cancel, run, by=site.cast.ada),
            ]
        )
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        run.refresh_from_db()
        assert run.state == S.CANCELLED
        assert states(run)["two"] == states(run)["later"] == "cancelled"


def test_no_move_is_compared_with_another_table(site: Site) -> None:
    run = sent_off(site)
    with nothing_changes(), pytest.raises(AssertionError):
        move(job_of(run), S.RUNNING, only={"run__state": S.RUNNING})


def test_a_gated_job_may_upload_however_soon_it_is_taken(site: Site) -> None:
    definition = yaml({"gate": job("echo 1 > a", upload("a"), driven="manual")})
    run = started(site, definition)
    work_off(run)
    runs.pass_job(job_of(run, "gate"), by=site.cast.ben)
    execution.execute(job_of(run, "gate").pk)
    assert job_of(run, "gate").state == S.QUEUED, "advancing the run sends it off"
    runs.advance(run.pk)
    execution.execute(job_of(run, "gate").pk)
    run.refresh_from_db()
    assert job_of(run, "gate").state == S.SUCCEEDED, log_of(run, "gate")


def test_passing_a_gate_does_not_pass_the_limit_of_jobs(site: Site) -> None:
    definition = yaml(
        {"only": job("true", driven="manual")}, concurrencyConfig={"maxRunningJobInstances": 1}
    )
    pipeline = make_pipeline(site.cast.ada, "work", definition)
    first, second = (work_off(runs.start(pipeline, by=site.cast.ada)) for _ in range(2))
    for run in (first, second):
        runs.pass_job(job_of(run), by=site.cast.ben)
        runs.advance(run.pk)
    assert job_of(first).dispatched_at is not None
    assert job_of(second).dispatched_at is None
    execution.execute(job_of(first).pk)
    sweeping.sweep()
    runs.advance(second.pk)
    assert work_off(second).state == S.SUCCEEDED


def test_a_late_attempt_does_not_end_the_steps_of_the_next_one(site: Site) -> None:
    """A cancel and a retry come while the step is at work: its steps belong to the next attempt."""
    run = sent_off(site, script="echo $BUILD_NUMBER")
    late = runs.claim(job_of(run).pk)
    assert late is not None
    runs.cancel(run, by=site.cast.ada)
    runs.retry(run, by=site.cast.ada)
    runs.advance(run.pk)
    again = runs.claim(job_of(run).pk)
    assert again is not None
    runs.begin_step(again.steps.get())
    assert not runs.renew(late), "which an attempt asks before it ends a step"
    assert steps(run) == ["running"]
    assert Job.objects.get(pk=again.pk).attempt == 2


def test_a_second_pinner_that_fails_late_does_not_end_what_has_begun(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {"type": "git", "endpoint": "https://sluice.invalid/app.git", "branch": "main"}
    run = started(site, yaml({"only": job("true")}, sources={"code": source}))

    def begun_elsewhere(*given: object) -> dict[str, object]:
        Run.objects.filter(pk=run.pk).update(state=S.RUNNING)
        raise WrongState("The remote does not answer.")

    monkeypatch.setattr("pipelines.runs.advancing._pin_remote", begun_elsewhere)
    runs.begin(run.pk)
    run.refresh_from_db()
    assert run.state == S.RUNNING
