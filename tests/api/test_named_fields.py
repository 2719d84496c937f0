"""The fields that other programs are written against: they are there, in every answer."""

import re
from typing import Any

import pytest

from tests.api.caller import Api
from tests.api.calls import (
    CALLS,
    CONNECTION,
    ENVIRONMENT,
    HOOKS,
    KEYS,
    MACHINES,
    PACKAGE,
    PROMOTION,
    RUN,
    UPLOAD,
    UPLOADS,
    VERSION,
    Call,
)
from tests.api.conftest import People, Things

PIPELINE = {"id", "name", "revision", "yaml", "last_run"}
A_GROUP = {"name", "connection", "description", "machines", "created_by", "created_at"}
A_MACHINE = {"name", "host", "port", "host_key", "fingerprint"}
A_HOOK = {"pipeline", "source", "url", "changed_at", "last"}
A_RUN = {
    "pipeline", "number", "status", "trigger", "revision", "sources", "stages", "started_at",
    "finished_at",
}  # fmt: skip
ARTIFACT = {
    "id", "name", "type", "reference", "artifact", "sha256", "digest", "size", "files", "stage",
    "job", "step", "run",
}  # fmt: skip
AN_UPLOAD = {
    "id", "state", "artifact", "artifact_id", "part_size", "size", "files", "missing",
    "created_by", "created_at", "expires_at",
}  # fmt: skip
CONNECTIONS = {
    "name", "kind", "team", "host", "settings", "description", "shared_with", "shared_with_all",
    "last_used_at",
}  # fmt: skip
CONTENTS = {"path", "kind", "members", "truncated", "warnings"}
RETENTION = {"repository", "rules", "in_words"}
REPOSITORY = {"name", "kind", "description"}
A_VERSION = {
    "repository", "package", "version", "state", "manifest_digest", "artifact", "files",
    "provenance", "evidence", "placements", "published_by", "published_at",
}  # fmt: skip
SELECTION = {
    "id", "query", "version", "manifest_digest", "explanation", "ledger_size", "signature",
}  # fmt: skip
AN_OWNER = {"id", "owner", "uses", "listed_at", "acknowledged_by", "acknowledged_at", "note"}
A_HOLD = {
    "id", "environment", "repository", "package", "version", "reason", "by", "at", "lifted_by",
    "lifted_at",
}  # fmt: skip
A_NOTICE = {"id", "type", "subject", "url", "asks", "created_at", "read_at"}
ENVELOPE = {"payload", "payloadType", "signatures"}
A_KEY = {"name", "state", "algorithm", "public_key", "fingerprint"}
AN_ENVIRONMENT = {"name", "rank", "policy"}
A_POLICY = {"environment", "revision", "digest", "rules"}
A_PROMOTION = {
    "id", "state", "environment", "items", "plan_digest", "gates", "approvals", "requested_by",
    "timeline",
}  # fmt: skip

