"""Downloads: whole and in ranges, each with what the receiver needs to check it."""

import base64
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pipelines import artifacts, blobs, links, scrubbing, tasks
from pipelines.errors import Damaged
from pipelines.models import Artifact
from pipelines.storage import DurableFileSystemStorage
from tests.api.caller import problem
from tests.api.conftest import People, Things
from tests.cast import make_artifact
from tests.parts.s3 import storages_of

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)


@pytest.fixture
def artifact(things: Things) -> Artifact:
    site = things.site
    return make_artifact(site.cast.ada, site.pipeline, {"bytes.bin": CONTENT})


@pytest.fixture
def path(artifact: Artifact) -> str:
    return f"/api/v1/artifacts/{artifact.pk}/download/"


def test_a_whole_download_carries_its_digest_and_is_never_shown_in_the_page(
    people: People, path: str
) -> None:
    answer = people.production.get(path)
    raw = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert answer.content == CONTENT
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Repr-Digest"] == f"sha-256=:{raw}:"
    assert answer.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert answer.headers["Content-Disposition"] == 'attachment; filename="bytes.bin"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private"
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_version_and_each_of_its_files_are_served_the_same_way(people: People) -> None:
    version = "repositories/apps/packages/app/versions/1.0.0/"
    whole = people.production.get(f"{version}download/")
    assert 'filename="app.tgz"' in whole.headers["Content-Disposition"]
    digest = people.production.get(version).json
    one = people.production.get(f"{version}files/bin/run.sh")
    assert (one.content, one.headers["ETag"]) == (
        b"echo 1",
        f'"{digest["files"][0]["sha256"]}"',
    )
    assert 'filename="run.sh"' in one.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("range_", "start", "end"),
    [("bytes=0-0", 0, 0), ("bytes=0-99", 0, 99), ("bytes=5000-5999", 5000, 5999),
     ("bytes=10000-", 10000, SIZE - 1), ("bytes=-1", SIZE - 1, SIZE - 1),
     ("bytes=-500", SIZE - 500, SIZE - 1), ("bytes=-999999", 0, SIZE - 1),
     ("bytes=0-999999", 0, SIZE - 1), (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1)],
)  # fmt: skip
def test_a_range_is_answered_with_exactly_its_bytes(
    range_: str, start: int, end: int, people: People, path: str
) -> None:
    answer = people.production.get(path, Range=range_, expect=206)
    assert answer.content == CONTENT[start : end + 1]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start + 1)
    # The digest is that of the whole, so that the pieces can be checked once they are together.
    assert answer.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.mark.parametrize(
    "range_", [f"bytes={SIZE}-", "bytes=999999-", "bytes=-0", "bytes=" + "9" * 18 + "-"]
)
def test_a_range_beyond_the_end_is_refused_with_the_size(
    range_: str, people: People, path: str
) -> None:
    answer = people.production.call("GET", path, Range=range_)
    problem(answer, 416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "range_",
    ["bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=0-1", "bytes", "", "bytes=9-3",
     "bytes=" + "9" * 5000 + "-", "bytes=0-" + "9" * 30, "bytes=-" + "9" * 5000, "bytes=٣-"],
)  # fmt: skip
def test_a_range_that_is_not_understood_is_ignored(range_: str, people: People, path: str) -> None:
    answer = people.production.get(path, Range=range_.encode().decode("latin-1"))
    assert answer.content == CONTENT


def test_a_range_of_other_bytes_than_the_caller_has_is_not_a_range(
    people: People, path: str
) -> None:
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    part = people.production.get(path, Range="bytes=0-9", If_Range=tag, expect=206)
    assert part.content == CONTENT[:10]
    for other in ('"other"', f"W/{tag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert people.production.get(path, Range="bytes=0-9", If_Range=other).content == CONTENT


def test_what_the_caller_has_already_is_not_sent_again(people: People, path: str) -> None:
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for matches in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = people.production.get(path, If_None_Match=matches, expect=304)
        assert (answer.content, answer.headers["ETag"]) == (b"", tag)
    assert people.production.get(path, If_None_Match='"other"').content == CONTENT


def test_head_tells_everything_but_the_bytes(people: People, path: str) -> None:
    answer = people.production.call("HEAD", path)
    assert (answer.status, answer.content) == (200, b"")
    whole = people.production.get(path)
    for name in ("Content-Length", "ETag", "Repr-Digest", "Content-Disposition", "Accept-Ranges"):
        assert answer.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "accept", ["application/octet-stream", "*/*", "text/html", "application/gzip, image/*"]
)
def test_the_bytes_come_whatever_the_caller_says_it_accepts(
    accept: str, people: People, path: str
) -> None:
    assert people.production.get(path, Accept=accept).content == CONTENT


