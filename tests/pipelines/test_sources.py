"""Other sources of runs: runs of other pipelines, and versions of packages."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from pipelines import runs, sources
from pipelines.errors import Invalid, NotFound
from pipelines.models import ExecutionState, Pipeline, Run
from promotion import recalling, selection
from promotion.errors import NoEligibleVersion, NotPromoted, Recalled
from promotion.models import Selection
from tests.cast import Site, external_run, make_artifact, make_pipeline, work_off
from tests.pipelines.working import job, log_of, said, yaml
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
UP = """
stages:
  build:
    jobs:
      build:
        steps:
          upload: {step: ArtifactUpload, with: {artifact: app, filePath: app}}
"""
DOWN = yaml(
    {"only": job("echo $[sources.up.stages.build.build.upload.artifacts.default.md5]")},
    sources={"up": {"type": "flowPipeline", "flowPipeline": "up"}},
)


@pytest.fixture
def up(site: Site) -> Pipeline:
    return make_pipeline(site.cast.ada, "up", UP)


def follow(site: Site, pipeline: Any = None, **asked: Any) -> Run:
    pipeline = pipeline or make_pipeline(site.cast.ada, "down", DOWN)
    return runs.start(pipeline, by=site.cast.ada, asked={"up": asked} if asked else {})


# ---- Runs of other pipelines ---------------------------------------------------------------------
def test_the_last_successful_run_is_pinned_and_does_not_move(site: Site, up: Pipeline) -> None:
    make_artifact(site.cast.ada, up, {"a": b"one"})
    failed = external_run(site.cast.ada, up)
    runs.finish(failed, S.FAILED, by=site.cast.ada)
    external_run(site.cast.ada, up)
    run = follow(site)
    assert run.sources == {
        "up": {
            "type": "flowPipeline",
            "pipeline": "up",
            "run": 1,
            "why": "the last successful run when this run was started",
        }
    }
    make_artifact(site.cast.ada, up, {"a": b"two"})
    assert said(work_off(run)) == [hashlib.md5(b"one").hexdigest()]
    assert said(work_off(follow(site, run.pipeline))) == [hashlib.md5(b"two").hexdigest()]


def test_a_caller_may_name_the_exact_run(site: Site, up: Pipeline) -> None:
    for data in (b"one", b"two"):
        make_artifact(site.cast.ada, up, {"a": data})
    run = work_off(follow(site, run=1))
    assert run.sources["up"]["run"] == 1
    assert said(run) == [hashlib.md5(b"one").hexdigest()]


def test_a_run_that_is_not_there_or_not_good_starts_nothing(site: Site, up: Pipeline) -> None:
    down = make_pipeline(site.cast.ada, "down", DOWN)
    refused(Invalid, lambda: follow(site, down))
    failed = external_run(site.cast.ada, up)
    refused(Invalid, lambda: follow(site, down))
    runs.finish(failed, S.FAILED, by=site.cast.ada)
    refused(Invalid, lambda: follow(site, down))
    refused(Invalid, lambda: follow(site, down, run=1))
    refused(NotFound, lambda: follow(site, down, run=2))


def test_every_source_that_can_be_used_is_told_and_no_other() -> None:
    own = {
        *("git", "gitSample", "codeup", "gitlab", "gitlabAPI", "customGitlab", "github"),
        *("githubApp", "gitee", "bitbucket"),
    }
    assert sources.available() == own | {"flowPipeline", "packages", "acr"}
    with pytest.raises(Invalid):
        sources.type_of("svn")


# ---- Versions of packages ------------------------------------------------------------------------
SCRIPT = """
ls pack
cat pack/*
echo "|$[sources.pack]|$[sources.pack.version]|$[sources.pack.sha256]|$[sources.pack.digest]|"
"""


def deploys(site: Site, slug: str = "deploy", **fields: Any) -> Any:
    source = {"type": "packages", "repoType": "generic", "repo": "apps", "artifact": "app"}
    definition = yaml({"only": job(SCRIPT)}, sources={"pack": {**source, **fields}})
    return make_pipeline(site.cast.ada, slug, definition)


def deploy(site: Site, pipeline: Any, **asked: Any) -> Run:
    return runs.start(pipeline, by=site.cast.production, asked={"pack": asked} if asked else {})


def test_a_pipeline_takes_exactly_what_its_environment_has(site: Site) -> None:
    old = site.publish("1.0.0", files={"app.txt": b"old"})
    site.promote(site.staging, old)
    run = deploy(site, deploys(site, environment="staging"))
    pinned = run.sources["pack"]
    picked = Selection.objects.get()
    assert (pinned["version"], pinned["selection"]) == ("1.0.0", picked.pk)
    assert pinned["manifest_digest"] == old.manifest_digest
    assert (picked.by, picked.consumer) == (site.cast.production, "deploy #1")
    site.promote(site.staging, site.publish("1.1.0", files={"app.txt": b"new"}))
    run = work_off(run)
    assert run.state == S.SUCCEEDED, run.error
    assert said(run)[0] == "app.txt"
    fields = "".join(said(run)[1:]).split("|")
    assert fields[0] == "old"
    assert "/apps/" in fields[1]
    assert "?signature=" in fields[1]
    assert fields[2:5] == ["1.0.0", hashlib.sha256(b"old").hexdigest(), old.manifest_digest]
    assert "sha256" in log_of(run)
    assert deploy(site, run.pipeline).sources["pack"]["version"] == "1.1.0"


def test_the_callers_version_stands_before_the_definitions(site: Site) -> None:
    for name in ("1.0.0", "1.1.0", "2.0.0"):
        site.publish(name)
    default = deploys(site, version="1.0.0")
    ranged = deploys(site, "ranged", range="^1")
    assert deploy(site, default).sources["pack"]["version"] == "1.0.0"
    assert deploy(site, default, version="2.0.0").sources["pack"]["version"] == "2.0.0"
    assert deploy(site, ranged).sources["pack"]["version"] == "1.1.0"
    assert deploy(site, ranged, version="2.0.0").sources["pack"]["version"] == "2.0.0"


def test_the_environment_binds_whatever_the_caller_names(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    new = site.publish("1.1.0")
    pipeline = deploys(site, environment="staging")
    assert deploy(site, pipeline, version="1.0.0").sources["pack"]["version"] == "1.0.0"
    refused(NotPromoted, lambda: deploy(site, pipeline, version="1.1.0"))
    refused(NotFound, lambda: deploy(site, pipeline, version="9"))
    site.promote(site.staging, new)
    recalling.recall(new, by=site.cast.ben, reason="It loses data.")
    refused(Recalled, lambda: deploy(site, pipeline))


def test_a_run_without_an_answer_is_never_started(site: Site) -> None:
    nowhere = deploys(site, environment="production")
    refused(NotFound, lambda: deploy(site, nowhere))
    site.publish("1.0.0")
    refused(NoEligibleVersion, lambda: deploy(site, nowhere))
    vague = deploys(site, "vague")
    refused(Invalid, lambda: deploy(site, vague))


def test_bytes_that_were_damaged_are_not_deployed(site: Site) -> None:
    version = site.publish("1.0.0", files={"app.txt": b"soon damaged"})
    run = deploy(site, deploys(site, version="1.0.0"))
    file = version.files.get()
    stored = Path(settings.DATA_DIR) / "blobs" / file.blob.storage_name
    stored.write_bytes(b"SOON DAMAGED")
    run = work_off(run)
    stored.unlink()
    assert run.state == S.ERRORED
    assert "are damaged; they were not handed out" in run.error
    assert said(run) == []


def test_the_pick_of_a_run_can_be_replayed(site: Site) -> None:
    site.publish("1.0.0")
    run = deploy(site, deploys(site, version="1.0.0"))
    picked = Selection.objects.get(pk=run.sources["pack"]["selection"])
    with nothing_changes():
        receipt = selection.receipt(picked)
    assert (receipt["version"], receipt["consumer"]) == ("1.0.0", "deploy #1")
