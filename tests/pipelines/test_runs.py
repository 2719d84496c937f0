"""Runs: stages in order, jobs by what they need, and a truthful end."""

import time
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from pipelines import execution, runs, sweeping
from pipelines.errors import Invalid, WrongState
from pipelines.models import Artifact, ExecutionState, Job, LogChunk, Run
from tests.cast import Site, make_pipeline, work_off
from tests.pipelines.working import (
    job,
    job_of,
    log_of,
    one_job,
    said,
    started,
    states,
    steps,
    upload,
    worked,
    yaml,
)
from tests.world import nothing_changes, refused, world

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
GOOD, BAD = job("true"), job("exit 3")


# ---- Order ---------------------------------------------------------------------------------------
def test_stages_run_one_after_the_other(site: Site) -> None:
    run = started(site, yaml({"one": GOOD, "too": GOOD}, {"two": GOOD}))
    runs.begin(run.pk)
    sent = set(run.jobs.filter(dispatched_at__isnull=False).values_list("key", flat=True))
    assert sent == {"one", "too"}, "jobs of a stage that need nothing go at once"
    execution.execute(job_of(run, "one").pk)
    runs.advance(run.pk)
    assert job_of(run, "two").dispatched_at is None
    assert work_off(run).state == S.SUCCEEDED
    began = {each.key: each.started_at for each in run.jobs.all()}
    assert began["two"] is not None
    assert began["one"] is not None
    assert began["two"] > began["one"]


def test_a_job_waits_for_what_it_needs_written_or_implied(site: Site) -> None:
    definition = yaml(
        {
            "last": job("true", needs=["middle"]),
            "middle": job("echo $[jobs.first.s2.artifacts.app.md5]"),
            "first": job("echo 1 > a", upload("a")),
        }
    )
    run = started(site, definition)
    assert {each.key: each.needs for each in run.jobs.all()} == {
        "last": ["middle"],
        "middle": ["first"],
        "first": [],
    }
    order = []
    runs.begin(run.pk)
    for _ in range(3):
        (ready,) = run.jobs.filter(state=S.QUEUED, dispatched_at__isnull=False)
        order.append(ready.key)
        execution.execute(ready.pk)
        runs.advance(run.pk)
    assert order == ["first", "middle", "last"]
    run.refresh_from_db()
    assert run.state == S.SUCCEEDED


def test_a_run_is_numbered_and_keeps_its_revision(site: Site) -> None:
    pipeline = make_pipeline(site.cast.ada, "work", yaml({"only": GOOD}))
    first, second = (runs.start(pipeline, by=site.cast.ada) for _ in range(2))
    assert (first.number, second.number) == (1, 2)
    assert work_off(first).revision.number == 1


# ---- Failure -------------------------------------------------------------------------------------
def test_a_step_that_fails_ends_the_job_and_cancels_later_stages(site: Site) -> None:
    run = worked(
        site,
        yaml({"bad": job("true", "exit 3", "true"), "good": GOOD}, {"later": GOOD}, {"last": GOOD}),
    )
    assert run.state == S.FAILED
    assert run.error == "stage1.bad: s2: It ended with exit code 3."
    assert states(run) == {
        "bad": "failed",
        "good": "succeeded",
        "later": "cancelled",
        "last": "cancelled",
    }
    assert steps(run, "bad") == ["succeeded", "failed", "skipped"]
    assert [step.exit_code for step in job_of(run, "bad").steps.all()] == [0, 3, None]
    assert job_of(run, "later").error == "An earlier stage did not succeed."


def test_a_job_is_cancelled_when_what_it_needs_failed(site: Site) -> None:
    run = worked(site, yaml({"bad": BAD, "next": job("true", needs=["bad"]), "free": GOOD}))
    assert states(run) == {"bad": "failed", "next": "cancelled", "free": "succeeded"}
    assert job_of(run, "next").error == "It needs bad."
    assert run.state == S.FAILED


