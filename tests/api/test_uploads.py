"""Uploads: files of an external run, streamed, checked against what was announced, all or none."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from pipelines.models import Blob
from tests.api.caller import Answer, Api
from tests.api.conftest import People, Things
from tests.world import nothing_changes, stored_files

BOUNDARY = "sluice-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(*files: tuple[str, bytes], field: str = "file", **fields: str) -> bytes:
    """A multipart body with each file's name exactly as it is given."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="'
        parts.append(head.encode() + name.encode("utf-8", "surrogatepass"))
        parts.append(b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.fixture
def path(things: Things) -> str:
    return f"pipelines/app/runs/{things.external.number}/artifacts/"


def upload(who: Api, path: str, body: bytes, **headers: Any) -> Answer:
    return who.call("POST", path, body, content_type=FORM, **headers)


def refused(who: Api, path: str, body: bytes, *, status: int, code: str, **headers: Any) -> Any:
    return who.refused("POST", path, body, content_type=FORM, status=status, code=code, **headers)


def incoming() -> list[Path]:
    return list(Path(settings.BLOB_STAGING_DIR).glob("staged-*"))


def test_one_file_is_kept_as_it_came_with_both_its_digests(people: People, path: str) -> None:
    content = bytes(range(256)) * 5000
    answer = upload(people.ada, path, form(("app.bin", content), artifact="one"))
    assert answer.status == 201, answer.content
    made = answer.json
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert made["artifact"]["md5"] == hashlib.md5(content).hexdigest()
    assert (made["size"], made["name"]) == (len(content), "one")
    assert made["reference"] == "$[stages.build.build.upload.artifacts.one]"
    assert people.ada.get(f"artifacts/{made['id']}/download/").content == content
    assert incoming() == []


def test_several_files_keep_their_paths_and_are_served_as_one_archive(
    people: People, path: str
) -> None:
    body = form(
        ("bin/app", b"one"), ("läse/mich.txt", b"two"),
        artifact="several", stage="s1", job="j1", step="u1",
    )  # fmt: skip
    made = upload(people.ada, path, body).json
    assert [file["path"] for file in made["files"]] == ["bin/app", "läse/mich.txt"]
    assert (made["stage"], made["job"], made["step"]) == ("s1", "j1", "u1")
    archive = people.ada.get(f"artifacts/{made['id']}/download/")
    assert archive.content[:2] == b"\x1f\x8b"
    assert 'filename="several.tgz"' in archive.headers["Content-Disposition"]


def test_the_same_bytes_are_stored_once(people: People, path: str) -> None:
    body = form(("a.txt", b"of the external run"), artifact="again")
    files = stored_files()
    assert upload(people.ada, path, body).status == 201
    assert stored_files() == files


def test_an_empty_file_is_a_file(people: People, path: str) -> None:
    made = upload(people.ada, path, form(("empty", b""), artifact="empty")).json
    assert (made["size"], made["sha256"]) == (0, hashlib.sha256(b"").hexdigest())
    assert people.ada.get(f"artifacts/{made['id']}/download/").content == b""


# ---- What was announced ------------------------------------------------------------------------
def test_right_digests_are_taken(people: People, path: str) -> None:
    body = form(("a.txt", b"announced"), artifact="announced")
    answer = upload(
        people.ada, path, body,
        Repr_Digest=f"sha-512=:AAAA:, {digest(b'announced')}", Content_Digest=digest(body),
    )  # fmt: skip
    assert answer.status == 201, answer.content


@pytest.mark.parametrize("header", ["Repr_Digest", "Content_Digest"])
def test_other_bytes_than_were_announced_are_refused(
    header: str, people: People, path: str
) -> None:
    body = form(("a.txt", b"not announced"), artifact="a")
    refused(
        people.ada, path, body, status=400, code="digest_mismatch", **{header: digest(b"other")}
    )
    assert incoming() == []


@pytest.mark.parametrize("header", ["Repr_Digest", "Content_Digest"])
@pytest.mark.parametrize("value", ["sha-512=:AAAA:", "sha-256=AAAA", "sha-256=:A:", "nonsense"])
def test_a_digest_that_cannot_be_read_is_refused(
    header: str, value: str, people: People, path: str
) -> None:
    body = form(("a.txt", b"some"), artifact="a")
    refused(people.ada, path, body, status=400, code="bad_request", **{header: value})


def test_a_repr_digest_is_that_of_one_file(people: People, path: str) -> None:
    body = form(("a.txt", b"one"), ("b.txt", b"two"), artifact="a")
    refused(people.ada, path, body, status=400, code="digest_mismatch", Repr_Digest=digest(b"one"))


@pytest.mark.parametrize("missing", [1, 10, 60, 1000, 200_000])
def test_a_body_that_is_cut_short_is_refused_and_leaves_nothing(
    missing: int, people: People, path: str
) -> None:
    body = form(("a.bin", b"x" * 200_000), artifact="a")
    refused(people.ada, path, body, status=400, code="truncated_upload", arrives=body[:-missing])
    assert incoming() == []


def test_a_json_or_yaml_body_that_is_cut_short_is_refused(people: People, path: str) -> None:
    for form_, body in (("application/json", b'{"yaml": "x"}   '), ("text/yaml", b"name: x\n")):
        people.ada.refused(
            "PUT", "pipelines/app/definition/", body, content_type=form_, arrives=body[:-2],
            status=400, code="truncated_upload",
        )  # fmt: skip


def test_a_multipart_body_without_its_end_is_refused(people: People, path: str) -> None:
    for body in (b"--" + BOUNDARY.encode(), b"nonsense", form(artifact="a")[:-10]):
        with nothing_changes():
            answer = upload(people.ada, path, body)
        assert answer.status in {400, 422}, answer.content


def test_a_body_longer_than_a_file_may_be_is_refused(
    people: People, path: str, settings: Any
) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    body = form(("a.bin", b"x" * 1001), artifact="a")
    refused(people.ada, path, body, status=413, code="too_large")
    assert incoming() == []
    assert upload(people.ada, path, form(("a.bin", b"x" * 1000), artifact="a")).status == 201


# ---- File names --------------------------------------------------------------------------------
HOSTILE = {
    "upwards": "../../x",
    "upwards inside": "a/../../x",
    "absolute": "/etc/passwd",
    "a dot": "./x",
    "only dots": "..",
    "empty part": "a//b",
    "trailing slash": "a/",
    "backslash": "..\\\\..\\\\x",
    "a nul": "a\x00b",
    "a tab": "a\tb",
    "delete": "a\x7fb",
    "300 bytes": "x" * 300,
    "300 bytes of few characters": "ü" * 150,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_name_is_refused(name: str, people: People, path: str) -> None:
    body = form((name, b"bytes of a hostile name"), artifact="a")
    refused(people.ada, path, body, status=400, code="invalid_filename")
    assert incoming() == []


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r"])
def test_a_line_break_in_a_file_name_ends_no_header_and_keeps_nothing(
    break_: str, people: People, path: str
) -> None:
    body = form((f"a{break_}X-Evil: 1", b"x"), artifact="a")
    refused(people.ada, path, body, status=400, code="invalid_filename")
    assert incoming() == []


@pytest.mark.parametrize("name", ["%2F..%2F", "..%2f..%2fx", "a%00b", "%0d%0aX-Evil: 1"])
def test_percent_signs_in_a_file_name_mean_nothing(name: str, people: People, path: str) -> None:
    made = upload(people.ada, path, form((name, b"per cent"), artifact="percent")).json
    assert [file["path"] for file in made["files"]] == [name]
    answer = people.ada.get(f"artifacts/{made['id']}/download/")
    assert answer.content == b"per cent"
    assert "X-Evil" not in answer.headers


def test_a_file_name_sent_the_extended_way_is_checked_as_well(people: People, path: str) -> None:
    body = form(("a", b"x"), artifact="a").replace(b'filename="a"', b"filename*=UTF-8''..%2F..%2Fx")
    refused(people.ada, path, body, status=400, code="invalid_filename")


def test_no_name_takes_part_in_where_bytes_lie(people: People, path: str) -> None:
    body = form(("some name.txt", b"where do I lie"), artifact="a")
    assert upload(people.ada, path, body).status == 201
    sha256 = hashlib.sha256(b"where do I lie").hexdigest()
    assert Blob.objects.get(pk=sha256).storage_name == f"sha256/{sha256[:2]}/{sha256}"
    assert not [name for name, _ in stored_files() if "some" in name]


def test_one_path_is_not_sent_twice(people: People, path: str) -> None:
    body = form(("a.txt", b"one"), ("a.txt", b"two"), artifact="a")
    refused(people.ada, path, body, status=400, code="invalid_filename")


def test_a_name_that_is_taken_is_refused_before_any_byte_is_kept(people: People, path: str) -> None:
    body = form(("a.txt", b"under a name that is taken"), artifact="app")
    refused(people.ada, path, body, status=409, code="name_taken")


# ---- Fields ------------------------------------------------------------------------------------
def test_unknown_and_missing_fields_are_refused(people: People, path: str) -> None:
    file = ("a.txt", b"fields")
    refused(people.ada, path, form(file, artifact="a", state="succeeded"),
            status=400, code="unknown_field")  # fmt: skip
    refused(people.ada, path, form(file, field="upload", artifact="a"),
            status=400, code="unknown_field")  # fmt: skip
    refused(people.ada, path, form(file), status=422, code="invalid")
    refused(people.ada, path, form(artifact="a"), status=422, code="invalid")


@pytest.mark.parametrize(
    "fields",
    [{"artifact": "default"}, {"artifact": "a b"}, {"artifact": "a/b"}, {"artifact": "x" * 129},
     {"artifact": "a", "stage": "x" * 65}, {"artifact": "a", "job": "a.b"},
     {"artifact": "a", "step": "a\x00b"}, {"artifact": "$[x]"}, {"artifact": "a\x00"}],
)  # fmt: skip
def test_names_that_could_not_stand_in_a_reference_are_refused(
    fields: dict[str, str], people: People, path: str
) -> None:
    body = form(("a.txt", b"under a name that cannot be"), **fields)
    refused(people.ada, path, body, status=422, code="invalid")


def test_more_files_than_are_taken_at_once_are_refused_as_a_problem(
    people: People, path: str
) -> None:
    files = [(f"{number}.txt", b"x") for number in range(101)]
    refused(people.ada, path, form(*files, artifact="a"), status=400, code="bad_request")
    assert incoming() == []


def test_more_fields_than_are_taken_at_once_are_refused_as_a_problem(
    people: People, path: str
) -> None:
    fields = {f"f{number}": "x" for number in range(1100)}
    refused(people.ada, path, form(("a", b"x"), **fields), status=400, code="bad_request")
    assert incoming() == []


def test_who_may_not_report_leaves_nothing_behind(people: People, path: str) -> None:
    body = form(("a.txt", b"of somebody who may not"), artifact="a")
    for who in (people.ben, people.production, people.mallory):
        refused(who, path, body, status=403, code="forbidden")
    refused(people.nobody, path, body, status=401, code="unauthenticated")
    assert incoming() == []
