"""Runners: who serves which group, where a job goes, and why nobody takes it."""

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from pipelines import queue, runners, runs, sweeping
from pipelines.models import Job, Runner
from tests.cast import Site
from tests.pipelines.working import job, job_of, started, yaml

pytestmark = pytest.mark.django_db(transaction=True)


def runner(name: str, *groups: str, silent_for: int = 0) -> Runner:
    now = timezone.now()
    return Runner.objects.create(
        name=name,
        groups=list(groups),
        started_at=now,
        seen_at=now - timedelta(seconds=silent_for),
    )


# ---- Queues --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "group",
    ["gpu", "public/cn-hangzhou", "a.b", "celery", "../../x", "*", "[a]", "a b", "ä", "x" * 200],
)
def test_every_group_has_a_queue_of_its_own_that_can_name_a_file(group: str) -> None:
    name = queue.queue_of(group)
    assert name.startswith("runner-")
    assert len(name) < 200
    assert not set(name) & set("/.*?[] \\")
    assert name != queue.queue_of(f"{group}x")


def test_no_group_is_the_queue_of_those_who_serve_any() -> None:
    assert queue.queue_of("") == queue.ANY_GROUP != queue.SITE


def test_a_worker_listens_to_the_groups_it_was_given(site: Site) -> None:
    assert runners.own_queues() == [queue.ANY_GROUP]
    with override_settings(RUNNER_GROUPS=("gpu", "arm")):
        assert runners.own_queues() == ["runner-gpu", "runner-arm"]


# ---- Where a job goes ----------------------------------------------------------------------------
def sent_to(site: Site, monkeypatch: pytest.MonkeyPatch, group: str) -> str:
    """The queue to which the only job of a run goes, that asks for `group`."""
    sent: dict[str, str] = {}

    def send(task: str, row_id: int, queue: str) -> None:
        sent[task] = queue

    monkeypatch.setattr("pipelines.queue._send", send)
    run = started(site, yaml({"only": job("true", runsOn=group) if group else job("true")}))
    assert sent[runs.BEGIN] == queue.SITE
    runs.begin(run.pk)
    return sent[runs.EXECUTE]


def test_a_job_goes_to_who_serves_its_group(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    runner("one", "gpu", "arm")
    assert sent_to(site, monkeypatch, "gpu") == "runner-gpu"


@pytest.mark.parametrize("group", ["", "gpu"])
def test_a_job_that_nobody_serves_by_name_goes_to_those_who_serve_any(
    site: Site, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    runner("one", "arm")
    runner("dead", "gpu", silent_for=3600)
    assert sent_to(site, monkeypatch, group) == queue.ANY_GROUP


def test_a_job_goes_elsewhere_once_its_runner_has_fallen_silent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = runner("one", "gpu")
    assert sent_to(site, monkeypatch, "gpu") == "runner-gpu"
    Runner.objects.filter(pk=gpu.pk).update(seen_at=timezone.now() - timedelta(hours=1))
    Job.objects.update(dispatched_at=timezone.now() - 2 * settings.SWEEP_EVERY)
    sent: list[str] = []
    monkeypatch.setattr("pipelines.queue._send", lambda task, row, queue: sent.append(queue))
    sweeping.sweep()
    assert queue.ANY_GROUP in sent
    assert "runner-gpu" not in sent


# ---- Why nobody takes it -------------------------------------------------------------------------
def test_why_nobody_takes_a_job_is_said() -> None:
    assert "No runner is connected" in runners.why_nobody("gpu")
    runner("one", "arm")
    assert runners.why_nobody("gpu") == (
        "No connected runner serves the group “gpu”. They serve: arm."
    )
    assert "jobs without a group" in runners.why_nobody("")
    assert runners.why_nobody("arm") == ""
    runner("two")
    assert runners.why_nobody("gpu") == runners.why_nobody("") == ""


# ---- Known and forgotten -------------------------------------------------------------------------
def test_a_runner_is_known_while_it_lives_and_gone_when_it_ends(site: Site) -> None:
    done = threading.Event()
    found = runners.Abilities(builder="buildah 1.28", engine="", is_isolating=True)
    with override_settings(RUNNER_BEAT=0.05, RUNNER_GROUPS=("gpu",)):
        keeper = threading.Thread(target=runners.keep_known, args=(found, done))
        keeper.start()
        while not Runner.objects.filter(name=runners.own_name()).exists():
            done.wait(0.02)
        known = Runner.objects.get()
        assert (known.groups, known.builder, known.is_isolating) == (["gpu"], "buildah 1.28", True)
        done.set()
        keeper.join()
    assert not Runner.objects.exists()


def test_a_runner_that_was_killed_is_forgotten_in_the_end(site: Site) -> None:
    runner("killed", silent_for=2 * 86_400)
    alive = runner("alive")
    sweeping.sweep()
    assert list(Runner.objects.all()) == [alive]


def test_a_job_keeps_who_took_it(site: Site) -> None:
    run = started(site, yaml({"only": job("true")}))
    runs.begin(run.pk)
    runs.claim(job_of(run).pk, runner="machine-7")
    assert job_of(run).runner == "machine-7"