def test_a_job_may_be_meant_for_the_failure_of_another(site: Site) -> None:
    run = worked(
        site,
        yaml(
            {
                "bad": BAD,
                "clean": job("echo cleaned", needs=["bad"], condition="failed(bad)"),
                "always": job("true", needs=["bad"], condition="always()"),
                "never": job("true", needs=["bad"], condition="succeed(bad)"),
            }
        ),
    )
    assert states(run) == {
        "bad": "failed",
        "clean": "succeeded",
        "always": "succeeded",
        "never": "skipped",
    }
    assert run.state == S.FAILED
    assert said(run, "clean") == ["cleaned"]


def test_a_job_whose_condition_is_false_is_skipped_and_the_run_goes_on(site: Site) -> None:
    definition = yaml(
        {"only_main": job("true", condition='"${BRANCH}" == "main"'), "other": GOOD},
        {"later": GOOD},
        variables=[{"key": "BRANCH", "value": "feature"}],
    )
    run = worked(site, definition)
    assert states(run) == {"only_main": "skipped", "other": "succeeded", "later": "succeeded"}
    assert run.state == S.SUCCEEDED
    again = runs.start(run.pipeline, by=site.cast.ada, variables={"BRANCH": "main"})
    assert states(work_off(again))["only_main"] == "succeeded"


def test_a_reference_that_leads_nowhere_at_run_time_breaks_the_job(site: Site) -> None:
    definition = yaml(
        {"make": job("echo 1 > a", upload("a", "${NAME}"))},
        {"use": job("echo $[stages.stage1.make.s2.artifacts.app]")},
        variables=[{"key": "NAME", "value": "app"}],
    )
    run = worked(site, definition, variables={"NAME": "other"})
    assert run.state == S.ERRORED
    assert "has no such artifact. It has: other." in run.error
    assert steps(run, "use") == ["errored"]


# ---- Manual gates --------------------------------------------------------------------------------
GATED = yaml({"gate": job("echo passed", driven="manual"), "free": GOOD}, {"later": GOOD})


def test_a_run_waits_at_a_manual_gate_until_somebody_passes_it(site: Site) -> None:
    run = worked(site, GATED)
    assert run.state == S.WAITING
    assert states(run) == {"gate": "waiting", "free": "succeeded", "later": "queued"}
    runs.pass_job(job_of(run, "gate"), by=site.cast.ben)
    run = work_off(run)
    assert run.state == S.SUCCEEDED
    assert said(run, "gate") == ["passed"]
    assert set(states(run).values()) == {"succeeded"}


def test_a_refused_gate_fails_the_run(site: Site) -> None:
    run = worked(site, GATED)
    runs.refuse_job(job_of(run, "gate"), by=site.cast.ben)
    run = work_off(run)
    assert run.state == S.FAILED
    assert run.error == "stage1.gate: Refused by ben."
    assert states(run) == {"gate": "failed", "free": "succeeded", "later": "cancelled"}
    assert steps(run, "gate") == ["skipped"]
    assert log_of(run, "gate") == ""


def test_a_run_that_waits_can_be_cancelled(site: Site) -> None:
    run = worked(site, GATED)
    runs.cancel(run, by=site.cast.ben)
    assert states(run) == {"gate": "cancelled", "free": "succeeded", "later": "cancelled"}
    refused(WrongState, lambda: runs.pass_job(job_of(run, "gate"), by=site.cast.ben))


# ---- Cancelled while it runs ---------------------------------------------------------------------
def in_thread(act: Any) -> Thread:
    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    return thread


def wait_for(run: Run, text: str) -> None:
    """Until the job's log holds `text`; the test's own time limit is the only one."""
    while text not in log_of(run):
        time.sleep(0.05)


