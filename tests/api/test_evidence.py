"""Evidence over the API: every format as itself, kept to the byte, and the keys."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from promotion.models import Evidence
from tests.api.conftest import People, Things
from tests.promotion.evidencing import about, envelope, pem_of, statement
from tests.world import nothing_changes

PATH = "repositories/apps/packages/app/versions/1.0.0/evidence/"
KEY = Ed25519PrivateKey.generate()
REPORT = '<testsuite><testcase name="a"/></testsuite>'
SARIF = '{"version": "2.1.0", "runs": [{"results": [{"level": "error"}]}]}'
BILL = '{"bomFormat": "CycloneDX", "components": [{"name": "left"}]}'
SPDX = '{"spdxVersion": "SPDX-2.3", "packages": [{"name": "left"}]}'


@pytest.mark.parametrize(
    ("body", "form", "kind", "result"),
    [
        (REPORT, "text/xml", "junit", "passed"),
        (SARIF, "application/sarif+json", "sarif", "failed"),
        (SARIF, "application/json", "sarif", "failed"),
        (BILL, "application/vnd.cyclonedx+json", "cyclonedx", ""),
        (SPDX, "application/spdx+json", "spdx", ""),
    ],
)
def test_each_format_is_taken_as_itself_and_given_back_to_the_byte(
    people: People, things: Things, body: str, form: str, kind: str, result: str
) -> None:
    answer = people.ada.call("POST", PATH, body.encode(), content_type=form)
    assert answer.status == 201, answer.content
    said = answer.json
    assert (said["kind"], said["result"], said["status"], said["keys"]) == (
        kind, result, "claimed", [],
    )  # fmt: skip
    raw = people.dora.get(f"{PATH}{said['id']}/raw/")
    assert raw.content == body.encode()
    assert raw.headers["Content-Disposition"].startswith("attachment")
    assert raw.headers["X-Content-Type-Options"] == "nosniff"
    tag = raw.headers["ETag"]
    assert people.dora.get(f"{PATH}{said['id']}/raw/", If_None_Match=tag, expect=304).content == b""
    with nothing_changes():
        again = people.ada.call("POST", PATH, body.encode(), content_type=form)
    assert (again.status, again.json["id"]) == (200, said["id"])


@pytest.mark.parametrize("form", ["application/json", "application/vnd.dsse.envelope.v1+json"])
def test_an_envelope_is_verified_by_a_key_that_an_operator_added(
    people: People, things: Things, form: str
) -> None:
    made = people.admin.post("evidence-keys/", {"name": "build", "public_key": pem_of(KEY)})
    assert made.json["state"] == "trusted"
    text = about(things.version, KEY, result="PASSED")
    said = people.ada.call("POST", PATH, text.encode(), content_type=form).json
    assert (said["status"], said["keys"], said["why"]) == (
        "verified", ["build"], "Signed by build.",
    )  # fmt: skip
    assert Evidence.objects.get(pk=said["id"]).payload == text
    people.admin.post("evidence-keys/build/revoke/", {"reason": "It leaked."}, expect=200)
    listed = people.ben.get(PATH).json["results"]
    assert next(each for each in listed if each["id"] == said["id"])["status"] == "claimed"


def test_a_bare_statement_is_claimed(people: People, things: Things) -> None:
    text = statement(things.version.manifest_digest)
    answer = people.ada.call("POST", PATH, text, content_type="application/vnd.in-toto+json")
    assert (answer.status, answer.json["status"]) == (201, "claimed")


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (envelope(statement("f" * 64), KEY), "application/json"),
        (envelope(statement("f" * 64), KEY, payload_type="text/plain"), "application/json"),
        ('{"_type": "x", "_type": "y"}', "application/json"),
        ('{"payload": "", "payloadType": "", "signatures": []}', "application/json"),
        ("<!DOCTYPE a []><testsuite/>", "text/xml"),
        ("no xml", "text/xml"),
        ("<testsuite>\x00</testsuite>", "text/xml"),
    ],
    ids=["subject", "type", "twice", "empty", "doctype", "text", "nul"],
)
def test_what_is_no_evidence_on_this_version_is_refused(
    people: People, things: Things, body: str, form: str
) -> None:
    people.ada.refused("POST", PATH, body.encode(), content_type=form, status=422, code="invalid")


def test_a_report_that_is_not_utf_8_is_malformed(people: People, things: Things) -> None:
    people.ada.refused(
        "POST", PATH, REPORT.encode("utf-16"), content_type="text/xml",
        status=400, code="malformed",
    )  # fmt: skip


def test_evidence_on_an_artifact_takes_the_same_forms(people: People, things: Things) -> None:
    path = f"artifacts/{things.artifact.pk}/evidence/"
    text = envelope(statement(things.artifact.digest), KEY)
    assert people.ada.call("POST", path, text.encode()).json["status"] == "claimed"
    people.admin.post("evidence-keys/", {"name": "build", "public_key": pem_of(KEY)})
    people.ada.call("POST", path, REPORT.encode(), content_type="text/xml")
    report, signed, _ = people.dora.get(path).json["results"]
    assert (report["payload"], report["status"]) == (REPORT, "claimed")
    assert (signed["payload"], signed["keys"]) == (json.loads(text), ["build"])


def test_a_private_key_is_refused_and_repeated_nowhere(people: People, things: Things) -> None:
    body = {"name": "build", "public_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"}
    said = people.admin.refused("POST", "evidence-keys/", body, status=422, code="invalid")
    assert "c2VjcmV0" not in json.dumps(said)


def test_a_summary_names_its_environment(people: People, things: Things) -> None:
    path = "repositories/apps/packages/app/versions/1.0.1/vsa/"
    people.dora.refused("GET", path, status=422, code="invalid")
    people.dora.refused("GET", f"{path}?environment=none", status=404, code="not_found")
    older = path.replace("1.0.1", "1.0.0") + "?environment=staging"
    people.dora.refused("GET", older, status=409, code="not_promoted")
