"""The pages of runs, jobs and runners: try again, decide with a word of why, and see what waits."""

import html
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from pipelines import definitions, runners, runs
from pipelines.models import GateDecision, Job, Run, Runner, Trigger
from tests.cast import Site, work_off
from tests.pipelines.working import command, job, one_job, started, worked, yaml
from tests.world import nothing_changes

MANUAL = yaml({"gate": job(command("true"), driven="manual")})


def validated(method: str, message: str = "") -> str:
    with_ = {"validateMethod": method, "validatorUsers": ["ben", "cleo"], "message": message}
    return yaml({"gate": {"component": "ManualValidate", "with": with_}})


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def address(run: Run, page: str = "run") -> str:
    return reverse(f"pipelines:{page}", args=[run.pipeline.slug, run.number])


def gate_address(run: Run, page: str) -> str:
    return reverse(f"pipelines:{page}", args=[run.pipeline.slug, run.number, "stage1", "gate"])


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


# ---- Again --------------------------------------------------------------------------------------
STARTERS = {"ada", "ben", "cleo", "production", "admin"}


@pytest.mark.parametrize("name", ["ada", "ben", "cleo", "dora", "production", "admin", "mallory"])
def test_whoever_may_start_runs_may_retry_one_and_run_it_again(site: Site, name: str) -> None:
    run = one_job(site, "exit 1")
    client = as_(site.cast.everyone()[name])
    text = text_of(client.get(address(run)))
    for page, said in (
        ("run_again", "Run again on the same inputs"),
        ("run_retry", "Retry what failed"),
    ):
        assert (said in text) is (name in STARTERS)
        sent = {"confirmed": "yes"}
        if name in STARTERS:
            assert client.post(address(run, page), sent).status_code == 303
        else:
            with nothing_changes():
                assert client.post(address(run, page), sent).status_code == 403
    if name in STARTERS:
        again = run.pipeline.runs.get(number=2)
        run.refresh_from_db()
        assert (again.again_of, again.started_by.username, run.state) == (run, name, "running")


def test_a_retry_asks_first(site: Site) -> None:
    run = one_job(site, "exit 1")
    client = as_(site.cast.ada)
    with nothing_changes():
        answer = client.post(address(run, "run_retry"))
    assert answer.status_code == 422
    assert "Confirm it first" in text_of(answer)
    with nothing_changes():
        assert client.get(address(run, "run_retry")).status_code == 405


def test_what_succeeded_is_run_again_but_not_retried(site: Site) -> None:
    run = one_job(site, "true")
    client = as_(site.cast.ada)
    text = text_of(client.get(address(run)))
    assert "Retry what failed" not in text
    with nothing_changes():
        answer = client.post(address(run, "run_retry"), {"confirmed": "yes"})
    assert answer.status_code == 409
    assert "run it again instead" in text_of(answer)
    answer = client.post(address(run, "run_again"), follow=True)
    assert "work #2 is queued, on the inputs of work #1." in text_of(answer)
    assert f'as <a href="{address(run)}">#1</a>' in text_of(answer)


def test_what_is_open_or_of_another_system_offers_neither(site: Site) -> None:
    external = runs.report(site.pipeline, by=site.cast.ada)
    opened = started(site, yaml({"only": job(command("true"))}))
    client = as_(site.cast.ada)
    for run in (external, opened):
        text = text_of(client.get(address(run)))
        assert "Retry what failed" not in text
        assert "on the same inputs" not in text
        for page in ("run_retry", "run_again"):
            with nothing_changes():
                answer = client.post(address(run, page), {"confirmed": "yes"})
            assert answer.status_code == 409


def test_a_run_that_an_event_could_not_start_says_why_and_what_was_asked(site: Site) -> None:
    run = runs.start_by_event(
        site.pipeline,
        by=site.cast.ada,
        trigger=Trigger.PUSH,
        once="push:1",
        asked={"code": {"commit": "c0ffee"}},
        comment="ada pushed",
    )
    client = as_(site.cast.ada)
    text = text_of(client.get(address(run)))
    assert "This run could not be started" in text
    assert "The pipeline has no source “code”." in text
    assert "It was asked to take commit c0ffee of code." in text
    assert "Nothing was done" in text
    assert "Retry what failed" not in text
    with nothing_changes():
        answer = client.post(address(run, "run_retry"), {"confirmed": "yes"})
    assert answer.status_code == 409


