"""Entity tags: what the caller has is not sent again, what was changed is not overwritten."""

import pytest

from tests.api.calls import READS, Call
from tests.api.conftest import GATED, People, Things

OBJECTS = [
    call
    for call in READS
    if call.path.endswith("}/") or call.path.endswith(("checkpoint/", "resolve/"))
]


@pytest.mark.parametrize("call", OBJECTS, ids=str)
def test_a_single_object_has_a_tag_that_answers_304(
    call: Call, people: People, things: Things
) -> None:
    who = people.of("ada" if "ada" in call.may else sorted(call.may)[0])
    first = who.get(call.url(things))
    tag = first.headers["ETag"]
    assert who.get(call.url(things)).headers["ETag"] == tag
    for matches in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = who.get(call.url(things), If_None_Match=matches, expect=304)
        assert (answer.content, answer.headers["ETag"]) == (b"", tag)
    for differs in ('"other"', tag[:-2] + '"', ""):
        assert who.get(call.url(things), If_None_Match=differs).json == first.json


def test_the_tag_changes_with_the_object(people: People, things: Things) -> None:
    path = f"promotions/{things.requested.pk}/"
    before = people.ben.get(path).headers["ETag"]
    people.ben.post(f"{path}reject/", {"plan_digest": things.requested.plan_digest}, expect=200)
    after = people.ben.get(path, If_None_Match=before)
    assert after.json["state"] == "rejected"
    assert after.headers["ETag"] != before


def test_a_definition_is_replaced_only_as_it_was_read(people: People) -> None:
    path = "pipelines/app/definition/"
    tag = people.ada.get("pipelines/app/").headers["ETag"]
    assert people.ada.put(path, {"yaml": GATED}, If_Match=tag).json["revision"] == 2
    people.admin.refused(
        "PUT", path, {"yaml": GATED + "# late\n"}, If_Match=tag,
        status=412, code="precondition_failed",
    )  # fmt: skip
    for other in ('"other"', f"W/{tag}", "nonsense"):
        people.admin.refused(
            "PUT", path, {"yaml": GATED + "# late\n"}, If_Match=other,
            status=412, code="precondition_failed",
        )  # fmt: skip
    assert people.admin.put(path, {"yaml": GATED + "# a\n"}, If_Match="*").json["revision"] == 3
    assert people.admin.put(path, {"yaml": GATED + "# b\n"}).json["revision"] == 4


def test_one_of_several_tags_is_enough_to_replace(people: People) -> None:
    tag = people.ada.get("pipelines/app/").headers["ETag"]
    path = "pipelines/app/definition/"
    assert people.ada.put(path, {"yaml": GATED}, If_Match=f'"other", {tag}').status == 200


def test_a_policy_is_replaced_only_as_it_was_read(people: People) -> None:
    path = "environments/staging/policy/"
    tag = people.admin.get("environments/staging/").headers["ETag"]
    assert people.admin.put(path, {"approvals": 2}, If_Match=tag).json["revision"] == 3
    people.admin.refused(
        "PUT", path, {"approvals": 3}, If_Match=tag, status=412, code="precondition_failed"
    )
    assert people.admin.put(path, {"approvals": 3}).json["revision"] == 4


def test_the_same_text_again_makes_no_revision(people: People) -> None:
    first = people.ada.put("pipelines/app/definition/", {"yaml": GATED}).json
    assert people.ada.put("pipelines/app/definition/", {"yaml": GATED}).json == first
    policy = people.admin.put("environments/staging/policy/", {"approvals": 2}).json
    assert people.admin.put("environments/staging/policy/", {"approvals": 2}).json == policy
