"""Uploads in parts over HTTP: what is checked of each part, and how a sender goes on."""

import hashlib
import os
from typing import Any

import pytest

from pipelines.models import Artifact, Upload
from tests.api.caller import Answer, Api
from tests.api.conftest import People, Things
from tests.api.test_uploads import digest, incoming
from tests.cast import external_run
from tests.world import nothing_changes, stored_files

PART = 1000
RAW = "application/octet-stream"


@pytest.fixture(autouse=True)
def small_parts(settings: Any) -> None:
    settings.UPLOAD_PART_BYTES = PART


@pytest.fixture
def path(things: Things) -> str:
    return f"pipelines/app/runs/{things.external.number}/uploads/"


def begin(who: Api, path: str, *files: dict[str, Any], name: str = "large", **headers: Any) -> Any:
    return who.post(path, {"artifact": name, "files": list(files)}, **headers).json


def put(who: Api, url: str, data: bytes, **headers: Any) -> Answer:
    return who.call("PUT", url, data, content_type=RAW, **headers)


def refused(who: Api, url: str, data: bytes, status: int, code: str, **headers: Any) -> Any:
    return who.refused("PUT", url, data, content_type=RAW, status=status, code=code, **headers)


def test_a_sender_who_was_cut_off_asks_what_is_missing_and_sends_that(
    people: People, path: str
) -> None:
    data, ada = os.urandom(2500), people.ada
    sha256 = hashlib.sha256(data).hexdigest()
    made = begin(
        ada, path, {"path": "a.bin", "size": 2500, "sha256": sha256}, {"path": "b", "size": 0}
    )
    assert (made["state"], made["part_size"], made["size"]) == ("open", PART, 2500)
    assert [file["parts"] for file in made["files"]] == [3, 0]
    url = f"{path}{made['id']}/"
    part = data[1000:2000]
    answer = put(ada, f"{url}parts/1/2/", part, Content_Digest=digest(part))
    assert answer.status == 201
    assert answer.json == {"number": 2, "size": 1000, "sha256": hashlib.sha256(part).hexdigest()}
    assert put(ada, f"{url}parts/1/2/", part).status == 200
    there = ada.get(url).json
    assert there["files"][0]["received"] == [answer.json]
    assert there["missing"] == [
        {"file": 1, "part": 1, "offset": 0, "size": 1000},
        {"file": 1, "part": 3, "offset": 2000, "size": 500},
    ]
    document = ada.refused("POST", f"{url}complete/", status=409, code="incomplete")
    assert [each["part"] for each in document["missing"]] == [1, 3]
    for each in there["missing"]:
        body = data[each["offset"] : each["offset"] + each["size"]]
        assert put(ada, f"{url}parts/1/{each['part']}/", body).status == 201
    artifact = ada.post(f"{url}complete/").json
    assert [(file["path"], file["sha256"]) for file in artifact["files"]] == [
        ("a.bin", sha256),
        ("b", hashlib.sha256(b"").hexdigest()),
    ]
    assert ada.post(f"{url}complete/", expect=200).json == artifact
    ended = ada.get(url).json
    assert (ended["state"], ended["artifact_id"], ended["missing"]) == (
        "completed",
        artifact["id"],
        [],
    )


def test_the_same_key_begins_one_upload(people: People, path: str) -> None:
    file = {"path": "a", "size": 1}
    before = Upload.objects.count()
    made = begin(people.ada, path, file, Idempotency_Key="once")
    assert begin(people.ada, path, file, Idempotency_Key="once") == made
    assert Upload.objects.count() == before + 1


# ---- What is checked of a part -----------------------------------------------------------------
@pytest.fixture
def part(people: People, path: str) -> str:
    made = begin(people.ada, path, {"path": "a", "size": 1500})
    return f"{path}{made['id']}/parts/1/1/"


@pytest.mark.parametrize("header", ["Repr_Digest", "Content_Digest"])
def test_other_bytes_than_were_announced_are_refused(
    header: str, people: People, part: str
) -> None:
    wrong = {header: digest(b"other")}
    refused(people.ada, part, os.urandom(1000), 400, "digest_mismatch", **wrong)
    refused(people.ada, part, os.urandom(1000), 400, "bad_request", **{header: "nonsense"})
    assert incoming() == []


@pytest.mark.parametrize("missing", [1, 500, 999, 1000])
def test_a_body_that_is_cut_short_is_refused_and_leaves_nothing(
    missing: int, people: People, part: str
) -> None:
    body = os.urandom(1000)
    refused(people.ada, part, body, 400, "truncated_upload", arrives=body[: 1000 - missing])
    assert incoming() == []


def test_a_part_of_another_length_is_refused(people: People, part: str) -> None:
    refused(people.ada, part, os.urandom(1001), 413, "too_large")
    refused(people.ada, part, os.urandom(999), 400, "truncated_upload")
    refused(people.ada, part, b"", 400, "truncated_upload")


