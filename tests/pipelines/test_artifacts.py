"""Artifacts: what may be in them, how they are bundled, and how they are found."""

import gzip
import hashlib
import io
import os
import tarfile
import time

import pytest

from pipelines import artifacts, blobs, links, runs
from pipelines.artifacts import NamedBlob, Place, check_path
from pipelines.canonical import digest
from pipelines.errors import Invalid, InvalidFilename, NameTaken, UnresolvedReference, WrongState
from pipelines.models import Artifact, ExecutionState, Run
from tests.cast import Site, external_run, make_pipeline, work_off
from tests.world import refused

PLACE = Place("build", "build", "upload")
IMAGE_DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def run(site: Site) -> Run:
    return external_run(site.cast.ada, site.pipeline)


def named(**files: bytes) -> list[NamedBlob]:
    return [NamedBlob(path, blobs.keep_bytes([data])) for path, data in files.items()]


def report(run: Run, files: list[NamedBlob], name: str = "app", place: Place = PLACE) -> Artifact:
    return artifacts.report_files(run, place, name, files, by=run.started_by)


def report_image(run: Run, image: str, name: str = "image", tag: str = "") -> Artifact:
    return artifacts.report_image(run, PLACE, name, image, tag, by=run.started_by)


# ---- Paths ---------------------------------------------------------------------------------------
ATTACKS = {
    "parent": "../../x",
    "parent inside": "a/../../x",
    "absolute": "/etc/passwd",
    "dot": "./a",
    "empty": "",
    "empty part": "a//b",
    "folder": "a/",
    "NUL": "a\x00b",
    "backslash": "..\\..\\x",
    "CR LF": "a\r\nSet-Cookie: x",
    "escape": "a\x1b[2J",
    "delete": "a\x7f",
    "300 bytes": "a" * 300,
    "256 bytes in few characters": "🙂" * 64,
    "a name of 256 bytes in a folder": f"a/{'b' * 256}/c",
    "1025 bytes": "/".join(["a" * 204] * 5) + "b",
    "no Unicode": "a\udcff",
    "turned around": "gpj.\u202eexe",
}


@pytest.mark.parametrize("path", ATTACKS.values(), ids=ATTACKS)
def test_a_path_that_leads_elsewhere_is_refused(run: Run, path: str) -> None:
    with pytest.raises(InvalidFilename):
        check_path(path)
    good = named(good=os.urandom(8))
    files = [*good, NamedBlob(path, good[0].blob)]
    refused(InvalidFilename, lambda: report(run, files))


@pytest.mark.parametrize(
    "path", ["a", "a/b.txt", ".hidden", "..a", "a b", "ä/🙂", "%2F..%2F", "-rf", "a" * 255, "~/a"]
)
def test_an_odd_path_that_leads_nowhere_else_is_taken(path: str) -> None:
    assert check_path(path) == path


DEEP = "/".join(["a" * 204] * 5)


def test_a_path_may_be_as_long_as_four_long_names(run: Run) -> None:
    assert len(DEEP) == 1024
    made = report(run, [*named(small=b"1"), *named(**{DEEP: b"deep"})])
    assert made.bundle is not None
    with blobs.open_blob(made.bundle) as stream, tarfile.open(fileobj=stream) as tar:
        assert tar.getnames() == [DEEP, "small"]
        deep = tar.extractfile(DEEP)
        assert deep is not None
        assert deep.read() == b"deep"


def test_the_refusal_shows_the_path_without_its_effects() -> None:
    with pytest.raises(InvalidFilename) as refusal:
        check_path("a\x1b[2J\r\n")
    assert "a\\x1b[2J\\r\\n" in refusal.value.detail


# ---- Bundles -------------------------------------------------------------------------------------
def bundle_bytes(artifact: Artifact) -> bytes:
    assert artifact.bundle is not None
    with blobs.open_blob(artifact.bundle) as stream:
        return stream.read()


def test_one_file_is_its_own_bundle(run: Run) -> None:
    artifact = report(run, named(**{"bin/app": b"app"}))
    assert bundle_bytes(artifact) == b"app"
    assert artifact.bundle_name == "app"


def test_the_same_files_make_the_same_bundle_whenever_and_in_whatever_order(site: Site) -> None:
    files = {f"folder/{name}": os.urandom(100) for name in "cab"}
    first = report(external_run(site.cast.ada, site.pipeline), named(**files))
    time.sleep(1.1)  # Times in archives are whole seconds: another one has begun now.
    again = report(
        external_run(site.cast.ada, site.pipeline),
        named(**dict(sorted(files.items()))),
        name="other",
    )
    assert first.bundle == again.bundle
    assert first.digest == again.digest
    assert (first.bundle_name, again.bundle_name) == ("app.tgz", "other.tgz")
    data = bundle_bytes(first)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == sorted(files)
        assert {(m.uid, m.gid, m.mtime, m.mode, m.isreg()) for m in members} == {
            (0, 0, 0, 0o644, True)
        }
        for member in members:
            content = archive.extractfile(member)
            assert content is not None
            assert content.read() == files[member.name]