@pytest.mark.parametrize(
    "name",
    ['a"; filename="b.exe', "a;b.txt", "ünï.txt", "<script>.html", "a'b.txt", "x.html", "a%0d%0ab",
     "文件.bin"],
)  # fmt: skip
def test_a_hostile_name_stays_inside_the_disposition(
    name: str, people: People, things: Things
) -> None:
    site = things.site
    made = make_artifact(site.cast.ada, site.pipeline, {name: f"named {name}".encode()})
    answer = people.production.get(f"artifacts/{made.pk}/download/")
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment")
    assert disposition.count("filename=") + disposition.count("filename*=") == (
        2 if 'filename="b' in name else 1
    )
    assert disposition.isascii()
    assert "\r" not in disposition
    assert "\n" not in disposition
    assert answer.headers["Content-Type"] == "application/octet-stream"


# ---- Signed links ------------------------------------------------------------------------------
def _below_root(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def test_a_signed_link_needs_no_token(people: People, path: str) -> None:
    link = _below_root(links.signed(path))
    assert people.nobody.get(link).content == CONTENT
    assert people.nobody.get(link, Range="bytes=0-3", expect=206).content == CONTENT[:4]
    assert people.nobody.call("HEAD", link).status == 200
    assert people.mallory.get(link).content == CONTENT


def test_a_signed_link_opens_its_own_path_only(people: People, path: str, things: Things) -> None:
    signature = links.signed(path).partition("?")[2]
    for other in (
        f"artifacts/{things.artifact.pk}/download/",
        "repositories/apps/packages/app/versions/1.0.0/download/",
        "repositories/apps/packages/app/versions/1.0.0/files/readme.txt",
    ):
        problem(people.nobody.call("GET", f"{other}?{signature}"), 403, "link_not_genuine")
        problem(people.mallory.call("GET", f"{other}?{signature}"), 403, "link_not_genuine")
        # Whoever may have it anyway is not kept from it by a signature that is none.
        assert people.production.call("GET", f"{other}?{signature}").status == 200


def test_a_signature_opens_nothing_but_bytes(people: People, artifact: Artifact) -> None:
    path = f"/api/v1/artifacts/{artifact.pk}/"
    signature = links.signed(path).partition("?")[2]
    problem(people.nobody.call("GET", f"{path}?{signature}"), 401, "unauthenticated")


def test_a_tampered_or_empty_signature_is_none(people: People, path: str) -> None:
    signature = links.signed(path).partition("signature=")[2]
    for other in (signature[:-1], signature + "A", signature.upper(), "a:b", "%00", "ü"):
        answer = people.nobody.call("GET", f"{path}?signature={other}")
        assert "Use the whole link" in problem(answer, 403, "link_not_genuine")["detail"]
    problem(people.nobody.call("GET", f"{path}?signature="), 401, "unauthenticated")


def test_a_signed_link_expires(people: People, path: str, settings: Any) -> None:
    link = _below_root(links.signed(path))
    settings.LINK_LIFETIME = timedelta(seconds=-1)
    answer = people.nobody.call("GET", link)
    assert "whose downloadUrl is a new link" in problem(answer, 403, "link_expired")["detail"]


@pytest.mark.parametrize("name", ["a b.txt", "ünï&?#.txt", "100%25.txt", "文件.bin"])
def test_a_download_url_ends_with_the_name_of_the_file(
    name: str, people: People, things: Things
) -> None:
    site = things.site
    made = make_artifact(site.cast.ada, site.pipeline, {name: f"named {name}".encode()})
    link = _below_root(artifacts.descriptor(made)["downloadUrl"])
    assert unquote(urlsplit(link).path).endswith(f"/download/{name}")
    assert people.nobody.get(link).content == f"named {name}".encode()
    other = urlsplit(link)._replace(path=f"/api/v1/artifacts/{made.pk}/download/other.txt")
    problem(people.nobody.call("GET", other.geturl()), 403, "link_not_genuine")
    problem(people.production.call("GET", other.geturl()), 404, "not_found")


# ---- Conditions and methods ----------------------------------------------------------------------
def test_a_range_is_for_get_alone(people: People, path: str) -> None:
    answer = people.production.call("HEAD", path, Range="bytes=0-9")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
    assert "Content-Range" not in answer.headers


def test_what_the_caller_has_comes_before_the_range_it_asks_for(people: People, path: str) -> None:
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for range_ in ("bytes=0-9", f"bytes={SIZE}-"):
        answer = people.production.get(path, Range=range_, If_None_Match=tag, expect=304)
        assert answer.content == b""
    part = people.production.get(path, Range="BYTES=0-9", If_None_Match='"other"', expect=206)
    assert part.content == CONTENT[:10]


def test_other_bytes_than_those_that_must_match_are_not_sent(people: People, path: str) -> None:
    tag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert people.production.get(path, If_Match=tag).content == CONTENT
    answer = people.production.call("GET", path, If_Match='"other"', Range="bytes=0-9")
    problem(answer, 412, "precondition_failed")


def test_nothing_at_all_is_served_too(people: People, things: Things) -> None:
    site = things.site
    made = make_artifact(site.cast.ada, site.pipeline, {"empty": b""})
    path = f"artifacts/{made.pk}/download/"
    assert people.production.get(path).content == b""
    assert people.production.get(path, Range="bytes=-5").content == b""
    problem(people.production.call("GET", path, Range="bytes=0-"), 416, "range_not_satisfiable")


def test_a_file_of_an_artifact_is_served_by_its_path(people: People, things: Things) -> None:
    artifact = things.version.artifact_id
    answer = people.production.get(f"artifacts/{artifact}/files/bin/run.sh")
    assert answer.content == b"echo 1"
    assert 'filename="run.sh"' in answer.headers["Content-Disposition"]
    problem(people.production.call("GET", f"artifacts/{artifact}/files/run.sh"), 404, "not_found")


# ---- Archives ------------------------------------------------------------------------------------
VERSION = "repositories/apps/packages/app/versions/1.0.0/download/"


def test_a_bundle_is_served_in_ranges_as_any_file_is(people: People) -> None:
    whole = people.production.get(VERSION)
    assert whole.headers["ETag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    for first, last in ((0, 9), (5, 700), (2000, len(whole.content) - 1)):
        part = people.production.get(VERSION, Range=f"bytes={first}-{last}", expect=206)
        assert part.content == whole.content[first : last + 1]
    assert people.production.get(f"{VERSION}?format=tar.gz").content == whole.content


def test_a_zip_has_a_length_beforehand_and_the_same_bytes_each_time(people: People) -> None:
    first, again = (people.production.get(f"{VERSION}?format=zip") for _ in range(2))
    assert first.content == again.content
    assert first.headers["Content-Length"] == str(len(first.content))
    assert first.headers["Content-Disposition"] == 'attachment; filename="app.zip"'
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert {each.filename: archive.read(each) for each in archive.infolist()} == {
            "bin/run.sh": b"echo 1",
            "readme.txt": b"one",
        }
    head = people.production.call("HEAD", f"{VERSION}?format=zip")
    assert (head.status, head.content) == (200, b"")
    for name in ("Content-Length", "ETag", "Content-Disposition", "Accept-Ranges"):
        assert head.headers[name] == first.headers[name]
    tag = first.headers["ETag"]
    assert people.production.get(f"{VERSION}?format=zip", If_None_Match=tag, expect=304)
    assert (
        people.production.get(f"{VERSION}?format=zip", Range="bytes=0-9").content == first.content
    )


def test_a_single_file_can_be_had_in_an_archive(people: People, path: str) -> None:
    zipped = people.production.get(f"{path}?format=zip")
    with zipfile.ZipFile(io.BytesIO(zipped.content)) as archive:
        assert archive.read("bytes.bin") == CONTENT
    assert 'filename="bytes.bin.zip"' in zipped.headers["Content-Disposition"]
    tarred = people.production.get(f"{path}?format=tar.gz")
    assert tarred.headers["Content-Length"] == str(len(tarred.content))
    with tarfile.open(fileobj=io.BytesIO(tarred.content)) as tar:
        content = tar.extractfile("bytes.bin")
        assert content is not None
        assert content.read() == CONTENT
    assert zipped.headers["ETag"] != tarred.headers["ETag"]


def test_a_form_that_is_not_known_is_refused(people: People, path: str) -> None:
    answer = people.production.call("GET", f"{path}?format=rar")
    assert "tar.gz, zip" in problem(answer, 422, "invalid")["detail"]


# ---- Damage --------------------------------------------------------------------------------------
def of_its_own(things: Things, size: int) -> Artifact:
    """An artifact of bytes that no other test has."""
    site = things.site
    return make_artifact(site.cast.ada, site.pipeline, {"own.bin": os.urandom(size)})


def damage(artifact: Artifact) -> None:
    """Turn the artifact's stored bytes into as many others."""
    assert artifact.bundle is not None
    stored = Path(blobs.store().path(artifact.bundle.storage_name))
    stored.chmod(0o600)
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def test_a_small_file_that_is_damaged_is_refused(people: People, things: Things) -> None:
    made = of_its_own(things, 5000)
    damage(made)
    answer = people.production.call("GET", f"artifacts/{made.pk}/download/")
    assert "Tell an operator" in problem(answer, 500, "damaged")["detail"]


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 9 * 1024 * 1024])
@pytest.mark.parametrize("form", ["", "?format=zip", "?format=tar.gz"])
def test_a_large_file_that_is_damaged_never_comes_whole(
    size: int, form: str, people: People, things: Things, settings: Any
) -> None:
    made = of_its_own(things, size)
    damage(made)
    with pytest.raises(Damaged):
        people.production.get(f"artifacts/{made.pk}/download/{form}")
    settings.VERIFY_READS = False
    assert people.production.get(f"artifacts/{made.pk}/download/{form}").content


