"""Publishing: an artifact becomes a version, once and for ever."""

import hashlib
import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import artifacts, blobs, runs
from pipelines.canonical import ManifestFile, canonical, digest, files_manifest, image_manifest
from pipelines.errors import Invalid, NameTaken, NotFound, UnresolvedReference, WrongState
from pipelines.models import Artifact, ExecutionState
from promotion import publishing, recalling
from promotion.errors import NotValidated, VersionExists
from promotion.evidence import keeping
from promotion.models import LedgerEntry, Package, Repository, Version
from tests.cast import Site, external_run, make_artifact
from tests.world import nothing_changes, refused

PLACE = artifacts.Place("build", "build", "upload")
IMAGE_DIGEST = f"sha256:{'b' * 64}"


def artifact_of(site: Site, **files: bytes) -> Artifact:
    return make_artifact(site.cast.ada, site.pipeline, files or None)


def publish(site: Site, artifact: Artifact, name: str = "1.0.0", package: str = "app") -> Version:
    return publishing.publish(site.repository, package, name, artifact, by=site.cast.ada).version


def image_of(site: Site) -> Artifact:
    run = external_run(site.cast.ada, site.pipeline)
    image = f"registry.example.com/app:1.0@{IMAGE_DIGEST}"
    artifact = artifacts.report_image(run, PLACE, "app", image, "", by=site.cast.ada)
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    return Artifact.objects.select_related("run__pipeline", "run__revision").get(pk=artifact.pk)


# ---- Published -----------------------------------------------------------------------------------
def test_a_version_is_its_artifacts_files_under_their_digest(site: Site) -> None:
    artifact = artifact_of(site, a=b"1", b=b"22")
    published = publishing.publish(
        site.repository, "app", "1.0.0", artifact, by=site.cast.ben, notes="First."
    )
    version = published.version
    assert published.is_new
    assert version.manifest_digest == artifact.digest == digest(version.manifest.encode())
    assert [(file.path, file.blob.size) for file in version.files.all()] == [("a", 1), ("b", 2)]
    assert (version.published_by, version.notes) == (site.cast.ben, "First.")
    assert version.bundle == artifact.bundle
    entry = LedgerEntry.objects.latest("sequence")
    assert (entry.type, entry.actor) == ("version.published", site.cast.ben)


def test_the_same_bytes_again_are_the_same_version(site: Site) -> None:
    version = publish(site, artifact_of(site, a=b"1", b=b"2"))
    same = artifact_of(site, b=b"2", a=b"1")
    with nothing_changes():
        again = publishing.publish(site.repository, "app", "1.0.0", same, by=site.cast.cleo)
    assert (again.version, again.is_new) == (version, False)


