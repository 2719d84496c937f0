"""Bodies and parameters that cannot be taken: refused with the place, and nothing changes."""

import json
from typing import Any

import pytest

from pipelines import runs
from pipelines.models import ExecutionState
from tests.api.caller import paths_at_fault, problem
from tests.api.calls import CALLS, READS, WITH_BODY, Call
from tests.api.conftest import People, Things
from tests.world import nothing_changes

pytestmark = pytest.mark.door

POSTS = [call for call in CALLS if call.method != "GET" and not call.is_raw]


def _who(call: Call) -> str:
    return (
        "ada"
        if "ada" in call.may and "{plan_digest}" not in str(call.body)
        else sorted(call.may)[0]
    )


# ---- The form of a body ------------------------------------------------------------------------
@pytest.mark.parametrize("call", POSTS, ids=str)
def test_a_body_that_is_not_json_is_malformed(call: Call, people: People, things: Things) -> None:
    who, url = people.of(_who(call)), call.url(things)
    for body in (b"{", b"nonsense", b'{"a": NaN}', b"\xff\xfe", b'{"a": "\xe4"}'):
        who.refused(call.method, url, body, status=400, code="malformed")


@pytest.mark.parametrize("call", POSTS, ids=str)
def test_a_body_that_is_no_object_is_refused(call: Call, people: People, things: Things) -> None:
    who, url = people.of(_who(call)), call.url(things)
    for body in (b"[]", b'"text"', b"7", b"null", b"true"):
        with nothing_changes():
            answer = who.call(call.method, url, body)
        assert answer.status in {400, 422}, answer.content
        assert answer.json["code"] in {"bad_request", "invalid"}


@pytest.mark.parametrize("call", POSTS, ids=str)
def test_a_body_of_another_content_type_is_refused(
    call: Call, people: People, things: Things
) -> None:
    who, url = people.of(_who(call)), call.url(things)
    for form in ("application/xml", "text/plain", "application/x-www-form-urlencoded", "nonsense"):
        who.refused(
            call.method, url, b"a=1", content_type=form, status=415, code="unsupported_media_type"
        )


@pytest.mark.parametrize("call", POSTS, ids=str)
def test_a_body_that_no_database_could_keep_is_malformed(
    call: Call, people: People, things: Things
) -> None:
    who, url = people.of(_who(call)), call.url(things)
    for body in (
        b'{"comment": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"reason": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
    ):
        who.refused(call.method, url, body, status=400, code="malformed")


@pytest.mark.parametrize("call", POSTS, ids=str)
def test_a_body_larger_than_is_read_is_refused(call: Call, people: People, things: Things) -> None:
    body = b'{"comment": "' + b"x" * (5 * 1024**2) + b'"}'
    people.of(_who(call)).refused(call.method, call.url(things), body, status=413, code="too_large")


def test_a_definition_larger_than_is_read_is_refused(people: People) -> None:
    people.ada.refused(
        "PUT",
        "pipelines/app/definition/",
        b"# " + b"x" * (6 * 1024**2),
        content_type="text/yaml",
        status=413,
        code="too_large",
    )


# ---- Values ------------------------------------------------------------------------------------
@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_every_field_of_a_wrong_kind_is_located(call: Call, people: People, things: Things) -> None:
    who, url, body = people.of(_who(call)), call.url(things), call.data(things)
    for name in body:
        wrong = [1] if isinstance(body[name], dict) else {"a": {"b": [1]}}
        document = who.refused(call.method, url, {**body, name: wrong}, status=422, code="invalid")
        assert any(path.startswith(name) for path in paths_at_fault(document)), document


@pytest.mark.parametrize("call", WITH_BODY, ids=str)
def test_no_value_of_any_kind_breaks_anything(call: Call, people: People, things: Things) -> None:
    who, url, body = people.of(_who(call)), call.url(things), call.data(things)
    for name in body:
        values: tuple[Any, ...] = (
            None,
            "",
            " ",
            -1,
            2**70,
            1e308,
            [],
            [[]],
            {},
            "x" * 30_000,
            "ü\u202e\n",
            True,
        )
        for wrong in values:
            answer = who.call(call.method, url, {**body, name: wrong})
            assert answer.status < 500


