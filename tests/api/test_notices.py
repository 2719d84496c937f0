"""One's own notices over the API."""

import pytest

from promotion import notices
from promotion.models import Notice
from tests.api.conftest import People, Things
from tests.world import nothing_changes


def test_notices_are_listed_narrowed_and_marked_as_read(people: People, things: Things) -> None:
    ada = things.site.cast.ada
    for key in ("one", "two"):
        notices.write(
            [ada], key=key, type="promotion.completed", subject=key, path="/promotions/1/"
        )
    listed = people.ada.get("notices/?unread=true").json["results"]
    assert [each["subject"] for each in listed] == ["two", "one", "You are told."]
    assert listed[0]["url"] == "http://127.0.0.1:8000/promotions/1/"
    marked = people.ada.post(f"notices/{listed[0]['id']}/read/", expect=200).json
    assert marked["read_at"] is not None
    assert len(people.ada.get("notices/?unread=true").json["results"]) == 2
    assert people.ada.get("notices/?unread=false").json["results"] == [marked]
    assert people.ada.post("notices/read/", expect=200).json == {"read": 2}
    assert people.ada.get("notices/?unread=true").json["results"] == []
    assert len(people.ada.get("notices/").json["results"]) == 3


def test_another_persons_notice_is_none_of_ones_own(people: People, things: Things) -> None:
    with nothing_changes():
        people.ben.refused(
            "POST", f"notices/{things.notice.pk}/read/", status=404, code="not_found"
        )
        assert people.ben.get("notices/").json["results"] == []
    people.ben.post("notices/read/", expect=200)
    assert Notice.objects.get(pk=things.notice.pk).read_at is None


@pytest.mark.parametrize("value", ["yes", "1", "TRUE"])
def test_unread_is_true_or_false(people: People, things: Things, value: str) -> None:
    people.ada.refused("GET", f"notices/?unread={value}", status=422, code="invalid")
