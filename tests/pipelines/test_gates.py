"""ManualValidate: whose word counts, how many it takes, and what is written down."""

from typing import Any

import pytest

from pipelines import execution, runs
from pipelines.errors import AlreadyDecided, Forbidden, WrongState
from pipelines.models import ExecutionState, Run
from tests.cast import Site, work_off
from tests.parallel import outcomes
from tests.pipelines.working import job, job_of, states, worked, yaml
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState


def gate(users: Any, **with_: Any) -> dict[str, Any]:
    return {"component": "ManualValidate", "with": {"validatorUsers": users, **with_}}


def waiting(site: Site, users: Any, **with_: Any) -> Run:
    return worked(site, yaml({"ask": gate(users, **with_)}, {"later": job("true")}))


def test_a_run_waits_for_the_people_who_are_named(site: Site) -> None:
    run = waiting(site, ["cleo", "dora"])
    assert run.state == S.WAITING
    assert job_of(run, "ask").waits_for == "It waits for one of: cleo, dora."
    runs.pass_job(job_of(run, "ask"), by=site.cast.dora, comment="The numbers are right.")
    assert work_off(run).state == S.SUCCEEDED
    decided = job_of(run, "ask").decisions.get()
    assert (decided.by, decided.passed, decided.comment, decided.gate) == (
        site.cast.dora,
        True,
        "The numbers are right.",
        1,
    )
    assert [step.state for step in job_of(run, "ask").steps.all()] == [S.SUCCEEDED]


def test_all_of_them_must_pass_it_where_the_definition_says_and(site: Site) -> None:
    run = waiting(site, "cleo, dora\nben", validateMethod="and", message="Look at the load test.")
    ask = job_of(run, "ask")
    assert ask.waits_for == "Look at the load test."
    assert runs.pass_job(ask, by=site.cast.ben).state == S.WAITING
    assert job_of(run, "ask").waits_for == "It still waits for cleo, dora."
    refused(AlreadyDecided, lambda: runs.pass_job(job_of(run, "ask"), by=site.cast.ben))
    runs.pass_job(job_of(run, "ask"), by=site.cast.cleo)
    assert runs.pass_job(job_of(run, "ask"), by=site.cast.dora).state == S.SUCCEEDED
    assert work_off(run).state == S.SUCCEEDED


def test_one_refusal_fails_the_run(site: Site) -> None:
    run = waiting(site, ["cleo", "dora"], validateMethod="and")
    runs.pass_job(job_of(run, "ask"), by=site.cast.cleo)
    runs.refuse_job(job_of(run, "ask"), by=site.cast.dora, comment="It is too slow.")
    run = work_off(run)
    assert (run.state, run.error) == (S.FAILED, "stage1.ask: Refused by dora: It is too slow.")
    assert states(run) == {"ask": "failed", "later": "cancelled"}


@pytest.mark.parametrize("who", ["ada", "ben", "admin", "production", "mallory"])
def test_nobody_elses_word_counts(site: Site, who: str) -> None:
    run = waiting(site, ["cleo", "dora"])
    ask, by = job_of(run, "ask"), getattr(site.cast, who)
    assert not runs.may_decide(by, ask)
    refused(Forbidden, lambda: runs.pass_job(ask, by=by))
    refused(Forbidden, lambda: runs.refuse_job(ask, by=by))
    assert runs.may_decide(site.cast.dora, ask)


def test_somebody_without_any_role_cannot_be_named_into_one(site: Site) -> None:
    run = waiting(site, ["mallory"])
    refused(Forbidden, lambda: runs.pass_job(job_of(run, "ask"), by=site.cast.mallory))


@pytest.mark.parametrize(
    ("users", "method", "why"),
    [
        (["nobody"], "or", "there is no active user “nobody”"),
        (["cleo", "nobody"], "and", "there is no active user “nobody”"),
        (" , ", "or", "there is no name in it"),
    ],
)
def test_a_gate_that_nobody_could_pass_breaks_the_run_at_once(
    site: Site, users: Any, method: str, why: str
) -> None:
    run = waiting(site, users, validateMethod=method)
    assert run.state == S.ERRORED
    assert why in run.error


def test_one_who_is_there_is_enough_where_one_is_enough(site: Site) -> None:
    run = waiting(site, ["cleo", "nobody"])
    runs.pass_job(job_of(run, "ask"), by=site.cast.cleo)
    assert work_off(run).state == S.SUCCEEDED


def test_no_worker_takes_a_gate(site: Site) -> None:
    run = waiting(site, ["cleo"])
    with nothing_changes():
        execution.execute(job_of(run, "ask").pk)


def test_what_is_decided_stays_decided(site: Site) -> None:
    run = waiting(site, ["cleo", "dora"])
    runs.pass_job(job_of(run, "ask"), by=site.cast.cleo)
    refused(WrongState, lambda: runs.refuse_job(job_of(run, "ask"), by=site.cast.dora))


@pytest.mark.postgres
def test_a_pass_and_a_refusal_at_once_have_one_winner(site: Site) -> None:
    run = waiting(site, ["cleo", "dora"])
    answers = outcomes(
        [
            lambda: runs.pass_job(job_of(run, "ask"), by=site.cast.cleo),
            lambda: runs.refuse_job(job_of(run, "ask"), by=site.cast.dora),
        ]
    )
    assert sum(isinstance(answer, WrongState) for answer in answers) == 1
    assert job_of(run, "ask").decisions.count() == 1