MISSING = [
    (call, name)
    for call in WITH_BODY
    for name in call.body
    if name
    in {"yaml", "id", "version", "predicate_type", "repository", "package", "items", "plan_digest",
        "status", "artifact", "type", "dockerUrl"}
    or (name, call.path) in {("name", "/api/v1/repositories/"), ("name", "/api/v1/environments/")}
    or (name == "environment" and "promotions" in call.path)
    or (name == "reason" and "recall" in call.path)
]  # fmt: skip


@pytest.mark.parametrize(("call", "name"), MISSING, ids=str)
def test_a_missing_field_is_named(call: Call, name: str, people: People, things: Things) -> None:
    body = {key: value for key, value in call.data(things).items() if key != name}
    with nothing_changes():
        answer = people.of(_who(call)).call(call.method, call.url(things), body)
    document = problem(answer, 422, "invalid")
    assert name in str(document.get("problems", document["detail"]))


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", "../x"), ("version", "a b"), ("version", "-1"), ("version", "x" * 129),
     ("version", "1.0.0\n"), ("version", "$(id)"), ("notes", "x" * 20_001), ("artifact", "one")],
)  # fmt: skip
def test_a_version_is_published_under_a_plain_name_only(
    name: str, value: str, people: People, things: Things
) -> None:
    body = {"version": "2.0.0", "artifact": things.version.artifact_id, name: value}
    path = "repositories/apps/packages/app/versions/"
    with nothing_changes():
        answer = people.ada.call("POST", path, body)
    if value == "1.0.0\n":
        # Blanks around a name are dropped: it is 1.0.0, which exists with these bytes.
        assert (answer.status, answer.json["version"]) == (200, "1.0.0")
    else:
        problem(answer, 422, "invalid")


@pytest.mark.parametrize("slug", ["-x", "A", "a/b", "..", "a b", "ü", "x" * 65, "a\tb"])
def test_only_a_slug_names_a_thing(slug: str, people: People, things: Things) -> None:
    yaml = "stages: {s: {jobs: {j: {steps: {c: {step: Command, with: {run: 'true'}}}}}}}"
    people.ada.refused("POST", "pipelines/", {"id": slug, "yaml": yaml}, status=422, code="invalid")
    people.ada.refused("POST", "repositories/", {"name": slug}, status=422, code="invalid")
    people.admin.refused("POST", "environments/", {"name": slug}, status=422, code="invalid")


def test_a_name_that_is_taken_is_a_conflict(people: People, things: Things) -> None:
    yaml = things.site.pipeline.revision.yaml if things.site.pipeline.revision else ""
    people.ada.refused(
        "POST", "pipelines/", {"id": "app", "yaml": yaml}, status=409, code="name_taken"
    )
    people.ada.refused("POST", "repositories/", {"name": "apps"}, status=409, code="name_taken")
    people.admin.refused(
        "POST", "environments/", {"name": "staging"}, status=409, code="name_taken"
    )
    image = {"artifact": "twice", "type": "dockerImage", "dockerUrl": things.image.image}
    path = f"pipelines/app/runs/{things.external.number}/artifacts/"
    people.ada.post(path, image)
    people.ada.refused("POST", path, image, status=409, code="name_taken")


@pytest.mark.parametrize(
    "policy",
    [{"approvals": -1}, {"approvals": "two"}, {"approvals": True}, {"self_approval": 1},
     {"upstream": "nowhere"}, {"upstream": "staging"}, {"upstream": ["x"]}, {"upstream": 5},
     {"expires_after_days": 0}, {"approved_by": "ada"}, {"approvals": None}],
)  # fmt: skip
def test_a_bad_policy_names_the_rule_at_fault(
    policy: dict[str, Any], people: People, things: Things
) -> None:
    document = people.admin.refused(
        "PUT", "environments/staging/policy/", policy, status=422, code="invalid"
    )
    assert paths_at_fault(document) == set(policy)
    people.admin.refused(
        "POST", "environments/", {"name": "canary", "policy": policy | {"x": 1}},
        status=422, code="invalid",
    )  # fmt: skip


