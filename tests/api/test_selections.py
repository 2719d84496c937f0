"""One call gives the exact version; a clear refusal otherwise; the pick replays for ever."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipelines.canonical import canonical
from promotion import recalling, signing
from promotion.models import Selection
from tests.api.caller import Api
from tests.api.conftest import People, Things

APP = {"repository": "apps", "package": "app"}


def select(who: Api, *, expect: int = 201, **query: Any) -> Any:
    return who.post("selections/", {**APP, **query}, expect=expect).json


def test_what_is_placed_is_what_is_selected(people: People) -> None:
    picked = select(people.production, environment="production", consumer="deploy 17")
    assert (picked["version"], picked["consumer"]) == ("1.0.1", "deploy 17")
    assert picked["explanation"]["rule"] == "what is placed in production"
    assert picked["explanation"]["considered"] == [
        {"version": "1.0.1", "eligible": True, "why": ""}
    ]
    assert picked["query"]["environment"] == "production"
    assert people.production.get("/" + picked["artifact"]["downloadUrl"].split("/", 3)[3]).content


def test_a_range_answers_with_its_highest_version_and_why_the_others_fell(
    people: People,
) -> None:
    picked = select(people.production, range=">=0.9.0 <1.1.0")
    assert picked["version"] == "1.0.1"
    why = {each["version"]: each["why"] for each in picked["explanation"]["considered"]}
    assert why["1.0.1"] == ""
    assert "newer" in why["1.0.0"]
    assert "recalled" in why["0.9.0"]
    assert "outside" in why["1.1.0"]


def test_an_exact_version_is_that_version(people: People) -> None:
    assert select(people.production, version="1.1.0")["version"] == "1.1.0"
    assert select(people.production, version="1.0.1", environment="staging")["version"] == "1.0.1"


def test_a_replay_is_the_same_answer_for_ever(people: People, things: Things) -> None:
    first = people.production.post("selections/", {**APP, "environment": "staging"})
    path = f"selections/{first.json['id']}/"
    assert people.production.get(path).content == first.content
    things.site.promote(things.site.staging, things.site.publish("3.0.0"))
    picked = recalling.recall(
        Selection.objects.get(pk=first.json["id"]).version,
        by=things.site.cast.ben,
        reason="It loses data.",
    )
    assert picked.state == "recalled"
    for who in (people.production, people.dora):
        assert who.get(path).content == first.content


def test_the_receipt_is_signed_over_its_canonical_json(people: People) -> None:
    picked = select(people.production, environment="staging")
    signed = {
        key: value
        for key, value in picked.items()
        if key not in {"id", "signature", "artifact", "sha256"}
    }
    key = load_pem_public_key(signing.public_key_pem().encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(picked["signature"]), canonical(signed))


def test_the_receipt_stands_in_the_history_at_its_position(people: People) -> None:
    picked = select(people.production, environment="staging")
    entry = people.dora.get("history/?type=selection.made").json["results"][0]
    assert entry["sequence"] == picked["ledger_size"]
    assert entry["data"]["selection"] == picked["id"]
    assert entry["actor"] == "production"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [({}, 422, "invalid"),
     ({"environment": "staging", "version": "1.1.0"}, 409, "not_promoted"),
     ({"environment": "production", "version": "1.0.0"}, 409, "not_promoted"),
     ({"environment": "staging", "version": "0.9.0"}, 409, "not_promoted"),
     ({"environment": "staging", "version": "9.9.9"}, 404, "not_found"),
     ({"environment": "nowhere"}, 404, "not_found"),
     ({"version": "9.9.9"}, 404, "not_found"),
     ({"version": "0.9.0"}, 410, "recalled"),
     ({"range": "^9"}, 404, "no_eligible_version"),
     ({"range": "<1.0.0"}, 404, "no_eligible_version"),
     ({"environment": "staging", "range": "^9"}, 404, "no_eligible_version"),
     ({"range": "nonsense"}, 422, "invalid"),
     ({"range": "latest"}, 422, "invalid")],
)  # fmt: skip
def test_whatever_does_not_answer_is_refused_clearly(
    query: dict[str, str], status: int, code: str, people: People, things: Things
) -> None:
    document = people.production.refused(
        "POST", "selections/", {**APP, **query}, status=status, code=code
    )
    if query:
        parameters = "&".join(f"{key}={value}" for key, value in query.items())
        path = f"repositories/apps/packages/app/resolve/?{parameters}"
        assert people.dora.refused("GET", path, status=status, code=code) == document
    if code == "not_promoted":
        assert document["current"] == "1.0.1"
    if code == "recalled":
        assert document["replacement"] == "1.0.0"
    if code == "no_eligible_version":
        assert document["considered"]
        for each in document["considered"]:
            assert each["eligible"] is False
            assert each["why"]


def test_an_environment_without_the_package_has_nothing_to_select(
    people: People, things: Things
) -> None:
    things.site.publish("7.0.0", package="tool")
    people.production.refused(
        "POST", "selections/", {**APP, "package": "tool", "environment": "staging"},
        status=404, code="no_eligible_version",
    )  # fmt: skip


def test_a_recalled_version_is_refused_where_it_is_placed(people: People, things: Things) -> None:
    people.ben.post(
        "repositories/apps/packages/app/versions/1.0.1/recall/",
        {"reason": "It loses data.", "replacement": "1.0.0"},
        expect=200,
    )
    document = people.production.refused(
        "POST", "selections/", {**APP, "environment": "production"}, status=410, code="recalled"
    )
    assert document["replacement"] == "1.0.0"
    assert "It loses data." in document["detail"]


def test_what_was_placed_then_answers_as_of_then(people: People, things: Things) -> None:
    (placed,) = people.ada.get("environments/staging/placements/").json["results"]
    things.site.promote(things.site.staging, things.site.publish("3.0.0"))
    path = "repositories/apps/packages/app/resolve/?environment=staging"
    assert people.dora.get(path).json["version"] == "3.0.0"
    then = people.dora.get(f"{path}&as_of={placed['since']}").json
    assert then["version"] == "1.0.1"
    assert "at" in then["explanation"]["rule"]
    people.dora.refused("GET", f"{path}&as_of=2001-01-01", status=404, code="no_eligible_version")