def test_cancelling_kills_what_is_running(site: Site) -> None:
    run = started(site, yaml({"only": job("echo begun; sleep 60", "echo never")}))
    runs.begin(run.pk)
    worker = in_thread(lambda: execution.execute(job_of(run).pk))
    wait_for(run, "begun")
    runs.cancel(run, by=site.cast.ben)
    worker.join()
    run.refresh_from_db()
    assert (run.state, run.error) == (S.CANCELLED, "Cancelled by ben.")
    assert states(run) == {"only": "cancelled"}
    assert steps(run) == ["cancelled", "skipped"]
    assert "never" not in log_of(run)
    assert "The run was cancelled." in log_of(run)


def test_what_a_worker_reports_of_a_cancelled_job_is_too_late(site: Site) -> None:
    run = started(site, yaml({"only": job("echo 1 > a", upload("a"))}))
    runs.begin(run.pk)
    claimed = runs.claim(job_of(run).pk)
    assert claimed is not None
    runs.cancel(run, by=site.cast.ben)
    with nothing_changes():
        runs.end_job(claimed, S.SUCCEEDED)
        execution.execute(claimed.pk)
    assert states(run) == {"only": "cancelled"}
    assert not Artifact.objects.exists()


# ---- Started with what was asked ----------------------------------------------------------------
@pytest.mark.parametrize(
    "variables", [{"a b": "1"}, {"1a": "1"}, {"": "1"}, {"ä": "1"}, {"A": 1}, {"A": "\x00"}]
)
def test_a_variable_that_cannot_be_one_starts_nothing(
    site: Site, variables: dict[str, Any]
) -> None:
    refused(Invalid, lambda: runs.start(site.pipeline, by=site.cast.ada, variables=variables))


@pytest.mark.parametrize("asked", [{"nope": {}}, {"app": {"version": 1}}, {"app": "1"}])
def test_a_wish_for_a_source_that_is_not_there_starts_nothing(
    site: Site, asked: dict[str, Any]
) -> None:
    refused(Invalid, lambda: runs.start(site.pipeline, by=site.cast.ada, asked=asked))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://ci/1", "ci/1", "http://"])
def test_a_link_that_is_not_on_the_web_is_not_taken_from_another_system(
    site: Site, url: str
) -> None:
    refused(Invalid, lambda: runs.report(site.pipeline, by=site.cast.ada, url=url))


@pytest.mark.parametrize("state", [S.QUEUED, S.RUNNING, S.WAITING, S.SKIPPED])
def test_another_system_ends_its_run_in_an_end(site: Site, state: S) -> None:
    run = runs.report(site.pipeline, by=site.cast.ada)
    with nothing_changes(), pytest.raises((Invalid, WrongState)):
        runs.finish(run, state, by=site.cast.ada)


# ---- Twice ---------------------------------------------------------------------------------------
def test_a_job_that_is_delivered_twice_is_done_once(site: Site) -> None:
    run = one_job(site, "echo once; echo 1 > a", upload("a"))
    assert run.state == S.SUCCEEDED
    only = job_of(run)
    with nothing_changes():
        execution.execute(only.pk)
        runs.begin(run.pk)
        runs.advance(run.pk)
        sweeping.sweep()
    assert said(run) == ["once"]
    assert (only.attempt, Artifact.objects.count()) == (1, 1)


def test_a_job_that_does_not_exist_is_nobodys(site: Site) -> None:
    before = world()
    execution.execute(4711)
    assert world() == before


def test_an_attempt_ends_the_job_only_while_it_is_the_last_one(site: Site) -> None:
    run = started(site, yaml({"only": GOOD}))
    runs.begin(run.pk)
    claimed = runs.claim(job_of(run).pk)
    assert claimed is not None
    Job.objects.filter(pk=claimed.pk).update(attempt=2)
    with nothing_changes():
        runs.end_job(claimed, S.SUCCEEDED)
        assert not runs.renew(claimed)
    assert not LogChunk.objects.exists()