def test_evidence_that_has_no_canonical_form_is_refused(people: People, things: Things) -> None:
    path = "repositories/apps/packages/app/versions/1.0.0/evidence/"
    for number in (2**53, -(2**60), 1e400):
        body = json.dumps({"predicate_type": "tests", "payload": {"n": number}}).encode()
        with nothing_changes():
            answer = people.ada.call("POST", path, body)
        assert answer.status in {400, 422}, answer.content


# ---- Definitions -------------------------------------------------------------------------------
INVALID = {
    "not yaml": "stages: [",
    "no stages": "name: x",
    "a tag": "stages: !!python/object:os.system x",
    "laughs": "a: &a [x]\nb: &b [*a,*a]\nstages: *b",
    "twice": "stages: {}\nstages: {}",
    "empty": "",
    "a list": "- a",
    "unknown reference": (
        "stages: {s: {jobs: {j: {steps: {c: {step: Command, with: {run: "
        "'$[stages.x.y.z.artifacts.default]'}}}}}}}"
    ),
    "nul": "name: a\x00b",
    "deep": "stages: " + "[" * 2000,
}


@pytest.mark.parametrize("yaml", INVALID.values(), ids=list(INVALID))
def test_an_invalid_definition_is_refused_with_the_place_of_each_fault(
    yaml: str, people: People, things: Things
) -> None:
    for method, path in (("POST", "pipelines/"), ("PUT", "pipelines/app/definition/")):
        body = {"yaml": yaml, "id": "new"} if method == "POST" else {"yaml": yaml}
        if "\x00" in yaml:
            people.ada.refused(method, path, body, status=400, code="malformed")
        else:
            document = people.ada.refused(method, path, body, status=422, code="invalid")
            for each in document["problems"]:
                assert (each["line"] or 1) >= 1
                assert each["message"]
            assert any(each["severity"] == "error" for each in document["problems"])


@pytest.mark.parametrize("yaml", INVALID.values(), ids=list(INVALID))
def test_checking_a_definition_always_answers(yaml: str, people: People) -> None:
    answer = people.ada.call("POST", "definitions/check/", yaml.encode(), content_type="text/yaml")
    assert answer.status == 200, answer.content
    assert answer.json["valid"] is False
    assert answer.json["problems"]


def test_a_definition_is_taken_as_yaml_and_as_json(people: People) -> None:
    yaml = "stages: {s: {jobs: {j: {steps: {c: {step: Command, with: {run: 'true'}}}}}}}\n"
    assert people.ada.post("definitions/check/", {"yaml": yaml}, expect=200).json["valid"]
    for form in ("text/yaml", "application/yaml", "text/yaml; charset=utf-8"):
        answer = people.ada.call(
            "PUT", "pipelines/app/definition/", yaml.encode(), content_type=form
        )
        assert (answer.status, answer.json["yaml"]) == (200, yaml)
        assert answer.json["revision"] == 2


def test_a_definition_that_is_not_utf8_is_malformed(people: People) -> None:
    people.ada.refused(
        "PUT", "pipelines/app/definition/", b"name: \xe4", content_type="text/yaml",
        status=400, code="malformed",
    )  # fmt: skip


# ---- Runs --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [{"sources": {"nothing": {"run": 1}}}, {"sources": {"": {}}}, {"variables": {"a-b": "1"}},
     {"variables": {"A": {"b": 1}}}, {"variables": {"": "1"}}, {"sources": {"x": "y"}},
     {"external": True, "url": "javascript:alert(1)"}, {"external": True, "url": "file:///etc"},
     {"external": "perhaps"}, {"comment": "x" * 501}],
)  # fmt: skip
def test_a_run_that_cannot_be_meant_is_not_started(
    body: dict[str, Any], people: People, things: Things
) -> None:
    people.ada.refused("POST", "pipelines/app/runs/", body, status=422, code="invalid")


def test_each_kind_of_run_refuses_the_fields_of_the_other(people: People, things: Things) -> None:
    path = "pipelines/app/runs/"
    for body in (
        {"external": True, "variables": {"A": "1"}},
        {"external": True, "sources": {"a": {}, "b": {"run": 1}}},
        {"url": "https://ci.example/1"},
        {"commit": "abc"},
    ):
        people.ada.refused("POST", path, body, status=400, code="unknown_field")


