"""Policies over the API: in JSON and in YAML, as they are, as they were, and as they would be."""

from typing import Any

import pytest
from django.contrib.auth.models import Group

from promotion.models import PolicyRevision
from tests.api.caller import problem
from tests.api.conftest import People, Things
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

PATH = "environments/production/policy/"
YAML = """\
# From the team's own repository
approvals: 2
upstream: staging
soak: 24h
approvers:
  groups: [release]
freezes:
  - name: Year's end
    starts: 2026-12-20T18:00
    ends: 2027-01-04T06:00
    time_zone: Europe/Berlin
"""


@pytest.fixture
def release(db: None) -> Group:
    return Group.objects.create(name="release")


@pytest.mark.parametrize("form", ["text/yaml", "application/yaml", "text/yaml; charset=utf-8"])
def test_a_policy_is_set_as_yaml(form: str, people: People, things: Things, release: Group) -> None:
    answer = people.admin.call("PUT", PATH, YAML.encode(), content_type=form)
    assert answer.status == 200, answer.text
    rules = answer.json["rules"]
    assert (rules["soak"], rules["approvers"]) == ("24h", {"groups": ["release"]})
    again = people.admin.get(PATH)
    assert again.json == answer.json


@pytest.mark.parametrize("accept", ["text/yaml", "application/yaml"])
def test_a_policy_is_read_as_yaml_and_set_again_as_it_was(
    accept: str, people: People, things: Things, release: Group
) -> None:
    people.admin.call("PUT", PATH, YAML.encode(), content_type="text/yaml")
    answer = people.ada.get(PATH, Accept=accept)
    assert answer.headers["Content-Type"] == f"{accept}; charset=utf-8"
    assert answer.text.startswith("# Policy 2 of production, sha256:")
    assert "Accept" in answer.headers["Vary"]
    tag = answer.headers["ETag"]
    assert people.ada.get(PATH, Accept=accept, If_None_Match=tag, expect=304).text == ""
    with nothing_changes():
        same = people.admin.call(
            "PUT", PATH, answer.content, content_type="text/yaml", If_Match=tag
        )
    assert same.json["revision"] == 2


def test_a_refusal_is_no_yaml(people: People, things: Things) -> None:
    answer = people.ada.call("GET", "environments/nowhere/policy/", Accept="text/yaml")
    problem(answer, 404, "not_found")


@pytest.mark.parametrize("accept", ["application/json", "text/yaml"])
def test_a_policy_is_replaced_only_as_it_was_read(
    accept: str, people: People, things: Things
) -> None:
    tag = people.admin.get(PATH, Accept=accept).headers["ETag"]
    assert people.admin.put(PATH, {"approvals": 2}, If_Match=tag).json["revision"] == 2
    people.admin.refused(
        "PUT", PATH, {"approvals": 3}, If_Match=tag, status=412, code="precondition_failed"
    )


@pytest.mark.parametrize(
    ("yaml", "places"),
    [
        ("approvals: 99\nsoak: 24h\napproval: 1\n",
         {("approvals", 1, 1), ("approval", 3, 1)}),
        ("approvals: 1\nsoak: 24h\n", {("soak", 2, 1)}),
        ("upstream: nowhere\nmay_request:\n  - release\n  - nobody\n",
         {("upstream", 1, 1), ("may_request[1]", 4, 5)}),
        ("versions: {range: 'vers:npm/>=2|<1|>3'}\n", {("versions.range", 1, 12)}),
        ("custom:\n- name: Own\n  expression: items.all(\n",
         {("custom[0].expression", 3, 3)}),
        ("approvals: 1\napprovals: 2\n", {("approvals", 2, 1)}),
        ("freezes:\n- {name: x, starts: 2026-12-20T18:00}\n", {("freezes[0].ends", 2, 3)}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_yaml_is_told_in_its_lines(
    yaml: str, places: set[tuple[str, int, int]], people: People, things: Things, release: Group
) -> None:
    with nothing_changes():
        answer = people.admin.call("PUT", PATH, yaml.encode(), content_type="text/yaml")
        replayed = people.admin.call("POST", PATH + "replay/", {"yaml": yaml})
    for each in (answer, replayed):
        problem(each, 422, "invalid")
        told = {(at["path"], at["line"], at["column"]) for at in each.json["problems"]}
        assert told == places


LAUGHS = "".join(
    f"k{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 10) if depth else 'ha'}]\n"
    for depth in range(10)
)


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS.encode(),
        b"a: " + b"[" * 5000,
        b"approvals: !!int 1",
        b"x" * 1_100_000,
        b"{" + b"a: 1, " * 100_000 + b"}",
        b"\xff\xfe",
        b"? " + b"k" * 300_000 + b"\n: [" + b"1," * 50_000 + b"]\n",
    ],
    ids=["laughs", "deep", "tag", "large", "keys", "bytes", "places"],
)  # fmt: skip
def test_hostile_yaml_is_refused(body: bytes, people: People, things: Things) -> None:
    with nothing_changes():
        answer = people.admin.call("PUT", PATH, body, content_type="text/yaml")
    assert answer.status in {400, 422}, answer.text[:300]
    assert len(answer.content) < 1_000_000


def test_many_faults_are_answered_shortly(people: People, things: Things) -> None:
    body = {f"key{number}": 1 for number in range(20_000)}
    answer = people.admin.call("PUT", PATH, body)
    problem(answer, 422, "invalid")
    assert len(answer.json["problems"]) == 100


def test_revisions_are_listed_newest_first(people: People, things: Things) -> None:
    people.admin.put(PATH, {"approvals": 2})
    people.admin.put(PATH, {"approvals": 3})
    told = people.dora.get(PATH + "revisions/").json["results"]
    assert [(each["revision"], each["rules"]["approvals"]) for each in told] == [
        (3, 3), (2, 2), (1, 1),
    ]  # fmt: skip
    kept = PolicyRevision.objects.filter(environment__name="production")
    assert [each["digest"] for each in told] == list(kept.values_list("digest", flat=True))


# ---- Replay ------------------------------------------------------------------------------------
@pytest.mark.parametrize("body", [{"policy": {"approvals": 2}}, {"yaml": "approvals: 2\n"}])
def test_a_replay_tells_what_would_have_been_stopped(
    body: dict[str, Any], people: People, things: Things
) -> None:
    with nothing_changes():
        told = people.admin.post(PATH + "replay/", body, expect=200).json
    assert told["checked"] > 0
    assert len(told["stopped"]) == told["checked"]
    gate = told["stopped"][0]["gates"][0]
    assert (gate["name"], gate["open"]) == ("approvals", False)
    assert gate["reason"].startswith("1 of 2 approvals")
    once = people.admin.post(PATH + "replay/", body | {"last": 1}, expect=200).json
    assert (once["checked"], once["stopped"]) == (1, told["stopped"][:1])


@pytest.mark.parametrize(
    "body",
    [{}, {"policy": {}, "yaml": ""}, {"policy": {}, "last": 0}, {"policy": {}, "last": 201},
     {"policy": []}, {"policy": {"approvals": -1}}, {"yaml": "[]"}, {"yaml": 1, "policy": {}}],
)  # fmt: skip
def test_a_replay_that_makes_no_sense_is_refused(
    body: dict[str, Any], people: People, things: Things
) -> None:
    people.admin.refused("POST", PATH + "replay/", body, status=422, code="invalid")
