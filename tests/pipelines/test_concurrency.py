"""How many runs of a pipeline, and of one of its jobs, are at work at a time."""

from typing import Any

import pytest

from pipelines import execution, runs
from pipelines.errors import TooManyRuns
from pipelines.models import ExecutionState, Pipeline, Run
from tests.cast import Site, make_pipeline, work_off
from tests.parallel import outcomes
from tests.pipelines.working import job, job_of, states, yaml
from tests.world import refused

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState


def limited(site: Site, **concurrency: Any) -> Pipeline:
    definition = yaml({"only": job("true")}, {"last": job("true")}, concurrencyConfig=concurrency)
    return make_pipeline(site.cast.ada, "work", definition)


def start(pipeline: Pipeline, site: Site) -> Run:
    return runs.start(pipeline, by=site.cast.ada)


def test_a_run_too_many_is_refused_until_one_ends(site: Site) -> None:
    pipeline = limited(site, maxRunningPipelineInstances=2)
    first, _ = start(pipeline, site), start(pipeline, site)
    refusal = refused(TooManyRuns, lambda: start(pipeline, site))
    assert refusal.extra["current"] == [1, 2]
    work_off(first)
    assert start(pipeline, site).number == 3


def test_a_new_run_takes_the_place_of_the_oldest_where_the_definition_says_so(site: Site) -> None:
    pipeline = limited(
        site, maxRunningPipelineInstances=1, pipelineMaxRunningBehavior="preemptOldest"
    )
    first = start(pipeline, site)
    runs.begin(first.pk)
    second = start(pipeline, site)
    first.refresh_from_db()
    assert first.state == S.CANCELLED
    assert "work #2 took its place" in first.error
    assert states(first) == {"only": "cancelled", "last": "cancelled"}
    assert work_off(second).state == S.SUCCEEDED


def test_runs_of_other_systems_do_not_count(site: Site) -> None:
    pipeline = limited(site, maxRunningPipelineInstances=1)
    runs.report(pipeline, by=site.cast.ada)
    assert start(pipeline, site).state == S.QUEUED


def test_a_retry_counts_too(site: Site) -> None:
    pipeline = limited(site, maxRunningPipelineInstances=1)
    first = start(pipeline, site)
    runs.cancel(first, by=site.cast.ada)
    start(pipeline, site)
    refused(TooManyRuns, lambda: runs.retry(first, by=site.cast.ada))


def test_a_job_waits_while_another_run_is_at_the_same_one(site: Site) -> None:
    pipeline = limited(site, maxRunningJobInstances=1)
    first, second = start(pipeline, site), start(pipeline, site)
    runs.begin(first.pk)
    runs.begin(second.pk)
    assert job_of(first).dispatched_at is not None
    held = job_of(second)
    assert (held.dispatched_at, held.waits_for) == (None, "It waits: 1 other runs are at this job.")
    execution.execute(job_of(first).pk)
    runs.advance(second.pk)
    assert job_of(second).dispatched_at is not None
    assert job_of(second).waits_for == ""
    assert work_off(second).state == S.SUCCEEDED
    assert work_off(first).state == S.SUCCEEDED


@pytest.mark.postgres
def test_of_twenty_runs_at_once_as_many_start_as_may(site: Site) -> None:
    pipeline = limited(site, maxRunningPipelineInstances=3)
    answers = outcomes([lambda: start(pipeline, site)] * 20)
    assert sum(isinstance(answer, Run) for answer in answers) == 3
    assert sum(isinstance(answer, TooManyRuns) for answer in answers) == 17