#: Fields of the object that is answered, or of each result of a list.
FIELDS: dict[tuple[str, str], set[str]] = {
    ("POST", "/api/v1/definitions/check/"): {"valid", "problems", "references"},
    ("GET", "/api/v1/pipelines/"): PIPELINE,
    ("POST", "/api/v1/pipelines/"): PIPELINE,
    ("GET", "/api/v1/pipelines/{pipeline}/"): PIPELINE,
    ("PUT", "/api/v1/pipelines/{pipeline}/definition/"): {"revision", "yaml"},
    ("GET", "/api/v1/pipelines/{pipeline}/revisions/"): {"revision", "yaml"},
    ("GET", HOOKS): A_HOOK,
    ("POST", HOOKS): A_HOOK | {"secret"},
    ("POST", HOOKS + "{source}/rotate/"): A_HOOK | {"secret"},
    ("POST", HOOKS + "{source}/remove/"): A_HOOK,
    ("GET", "/api/v1/pipelines/{pipeline}/runs/"): A_RUN,
    ("POST", "/api/v1/pipelines/{pipeline}/runs/"): A_RUN,
    ("GET", RUN): A_RUN,
    ("POST", RUN + "cancel/"): A_RUN,
    ("POST", RUN + "retry/"): A_RUN,
    ("POST", RUN + "again/"): A_RUN,
    ("POST", RUN + "finish/"): A_RUN,
    ("GET", RUN + "resolve/"): ARTIFACT,
    ("GET", RUN + "artifacts/"): ARTIFACT,
    ("POST", RUN + "artifacts/"): ARTIFACT,
    ("POST", UPLOADS): AN_UPLOAD,
    ("GET", UPLOAD): AN_UPLOAD,
    ("PUT", UPLOAD + "parts/{file}/{part}/"): {"number", "size", "sha256"},
    ("POST", UPLOAD + "complete/"): ARTIFACT,
    ("POST", UPLOAD + "abort/"): AN_UPLOAD,
    ("POST", RUN + "jobs/{stage}/{job}/pass/"): A_RUN,
    ("POST", RUN + "jobs/{stage}/{job}/refuse/"): A_RUN,
    ("GET", "/api/v1/artifacts/{artifact}/"): ARTIFACT,
    ("GET", "/api/v1/artifacts/{artifact}/contents/"): CONTENTS,
    ("GET", MACHINES): A_GROUP,
    ("POST", MACHINES): A_GROUP,
    ("GET", MACHINES + "{group}/"): A_GROUP,
    ("POST", MACHINES + "{group}/remove/"): A_GROUP,
    ("POST", MACHINES + "{group}/machines/"): A_MACHINE,
    ("POST", MACHINES + "{group}/machines/{machine}/remove/"): A_MACHINE,
    ("GET", "/api/v1/connections/"): CONNECTIONS,
    ("POST", "/api/v1/connections/"): CONNECTIONS,
    ("GET", CONNECTION): CONNECTIONS,
    ("PUT", CONNECTION + "secrets/"): CONNECTIONS,
    ("PUT", CONNECTION + "sharing/"): CONNECTIONS,
    ("GET", "/api/v1/runners/"): {"name", "groups", "alive", "seen_at"},
    ("GET", "/api/v1/repositories/"): REPOSITORY,
    ("POST", "/api/v1/repositories/"): REPOSITORY,
    ("GET", "/api/v1/repositories/{repository}/"): REPOSITORY,
    ("PUT", "/api/v1/repositories/{repository}/registry/"): REPOSITORY,
    ("GET", "/api/v1/repositories/{repository}/retention/"): RETENTION,
    ("PUT", "/api/v1/repositories/{repository}/retention/"): RETENTION,
    ("POST", "/api/v1/repositories/{repository}/retention/preview/"): (
        RETENTION | {"kept", "pruned", "bytes_freed", "versions"}
    ),
    ("GET", "/api/v1/repositories/{repository}/packages/"): {"name", "latest", "placements"},
    ("GET", PACKAGE): {"name", "latest", "placements"},
    ("GET", PACKAGE + "resolve/"): A_VERSION | {"explanation"},
    ("GET", PACKAGE + "versions/"): A_VERSION,
    ("POST", PACKAGE + "versions/"): A_VERSION,
    ("GET", VERSION): A_VERSION,
    ("GET", VERSION + "contents/"): CONTENTS,
    ("GET", VERSION + "evidence/"): {"predicate_type", "result", "payload"},
    ("POST", VERSION + "evidence/"): {"predicate_type", "result", "payload"},
    ("GET", VERSION + "vsa/"): ENVELOPE,
    ("GET", PROMOTION + "attestation/"): ENVELOPE,
    ("GET", "/api/v1/artifacts/{artifact}/evidence/"): {"predicate_type", "result", "payload"},
    ("POST", "/api/v1/artifacts/{artifact}/evidence/"): {"predicate_type", "result", "payload"},
    ("GET", KEYS): A_KEY,
    ("POST", KEYS): A_KEY,
    ("GET", KEYS + "{key}/"): A_KEY,
    ("POST", KEYS + "{key}/revoke/"): A_KEY,
    ("POST", VERSION + "image/look/"): A_VERSION,
    ("POST", VERSION + "recall/"): A_VERSION,
    ("POST", "/api/v1/selections/"): SELECTION,
    ("GET", "/api/v1/selections/{selection}/"): SELECTION,
    ("GET", "/api/v1/environments/"): AN_ENVIRONMENT,
    ("POST", "/api/v1/environments/"): AN_ENVIRONMENT,
    ("GET", ENVIRONMENT): AN_ENVIRONMENT,
    ("GET", ENVIRONMENT + "placements/"): {"package", "version", "environment", "since", "until"},
    ("PUT", ENVIRONMENT + "target/"): {"registry", "registry_connection", "storage_connection"},
    ("GET", ENVIRONMENT + "policy/"): A_POLICY,
    ("PUT", ENVIRONMENT + "policy/"): A_POLICY,
    ("GET", ENVIRONMENT + "policy/revisions/"): A_POLICY,
    ("POST", ENVIRONMENT + "policy/replay/"): {"checked", "stopped", "unknown"},
    ("GET", "/api/v1/promotions/"): A_PROMOTION,
    ("POST", "/api/v1/promotions/plan/"): {"plan", "plan_digest", "gates", "diff"},
    ("POST", "/api/v1/promotions/"): A_PROMOTION,
    ("POST", "/api/v1/promotions/rollback/"): A_PROMOTION,
    ("GET", PROMOTION): A_PROMOTION,
    ("POST", PROMOTION + "approve/"): A_PROMOTION,
    ("POST", PROMOTION + "approve/challenge/"): {"nonce", "options"},
    ("POST", PROMOTION + "override/"): A_PROMOTION,
    ("POST", PROMOTION + "review/"): A_PROMOTION,
    ("GET", VERSION + "affected/"): AN_OWNER,
    ("POST", VERSION + "affected/{affected}/acknowledge/"): AN_OWNER,
    ("GET", ENVIRONMENT + "holds/"): A_HOLD,
    ("POST", ENVIRONMENT + "holds/"): A_HOLD,
    ("POST", ENVIRONMENT + "holds/{hold}/lift/"): A_HOLD,
    ("GET", "/api/v1/notices/"): A_NOTICE,
    ("POST", "/api/v1/notices/read/"): {"read"},
    ("POST", "/api/v1/notices/{notice}/read/"): A_NOTICE,
    ("POST", PROMOTION + "reject/"): A_PROMOTION,
    ("POST", PROMOTION + "withdraw/"): A_PROMOTION,
    ("POST", PROMOTION + "retry/"): A_PROMOTION,
    ("GET", "/api/v1/history/"): {"sequence", "at", "type", "actor", "data"},
}
#: What answers no JSON, by its path; what answers nothing at all says so by its status.
BYTES = {
    path
    for path in (call.path for call in CALLS)
    if re.search(r"(download|log|raw)/$|/(download|files)/{", path)
}
MOMENT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def test_every_call_that_answers_json_has_its_named_fields_here() -> None:
    assert {key[1] for key in FIELDS} | BYTES == {call.path for call in CALLS}


