"""Pipelines that start when another one succeeds: once, on that very run, or with a reason not."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from pipelines import runs, sweeping
from pipelines.models import ExecutionState, Pipeline, Run
from tests.cast import Site, external_run, make_pipeline, work_off
from tests.parallel import outcomes
from tests.pipelines.working import job, said, upload, yaml

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
Queue = list[tuple[str, int]]


def upstream(site: Site) -> Pipeline:
    definition = yaml({"make": job("echo $BUILD_NUMBER > a", upload("a"))})
    return make_pipeline(site.cast.ada, "up", definition)


def follower(site: Site, slug: str = "down", **more: object) -> Pipeline:
    source = {"type": "flowPipeline", "flowPipeline": "up", "triggerEvents": "buildSuccess", **more}
    reference = "$[sources.up.stages.stage1.make.s2.artifacts.app.md5]"
    definition = yaml({"only": job(f"echo {reference}")}, sources={"up": source})
    return make_pipeline(site.cast.ada, slug, definition)


def succeeded(pipeline: Pipeline, site: Site) -> Run:
    run = work_off(runs.start(pipeline, by=site.cast.ben))
    assert run.state == S.SUCCEEDED
    return run


def test_a_success_starts_the_follower_on_that_very_run(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    up = upstream(site)
    down = follower(site)
    run = succeeded(up, site)
    assert (runs.FOLLOW, run.pk) in nobody_listens_to_the_queue
    newer = succeeded(up, site)
    runs.start_followers(run.pk)
    (started,) = down.runs.all()
    assert (started.trigger, started.started_by) == ("pipeline", site.cast.ada)
    assert started.sources["up"]["run"] == run.number != newer.number
    assert work_off(started).state == S.SUCCEEDED
    assert said(started) == [run.artifacts.get().bundle.md5]  # type: ignore[union-attr]


def test_the_same_success_starts_it_once_however_often_it_is_told(site: Site) -> None:
    up = upstream(site)
    down = follower(site)
    run = succeeded(up, site)
    for _ in range(3):
        runs.start_followers(run.pk)
        Run.objects.filter(pk=run.pk).update(is_to_follow=True)
    assert down.runs.count() == 1


@pytest.mark.postgres
def test_fifty_deliveries_at_once_start_it_once(site: Site) -> None:
    up = upstream(site)
    down = follower(site)
    run = succeeded(up, site)
    answers = outcomes([partial(runs.start_followers, run.pk)] * 50)
    assert [answer for answer in answers if answer is not None] == []
    assert down.runs.count() == 1


def test_nothing_starts_without_the_event_or_without_the_success(site: Site) -> None:
    up = upstream(site)
    make_pipeline(
        site.cast.ada,
        "silent",
        yaml({"only": job("true")}, sources={"up": {"type": "flowPipeline", "flowPipeline": "up"}}),
    )
    down = follower(site)
    failed = runs.start(up, by=site.cast.ada)
    runs.cancel(failed, by=site.cast.ada)
    runs.start_followers(failed.pk)
    runs.start_followers(succeeded(up, site).pk)
    assert Run.objects.exclude(pipeline=up).count() == down.runs.count() == 1


def test_a_success_that_another_system_reports_starts_followers_too(site: Site) -> None:
    up = make_pipeline(site.cast.ada, "up", yaml({"make": job("true")}))
    source = {"type": "flowPipeline", "flowPipeline": "up", "triggerEvents": ["buildSuccess"]}
    down = make_pipeline(site.cast.ada, "down", yaml({"only": job("true")}, sources={"up": source}))
    run = external_run(site.cast.ada, up)
    runs.finish(run, S.SUCCEEDED, by=site.cast.ada)
    runs.start_followers(run.pk)
    assert down.runs.get().sources["up"]["run"] == run.number


def test_a_lost_nudge_is_repeated(site: Site, nobody_listens_to_the_queue: Queue) -> None:
    up = upstream(site)
    follower(site)
    run = succeeded(up, site)
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now() - timedelta(minutes=1))
    nobody_listens_to_the_queue.clear()
    sweeping.sweep()
    assert (runs.FOLLOW, run.pk) in nobody_listens_to_the_queue
    runs.start_followers(run.pk)
    nobody_listens_to_the_queue.clear()
    sweeping.sweep()
    assert (runs.FOLLOW, run.pk) not in nobody_listens_to_the_queue


def test_a_start_that_is_refused_is_kept_for_its_readers(site: Site) -> None:
    up = upstream(site)
    down = follower(site)
    run = succeeded(up, site)
    site.cast.ada.roles = []
    site.cast.ada.save()
    runs.start_followers(run.pk)
    runs.start_followers(run.pk)
    (kept,) = down.runs.all()
    assert (kept.state, kept.trigger, kept.comment) == (S.ERRORED, "pipeline", "up #1 succeeded")
    assert "ada may not start runs" in kept.error
