"""Retry, run again, and decide at a gate with a word of why."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from pipelines import runs
from pipelines.models import ExecutionState, GateDecision, Job, Run, Runner, Trigger
from tests.api.conftest import People, Things
from tests.cast import make_pipeline, work_off
from tests.pipelines.working import command, job, yaml

TWO_GATES = yaml(
    {
        "gate": {
            "component": "ManualValidate",
            "with": {"validateMethod": "and", "validatorUsers": ["ben", "cleo"]},
        }
    }
)


def _job(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["stages"][0]["jobs"][0]
    return found


def test_a_run_is_retried_in_place(people: People, things: Things) -> None:
    definition = yaml({"only": job(command("exit 1"))})
    run = work_off(
        runs.start(make_pipeline(things.site.cast.ada, "no", definition), by=things.site.cast.ada)
    )
    path = f"pipelines/no/runs/{run.number}/"
    answer = people.ben.post(f"{path}retry/", expect=202).json
    assert (answer["number"], answer["status"], answer["again_of"]) == (run.number, "running", None)
    assert _job(answer)["status"] == "queued"
    people.ben.refused("POST", f"{path}retry/", status=409, code="wrong_state")
    run.refresh_from_db()
    work_off(run)
    answer = people.ben.get(path).json
    assert (answer["status"], _job(answer)["attempt"]) == ("failed", 2)


def test_a_run_that_succeeded_is_not_retried_but_run_again(people: People, things: Things) -> None:
    done = work_off(runs.start(things.site.pipeline, by=things.site.cast.ada))
    path = f"pipelines/app/runs/{done.number}/"
    people.ada.refused("POST", f"{path}retry/", status=409, code="wrong_state")
    answer = people.ada.post(f"{path}again/").json
    assert (answer["again_of"], answer["trigger"], answer["status"]) == (
        done.number,
        "again",
        "queued",
    )
    people.ada.refused(
        "POST", f"pipelines/app/runs/{answer['number']}/again/", status=409, code="wrong_state"
    )


def test_another_systems_run_is_neither_retried_nor_run_again(
    people: People, things: Things
) -> None:
    runs.finish(things.external, ExecutionState.FAILED, by=things.site.cast.ada)
    path = f"pipelines/app/runs/{things.external.number}/"
    for verb in ("retry/", "again/"):
        people.ada.refused("POST", path + verb, status=409, code="wrong_state")


def test_a_run_that_an_event_could_not_start_has_nothing_to_retry(
    people: People, things: Things
) -> None:
    """It has no jobs: begun anew it would succeed without having done anything."""
    run = runs.start_by_event(
        things.site.pipeline,
        by=things.site.cast.ada,
        trigger=Trigger.PUSH,
        once="push:1",
        asked={"nothing": {"commit": "a" * 40}},
        comment="",
    )
    assert run.state == "errored"
    people.ada.refused(
        "POST", f"pipelines/app/runs/{run.number}/retry/", status=409, code="wrong_state"
    )


def test_decisions_are_answered_with_who_and_why(people: People, things: Things) -> None:
    ada = things.site.cast.ada
    run = work_off(runs.start(make_pipeline(ada, "two", TWO_GATES), by=ada))
    path = f"pipelines/two/runs/{run.number}/jobs/stage1/gate/"
    assert "ben, cleo" in str(_job(people.ada.get(f"pipelines/two/runs/{run.number}/").json))
    for outsider in (people.ada, people.admin):
        outsider.refused("POST", f"{path}pass/", status=403, code="forbidden")
    answer = people.ben.post(f"{path}pass/", {"comment": " It is good. "}, expect=200).json
    (decision,) = _job(answer)["decisions"]
    assert (decision["by"], decision["passed"], decision["comment"]) == ("ben", True, "It is good.")
    assert _job(answer)["waits_for"] == "It still waits for cleo."
    people.ben.refused("POST", f"{path}refuse/", status=409, code="already_decided")
    answer = people.cleo.post(f"{path}refuse/", {"comment": "No."}, expect=200).json
    assert [each["passed"] for each in _job(answer)["decisions"]] == [True, False]
    assert _job(answer)["error"] == "Refused by cleo: No."


def test_a_comment_may_be_left_out_and_is_not_too_long(people: People, things: Things) -> None:
    path = f"pipelines/gated/runs/{things.gated.number}/jobs/gate_stage/gate_job/"
    people.ben.refused("POST", f"{path}pass/", {"comment": "x" * 501}, status=422, code="invalid")
    people.ben.post(f"{path}pass/", expect=200)
    assert GateDecision.objects.get().comment == ""


def test_a_job_that_nobody_serves_says_so_in_one_run_and_in_the_list(
    people: People, things: Things
) -> None:
    ada = things.site.cast.ada
    definition = yaml(
        {"only": job(command("true"), runsOn={"group": "arm", "container": "alpine"})}
    )
    run = runs.start(make_pipeline(ada, "arm", definition), by=ada)
    runs.begin(run.pk)
    Runner.objects.update(groups=["linux"])
    why = "No connected runner serves the group “arm”. They serve: linux."
    one = people.ada.get(f"pipelines/arm/runs/{run.number}/").json
    (listed,) = people.ada.get("pipelines/arm/runs/").json["results"]
    for answer in (one, listed):
        found = _job(answer)
        assert (found["waits_for"], found["group"], found["container"]) == (why, "arm", "alpine")
        assert (found["runner"], found["attempt"]) == ("", 0)
    Runner.objects.update(groups=["arm"])
    assert _job(people.ada.get(f"pipelines/arm/runs/{run.number}/").json)["waits_for"] == ""
    Runner.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    assert "No runner is connected" in str(people.ada.get("pipelines/arm/runs/").json)


def test_runners_are_listed_alive_and_silent(people: People, things: Things) -> None:
    (alive,) = people.dora.get("runners/").json["results"]
    assert (alive["alive"], alive["groups"], alive["isolating"]) == (True, [], False)
    Runner.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    (silent,) = people.dora.get("runners/").json["results"]
    assert silent["alive"] is False


def test_the_worker_of_a_job_is_answered(people: People, things: Things) -> None:
    done = work_off(runs.start(things.site.pipeline, by=things.site.cast.ada))
    Job.objects.filter(run=done).update(runner="builder-1")
    assert _job(people.ada.get(f"pipelines/app/runs/{done.number}/").json)["runner"] == "builder-1"
    assert Run.objects.filter(pk=done.pk, state="succeeded").exists()
