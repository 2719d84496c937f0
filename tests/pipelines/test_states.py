"""The machine of runs, jobs and steps: every edge, every non-edge, every verb in every state."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from django.utils import timezone

from pipelines import artifacts, execution, runs
from pipelines.errors import WrongState
from pipelines.models import ExecutionState, Job, Run, Step, stage_state
from pipelines.states import State, Stateful, move
from tests.cast import Site, external_run, make_pipeline
from tests.world import nothing_changes, refused

S = ExecutionState

DRAWN = {
    "queued": {"running", "waiting", "errored", "cancelled", "skipped"},
    "running": {"succeeded", "failed", "errored", "cancelled", "waiting", "queued"},
    "waiting": {"queued", "running", "succeeded", "failed", "errored", "cancelled"},
    "succeeded": set(),
    "failed": set(),
    "errored": set(),
    "cancelled": set(),
    "skipped": set(),
}

ONE_JOB = """
stages:
  only:
    jobs:
      work:
        steps:
          go: {step: Command, with: {run: "true"}}
"""


def in_state(row: Stateful, state: S) -> Any:
    """The row as if it had come to `state`, past the machine."""
    manager: Any = type(row)._default_manager
    manager.filter(pk=row.pk).update(state=state)
    row.refresh_from_db()
    return row


@pytest.fixture
def run(site: Site) -> Run:
    return runs.start(make_pipeline(site.cast.ada, "one", ONE_JOB), by=site.cast.ada)


def row_of(run: Run, noun: str) -> Stateful:
    rows: dict[str, Stateful] = {
        "run": run,
        "job": Job.objects.get(run=run),
        "step": Step.objects.get(job__run=run),
    }
    return rows[noun]


def test_the_machine_is_the_one_that_is_drawn() -> None:
    assert {state.value: {to.value for to in state.targets} for state in S} == DRAWN
    assert {state.value for state in S if state.is_final} == {
        state for state, targets in DRAWN.items() if not targets
    }
    assert {state.value for state in S.open_states()} == {"queued", "running", "waiting"}


@pytest.mark.parametrize("noun", ["run", "job", "step"])
@pytest.mark.parametrize(("before", "to"), [(a, b) for a, b in product(S, S) if b in a.targets])
def test_a_row_moves_along_every_edge(run: Run, noun: str, before: S, to: S) -> None:
    row = in_state(row_of(run, noun), before)
    assert move(row, to, error="why").state == to
    stored = type(row)._default_manager.values_list("state", "error").get(pk=row.pk)
    assert stored == (to.value, "why")


@pytest.mark.parametrize("noun", ["run", "job", "step"])
@pytest.mark.parametrize(("before", "to"), [(a, b) for a, b in product(S, S) if b not in a.targets])
def test_a_row_moves_along_nothing_else(run: Run, noun: str, before: S, to: S) -> None:
    row = in_state(row_of(run, noun), before)
    refusal = refused(WrongState, lambda: move(row, to, error="why"))
    assert refusal.extra["current"] == before.value


def test_what_the_caller_read_before_decides_nothing(run: Run) -> None:
    stale = Run.objects.get(pk=run.pk)
    in_state(run, S.CANCELLED)
    assert stale.state == S.QUEUED
    refused(WrongState, lambda: move(stale, S.RUNNING))


def test_a_condition_that_does_not_hold_stops_the_move(run: Run) -> None:
    job = Job.objects.get(run=run)
    refused(WrongState, lambda: move(job, S.RUNNING, only={"attempt": 7}))
    assert move(job, S.RUNNING, only={"attempt": 0}).state == S.RUNNING


def test_a_state_that_draws_no_edges_says_so() -> None:
    class Undrawn(State):
        ONLY = "only"

    with pytest.raises(TypeError, match="Undrawn"):
        Undrawn.edges()


# ---- Every verb in every state ------------------------------------------------------------------
@pytest.mark.parametrize("state", S)
def test_a_run_is_cancelled_in_each_open_state_and_in_no_other(
    site: Site, run: Run, state: S
) -> None:
    in_state(run, state)
    if state.is_final:
        refused(WrongState, lambda: runs.cancel(run, by=site.cast.ben))
        return
    assert runs.cancel(run, by=site.cast.ben).state == S.CANCELLED
    job = Job.objects.get(run=run)
    assert (job.state, job.error) == (S.CANCELLED, "Cancelled by ben.")
    assert job.steps.get().state == S.SKIPPED


@pytest.mark.parametrize(("state", "to"), list(product(S, [S.SUCCEEDED, S.FAILED, S.CANCELLED])))
def test_an_external_run_is_finished_only_along_an_edge(site: Site, state: S, to: S) -> None:
    run = in_state(external_run(site.cast.ada, site.pipeline), state)
    if to in state.targets:
        assert runs.finish(run, to, by=site.cast.ada).state == to
    else:
        refused(WrongState, lambda: runs.finish(run, to, by=site.cast.ada))


@pytest.mark.parametrize("state", S)
def test_nobody_finishes_a_run_that_runs_inside(site: Site, run: Run, state: S) -> None:
    in_state(run, state)
    refused(WrongState, lambda: runs.finish(run, S.SUCCEEDED, by=site.cast.ada))


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize(("verb", "to"), [(runs.pass_job, S.QUEUED), (runs.refuse_job, S.FAILED)])
def test_a_job_is_decided_on_while_it_waits_and_never_else(
    site: Site, run: Run, verb: Callable[..., Job], to: S, state: S
) -> None:
    job = in_state(Job.objects.get(run=run), state)
    if state == S.WAITING:
        assert verb(job, by=site.cast.ben).state == to
    else:
        refused(WrongState, lambda: verb(job, by=site.cast.ben))


@pytest.mark.parametrize("state", S)
def test_artifacts_are_added_while_a_run_is_running_and_never_else(site: Site, state: S) -> None:
    run = in_state(external_run(site.cast.ada, site.pipeline), state)
    place = artifacts.Place("build", "build", "upload")
    image = f"registry.example.com/app@sha256:{'a' * 64}"

    def report() -> object:
        return artifacts.report_image(run, place, "app", image, "1.0", by=site.cast.ada)

    if state == S.RUNNING:
        report()
        assert run.artifacts.count() == 1
    else:
        refused(WrongState, report)


@pytest.mark.parametrize("state", S)
def test_a_job_is_claimed_when_it_was_sent_off_and_is_queued(run: Run, state: S) -> None:
    in_state(run, S.RUNNING)
    job = in_state(Job.objects.get(run=run), state)
    with nothing_changes():
        assert runs.claim(job.pk) is None, "it was not sent off"
    Job.objects.filter(pk=job.pk).update(dispatched_at=timezone.now())
    if state == S.QUEUED:
        claimed = runs.claim(job.pk)
        assert claimed is not None
        assert (claimed.state, claimed.attempt) == (S.RUNNING, 1)
    else:
        with nothing_changes():
            assert runs.claim(job.pk) is None
            execution.execute(job.pk)


@pytest.mark.parametrize("state", S)
def test_a_job_is_claimed_only_while_its_run_goes_on(run: Run, state: S) -> None:
    in_state(run, state)
    job = Job.objects.get(run=run)
    Job.objects.filter(pk=job.pk).update(dispatched_at=timezone.now())
    assert (runs.claim(job.pk) is not None) is (state in {S.RUNNING, S.WAITING})


@pytest.mark.parametrize("state", S)
def test_a_run_begins_once(run: Run, state: S) -> None:
    in_state(run, state)
    if state == S.QUEUED:
        runs.begin(run.pk)
        run.refresh_from_db()
        assert run.state == S.RUNNING
        assert run.started_at is not None
        assert Job.objects.get(run=run).dispatched_at is not None
    with nothing_changes():
        runs.begin(run.pk)


@pytest.mark.parametrize("state", [state for state in S if state.is_final])
def test_a_run_that_has_ended_sends_no_job_off(run: Run, state: S) -> None:
    in_state(run, state)
    with nothing_changes():
        runs.advance(run.pk)


@pytest.mark.parametrize(
    ("jobs", "stage"),
    [
        ([S.QUEUED, S.QUEUED], S.QUEUED),
        ([S.SUCCEEDED, S.QUEUED], S.RUNNING),
        ([S.SUCCEEDED, S.RUNNING], S.RUNNING),
        ([S.WAITING, S.SUCCEEDED], S.WAITING),
        ([S.FAILED, S.SUCCEEDED], S.FAILED),
        ([S.ERRORED, S.FAILED], S.ERRORED),
        ([S.CANCELLED, S.SUCCEEDED], S.CANCELLED),
        ([S.SKIPPED, S.SUCCEEDED], S.SUCCEEDED),
        ([S.SKIPPED, S.SKIPPED], S.SKIPPED),
    ],
)
def test_a_stage_is_in_the_state_that_its_jobs_tell(jobs: list[S], stage: S) -> None:
    assert stage_state(jobs) == stage
    assert stage_state(jobs[::-1]) == stage