@pytest.mark.parametrize("status", ["running", "queued", "errored", "SUCCESS", "", None, 1])
def test_an_external_run_ends_in_a_known_way_only(
    status: Any, people: People, things: Things
) -> None:
    path = f"pipelines/app/runs/{things.external.number}/finish/"
    people.ada.refused("POST", path, {"status": status}, status=422, code="invalid")


def test_a_run_of_sluices_own_is_not_finished_from_outside(people: People, things: Things) -> None:
    path = f"pipelines/app/runs/{things.queued.number}/"
    people.ada.refused(
        "POST", f"{path}finish/", {"status": "succeeded"}, status=409, code="wrong_state"
    )
    image = {"artifact": "web", "type": "dockerImage", "dockerUrl": things.image.image}
    people.ada.refused("POST", f"{path}artifacts/", image, status=409, code="wrong_state")


def test_what_has_ended_is_not_ended_again(people: People, things: Things) -> None:
    path = f"pipelines/app/runs/{things.external.number}/"
    people.ada.post(f"{path}finish/", {"status": "failed"}, expect=200)
    document = people.ada.refused(
        "POST", f"{path}finish/", {"status": "succeeded"}, status=409, code="wrong_state"
    )
    assert document["current"] == "failed"
    people.ada.refused("POST", f"{path}cancel/", status=409, code="wrong_state")
    image = {"artifact": "web", "type": "dockerImage", "dockerUrl": things.image.image}
    people.ada.refused("POST", f"{path}artifacts/", image, status=409, code="wrong_state")


def test_a_gate_is_decided_once(people: People, things: Things) -> None:
    path = f"pipelines/gated/runs/{things.gated.number}/jobs/gate_stage/gate_job/"
    people.ben.post(f"{path}refuse/", expect=200)
    people.ben.refused("POST", f"{path}pass/", status=409, code="wrong_state")
    people.ben.refused("POST", f"{path}refuse/", status=409, code="wrong_state")


@pytest.mark.parametrize(
    "reference",
    ["", "nonsense", "$[", "$[stages.a.b]", "$[stages.build.build.upload.artifacts.other]",
     "$[sources.x.version]", "$[jobs.nothing.upload.artifacts.default]", "x" * 2000],
)  # fmt: skip
def test_a_reference_that_leads_nowhere_says_so(
    reference: str, people: People, things: Things
) -> None:
    people.ada.refused(
        "GET",
        f"pipelines/app/runs/{things.external.number}/resolve/?reference={reference}",
        status=422,
        code="unresolved_reference",
    )


@pytest.mark.parametrize(
    "image",
    ["web", "registry.example/web:1", "registry.example/web@sha256:12", "-x@sha256:" + "a" * 64,
     "registry.example/web:1@sha256:" + "A" * 64],
)  # fmt: skip
def test_an_image_is_named_by_its_digest(image: str, people: People, things: Things) -> None:
    people.ada.refused(
        "POST",
        f"pipelines/app/runs/{things.external.number}/artifacts/",
        {"artifact": "web", "type": "dockerImage", "dockerUrl": image},
        status=422,
        code="invalid",
    )


@pytest.mark.parametrize("field", ["stage", "job", "step"])
@pytest.mark.parametrize("value", ["a.b", "a b", "x" * 65, "$[x]"])
def test_an_artifacts_place_can_stand_in_a_reference(
    field: str, value: str, people: People, things: Things
) -> None:
    image = {"artifact": "web", "type": "dockerImage", "dockerUrl": things.image.image}
    people.ada.refused(
        "POST",
        f"pipelines/app/runs/{things.external.number}/artifacts/",
        {**image, field: value},
        status=422,
        code="invalid",
    )


# ---- Versions and promotions -------------------------------------------------------------------
def test_the_same_bytes_again_are_found_and_other_bytes_refused(
    people: People, things: Things
) -> None:
    path = "repositories/apps/packages/app/versions/"
    same = {"version": "1.0.0", "artifact": things.version.artifact_id}
    with nothing_changes():
        assert people.ada.post(path, same, expect=200).json["version"] == "1.0.0"
    other = {"version": "1.0.0", "artifact": things.recalled.artifact_id}
    document = people.ada.refused("POST", path, other, status=409, code="version_exists")
    assert document["current"] == things.version.manifest_digest


