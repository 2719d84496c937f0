"""Versions straight from a pipeline: told early what cannot be, published once it succeeded."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Role
from pipelines import artifacts, runs
from pipelines.models import Artifact, ExecutionState, Run
from promotion import publishing, sweeping, uploads
from promotion.models import UploadOutcome, Version
from tests.cast import Site, work_off
from tests.pipelines.working import job, said, started, upload, worked, yaml
from tests.promotion.verifying import verify

pytestmark = pytest.mark.django_db(transaction=True)

S = ExecutionState
Queue = list[tuple[str, int]]
REFERENCE = "$[stages.stage1.make.s2.artifacts.default]"


def packages(version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return upload("a", uploadType="packages", repo="apps", version=version, **more)


def pipeline(step: dict[str, Any], *later: Any) -> str:
    return yaml({"make": job("echo $BUILD_NUMBER > a", step)}, *later)


def finished(site: Site, step: dict[str, Any], *later: Any, **options: Any) -> Run:
    run = worked(site, pipeline(step, *later), **options)
    uploads.publish_uploads(run.pk)
    return run


def test_what_a_pipeline_uploads_becomes_a_version_once_the_run_has_succeeded(
    site: Site, nobody_listens_to_the_queue: Queue
) -> None:
    run = started(site, pipeline(packages(), {"gate": job("true", driven="manual")}))
    work_off(run)
    uploads.publish_uploads(run.pk)
    assert not Version.objects.exists(), "the run waits, and may still fail"
    runs.pass_job(run.jobs.get(key="gate"), by=site.cast.ben)
    work_off(run)
    assert (uploads.PUBLISH, run.pk) in nobody_listens_to_the_queue
    for _ in range(2):
        uploads.publish_uploads(run.pk)
    version = Version.objects.with_names().get()
    artifact = Artifact.objects.get(run=run)
    assert str(version) == "apps/app 1.0.0"
    assert (version.artifact, version.manifest_digest) == (artifact, artifact.digest)
    assert (version.published_by, version.provenance["run"]) == (site.cast.ada, run.number)
    assert UploadOutcome.objects.get().version == version
    assert verify()[0] == 0


def test_its_descriptor_has_exactly_the_keys_that_flow_documents(site: Site) -> None:
    run = finished(
        site,
        packages(),
        {"use": job(f"echo {REFERENCE}", "echo $[stages.stage1.make.s2.artifacts.app.version]")},
    )
    artifact = Artifact.objects.select_related("bundle").get(run=run)
    described = artifacts.descriptor(artifact)
    assert list(described) == ["artifact", "type", "repoId", "downloadUrl", "version", "md5"]
    assert (described["type"], described["repoId"], described["version"]) == (
        "packages",
        "apps",
        "1.0.0",
    )
    address, version = said(run, "use")
    assert described["downloadUrl"].partition("?")[0] in address
    assert version == "1.0.0"


def test_a_run_that_fails_publishes_nothing(site: Site) -> None:
    run = finished(site, packages(), {"later": job("exit 1")})
    assert run.state == S.FAILED
    assert not Version.objects.exists()
    assert not UploadOutcome.objects.exists()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (packages(version=""), "needs the version to publish as"),
        (packages(version="a b"), "cannot name a version"),
        ({**packages(), "with": {**packages()["with"], "repo": "none"}}, "no repository “none”"),
        (
            {**packages(), "with": {**packages()["with"], "artifact": "App"}},
            "cannot name a package",
        ),
        ({**packages(), "with": {**packages()["with"], "repo": "images"}}, "holds images"),
    ],
)
def test_what_could_not_be_published_fails_the_step_that_uploads_it(
    site: Site, step: dict[str, Any], why: str
) -> None:
    publishing.create_repository("images", by=site.cast.ada, kind="docker")
    run = finished(site, step)
    assert run.state == S.FAILED
    assert why in run.error
    assert not Artifact.objects.exists()


def test_a_version_that_exists_with_other_bytes_fails_the_step(site: Site) -> None:
    site.publish("1.0.0")
    run = finished(site, packages())
    assert run.state == S.FAILED
    assert "A version's name is never used again" in run.error


def test_the_same_bytes_again_are_the_same_version(site: Site) -> None:
    definition = yaml({"make": job("echo same > a", packages())})
    first = worked(site, definition)
    uploads.publish_uploads(first.pk)
    second = work_off(runs.start(first.pipeline, by=site.cast.ada))
    uploads.publish_uploads(second.pk)
    assert Version.objects.count() == 1
    assert [outcome.version for outcome in UploadOutcome.objects.all()] == [
        Version.objects.get()
    ] * 2


def test_whoever_may_not_publish_cannot_have_a_pipeline_do_it(site: Site) -> None:
    ada = site.cast.ada
    run = started(site, pipeline(packages()))
    ada.roles = [Role.DEPLOYER.value]
    ada.save()
    run = work_off(run)
    assert run.state == S.FAILED
    assert "ada may not publish versions" in run.error


def test_who_loses_the_race_for_a_name_is_told_where_they_look(site: Site) -> None:
    run = worked(site, pipeline(packages()))
    site.publish("1.0.0")
    uploads.publish_uploads(run.pk)
    outcome = UploadOutcome.objects.get()
    assert outcome.version is None
    assert "exists with other bytes" in outcome.refused


def test_a_lost_nudge_is_repeated(site: Site, nobody_listens_to_the_queue: Queue) -> None:
    run = worked(site, pipeline(packages()))
    Run.objects.update(finished_at=timezone.now() - timedelta(minutes=1))
    nobody_listens_to_the_queue.clear()
    sweeping.sweep()
    assert nobody_listens_to_the_queue.count((uploads.PUBLISH, run.pk)) == 1
    uploads.publish_uploads(run.pk)
    nobody_listens_to_the_queue.clear()
    sweeping.sweep()
    assert (uploads.PUBLISH, run.pk) not in nobody_listens_to_the_queue
