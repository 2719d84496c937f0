"""Calls on service connections: who sees which, and that no answer holds a secret."""

import json
from typing import Any

import pytest

from pipelines.models import IdempotencyKey, ServiceConnection
from pipelines.sealing import unseal
from tests.api.conftest import PASSWORD, People, Things

BODY = {
    "name": "our-git",
    "kind": "git",
    "team": "shop",
    "host": "Git.Example:8443",
    "settings": {"username": "sluice"},
    "secrets": {"password": PASSWORD + " "},
}


def test_one_is_made_and_its_secret_kept_as_it_was_sent(people: People) -> None:
    made = people.ada.post("connections/", BODY).json
    assert made | {"created_at": None, "changed_at": None} == {
        "name": "our-git",
        "kind": "git",
        "team": "shop",
        "host": "git.example:8443",
        "settings": {"username": "sluice"},
        "description": "",
        "shared_with": [],
        "shared_with_all": False,
        "created_by": "ada",
        "created_at": None,
        "changed_at": None,
        "last_used_at": None,
        "url": made["url"],
    }
    row = ServiceConnection.objects.get(name="our-git")
    assert unseal(row.sealed) == {"password": PASSWORD + " "}
    assert people.ada.get("connections/our-git/").json == made


def test_no_answer_holds_a_secret_and_none_is_kept_with_an_idempotency_key(
    people: People, things: Things
) -> None:
    answers = [
        people.ada.post("connections/", BODY, Idempotency_Key="once"),
        people.ada.post("connections/", BODY, Idempotency_Key="once"),
        people.ada.call("POST", "connections/", BODY),
        people.ada.call("POST", "connections/", {**BODY, "secrets": {PASSWORD: PASSWORD}}),
        people.ada.call("POST", "connections/", {**BODY, "secrets": {PASSWORD: 7}}),
        people.ada.call("POST", "connections/", {**BODY, "secrets": PASSWORD}),
        people.ada.call("POST", "connections/", {**BODY, "name": "-", "x": PASSWORD}),
        people.ada.put("connections/registry/secrets/", {"secrets": {"password": PASSWORD}}),
        people.ada.get("connections/"),
        people.ada.get("connections/registry/"),
    ]
    assert [answer.status for answer in answers] == [
        201,
        201,
        409,
        422,
        422,
        422,
        400,
        200,
        200,
        200,
    ]
    row = ServiceConnection.objects.get(name="our-git")
    for answer in answers:
        assert PASSWORD not in answer.text
        assert json.dumps(PASSWORD)[1:-1] not in answer.text
        assert row.sealed[:30] not in answer.text
        assert "sealed" not in answer.text
    assert PASSWORD not in str(list(IdempotencyKey.objects.values_list()))


def test_what_an_idempotency_key_remembers_of_a_secret_cannot_be_guessed(
    people: People, settings: Any
) -> None:
    """The digest of a request is kept. Without the site's own key nobody can compare guesses."""
    people.ada.post("connections/", BODY, Idempotency_Key="once")
    kept = IdempotencyKey.objects.get()
    first = kept.request_digest
    kept.delete()
    ServiceConnection.objects.filter(name="our-git").delete()
    people.ada.post("connections/", BODY, Idempotency_Key="once")
    assert IdempotencyKey.objects.get().request_digest == first
    IdempotencyKey.objects.all().delete()
    ServiceConnection.objects.filter(name="our-git").delete()
    settings.SECRET_KEY = "another site's"
    people.ada.post("connections/", BODY, Idempotency_Key="once")
    assert IdempotencyKey.objects.get().request_digest != first


def test_people_see_those_of_their_teams_and_what_is_shared_with_them(
    people: People, things: Things
) -> None:
    def seen_by(name: str) -> list[str]:
        return [row["name"] for row in people.of(name).get("connections/").json["results"]]

    people.ada.post("connections/", BODY)
    assert seen_by("ada") == ["our-git", "registry", "web-key"]
    assert seen_by("ben") == ["registry"]
    people.ada.put("connections/our-git/sharing/", {"teams": ["office"]})
    assert seen_by("ben") == ["our-git", "registry"]
    shown = people.ben.get("connections/our-git/").json
    assert (shown["shared_with"], shown["shared_with_all"]) == (["office"], False)
    people.ada.put("connections/our-git/sharing/", {"teams": []})
    assert seen_by("ben") == ["registry"]


@pytest.mark.parametrize("who", ["ben", "cleo", "dora", "production"])
def test_what_one_may_not_use_is_as_if_it_did_not_exist(
    who: str, people: People, things: Things
) -> None:
    people.ada.post("connections/", BODY)
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", b""),
        ("DELETE", "", b""),
        ("PUT", "secrets/", {"secrets": {"password": "x"}}),
        ("PUT", "sharing/", {"teams": [], "all": True}),
    )
    for method, path, body in calls:
        there, nothing = (
            people.of(who).refused(
                method, f"connections/{name}/{path}", body, status=404, code="not_found"
            )
            for name in ("our-git", "nothing")
        )
        assert there == nothing


def test_one_may_be_made_for_ones_own_team_only(people: People, things: Things) -> None:
    people.ada.refused(
        "POST", "connections/", {**BODY, "team": "office"}, status=403, code="forbidden"
    )
    people.ada.refused(
        "POST", "connections/", {**BODY, "team": "nobody"}, status=404, code="not_found"
    )
    people.ben.refused(
        "POST", "connections/", {**BODY, "team": "office"}, status=403, code="forbidden"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "ftp"}, {"host": ""}, {"host": "a@b"}, {"host": "x y"}, {"settings": {"port": "1"}},
     {"secrets": {}}, {"secrets": {"password": ""}}, {"secrets": {"password": "a\nb"}},
     {"secrets": None}, {"name": "Our git"}, {"description": "x" * 201}],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(
    wrong: dict[str, Any], people: People, things: Things
) -> None:
    people.ada.refused("POST", "connections/", {**BODY, **wrong}, status=422, code="invalid")


def test_sharing_and_secrets_are_replaced_only_as_they_were_read(people: People) -> None:
    tag = people.ada.get("connections/registry/").headers["ETag"]
    people.ada.put("connections/registry/sharing/", {"teams": ["office"]}, If_Match=tag)
    people.ada.refused(
        "PUT", "connections/registry/sharing/", {"teams": []}, If_Match=tag,
        status=412, code="precondition_failed",
    )  # fmt: skip
    people.ada.refused(
        "PUT", "connections/registry/secrets/", {"secrets": {"password": "x"}}, If_Match=tag,
        status=412, code="precondition_failed",
    )  # fmt: skip
    people.ada.refused(
        "PUT", "connections/registry/sharing/", {"teams": ["nobody"]}, status=404, code="not_found"
    )


def test_what_was_removed_is_gone(people: People) -> None:
    answer = people.ada.call("DELETE", "connections/registry/")
    assert (answer.status, answer.content) == (204, b"")
    people.ada.refused("DELETE", "connections/registry/", status=404, code="not_found")
    left = [row["name"] for row in people.ada.get("connections/").json["results"]]
    assert left == ["web-key"]