def test_a_recalled_name_is_not_used_again_even_for_its_own_bytes(
    people: People, things: Things
) -> None:
    body = {"version": "0.9.0", "artifact": things.recalled.artifact_id}
    people.ada.refused(
        "POST", "repositories/apps/packages/app/versions/", body, status=409, code="version_exists"
    )


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_what_has_not_succeeded_is_not_published(
    state: str, people: People, things: Things
) -> None:
    ada = things.site.cast.ada
    path = f"pipelines/app/runs/{things.external.number}/"
    if state != "running":
        runs.finish(things.external, ExecutionState(state), by=ada)
    by_id = {"version": "2.0.0", "artifact": things.artifact.pk}
    by_reference = {
        "version": "2.0.0",
        "pipeline": "app",
        "run": things.external.number,
        "reference": "$[stages.build.build.upload.artifacts.default]",
    }
    for body in (by_id, by_reference):
        document = people.ada.refused(
            "POST", "repositories/apps/packages/new/versions/", body,
            status=409, code="not_validated",
        )  # fmt: skip
        assert document["current"] == state
    assert people.ada.get(path).json["status"] == state


def test_an_artifact_is_named_in_exactly_one_way(people: People, things: Things) -> None:
    path = "repositories/apps/packages/app/versions/"
    artifact = things.version.artifact_id
    for body in (
        {"version": "2.0.0"},
        {"version": "2.0.0", "artifact": artifact, "pipeline": "app"},
        {"version": "2.0.0", "pipeline": "app", "run": 1},
    ):
        people.ada.refused("POST", path, body, status=422, code="invalid")
    unknown = {"version": "2.0.0", "pipeline": "no", "run": 1, "reference": "$[a]"}
    people.ada.refused("POST", path, unknown, status=404, code="not_found")


def test_a_repository_takes_only_artifacts_of_its_kind(people: People, things: Things) -> None:
    body = {"version": "2.0.0", "artifact": things.image.pk}
    people.ada.refused(
        "POST", "repositories/apps/packages/app/versions/", body, status=422, code="invalid"
    )
    people.ada.post("repositories/", {"name": "pictures", "kind": "docker"})
    made = people.ada.post("repositories/pictures/packages/web/versions/", body).json
    assert made["files"] == []
    digest = things.image.image.rpartition("@")[2]
    assert made["artifact"]["dockerUrl"] == f"registry.example/shop/web@{digest}"


def test_a_closed_gate_is_told_with_its_reason(people: People, things: Things) -> None:
    item = {"repository": "apps", "package": "app", "version": "1.1.0"}
    document = people.ada.refused(
        "POST",
        "promotions/",
        {"environment": "production", "items": [item]},
        status=409,
        code="gate_closed",
    )
    assert [gate["name"] for gate in document["closed_gates"]] == ["upstream"]
    assert document["closed_gates"][0]["open"] is False
    assert "staging" in document["closed_gates"][0]["reason"]


def test_what_is_there_already_recalled_or_seen_otherwise_is_not_requested(
    people: People, things: Things
) -> None:
    item = {"repository": "apps", "package": "app", "version": "1.0.1"}
    there = {"environment": "staging", "items": [item]}
    people.ada.refused("POST", "promotions/", there, status=409, code="already_placed")
    recalled = {"environment": "staging", "items": [{**item, "version": "0.9.0"}]}
    document = people.ada.refused("POST", "promotions/", recalled, status=410, code="recalled")
    assert document["replacement"] == "1.0.0"
    stale = {
        "environment": "staging",
        "items": [{**item, "version": "1.1.0"}],
        "plan_digest": "sha256:" + "0" * 64,
    }
    people.ada.refused("POST", "promotions/", stale, status=409, code="plan_changed")
    twice = {"environment": "staging", "items": [item, {**item, "version": "1.1.0"}]}
    people.ada.refused("POST", "promotions/", twice, status=422, code="invalid")


def test_a_decision_on_another_plan_is_refused(people: People, things: Things) -> None:
    for verb in ("approve", "reject"):
        path = f"promotions/{things.requested.pk}/{verb}/"
        document = people.ben.refused(
            "POST", path, {"plan_digest": "sha256:" + "0" * 64}, status=409, code="plan_changed"
        )
        assert document["current"] == things.requested.plan_digest
        people.ada.refused(
            "POST", path, {"plan_digest": things.requested.plan_digest},
            status=403, code="self_approval",
        )  # fmt: skip


