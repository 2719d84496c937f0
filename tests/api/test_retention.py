"""Retention over the API: rules, dry runs, and what is answered of bytes that are gone."""

import pytest

from promotion import retention
from promotion.models import Version
from tests.api.conftest import People, Things
from tests.world import nothing_changes

RULES = {"newest": 1, "younger_days": None, "used_days": None, "placed_days": 0}


def test_rules_are_read_set_and_taken_back(people: People, things: Things) -> None:
    before = people.dora.get("repositories/apps/retention/")
    assert before.json["in_words"] == ["Every version is kept for ever."]
    put = people.admin.put("repositories/apps/retention/", RULES)
    assert put.json["rules"] == RULES
    assert people.dora.get("repositories/apps/retention/").json == put.json
    stale = {"If-Match": before.headers["ETag"]}
    with nothing_changes():
        people.admin.put("repositories/apps/retention/", {}, expect=412, **stale)
    people.admin.put("repositories/apps/retention/", {})
    assert people.dora.get("repositories/apps/retention/").json == before.json


def test_a_preview_names_what_would_go_first(people: People, things: Things) -> None:
    with nothing_changes():
        found = people.ben.post("repositories/apps/retention/preview/", RULES, expect=200).json
    assert found["pruned"] == 1
    assert found["kept"] == 3
    first = found["versions"][0]
    assert (first["package"], first["version"], first["keeps"]) == ("app", "0.9.0", False)
    assert found["bytes_freed"] == first["size"]


@pytest.mark.parametrize("bad", [{"newest": 0}, {"used_days": -1}, {"placed_days": None}])
def test_rules_that_make_no_sense_are_refused(
    people: People, things: Things, bad: dict[str, object]
) -> None:
    people.admin.refused(
        "PUT", "/api/v1/repositories/apps/retention/", bad, status=422, code="invalid"
    )


def test_a_pruned_version_says_so_and_answers_no_bytes(people: People, things: Things) -> None:
    people.admin.put("repositories/apps/retention/", RULES)
    assert retention.retain() == 1
    path = "repositories/apps/packages/app/versions/0.9.0/"
    found = people.ada.get(path).json
    assert found["state"] == "recalled"
    assert found["pruned_at"]
    assert found["pruned_reason"].startswith("no rule keeps it: recalled")
    assert found["download_url"] is None
    with nothing_changes():
        refusal = people.ada.get(f"{path}download/", expect=410).json
    assert refusal["code"] == "pruned"
    artifact = Version.objects.get(name="0.9.0").artifact_id
    with nothing_changes():
        refusal = people.ada.get(f"artifacts/{artifact}/download/", expect=410).json
    assert refusal["code"] == "bytes_gone"
    assert people.ada.get(f"artifacts/{artifact}/").json["pruned_at"]


def test_a_download_is_noted(people: People, things: Things) -> None:
    people.ada.get("repositories/apps/packages/app/versions/1.0.0/download/")
    assert Version.objects.get(name="1.0.0", package__name="app").last_downloaded_at is not None