def test_a_file_that_may_run_may_run_in_the_bundle_and_is_another_artifact(site: Site) -> None:
    blob = blobs.keep_bytes([b"#!/bin/sh"])
    other = NamedBlob("b", blob)
    plain = report(external_run(site.cast.ada, site.pipeline), [NamedBlob("a", blob), other])
    runs_ = report(
        external_run(site.cast.ada, site.pipeline), [NamedBlob("a", blob, executable=True), other]
    )
    assert plain.digest != runs_.digest
    with tarfile.open(fileobj=io.BytesIO(bundle_bytes(runs_))) as archive:
        assert [member.mode for member in archive.getmembers()] == [0o755, 0o644]


def test_an_artifact_needs_files_and_each_path_once(run: Run) -> None:
    files = named(a=b"1")
    refused(Invalid, lambda: report(run, []))
    refused(InvalidFilename, lambda: report(run, [*files, *files]))
    many = [NamedBlob(str(number), files[0].blob) for number in range(artifacts.MAX_FILES + 1)]
    refused(Invalid, lambda: report(run, many))


# ---- Names, images, runs -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["", "default", "a b", "a/b", "a\\b", "$[x]", "${X}", "a\n", "a\x00", "a" * 129, " a"]
)
def test_a_name_that_no_reference_could_hold_is_refused(run: Run, name: str) -> None:
    files = named(a=b"1")
    refused(Invalid, lambda: report(run, files, name))
    image = f"registry.example.com/app@{IMAGE_DIGEST}"
    refused(Invalid, lambda: report_image(run, image, name))


@pytest.mark.parametrize("name", ["Artifacts_42", "my-app", "app-1.0.tar", "ä", "a" * 128])
def test_names_that_people_use_are_taken(run: Run, name: str) -> None:
    assert report(run, named(a=b"1"), name).name == name


@pytest.mark.parametrize(
    "image",
    [
        "",
        "registry.example.com/app",
        "registry.example.com/app:1.0",
        f"registry.example.com/app@{IMAGE_DIGEST[:-1]}",
        f"registry.example.com/app@{IMAGE_DIGEST}0",
        f"registry.example.com/app@{IMAGE_DIGEST}\n",
        f"registry.example.com/app@md5:{'a' * 32}",
        f"registry.example.com/app@{IMAGE_DIGEST.upper()}",
        f"@{IMAGE_DIGEST}",
        f"a b@{IMAGE_DIGEST}",
        f"app;id@{IMAGE_DIGEST}",
        f"$(id)@{IMAGE_DIGEST}",
        f"--opt@{IMAGE_DIGEST}",
    ],
)
def test_an_image_without_its_exact_digest_is_refused(run: Run, image: str) -> None:
    refused(Invalid, lambda: report_image(run, image))


@pytest.mark.parametrize(
    ("image", "given", "tag"),
    [
        (f"registry.example.com:5000/team/app:1.0@{IMAGE_DIGEST}", "", "1.0"),
        (f"registry.example.com:5000/team/app@{IMAGE_DIGEST}", "", ""),
        (f"app:1.0@{IMAGE_DIGEST}", "2.0", "2.0"),
    ],
)
def test_an_image_is_known_by_its_digest(run: Run, image: str, given: str, tag: str) -> None:
    artifact = report_image(run, image, tag=given)
    assert (artifact.image, artifact.image_tag) == (image, tag)
    expected = f'{{"digest":"{IMAGE_DIGEST}","kind":"image"}}'
    assert artifact.digest == digest(expected.encode())
    assert artifacts.descriptor(artifact) == {
        "artifact": "image",
        "type": "dockerImage",
        "dockerUrl": image,
        "dockerTag": tag,
    }


def test_a_name_is_used_once_by_a_step(run: Run) -> None:
    report(run, named(a=b"1"))
    other = named(a=b"2")
    refused(NameTaken, lambda: report(run, other))
    assert report(run, other, place=Place("build", "build", "again")).name == "app"
    assert report(run, other, name="other").name == "other"


def test_a_run_that_has_ended_takes_no_more(site: Site, run: Run) -> None:
    early = Run.objects.get(pk=run.pk)
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    files = named(a=b"1")
    refused(WrongState, lambda: report(run, files))
    refused(WrongState, lambda: report(early, files))


def test_a_run_inside_sluice_takes_none_from_outside(site: Site) -> None:
    inside = runs.start(site.pipeline, by=site.cast.ada)
    files = named(a=b"1")
    refused(WrongState, lambda: report(inside, files))


def test_a_descriptor_has_the_keys_of_flow(run: Run) -> None:
    artifact = report(run, named(a=b"1"))
    described = artifacts.descriptor(artifact)
    assert set(described) == {"artifact", "type", "downloadUrl", "md5"}
    assert (described["type"], described["md5"]) == ("flowPublic", hashlib.md5(b"1").hexdigest())
    link = links.absolute(artifacts.download_path(artifact))
    assert described["downloadUrl"].startswith(f"{link}?signature=")
    assert artifacts.properties(artifact)["sha256"] == hashlib.sha256(b"1").hexdigest()