def test_what_is_decided_is_not_decided_again(people: People, things: Things) -> None:
    path = f"promotions/{things.requested.pk}/"
    decision = {"plan_digest": things.requested.plan_digest}
    people.ben.post(f"{path}reject/", decision, expect=200)
    for who in (people.ben, people.cleo):
        who.refused("POST", f"{path}approve/", decision, status=409, code="wrong_state")
    people.ada.refused("POST", f"{path}withdraw/", status=409, code="wrong_state")
    people.ada.refused("POST", f"{path}retry/", status=409, code="wrong_state")


def test_nothing_is_rolled_back_to_what_was_never_there(people: People, things: Things) -> None:
    body = {"environment": "production", "repository": "apps", "package": "app", "to": "1.1.0"}
    people.ada.refused("POST", "promotions/rollback/", body, status=404, code="not_found")
    things.site.publish("7.0.0", package="tool")
    body = {"environment": "production", "repository": "apps", "package": "tool"}
    people.ada.refused("POST", "promotions/rollback/", body, status=404, code="not_found")


# ---- Parameters --------------------------------------------------------------------------------
@pytest.mark.parametrize("call", READS, ids=str)
def test_an_unknown_parameter_is_refused(call: Call, people: People, things: Things) -> None:
    url = call.url(things)
    # Of a download it is a parameter: test_downloads tells of its values.
    names = {"state2", "approved_by", "format", "as of", "ü"}
    for name in names - ({"format"} if "/download/" in call.path else set()):
        joined = f"{url}{'&' if '?' in url else '?'}{name}=1"
        people.of(_who(call)).refused("GET", joined, status=400, code="unknown_field")


@pytest.mark.parametrize(
    "path",
    ["promotions/?state=open", "promotions/?awaiting=you", "pipelines/app/runs/?status=done",
     "history/?since=yesterday", "history/?until=2026-13-01", "history/?since=%00",
     "history/?actor=a%00b", "history/?type=%00", "promotions/?environment=%00",
     "promotions/?package=%00/%00", "environments/staging/placements/?as_of=soon",
     "environments/staging/placements/?as_of=0001-01-01T00:00:00%2B14:00",
     "history/?until=9999-12-31T23:59:59-14:00", "history/?since=2026-02-30",
     "repositories/apps/packages/app/resolve/", "repositories/apps/packages/app/resolve/?range=%00",
     "repositories/apps/packages/app/resolve/?as_of=2026-01-01",
     "repositories/apps/packages/app/resolve/?environment=staging&as_of=x",
     "pipelines/?page_size=0", "pipelines/?page_size=-1", "pipelines/?page_size=many",
     "pipelines/?page_size=²", "pipelines/?cursor=nonsense", "pipelines/?cursor=cD1hYmM=",
     "history/?cursor=cD0tMQ==", "environments/?cursor=cD1hYmM=", "pipelines/?cursor=%00",
     "pipelines/?cursor=bz0tNQ=="],
)  # fmt: skip
def test_a_parameter_that_means_nothing_is_refused(
    path: str, people: People, things: Things
) -> None:
    people.ada.refused("GET", path, status=422, code="invalid")


RANGES = [
    ">", "^", "~", "x y", ">=1 <", "vers:", "vers:npm", "vers:npm/", "vers:nope/1", "vers:npm/x",
    "vers:pypi/", "||", "1 || || 2", "[1,2)", "latest", "^1.2.3.4.5", "1.0.0 -", "- 1", ">=",
    "=>1", "<<1", "^" * 200, "1" * 200, "ü", "$(id)", "vers:npm/>=1|>=1", "vers:npm/*|1", "~>1",
    ">=1.0.0-", "vers:*", "vers:npm/<1.0.0|<2.0.0",
]  # fmt: skip


@pytest.mark.parametrize("text", RANGES)
def test_no_range_breaks_anything(text: str, people: People, things: Things) -> None:
    body = {"repository": "apps", "package": "app", "range": text}
    answer = people.production.call("POST", "selections/", body)
    assert answer.status in {201, 404, 422}, answer.content
    if answer.status != 201:
        assert answer.json["code"] in {"invalid", "no_eligible_version"}
