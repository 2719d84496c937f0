"""Recalls: who used a bad version is listed, what they use instead is named, and they say so."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from pipelines.errors import Forbidden, Invalid, WrongState
from promotion import promoting, recalling, selection, sweeping
from promotion.errors import Recalled
from promotion.ledger.verify import Verification
from promotion.models import Affected, Download, LedgerEntry, PromotionState, Version
from tests.cast import Site
from tests.sealed import unsealed
from tests.world import refused

pytestmark = pytest.mark.django_db

WHY = "It loses data."


def uses_of(version: Version, owner: str) -> list[dict[str, object]]:
    told = json.loads(Affected.objects.get(version=version, owner__username=owner).uses)
    assert told["more"] == 0
    return [{key: use[key] for key in use if use[key] and key != "at"} for use in told["uses"]]


def entry(type_: str) -> dict[str, object]:
    found = LedgerEntry.objects.filter(type=type_).order_by("-sequence")[0]
    data: dict[str, object] = json.loads(bytes(found.body))["data"]
    return data


def assert_all_holds() -> None:
    assert [each for result in Verification().run() for each in result.findings] == []


# ---- Who is listed -------------------------------------------------------------------------------
def test_everyone_who_used_a_version_is_listed_once_with_each_use(site: Site) -> None:
    cast = site.cast
    bad = site.publish("1.1.0")
    site.promote(site.staging, bad)
    query = selection.Query(environment="staging")
    for _ in range(2):
        selection.select(bad.package, query, by=cast.production, consumer="rollout")
    recalling.note_download(bad, by=cast.dora.pk)
    recalling.note_download(bad, by=cast.production.pk)
    waiting = promoting.request(site.production, [bad], by=cast.cleo)
    recalling.recall(bad, by=cast.ben, reason=WHY)
    assert uses_of(bad, "ada") == [
        {"how": "placed", "times": 1, "environment": "staging", "promotion": waiting.pk - 1}
    ]
    assert uses_of(bad, "cleo") == [
        {"how": "requested", "times": 1, "environment": "production", "promotion": waiting.pk}
    ]
    assert uses_of(bad, "dora") == [{"how": "downloaded", "times": 1}]
    assert uses_of(bad, "production") == [
        {"how": "downloaded", "times": 1},
        {"how": "selected", "times": 2, "consumer": "rollout", "environment": "staging"},
    ]
    listed = {"ada", "cleo", "dora", "production"}
    assert {user.username for user in recalling.owners_of(bad)} == listed
    assert set(entry("version.recalled")["affected"]) == listed  # type: ignore[call-overload]
    assert_all_holds()


def test_who_used_another_version_or_placed_it_before_another_came_is_not_concerned(
    site: Site,
) -> None:
    bad, good = site.publish("1.0.0"), site.publish("1.1.0")
    recalling.note_download(good, by=site.cast.dora.pk)
    site.promote(site.staging, bad)
    site.promote(site.staging, good)
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    assert list(recalling.owners_of(bad)) == []
    assert recalling.progress(bad) == recalling.Progress(0, 0)


def test_of_very_many_uses_the_newest_are_told_and_the_others_counted(site: Site) -> None:
    bad = site.publish("1.0.0")
    query = selection.Query(version="1.0.0")
    for number in range(recalling.MAX_USES + 3):
        selection.select(bad.package, query, by=site.cast.ada, consumer=f"app #{number}")
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    told = json.loads(Affected.objects.get().uses)
    assert told["more"] == 3
    assert [use["consumer"] for use in told["uses"]] == [
        f"app #{number}" for number in reversed(range(3, recalling.MAX_USES + 3))
    ]
    assert_all_holds()


# ---- Downloads -----------------------------------------------------------------------------------
def test_a_download_is_noted_once_an_hour_for_each_person(site: Site) -> None:
    version = site.publish("1.0.0")
    for by in (site.cast.ada, site.cast.ada, site.cast.dora):
        recalling.note_download(version, by=by.pk)
    assert sorted(Download.objects.values_list("by__username", "count")) == [
        ("ada", 1), ("dora", 1)
    ]  # fmt: skip
    long_ago = timezone.now() - timedelta(hours=2)
    Download.objects.update(first_at=long_ago, last_at=long_ago)
    recalling.note_download(version, by=site.cast.ada.pk)
    again = Download.objects.get(by=site.cast.ada)
    assert (again.count, again.first_at) == (2, long_ago)
    assert again.last_at > long_ago


def test_a_download_by_nobody_known_is_noted_of_the_version_alone(site: Site) -> None:
    version = site.publish("1.0.0")
    recalling.note_download(version, by=None)
    recalling.note_download(version, by=99_999_999)
    assert Download.objects.count() == 0
    version.refresh_from_db()
    assert version.last_downloaded_at is not None


def test_whoever_first_fetches_a_version_after_its_recall_is_listed_then(site: Site) -> None:
    bad = site.publish("1.0.0")
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    for _ in range(2):
        recalling.note_download(Version.objects.get(), by=site.cast.dora.pk)
    Download.objects.update(last_at=timezone.now() - timedelta(hours=2))
    recalling.note_download(Version.objects.get(), by=site.cast.dora.pk)
    assert uses_of(bad, "dora") == [{"how": "downloaded", "times": 1}]
    assert LedgerEntry.objects.filter(type="recall.reached").count() == 1
    assert entry("recall.reached")["owner"] == "dora"
    assert_all_holds()


# ---- From that moment ----------------------------------------------------------------------------
def test_selecting_and_requesting_are_refused_with_the_replacement(site: Site) -> None:
    bad, good = site.publish("1.0.0"), site.publish("1.0.1")
    site.promote(site.staging, bad)
    recalling.recall(bad, by=site.cast.ben, reason=WHY, replacement=good)
    for query in (selection.Query(version="1.0.0"), selection.Query(environment="staging")):
        refusal = refused(
            Recalled,
            lambda q=query: selection.select(bad.package, q, by=site.cast.production),  # type: ignore[misc]
        )
        assert refusal.extra["replacement"] == "1.0.1"
        assert "Use 1.0.1." in refusal.detail
    refusal = refused(Recalled, lambda: site.request(site.production, bad))
    assert refusal.extra["replacement"] == "1.0.1"


def test_a_recall_has_each_open_promotion_with_it_looked_at_again(
    site: Site, nobody_listens_to_the_queue: list[tuple[str, int]],
    django_capture_on_commit_callbacks: object,
) -> None:  # fmt: skip
    bad, good = site.publish("1.0.0"), site.publish("1.0.0", package="web")
    both = [site.request(site.staging, bad, good), site.request(site.staging, bad)]
    site.request(site.staging, good)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        recalling.recall(bad, by=site.cast.ben, reason=WHY)
    sent = [pk for task, pk in nobody_listens_to_the_queue if task == recalling.RECONSIDER]
    assert sorted(sent) == [promotion.pk for promotion in both]


def test_what_was_requested_before_the_recall_is_never_placed(site: Site) -> None:
    bad = site.publish("1.0.0")
    promotion = site.request(site.staging, bad)
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    sweeping.sweep()
    promotion.refresh_from_db()
    if promotion.state == PromotionState.REQUESTED:
        promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    promoting.execute(promotion.pk)
    assert site.placed(site.staging, bad.package) is None
    assert_all_holds()


def test_a_second_recall_is_refused_and_lists_nobody_anew(site: Site) -> None:
    bad = site.publish("1.0.0")
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    refused(WrongState, lambda: recalling.recall(bad, by=site.cast.cleo, reason="Again."))


# ---- Acknowledging -------------------------------------------------------------------------------
@pytest.fixture
def listed(site: Site) -> Affected:
    """Ada's notice of the recall of what she downloaded."""
    bad = site.publish("1.0.0")
    recalling.note_download(bad, by=site.cast.ada.pk)
    recalling.note_download(bad, by=site.cast.dora.pk)
    recalling.recall(bad, by=site.cast.ben, reason=WHY)
    return Affected.objects.get(owner=site.cast.ada)