@pytest.mark.parametrize(
    "files", [{"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b"2"}], ids=["bytes", "name", "more"]
)
def test_other_bytes_under_a_name_that_exists_are_refused(
    site: Site, files: dict[str, bytes]
) -> None:
    version = publish(site, artifact_of(site, a=b"1"))
    other = artifact_of(site, **files)
    refusal = refused(VersionExists, lambda: publish(site, other))
    assert refusal.extra["current"] == version.manifest_digest
    assert publish(site, other, "1.0.1").manifest_digest == other.digest


def test_the_name_of_a_recalled_version_is_never_used_again(site: Site) -> None:
    artifact = artifact_of(site)
    recalling.recall(publish(site, artifact), by=site.cast.ben, reason="It loses data.")
    refusal = refused(VersionExists, lambda: publish(site, artifact))
    assert "was recalled" in refusal.detail
    other = artifact_of(site)
    refused(VersionExists, lambda: publish(site, other))


def test_the_same_name_in_another_package_is_another_version(site: Site) -> None:
    one, other = artifact_of(site), artifact_of(site)
    assert publish(site, one).pk != publish(site, other, package="web").pk
    assert Package.objects.count() == 2


@pytest.mark.parametrize("state", [state for state in ExecutionState if state != "succeeded"])
def test_only_what_a_succeeded_run_made_is_published(site: Site, state: ExecutionState) -> None:
    artifact = artifact_of(site)
    type(artifact.run)._default_manager.filter(pk=artifact.run_id).update(state=state)
    artifact.run.refresh_from_db()
    refusal = refused(NotValidated, lambda: publish(site, artifact))
    assert refusal.extra["current"] == state.value


BAD_VERSIONS = [
    "",
    " ",
    "1 0",
    "../1",
    "1/0",
    "-1",
    ".1",
    "1\n",
    "1\x00",
    "v" * 129,
    "１.０",
    "1%2F",
]
BAD_PACKAGES = ["", "App", "a b", "../a", "a/b", "-a", "a\n", "a" * 65, "ä", "a\x00"]


@pytest.mark.parametrize("name", BAD_VERSIONS)
def test_a_version_name_that_could_mislead_is_refused(site: Site, name: str) -> None:
    artifact = artifact_of(site)
    refused(Invalid, lambda: publish(site, artifact, name))


@pytest.mark.parametrize("name", BAD_PACKAGES)
def test_a_package_or_repository_name_that_could_mislead_is_refused(site: Site, name: str) -> None:
    artifact = artifact_of(site)
    refused(Invalid, lambda: publish(site, artifact, package=name))
    refused(Invalid, lambda: publishing.create_repository(name, by=site.cast.ada))


@pytest.mark.parametrize("name", ["1", "v1.0.0-rc.1+build.5", "2026_11", "V" * 128])
def test_names_that_people_use_are_taken(site: Site, name: str) -> None:
    assert publish(site, artifact_of(site), name).name == name


def test_an_image_goes_where_images_are_and_files_where_files_are(site: Site) -> None:
    images = publishing.create_repository("images", by=site.cast.ada, kind="docker")
    image, files = image_of(site), artifact_of(site)

    def put(repository: Repository, artifact: Artifact) -> publishing.Published:
        return publishing.publish(repository, "app", "1.0.0", artifact, by=site.cast.ada)

    refused(Invalid, lambda: put(site.repository, image))
    refused(Invalid, lambda: put(images, files))
    version = put(images, image).version
    assert version.manifest.encode() == image_manifest(IMAGE_DIGEST)
    assert version.image == f"registry.example.com/app:1.0@{IMAGE_DIGEST}"
    assert (version.image_tag, version.bundle) == ("1.0", None)


def test_a_repository_has_one_kind_and_its_own_name(site: Site) -> None:
    refused(Invalid, lambda: publishing.create_repository("x", by=site.cast.ada, kind="maven"))
    refused(NameTaken, lambda: publishing.create_repository("apps", by=site.cast.ada))


def test_provenance_tells_where_the_bytes_come_from(site: Site) -> None:
    run = runs.report(
        site.pipeline, by=site.cast.ada, url="https://ci.example.com/7", commit="c" * 40
    )
    kept = artifacts.NamedBlob("app.txt", blobs.keep_bytes([b"app"]))
    artifact = artifacts.report_files(run, PLACE, "app", [kept], by=site.cast.ada)
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    version = publish(site, Artifact.objects.get(pk=artifact.pk))
    revision = site.pipeline.revision
    assert revision is not None
    assert version.provenance == {
        "pipeline": "app",
        "run": run.number,
        "revision": 1,
        "revision_digest": revision.digest,
        "commit": "c" * 40,
        "sources": {},
        "artifact": artifact.pk,
        "reference": "$[stages.build.build.upload.artifacts.app]",
        "url": "https://ci.example.com/7",
    }
    body = json.loads(bytes(LedgerEntry.objects.latest("sequence").body))
    assert body["data"]["provenance"] == version.provenance


def test_an_artifact_is_found_by_pipeline_run_and_reference(site: Site) -> None:
    artifact = artifact_of(site)
    find = publishing.artifact_of_reference
    assert find("app", 1, "$[stages.build.build.upload.artifacts.app]") == artifact
    assert find("app", 1, " $[stages.build.build.upload.artifacts.default] ") == artifact
    refused(NotFound, lambda: find("app", 2, "$[stages.build.build.upload.artifacts.app]"))
    refused(NotFound, lambda: find("web", 1, "$[stages.build.build.upload.artifacts.app]"))
    refused(UnresolvedReference, lambda: find("app", 1, "app"))
    refused(UnresolvedReference, lambda: find("app", 1, "$[stages.build.build.upload.artifacts.x]"))


# ---- Manifests -----------------------------------------------------------------------------------
def test_a_manifest_is_canonical_json_with_known_bytes() -> None:
    sha256 = hashlib.sha256(b"1").hexdigest()
    assert (
        files_manifest([ManifestFile("ä/b", sha256, 1, True)])
        == (
            f'{{"files":[{{"executable":true,"path":"ä/b","sha256":"{sha256}","size":1}}],'
            '"kind":"files"}'
        ).encode()
    )


def test_a_manifest_does_not_depend_on_the_order_of_files() -> None:
    files = [ManifestFile(path, "0" * 64, 1) for path in ("b", "a", "a/b", "B")]
    assert len({files_manifest(order) for order in permutations(files)}) == 1


def test_a_manifest_depends_on_all_it_says_of_a_file() -> None:
    one = ManifestFile("a", "0" * 64, 1, False)
    others = [
        ManifestFile("b", "0" * 64, 1, False),
        ManifestFile("a", "1" * 64, 1, False),
        ManifestFile("a", "0" * 64, 2, False),
        ManifestFile("a", "0" * 64, 1, True),
    ]
    assert len({files_manifest([each]) for each in [one, *others]}) == 5


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(Json)
def test_canonical_json_reads_back_as_what_it_was_and_is_its_own_canon(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers(-1000, 1000), max_size=6))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


# ---- Recall and evidence -------------------------------------------------------------------------
def test_a_recall_says_why_and_what_to_take_instead(site: Site) -> None:
    bad, good = publish(site, artifact_of(site)), publish(site, artifact_of(site), "1.0.1")
    recalling.recall(bad, by=site.cast.ben, reason=" It loses data. ", replacement=good)
    bad.refresh_from_db()
    assert (bad.recall_reason, bad.replacement) == ("It loses data.", good)
    body = json.loads(bytes(LedgerEntry.objects.latest("sequence").body))
    assert (body["type"], body["data"]["replacement"]) == ("version.recalled", "1.0.1")
    assert list(Version.objects.available()) == [good]


def test_a_recall_needs_a_reason_and_a_replacement_that_can_replace(site: Site) -> None:
    bad, other = publish(site, artifact_of(site)), publish(site, artifact_of(site), package="web")
    gone = publish(site, artifact_of(site), "0.9.0")
    recalling.recall(gone, by=site.cast.ben, reason="It is old.")

    def recall(reason: str, replacement: Version | None) -> Version:
        return recalling.recall(bad, by=site.cast.ben, reason=reason, replacement=replacement)

    refused(Invalid, lambda: recall(" ", None))
    refused(Invalid, lambda: recall("It is bad.", bad))
    refused(Invalid, lambda: recall("It is bad.", other))
    refused(WrongState, lambda: recall("It is bad.", gone))


def test_the_same_evidence_again_is_found_and_not_doubled(site: Site) -> None:
    version = publish(site, artifact_of(site))

    def add(**payload: int) -> int:
        return keeping.add_evidence(
            version, by=site.cast.ada, predicate_type="test", result="passed", payload=payload
        ).evidence.pk

    first = add(passed=10)
    with nothing_changes():
        assert add(passed=10) == first
    assert add(passed=11) != first
    refused(
        Invalid,
        lambda: keeping.add_evidence(
            version, by=site.cast.ada, predicate_type=" ", result="", payload={}
        ),
    )