# ---- References ----------------------------------------------------------------------------------
@pytest.fixture
def made(run: Run) -> dict[str, Artifact]:
    two = Place("build", "build", "two")
    return {
        "app": report(run, named(a=b"1")),
        "my-app_1.0": report(run, named(a=b"1"), "my-app_1.0", two),
        "other": report(run, named(a=b"1"), "other", two),
        "test": report(run, named(a=b"1"), "app", Place("test", "unit", "upload")),
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("$[stages.build.build.upload.artifacts.app]", "app"),
        ("$[stages.build.build.upload.artifacts.app.downloadUrl]", "app"),
        ("$[stages.build.build.upload.artifacts.default]", "app"),
        ("$[stages.build.build.two.artifacts.my-app_1.0]", "my-app_1.0"),
        ("$[stages.test.unit.upload.artifacts.app]", "test"),
        ("$[jobs.build.upload.artifacts.app]", "app"),
        ("$[jobs.unit.upload.artifacts.default]", "test"),
    ],
)
def test_a_reference_finds_its_artifact(
    run: Run, made: dict[str, Artifact], text: str, name: str
) -> None:
    assert artifacts.resolve_text(run, text) == made[name]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("$[stages.build.build.two.artifacts.default]", "made several artifacts"),
        ("$[stages.build.build.upload.artifacts.nope]", "It has: app, app, my-app_1.0, other."),
        ("$[stages.nope.build.upload.artifacts.app]", "has no such artifact"),
        ("$[stages.build.nope.upload.artifacts.app]", "has no such artifact"),
        ("$[jobs.nope.upload.artifacts.app]", "has no such artifact"),
        ("$[sources.x]", "names a source, not an artifact"),
        ("$[sources.x.stages.build.build.upload.artifacts.app]", "has no source “x”"),
        ("app", "is not a reference"),
        ("$[stages.build", "is not a reference"),
    ],
)
@pytest.mark.usefixtures("made")
def test_a_reference_that_leads_nowhere_says_where_it_ended(run: Run, text: str, says: str) -> None:
    refusal = refused(UnresolvedReference, lambda: artifacts.resolve_text(run, text))
    assert says in refusal.detail


def test_a_job_that_is_in_two_stages_needs_its_stage(run: Run) -> None:
    for stage in ("build", "test"):
        report(run, named(a=b"1"), place=Place(stage, "same", "upload"))
    text = "$[jobs.same.upload.artifacts.app]"
    refusal = refused(UnresolvedReference, lambda: artifacts.resolve_text(run, text))
    assert "$[stages.<stage>." in refusal.detail


def test_a_run_without_artifacts_says_so(run: Run) -> None:
    text = "$[jobs.build.upload.artifacts.app]"
    refusal = refused(UnresolvedReference, lambda: artifacts.resolve_text(run, text))
    assert "It has none at all." in refusal.detail


def test_a_reference_leads_into_the_run_of_another_pipeline(site: Site) -> None:
    upstream = external_run(site.cast.ada, site.pipeline)
    artifact = report(upstream, named(a=b"1"))
    runs.finish(upstream, ExecutionState.SUCCEEDED, by=site.cast.ada)
    yaml = """
sources:
  up: {type: flowPipeline, flowPipeline: app}
stages:
  only:
    jobs:
      work:
        steps:
          go: {step: Command, with: {run: "true"}}
"""
    run = runs.start(make_pipeline(site.cast.ada, "down", yaml), by=site.cast.ada)
    found = artifacts.resolve_text(run, "$[sources.up.stages.build.build.upload.artifacts.default]")
    assert found == artifact


SAME_STAGE = """
stages:
  build:
    jobs:
      use:
        steps:
          show:
            step: Command
            with:
              run: |
                echo "url=$[jobs.make.up.artifacts.default]"
                echo "md5=$[jobs.make.up.artifacts.app.md5]"
                echo "sha256=$[stages.build.make.up.artifacts.app.sha256]"
      make:
        steps:
          make: {step: Command, with: {run: "printf 1 > a"}}
          up: {step: ArtifactUpload, with: {artifact: app, filePath: a}}
"""


@pytest.mark.django_db(transaction=True)
def test_references_become_text_where_a_step_uses_them(site: Site) -> None:
    pipeline = make_pipeline(site.cast.ada, "refs", SAME_STAGE)
    run = work_off(runs.start(pipeline, by=site.cast.ada))
    assert run.state == ExecutionState.SUCCEEDED
    log = "".join(chunk.text for chunk in run.jobs.get(key="use").log_chunks.all())
    artifact = run.artifacts.get()
    link = links.absolute(artifacts.download_path(artifact))
    assert f"url={link}?signature=" in log
    assert f"md5={hashlib.md5(b'1').hexdigest()}" in log
    assert f"sha256={hashlib.sha256(b'1').hexdigest()}" in log