def test_an_owner_acknowledges_and_it_is_on_record(site: Site, listed: Affected) -> None:
    assert [each.pk for each in recalling.to_acknowledge(site.cast.ada)] == [listed.pk]
    known = recalling.acknowledge(listed, by=site.cast.ada, note=" Rolled back. ")
    assert (known.acknowledged_by, known.note) == (site.cast.ada, "Rolled back.")
    assert recalling.progress(known.version) == recalling.Progress(acknowledged=1, listed=2)
    assert list(recalling.to_acknowledge(site.cast.ada)) == []
    said = entry("recall.acknowledged")
    assert (said["owner"], said["note"]) == ("ada", "Rolled back.")
    assert_all_holds()


def test_a_manager_acknowledges_for_somebody_else_and_is_named(
    site: Site, listed: Affected
) -> None:
    known = recalling.acknowledge(listed, by=site.cast.cleo)
    assert (known.owner, known.acknowledged_by) == (site.cast.ada, site.cast.cleo)
    assert_all_holds()


def test_it_is_acknowledged_once(site: Site, listed: Affected) -> None:
    recalling.acknowledge(listed, by=site.cast.ada)
    refusal = refused(WrongState, lambda: recalling.acknowledge(listed, by=site.cast.ben))
    assert "ada has acknowledged the recall of apps/app 1.0.0 for ada already" in refusal.detail


def test_somebody_elses_notice_is_not_for_everybody_to_acknowledge(
    site: Site, listed: Affected
) -> None:
    refused(Forbidden, lambda: recalling.acknowledge(listed, by=site.cast.dora))
    long = "x" * (recalling.MAX_NOTE + 1)
    refused(Invalid, lambda: recalling.acknowledge(listed, by=site.cast.ada, note=long))


# ---- Tampered with -------------------------------------------------------------------------------
def test_verify_names_a_notice_that_was_changed_or_is_missing(listed: Affected) -> None:
    with unsealed():
        Affected.objects.filter(pk=listed.pk).update(uses='{"more":0,"uses":[]}')
        Affected.objects.filter(owner__username="dora").delete()
    found = [each for result in Verification().run() for each in result.findings]
    assert any(each.startswith("use of recalled version apps app 1.0.0 ada:") for each in found)
    assert "use of recalled version apps app 1.0.0 dora is in the ledger and has no row" in found


def test_a_request_for_what_was_recalled_is_stale_once_it_is_looked_at(site: Site) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")
    promoting.reconsider(promotion)
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.STALE
    assert promotion.reason == "apps/app 1.0.0 was recalled."