WITH_ANSWER = [each for each in CALLS if each.path not in BYTES and each.status != 204]


@pytest.mark.parametrize("call", WITH_ANSWER, ids=str)
def test_the_answer_has_the_named_fields(call: Call, people: People, things: Things) -> None:
    who: Api = people.of("ada" if "ada" in call.may else sorted(call.may)[0])
    answer = who.call(call.method, call.url(things), call.data(things), content_type=call.form).json
    named = FIELDS[call.method, call.path]
    if "results" in answer:
        assert set(answer) == {"results", "next", "previous"}
        assert answer["results"]
        for row in answer["results"]:
            assert named <= row.keys()
    else:
        assert named <= answer.keys()
    for key, value in _walk(answer):
        assert (
            key == key.lower()
            or "artifact" in key
            or key in {*FLOW_KEYS, *DSSE_KEYS, *WEBAUTHN_KEYS}
        ), key
        if key.endswith("_at") or key in {"since", "until", "at"}:
            assert value is None or isinstance(value, dict) or MOMENT.match(value), (key, value)


#: Flow's own keys stand as Flow writes them, in descriptors only.
FLOW_KEYS = {"downloadUrl", "dockerUrl", "dockerTag", "repoId"}
#: As the specification of envelopes writes them.
DSSE_KEYS = {"payloadType"}
#: As browsers read them.
WEBAUTHN_KEYS = {"rpId", "allowCredentials", "userVerification"}


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def test_a_version_tells_all_its_files_with_digests_and_links(
    people: People, things: Things
) -> None:
    version = people.ada.get("repositories/apps/packages/app/versions/1.0.0/").json
    assert [file["path"] for file in version["files"]] == ["bin/run.sh", "readme.txt"]
    for file in version["files"]:
        assert {"path", "size", "sha256", "md5", "download_url"} <= file.keys()
        path = "/" + file["download_url"].split("/", 3)[3]
        assert len(people.production.get(path).content) == file["size"]
    assert {"pipeline", "run", "revision", "commit"} <= version["provenance"].keys()


def test_problems_and_references_of_a_check_have_their_place(people: People) -> None:
    yaml = (
        "stages:\n  a:\n    jobs:\n      b:\n        steps:\n          c:\n            step: No\n"
    )
    yaml += "            with:\n              run: $[stages.x.y.z.artifacts.default]\n"
    answer = people.ada.post("definitions/check/", {"yaml": yaml}, expect=200).json
    assert answer["valid"] is False
    for problem in answer["problems"]:
        assert set(problem) == {"line", "column", "path", "code", "severity", "message"}
        assert problem["line"] >= 1
    assert {"text", "line", "column", "kind", "target"} == set(answer["references"][0])
