"""Selections: one exact version with the reason and a receipt, or a clear refusal."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.utils import timezone

from pipelines.canonical import canonical, timestamp
from pipelines.errors import Invalid, NotFound
from promotion import publishing, recalling, selection, signing
from promotion.errors import NoEligibleVersion, NotPromoted, Recalled
from promotion.models import LedgerEntry, Package, Placement, Selection, Version
from promotion.selection import Query
from tests.cast import Site, make_artifact
from tests.world import nothing_changes, refused


def select(site: Site, **query: Any) -> Selection:
    package = Package.objects.select_related("repository").get(name="app")
    return selection.select(package, Query(**query), by=site.cast.production, consumer="deploy #1")


def considered(refusal: NoEligibleVersion) -> dict[str, str]:
    return {each["version"]: each["why"] for each in refusal.extra["considered"]}


# ---- By environment ------------------------------------------------------------------------------
def test_an_environment_answers_what_is_placed_there(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, old)
    site.promote(site.production, old)
    site.promote(site.staging, new)
    picked = select(site, environment="production")
    assert (picked.version, picked.environment) == (old, site.production)
    assert picked.manifest_digest == old.manifest_digest
    assert (picked.by, picked.consumer) == (site.cast.production, "deploy #1")
    assert select(site, environment="staging").version == new


def test_as_of_answers_what_was_placed_at_that_moment(site: Site) -> None:
    before = timezone.now()
    old = site.publish("1.0.0")
    site.promote(site.staging, old)
    between = timezone.now()
    site.promote(site.staging, site.publish("1.1.0"))
    picked = select(site, environment="staging", as_of=between)
    assert picked.version == old
    assert selection.receipt(picked)["explanation"]["rule"] == (
        f"what is placed in staging at {timestamp(between)}"
    )
    refusal = refused(NoEligibleVersion, lambda: select(site, environment="staging", as_of=before))
    assert refusal.extra["considered"] == []
    refused(Invalid, lambda: select(site, version="1.0.0", as_of=between))


def test_a_version_that_is_not_placed_there_is_refused(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    site.publish("1.1.0")
    assert select(site, environment="staging", version="1.0.0").version.name == "1.0.0"
    refusal = refused(NotPromoted, lambda: select(site, environment="staging", version="1.1.0"))
    assert refusal.extra["current"] == "1.0.0"
    refusal = refused(NotPromoted, lambda: select(site, environment="production", version="1.1.0"))
    assert refusal.extra["current"] is None
    refused(NotFound, lambda: select(site, environment="staging", version="9.9.9"))


def test_an_environment_without_the_package_has_no_answer(site: Site) -> None:
    site.publish("1.0.0")
    refusal = refused(NoEligibleVersion, lambda: select(site, environment="production"))
    assert "production has no version of apps/app" in refusal.detail
    refused(NotFound, lambda: select(site, environment="nowhere"))


def test_a_range_binds_what_an_environment_answers(site: Site) -> None:
    site.promote(site.staging, site.publish("1.4.0"))
    assert select(site, environment="staging", range="^1.2").version.name == "1.4.0"
    refusal = refused(NoEligibleVersion, lambda: select(site, environment="staging", range="^2"))
    assert considered(refusal) == {"1.4.0": "it is outside ^2"}


# ---- By version ----------------------------------------------------------------------------------
def test_a_version_is_had_by_its_exact_name(site: Site) -> None:
    site.publish("1.0.0")
    named = site.publish("release-7")
    assert select(site, version="release-7").version == named
    for name in ("release", "release-7 ", "RELEASE-7", "latest", "1"):
        refused(NotFound, lambda n=name: select(site, version=n))  # type: ignore[misc]


def test_nothing_asked_is_refused_rather_than_guessed(site: Site) -> None:
    site.publish("1.0.0")
    refused(Invalid, lambda: select(site))
    refused(Invalid, lambda: select(site, version="", range="", environment=""))


def test_a_recalled_version_is_refused_whatever_way_it_is_asked_for(site: Site) -> None:
    bad, good = site.publish("1.0.0"), site.publish("1.0.1")
    site.promote(site.staging, bad)
    recalling.recall(bad, by=site.cast.ben, reason="It loses data.", replacement=good)
    for query in ({"version": "1.0.0"}, {"environment": "staging"}):
        refusal = refused(Recalled, lambda q=query: select(site, **q))  # type: ignore[misc]
        assert refusal.extra == {"replacement": "1.0.1"}
        assert "It loses data. Use 1.0.1." in refusal.detail
    nothing = refused(NoEligibleVersion, lambda: select(site, range="1.0.0"))
    assert considered(nothing) == {"1.0.0": "it was recalled", "1.0.1": "it is outside 1.0.0"}


def test_a_recall_without_replacement_offers_none(site: Site) -> None:
    bad = site.publish("1.0.0")
    recalling.recall(bad, by=site.cast.ben, reason="It loses data.")
    assert refused(Recalled, lambda: select(site, version="1.0.0")).extra == {"replacement": None}


# ---- By range ------------------------------------------------------------------------------------
NAMES = ["1.9.0", "1.10.0", "1.2.0", "2.0.0-rc.1", "2.0.0-rc.2", "2.0.0", "2.1.0-beta", "nightly"]


@pytest.fixture
def many(site: Site) -> None:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    for name in NAMES:
        publishing.publish(site.repository, "app", name, artifact, by=site.cast.ada)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("range_", "chosen"),
    [
        ("^1.2", "1.10.0"),
        ("~1.9.0", "1.9.0"),
        (">=1.0.0 <1.10.0", "1.9.0"),
        ("1.2.0", "1.2.0"),
        (">=1.0.0", "2.0.0"),
        ("^2.0.0", "2.0.0"),
        (">=2.0.0-rc.1 <2.0.0", "2.0.0-rc.2"),
        (">=2.1.0-alpha", "2.1.0-beta"),
        ("vers:npm/>=1.0.0|<2.0.0", "1.10.0"),
    ],
)
def test_the_highest_version_in_the_range_is_picked(site: Site, range_: str, chosen: str) -> None:
    picked = select(site, range=range_)
    assert picked.version.name == chosen
    explanation = selection.receipt(picked)["explanation"]
    assert explanation["rule"] == f"the highest version in {range_}"
    assert {each["version"] for each in explanation["considered"]} == set(NAMES)
    assert [each["version"] for each in explanation["considered"] if each["eligible"]] == [chosen]


@pytest.mark.usefixtures("many")
def test_whatever_fell_is_told_with_its_reason(site: Site) -> None:
    refusal = refused(NoEligibleVersion, lambda: select(site, range="^3"))
    assert considered(refusal) == {
        "nightly": "its name is not a semantic version",
        **dict.fromkeys(
            ("2.0.0-rc.1", "2.0.0-rc.2", "2.1.0-beta"),
            "it is a pre-release, which the range does not name",
        ),
        **dict.fromkeys(("1.9.0", "1.10.0", "1.2.0", "2.0.0"), "it is outside ^3"),
    }


@pytest.mark.usefixtures("many")
def test_a_recalled_version_gives_way_to_the_next_in_the_range(site: Site) -> None:
    recalling.recall(Version.objects.get(name="1.10.0"), by=site.cast.ben, reason="It is bad.")
    picked = select(site, range="^1.2")
    assert picked.version.name == "1.9.0"
    why = {e["version"]: e["why"] for e in selection.receipt(picked)["explanation"]["considered"]}
    assert (why["1.10.0"], why["1.2.0"]) == ("it was recalled", "1.9.0 is newer")


@pytest.mark.parametrize("range_", ["latest", "^", ">", "1.0.0 - ", "vers:", "vers:npm/", "🙂"])
def test_what_is_no_range_is_refused(site: Site, range_: str) -> None:
    site.publish("1.0.0")
    refused(Invalid, lambda: select(site, range=range_))


def test_a_version_published_long_ago_is_still_the_highest(site: Site) -> None:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    names = ["9.0.0", *(f"1.0.{patch}" for patch in range(selection.MAX_CONSIDERED + 5))]
    for name in names:
        publishing.publish(site.repository, "app", name, artifact, by=site.cast.ada)
    picked = select(site, range=">=1.0.0")
    assert picked.version.name == "9.0.0"
    shown = selection.receipt(picked)["explanation"]["considered"]
    assert len(shown) <= selection.MAX_CONSIDERED
    assert [each["version"] for each in shown if each["eligible"]] == ["9.0.0"]


# ---- Receipts ------------------------------------------------------------------------------------
def test_resolving_alone_records_nothing(site: Site) -> None:
    version = site.publish("1.0.0")
    with nothing_changes():
        resolved = selection.resolve(version.package, Query(version="1.0.0"))
    assert resolved.version == version


def test_a_receipt_replays_identically_whatever_comes_after(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, old)
    picked = select(site, environment="staging")
    first = canonical(selection.receipt(picked))
    site.promote(site.staging, new)
    recalling.recall(old, by=site.cast.ben, reason="It loses data.", replacement=new)
    again = canonical(selection.receipt(Selection.objects.get(pk=picked.pk)))
    assert again == first
    assert select(site, environment="staging").version == new


def test_a_receipt_says_who_asked_what_and_what_came_back(site: Site) -> None:
    version = site.publish("1.0.0")
    picked = select(site, version="1.0.0")
    assert selection.receipt(picked) == {
        "id": picked.pk,
        "at": timestamp(picked.at),
        "by": "production",
        "consumer": "deploy #1",
        "query": {
            "repository": "apps",
            "package": "app",
            "environment": None,
            "version": "1.0.0",
            "range": None,
            "as_of": None,
        },
        "repository": "apps",
        "package": "app",
        "version": "1.0.0",
        "manifest_digest": version.manifest_digest,
        "explanation": {
            "rule": "the version was named exactly",
            "considered": [{"version": "1.0.0", "eligible": True, "why": ""}],
            "ledger_size": picked.ledger_size,
        },
        "ledger_size": picked.ledger_size,
        "signature": picked.signature,
    }


def test_a_receipt_is_signed_and_anyone_can_check_it(site: Site) -> None:
    site.publish("1.0.0")
    picked = select(site, version="1.0.0")
    said = {
        key: value
        for key, value in selection.receipt(picked).items()
        if key not in {"id", "signature"}
    }
    key = load_pem_public_key(signing.public_key_pem().encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(picked.signature), canonical(said))
    assert signing.verifies(canonical(said), picked.signature)
    assert not signing.verifies(canonical({**said, "version": "1.0.1"}), picked.signature)
    assert not signing.verifies(canonical(said), "not base64!")


def test_the_ledger_size_is_the_position_of_the_selections_own_entry(site: Site) -> None:
    site.publish("1.0.0")
    for _ in range(2):
        picked = select(site, version="1.0.0")
        entry = LedgerEntry.objects.get(sequence=picked.ledger_size)
        body = json.loads(bytes(entry.body))
        assert (entry.type, body["data"]["selection"]) == ("selection.made", picked.pk)
        assert entry == LedgerEntry.objects.latest("sequence")


def test_what_will_be_placed_is_not_known(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    tomorrow = timezone.now() + timedelta(days=1)
    refusal = refused(Invalid, lambda: select(site, environment="staging", as_of=tomorrow))
    assert "future" in refusal.detail


def test_a_selection_moves_no_placement(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    before = list(Placement.objects.values_list())
    select(site, environment="staging", as_of=timezone.now())
    assert list(Placement.objects.values_list()) == before