# ---- Gates --------------------------------------------------------------------------------------
def test_a_manual_job_is_passed_with_a_word_of_why(site: Site) -> None:
    run = worked(site, MANUAL)
    client = as_(site.cast.ben)
    assert "Somebody must pass it before it begins." in text_of(client.get(address(run)))
    sent = {"comment": "  Line one\r\nline two  "}
    answer = client.post(gate_address(run, "job_pass"), sent, follow=True)
    assert "gate goes on." in text_of(answer)
    decision = GateDecision.objects.get()
    assert (decision.by, decision.passed, decision.comment) == (
        site.cast.ben,
        True,
        "Line one\nline two",
    )
    assert "Line one line two" in text_of(client.get(gate_address(run, "job")))


def test_a_refusal_asks_first_and_is_shown_with_its_reason(site: Site) -> None:
    run = worked(site, MANUAL)
    client = as_(site.cast.ben)
    with nothing_changes():
        assert client.post(gate_address(run, "job_refuse"), {"comment": "No."}).status_code == 422
    client.post(gate_address(run, "job_refuse"), {"comment": "No.", "confirmed": "yes"})
    work_off(run)
    text = text_of(client.get(gate_address(run, "job")))
    assert "Refused by ben: No." in text
    assert "Decisions" in text


@pytest.mark.parametrize("page", ["job_pass", "job_refuse"])
def test_a_comment_that_is_too_long_decides_nothing(site: Site, page: str) -> None:
    run = worked(site, MANUAL)
    client = as_(site.cast.ben)
    sent = {"comment": "x" * 501, "confirmed": "yes"}
    with nothing_changes():
        answer = client.post(gate_address(run, page), sent)
    assert answer.status_code == 422
    assert "at most 500 characters" in text_of(answer)
    # Browsers count a line break as one character.
    sent["comment"] = "x\r\n" * 250
    assert client.post(gate_address(run, page), sent).status_code == 303


@pytest.mark.parametrize("name", ["ada", "ben", "cleo", "dora", "production", "admin"])
def test_only_who_may_decide_finds_the_buttons_and_others_whom_to_ask(
    site: Site, name: str
) -> None:
    for definition, slug, able, ask in (
        (MANUAL, "manual", {"ada", "ben", "cleo", "admin"}, "Developers, operators and release"),
        (validated("or"), "one", {"ben", "cleo"}, "One of these must pass it: ben, cleo."),
        (validated("and"), "all", {"ben", "cleo"}, "Each of these must pass it: ben, cleo."),
    ):
        run = worked(site, definition, slug=slug)
        client = as_(site.cast.everyone()[name])
        for page in (address(run), gate_address(run, "job")):
            text = text_of(client.get(page))
            assert (gate_address(run, "job_pass") in text) is (name in able)
            assert (ask in text) is (name not in able)
        if name not in able:
            for act in ("job_pass", "job_refuse"):
                with nothing_changes():
                    answer = client.post(gate_address(run, act), {"confirmed": "yes"})
                assert answer.status_code == 403


def test_a_gate_of_several_shows_who_has_decided_and_who_must_still(site: Site) -> None:
    run = worked(site, validated("and", message="Is the release note written?"))
    ben, cleo = as_(site.cast.ben), as_(site.cast.cleo)
    assert "Is the release note written?" in text_of(ben.get(address(run)))
    seen = ben.get(address(run)).context["seen"]
    answer = ben.post(gate_address(run, "job_pass"), {"comment": "It is."}, follow=True)
    text = text_of(answer)
    assert "You passed gate. It still waits for cleo." in text
    assert "You have decided." in text
    assert gate_address(run, "job_pass") not in text
    # Open pages of others are loaded anew, for the decision to show on them.
    progress = cleo.get(address(run, "run_progress"), {"seen": seen})
    assert progress.headers["HX-Refresh"] == "true"
    text = text_of(cleo.get(address(run)))
    for said in ("Is the release note written?", "It still waits for cleo.", "ben ·", "It is."):
        assert said in text
    assert "cleo" in text
    with nothing_changes():
        answer = ben.post(gate_address(run, "job_pass"))
    assert answer.status_code == 409
    cleo.post(gate_address(run, "job_pass"))
    work_off(run)
    run.refresh_from_db()
    assert run.state == "succeeded"


