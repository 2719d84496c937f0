"""Downloads: whole and in ranges, each with what the receiver needs to check it."""

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import blobs, links
from pipelines.models import Artifact
from tests.api.caller import problem
from tests.api.conftest import People, Things
from tests.cast import make_artifact

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
        problem(people.nobody.call("GET", f"{other}?{signature}"), 401, "unauthenticated")
        problem(people.mallory.call("GET", f"{other}?{signature}"), 403, "forbidden")


def test_a_signature_opens_nothing_but_bytes(people: People, artifact: Artifact) -> None:
    path = f"/api/v1/artifacts/{artifact.pk}/"
    signature = links.signed(path).partition("?")[2]
    problem(people.nobody.call("GET", f"{path}?{signature}"), 401, "unauthenticated")


def test_a_tampered_or_empty_signature_is_none(people: People, path: str) -> None:
    signature = links.signed(path).partition("signature=")[2]
    for other in (signature[:-1], signature + "A", signature.upper(), "", "a:b", "%00", "ü"):
        if other != signature:
            answer = people.nobody.call("GET", f"{path}?signature={other}")
            problem(answer, 401, "unauthenticated")


def test_a_signed_link_expires(people: People, path: str, settings: Any) -> None:
    link = _below_root(links.signed(path))
    settings.LINK_LIFETIME = timedelta(seconds=-1)
    problem(people.nobody.call("GET", link), 401, "unauthenticated")


def test_bytes_that_end_early_break_the_download_off(
    people: People, artifact: Artifact, path: str
) -> None:
    assert artifact.bundle is not None
    stored = Path(blobs.store().path(artifact.bundle.storage_name))
    stored.chmod(0o600)
    stored.write_bytes(CONTENT[:100])
    with pytest.raises(OSError, match="ended early"):
        people.production.get(path)
    stored.write_bytes(CONTENT)
    assert people.production.get(path).content == CONTENT