@pytest.fixture
def second_copy(tmp_path: Path) -> Iterator[None]:
    options = {"location": str(tmp_path / "second")}
    described = {"BACKEND": "pipelines.storage.DurableFileSystemStorage", "OPTIONS": options}
    with storages_of(copy=described):
        yield


def test_a_small_file_that_is_damaged_comes_from_the_second_copy_and_is_mended(
    people: People, things: Things, second_copy: None
) -> None:
    made = of_its_own(things, 5000)
    damage(made)
    assert made.bundle is not None
    content = people.production.get(f"artifacts/{made.pk}/download/").content
    assert hashlib.sha256(content).hexdigest() == made.bundle.sha256
    assert blobs.reads_true_in(made.bundle, blobs.store())


@pytest.mark.parametrize("form", ["", "?format=zip"])
def test_a_large_file_that_is_damaged_is_mended_for_the_next_download(
    form: str,
    people: People,
    things: Things,
    second_copy: None,
    nobody_listens_to_the_queue: list[tuple[str, Any]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    made = of_its_own(things, 3 * 1024 * 1024)
    damage(made)
    assert made.bundle is not None
    path = f"artifacts/{made.pk}/download/{form}"
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(Damaged):
        people.production.get(path)
    assert (scrubbing.MEND, made.bundle.sha256) in nobody_listens_to_the_queue
    tasks.mend_bytes(made.bundle.sha256)
    assert people.production.get(path).content


def test_bytes_that_end_early_break_the_download_off(people: People, things: Things) -> None:
    made = of_its_own(things, 10_000)
    assert made.bundle is not None
    path = f"artifacts/{made.pk}/download/"
    stored = Path(blobs.store().path(made.bundle.storage_name))
    whole = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(whole[:100])
    problem(people.production.call("GET", path), 500, "damaged")
    with pytest.raises(OSError, match="ended early"):
        people.production.get(path, Range="bytes=50-200", expect=206)
    stored.write_bytes(whole)
    assert people.production.get(path).content == whole


# ---- From elsewhere ------------------------------------------------------------------------------
class SigningStorage(DurableFileSystemStorage):
    """Its addresses are those that a bucket would sign."""

    def signed_url(self, name: str, seconds: int, filename: str) -> str:
        return f"https://bucket.example/{name}?expires={seconds}&as={quote(filename)}"


def test_a_storage_that_signs_is_where_stored_bytes_come_from(
    people: People, artifact: Artifact, path: str, settings: Any
) -> None:
    settings.SIGNED_URLS = True
    assert people.production.get(path).content == CONTENT
    options = settings.STORAGES["blobs"]["OPTIONS"]
    backend = f"{__name__}.SigningStorage"
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {"BACKEND": backend, "OPTIONS": options},
    }
    answer = people.production.get(path, expect=302)
    assert artifact.bundle is not None
    assert answer.headers["Location"] == (
        f"https://bucket.example/{artifact.bundle.storage_name}?expires=300&as=bytes.bin"
    )
    assert (answer.content, answer.headers["Cache-Control"]) == (b"", "private, no-store")
    assert people.production.call("HEAD", path).headers["Content-Length"] == str(SIZE)
    tag = f'"{artifact.bundle.sha256}"'
    people.production.get(path, If_None_Match=tag, expect=304)
    problem(people.mallory.call("GET", path), 403, "forbidden")
    # What is composed is nowhere but here.
    assert people.production.get(VERSION).content
    settings.SIGNED_URLS = False
    assert people.production.get(path).content == CONTENT


def test_behind_nginx_stored_bytes_are_left_to_it(
    people: People, things: Things, settings: Any
) -> None:
    artifact = of_its_own(things, SIZE)
    path = f"artifacts/{artifact.pk}/download/"
    settings.ACCEL_REDIRECT = "/internal-blobs/"
    assert artifact.bundle is not None
    for range_ in ("", "bytes=0-9"):
        answer = people.production.get(path, Range=range_)
        assert answer.content == b""
        assert answer.headers["X-Accel-Redirect"] == (
            f"/internal-blobs/{artifact.bundle.storage_name}"
        )
    beyond = people.production.call("GET", path, Range=f"bytes={SIZE}-")
    problem(beyond, 416, "range_not_satisfiable")
    assert "X-Accel-Redirect" not in people.production.get(VERSION).headers
    assert "X-Accel-Redirect" not in people.production.get(f"{path}?format=zip").headers
    problem(people.mallory.call("GET", path), 403, "forbidden")
    Path(blobs.store().path(artifact.bundle.storage_name)).unlink()
    problem(people.production.call("GET", path), 404, "not_found")


def test_what_the_storage_itself_has_lost_comes_out_of_the_second_copy(
    people: People, things: Things, settings: Any, tmp_path: Path
) -> None:
    kinds = settings.STORAGES
    options = {"location": str(tmp_path)}
    backend = "pipelines.storage.DurableFileSystemStorage"
    settings.STORAGES = {**kinds, "blobs-copy": {"BACKEND": backend, "OPTIONS": options}}
    artifact = of_its_own(things, SIZE)
    assert artifact.bundle is not None
    first = Path(blobs.store().path(artifact.bundle.storage_name))
    whole = first.read_bytes()
    first.unlink()
    path = f"artifacts/{artifact.pk}/download/"
    settings.ACCEL_REDIRECT = "/internal-blobs/"
    assert people.production.get(path).content == whole
    settings.ACCEL_REDIRECT = ""
    settings.SIGNED_URLS = True
    signing = {"BACKEND": f"{__name__}.SigningStorage", "OPTIONS": kinds["blobs"]["OPTIONS"]}
    settings.STORAGES = {**settings.STORAGES, "blobs": signing}
    assert people.production.get(path).content == whole


def test_a_bundle_of_which_a_file_is_lost_is_not_found(people: People, things: Things) -> None:
    site = things.site
    made = make_artifact(site.cast.ada, site.pipeline, {"a": os.urandom(50), "b": b"b"})
    lost = made.files.select_related("blob").get(path="a").blob
    Path(blobs.store().path(lost.storage_name)).unlink()
    problem(people.production.call("GET", f"artifacts/{made.pk}/download/"), 404, "not_found")


def test_a_file_of_a_version_is_fetched_without_all_that_hangs_on_the_version(
    people: People,
) -> None:
    for path in ("files/bin/run.sh", "download/"):
        with CaptureQueriesContext(connection) as asked:
            people.production.get(f"{VERSION.removesuffix('download/')}{path}")
        said = [each["sql"] for each in asked.captured_queries]
        assert not any("promotion_evidence" in sql or '."manifest"' in sql for sql in said)