@pytest.mark.parametrize("form", ["application/json", "text/plain", "multipart/form-data", "x"])
def test_a_part_is_bytes_and_nothing_else(form: str, people: People, part: str) -> None:
    people.ada.refused(
        "PUT", part, b"{}", content_type=form, status=415, code="unsupported_media_type"
    )


def test_other_bytes_of_the_same_number_are_refused(people: People, part: str) -> None:
    first = put(people.ada, part, os.urandom(1000)).json
    document = refused(people.ada, part, os.urandom(1000), 409, "part_differs")
    assert document["current"] == first["sha256"]


def test_a_part_of_a_file_of_one_is_held_against_the_files_digest(
    people: People, path: str
) -> None:
    right = hashlib.sha256(b"right").hexdigest()
    made = begin(people.ada, path, {"path": "a", "size": 5, "sha256": right})
    part = f"{path}{made['id']}/parts/1/1/"
    refused(people.ada, part, b"wrong", 400, "digest_mismatch")
    assert put(people.ada, part, b"right").status == 201


def test_parts_that_do_not_make_the_announced_file_make_no_artifact(
    people: People, path: str
) -> None:
    digest_of_file = hashlib.sha256(b"another").hexdigest()
    made = begin(people.ada, path, {"path": "a", "size": 1500, "sha256": digest_of_file})
    url = f"{path}{made['id']}/"
    put(people.ada, f"{url}parts/1/1/", os.urandom(1000))
    put(people.ada, f"{url}parts/1/2/", os.urandom(500))
    people.ada.refused("POST", f"{url}complete/", status=400, code="digest_mismatch")
    assert incoming() == []
    people.ada.post(f"{url}abort/", expect=200)


# ---- What is announced -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        ({"path": "../x", "size": 1}, 400, "invalid_filename"),
        ({"path": " /x", "size": 1}, 201, ""),
        ({"path": "", "size": 1}, 422, "invalid"),
        ({"path": "x" * 256, "size": 1}, 400, "invalid_filename"),
        ({"path": "a", "size": -1}, 422, "invalid"),
        ({"path": "a", "size": 2**63}, 422, "invalid"),
        ({"path": "a", "size": 2**62}, 413, "too_large"),
        ({"path": "a"}, 422, "invalid"),
        ({"path": "a", "size": 1, "sha256": "A" * 64}, 422, "invalid"),
        ({"path": "a", "size": 1, "sha256": "0" * 63}, 422, "invalid"),
        ({"path": "a", "size": 1, "mode": 755}, 400, "unknown_field"),
        ("a", 422, "invalid"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_before_it_is_sent(
    file: Any, status: int, code: str, people: People, path: str
) -> None:
    body = {"artifact": "large", "files": [{"path": "ok", "size": 1}, file]}
    if status == 201:
        people.ada.post(path, body)
    else:
        people.ada.refused("POST", path, body, status=status, code=code)


def test_an_upload_without_files_or_with_one_twice_is_refused(people: People, path: str) -> None:
    body: dict[str, Any] = {"artifact": "large", "files": []}
    people.ada.refused("POST", path, body, status=422, code="invalid")
    body["files"] = [{"path": "a", "size": 1}] * 2
    people.ada.refused("POST", path, body, status=400, code="invalid_filename")


# ---- Whose it is -------------------------------------------------------------------------------
def test_another_runs_upload_is_not_under_this_one(people: People, things: Things) -> None:
    other = external_run(things.site.cast.ada, things.site.pipeline)
    url = f"pipelines/app/runs/{other.number}/uploads/{things.whole.pk}/"
    people.ada.refused("GET", url, status=404, code="not_found")
    refused(people.ada, f"{url}parts/1/1/", b"parts", 404, "not_found")
    for verb in ("complete", "abort"):
        people.ada.refused("POST", f"{url}{verb}/", status=404, code="not_found")


def test_the_right_to_report_may_be_lost_in_the_middle(people: People, things: Things) -> None:
    ada = things.site.cast.ada
    type(ada).objects.filter(pk=ada.pk).update(roles=["auditor"])
    url = f"pipelines/app/runs/{things.external.number}/uploads/{things.whole.pk}/"
    refused(people.ada, f"{url}parts/1/1/", b"parts", 403, "forbidden")
    people.ada.refused("POST", f"{url}complete/", status=403, code="forbidden")


def test_a_run_that_has_ended_takes_no_parts(people: People, things: Things) -> None:
    run = f"pipelines/app/runs/{things.external.number}/"
    people.ada.post(f"{run}finish/", {"status": "succeeded"}, expect=200)
    url = f"{run}uploads/{things.whole.pk}/"
    refused(people.ada, f"{url}parts/1/1/", b"parts", 409, "wrong_state")
    people.ada.refused("POST", f"{url}complete/", status=409, code="wrong_state")
    people.ada.post(f"{url}abort/", expect=200)
    files = stored_files()
    with nothing_changes():
        people.ada.call("POST", f"{url}abort/")
    assert stored_files() == files
    assert not Artifact.objects.filter(name="whole").exists()
