"""Who refers to a pipeline, and what a new definition would break for them."""

import pytest

from pipelines import definitions, impact, runs
from pipelines.errors import Invalid
from pipelines.models import Run
from tests.cast import YAML, make_cast, make_pipeline, work_off

pytestmark = pytest.mark.django_db

FOLLOWER = """
sources:
  upstream:
    type: flowPipeline
    flowPipeline: app
stages:
  deploy_stage:
    jobs:
      deploy_job:
        steps:
          deploy_step:
            step: Command
            with:
              run: echo $[sources.upstream.stages.build_stage.build_job.upload_step.artifacts.app]
"""


def test_a_pipeline_knows_who_refers_to_it_and_forgets_who_no_longer_does() -> None:
    cast = make_cast()
    make_pipeline(cast.ada, "app")
    follower = make_pipeline(cast.ada, "follower", FOLLOWER)
    assert [each.slug for each in impact.referrers("app")] == ["follower"]
    definitions.revise(follower, YAML, by=cast.ada)
    assert list(impact.referrers("app")) == []


def test_a_definition_that_loses_an_artifact_breaks_the_pipeline_that_refers_to_it() -> None:
    cast = make_cast()
    make_pipeline(cast.ada, "app")
    make_pipeline(cast.ada, "follower", FOLLOWER)
    renamed = YAML.replace("upload_step", "keep_step")
    (broken,) = impact.broken_by("app", renamed)
    assert broken.pipeline.slug == "follower"
    assert [(each.line, each.code) for each in broken.problems] == [(14, "unknown_step_id")]
    assert impact.broken_by("app", YAML.replace("name: Example", "name: Other")) == []


def test_errors_that_a_follower_has_already_are_not_blamed_on_the_change() -> None:
    cast = make_cast()
    app = make_pipeline(cast.ada, "app")
    make_pipeline(cast.ada, "follower", FOLLOWER)
    renamed = YAML.replace("upload_step", "keep_step")
    definitions.revise(app, renamed, by=cast.ada)
    assert impact.broken_by("app", renamed.replace("name: Example", "name: Other")) == []


def test_a_definition_that_cannot_be_read_has_no_impact_to_speak_of() -> None:
    cast = make_cast()
    make_pipeline(cast.ada, "app")
    make_pipeline(cast.ada, "follower", FOLLOWER)
    assert impact.broken_by("app", "stages: [") == []


def test_references_are_checked_against_the_very_run_that_a_source_is_pinned_to() -> None:
    cast = make_cast()
    app = make_pipeline(cast.ada, "app", YAML.replace("upload_step", "keep_step"))
    assert work_off(runs.start(app, by=cast.ada)).state == "succeeded"
    definitions.revise(app, YAML, by=cast.ada)
    # Right against the current revision, wrong against the last successful run.
    follower = make_pipeline(cast.ada, "follower", FOLLOWER)
    before = Run.objects.count()
    with pytest.raises(Invalid) as refusal:
        runs.start(follower, by=cast.ada)
    assert [(each.line, each.code) for each in refusal.value.problems] == [(14, "unknown_step_id")]
    assert Run.objects.count() == before
    assert work_off(runs.start(app, by=cast.ada)).state == "succeeded"
    assert work_off(runs.start(follower, by=cast.ada)).state == "succeeded"