def test_a_comment_does_not_become_part_of_the_page(site: Site) -> None:
    run = worked(site, validated("and"))
    evil = "<img src=x onerror=alert(1)>"
    client = as_(site.cast.ben)
    client.post(gate_address(run, "job_pass"), {"comment": evil})
    for page in (address(run), gate_address(run, "job")):
        assert evil not in client.get(page).content.decode()


# ---- What waits, and what it was made of --------------------------------------------------------
def test_a_queued_job_that_nobody_serves_says_why(site: Site) -> None:
    run = started(site, yaml({"only": job(command("true"), runsOn="arm")}))
    runs.begin(run.pk)
    client = as_(site.cast.dora)
    job_page = reverse("pipelines:job", args=["work", 1, "stage1", "only"])
    for page in (address(run), address(run, "run_progress"), job_page):
        assert "No runner is connected." in text_of(client.get(page))
    runner = runners.make_known(runners.Abilities())
    assert "only waits" not in text_of(client.get(address(run)))
    Runner.objects.filter(pk=runner.pk).update(groups=["linux"])
    for page in (address(run), job_page):
        text = text_of(client.get(page))
        assert "No connected runner serves the group “arm”. They serve: linux." in text


def test_what_a_run_was_made_of_shows_what_was_set_and_why(site: Site) -> None:
    run = one_job(site, "true")
    pinned: dict[str, Any] = {
        "type": "git",
        "endpoint": "https://git.example.com/app.git",
        "branch": "main",
        "commit": "c0ffee",
        "depth": None,
        "submodules": False,
        "connection": "",
        "why": "the head of main, named by the definition",
    }
    Run.objects.filter(pk=run.pk).update(sources={"code": pinned})
    client = as_(site.cast.dora)
    text = text_of(client.get(address(run)))
    assert "Because: the head of main, named by the definition." in text
    for name in ("depth", "submodules", "connection"):
        assert f">{name}</dt>" not in text
    pinned |= {"depth": 1, "submodules": True, "connection": "our-git"}
    Run.objects.filter(pk=run.pk).update(sources={"code": pinned})
    text = text_of(client.get(address(run)))
    for name, value in (("depth", "1"), ("submodules", "yes"), ("connection", "our-git")):
        assert f'>{name}</dt> <dd class="inline mono"> {value} </dd>' in text


# ---- Runners ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["ada", "ben", "cleo", "dora", "production", "admin"])
def test_every_role_sees_the_runners(site: Site, name: str) -> None:
    client = as_(site.cast.everyone()[name])
    page = reverse("pipelines:runner_list")
    assert "No runner is connected" in text_of(client.get(page))
    assert "serve --only runner" in text_of(client.get(page))
    now = timezone.now()
    facts = {"groups": ["linux"], "builder": "buildah 1.33", "engine": "podman 5"}
    Runner.objects.create(name="one", started_at=now, seen_at=now, is_isolating=True, **facts)
    Runner.objects.create(name="two", started_at=now, seen_at=now - timedelta(hours=1))
    text = text_of(client.get(page))
    for said in ("one", "linux", "buildah 1.33", "podman 5", "Alive", "Silent", "every group"):
        assert said in text


def test_without_a_role_nobody_sees_the_runners(site: Site) -> None:
    assert as_(site.cast.mallory).get(reverse("pipelines:runner_list")).status_code == 403


def test_the_pages_of_the_build_lie_beside_one_another(site: Site) -> None:
    client = as_(site.cast.dora)
    names = ("pipeline_list", "connection_list", "runner_list")
    for name in names:
        text = text_of(client.get(reverse(f"pipelines:{name}")))
        for other in names:
            current = ' aria-current="page"' if other == name else ""
            assert f'<a href="{reverse(f"pipelines:{other}")}"{current}' in text.replace(" >", ">")


def test_jobs_are_kept_when_a_definition_changes_under_a_gate(site: Site) -> None:
    """Whose word counts is said by the revision that runs, whatever was saved since."""
    run = worked(site, validated("or"))
    definitions.revise(run.pipeline, validated("or").replace("cleo", "ada"), by=site.cast.ada)
    assert gate_address(run, "job_pass") in text_of(as_(site.cast.cleo).get(address(run)))
    assert gate_address(run, "job_pass") not in text_of(as_(site.cast.ada).get(address(run)))
    assert Job.objects.get(run=run).state == "waiting"
