"""Promotions once they are approved: executed once, wholly or not at all, and rolled back."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Role, User
from pipelines import blobs
from pipelines.errors import NotFound
from pipelines.models import Blob
from promotion import executing, gathering, plans, policies, promoting, recalling, sweeping
from promotion.errors import AlreadyPlaced, GateClosed, PlanChanged, Recalled
from promotion.ledger.verify import Verification
from promotion.models import (
    LedgerEntry,
    Package,
    Placement,
    Promotion,
    PromotionKind,
    PromotionState,
    Version,
)
from tests.cast import Site
from tests.parts.s3 import storages_of
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

P = PromotionState
Queue = list[tuple[str, int]]


def approved(site: Site, *versions: Version) -> Promotion:
    promotion = site.request(site.staging, *versions)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    return promotion


def execute(promotion: Promotion) -> Promotion:
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    return promotion


def placements() -> list[tuple[Any, ...]]:
    return list(Placement.objects.order_by("pk").values_list("pk", "version__name", "until"))


def broken_promises() -> list[str]:
    return [each for result in Verification().run() for each in result.findings]


def stored(version: Version) -> Path:
    """Where the bytes of the version's only file are."""
    blob = Blob.objects.get(pk=version.files.get().blob_id)
    return Path(settings.DATA_DIR) / "blobs" / blob.storage_name


def overwrite(path: Path, data: bytes) -> None:
    """As a failing disk would: whatever the file's name promises."""
    os.chmod(path, 0o600)
    path.write_bytes(data)


# ---- Placed -------------------------------------------------------------------------------------
def test_an_executed_promotion_places_exactly_what_was_approved(site: Site) -> None:
    version = site.publish("1.0.0")
    promotion = execute(approved(site, version))
    placement = Placement.objects.get()
    assert promotion.state == P.COMPLETED
    assert (placement.version, placement.promotion) == (version, promotion)
    assert placement.until is None
    assert all(gate["open"] for gate in promotion.gates)
    entry = LedgerEntry.objects.latest("sequence")
    assert entry.type == "promotion.completed"
    assert entry.actor is None
    assert (entry.repository, entry.package, entry.environment) == ("apps", "app", "staging")
    assert broken_promises() == []


def test_the_next_version_ends_the_placement_of_the_one_before(site: Site) -> None:
    first = site.promote(site.staging, site.publish("1.0.0"))
    second = site.promote(site.staging, site.publish("1.1.0"))
    old, new = Placement.objects.order_by("pk")
    assert (old.promotion, new.promotion) == (first, second)
    assert old.until == new.since
    assert new.until is None
    assert Placement.objects.current().get() == new


def test_what_was_placed_at_a_moment_can_be_told(site: Site) -> None:
    before = timezone.now()
    site.promote(site.staging, site.publish("1.0.0"))
    site.promote(site.staging, site.publish("1.1.0"))
    old, new = Placement.objects.order_by("pk")
    at = Placement.objects.at
    assert list(at(before)) == []
    assert list(at(old.since)) == [old]
    assert list(at(new.since)) == [new], "a placement's end is not part of it"
    assert list(at(new.since - timedelta(microseconds=1))) == [old]
    assert list(at(timezone.now())) == [new]


def test_a_clock_that_went_back_ends_no_placement_before_it_began(site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    future = timezone.now() + timedelta(days=365)
    with unsealed():
        Placement.objects.update(since=future)
    site.promote(site.staging, site.publish("1.1.0"))
    old, new = Placement.objects.order_by("pk")
    assert old.since == old.until == new.since == future
    assert new.recorded_at < future


def test_environments_and_packages_do_not_touch_each_other(site: Site) -> None:
    app, web = site.publish("1.0.0"), site.publish("2.0.0", package="web")
    site.promote(site.staging, app)
    site.promote(site.production, app)
    site.promote(site.staging, web)
    site.promote(site.staging, site.publish("1.1.0"))
    assert site.placed(site.production, app.package) == "1.0.0"
    assert site.placed(site.staging, app.package) == "1.1.0"
    assert site.placed(site.staging, web.package) == "2.0.0"
    assert site.placed(site.production, web.package) is None


def test_executing_twice_places_once(site: Site) -> None:
    promotion = execute(approved(site, site.publish("1.0.0")))
    with nothing_changes():
        execute(promotion)


# ---- All or none ---------------------------------------------------------------------------------
def test_two_items_are_placed_together(site: Site) -> None:
    api, web = site.publish("1.0.0", package="api"), site.publish("1.0.0", package="web")
    promotion = execute(approved(site, web, api))
    assert promotion.state == P.COMPLETED
    assert {each.version for each in Placement.objects.current()} == {api, web}
    entry = LedgerEntry.objects.latest("sequence")
    assert (entry.repository, entry.package, entry.environment) == ("", "", "staging")
    assert broken_promises() == []


@pytest.mark.parametrize("bad", ["api", "web"])
def test_an_item_that_was_recalled_stops_the_other_too(site: Site, bad: str) -> None:
    both = {name: site.publish("1.0.0", package=name) for name in ("api", "web")}
    promotion = approved(site, *both.values())
    recalling.recall(both[bad], by=site.cast.cleo, reason="It loses data.")
    execute(promotion)
    assert promotion.state == P.FAILED
    assert f"apps/{bad} 1.0.0 was recalled" in promotion.reason
    assert placements() == []


def test_an_item_whose_bytes_are_gone_stops_the_other_too(site: Site) -> None:
    api, web = site.publish("1.0.0", package="api"), site.publish("1.0.0", package="web")
    promotion = approved(site, api, web)
    stored(web).unlink()
    assert execute(promotion).state == P.FAILED
    assert placements() == []


# ---- Refused at the last moment ------------------------------------------------------------------
def test_an_approver_who_lost_the_role_no_longer_counts(site: Site) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    User.objects.filter(username="ben").update(roles=[Role.DEVELOPER])
    execute(promotion)
    assert promotion.state == P.FAILED
    assert promotion.reason == "0 of 1 approvals."
    assert placements() == []
    assert LedgerEntry.objects.latest("sequence").type == "promotion.failed"
    assert broken_promises() == []


def test_an_approver_who_was_deactivated_no_longer_counts(site: Site) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    User.objects.filter(username="ben").update(is_active=False)
    assert execute(promotion).state == P.FAILED
    assert placements() == []


def test_a_version_recalled_after_the_approval_is_not_placed(site: Site) -> None:
    old, bad = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, old)
    promotion = approved(site, bad)
    recalling.recall(bad, by=site.cast.ben, reason="It loses data.")
    before = placements()
    execute(promotion)
    assert promotion.state == P.FAILED
    assert "apps/app 1.1.0 was recalled" in promotion.reason
    assert placements() == before
    assert site.placed(site.staging, old.package) == "1.0.0"


def test_a_version_that_left_upstream_after_the_approval_is_not_placed(site: Site) -> None:
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    promotion = site.request(site.production, version)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    site.promote(site.staging, site.publish("1.1.0"))
    execute(promotion)
    assert promotion.state == P.FAILED
    assert "is not in staging" in promotion.reason
    assert site.placed(site.production, version.package) is None


@pytest.mark.parametrize("damage", ["missing", "cut short", "altered"])
def test_bytes_that_are_not_those_approved_stop_the_execution(site: Site, damage: str) -> None:
    version = site.publish("1.0.0", files={"app.txt": f"to be {damage}".encode()})
    promotion = approved(site, version)
    file = stored(version)
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        overwrite(file, whole[:-1] if damage == "cut short" else whole[::-1])
    execute(promotion)
    assert promotion.state == P.FAILED
    assert "“app.txt” are missing or damaged" in promotion.reason
    assert placements() == []
    file.unlink(missing_ok=True)
    file.write_bytes(whole)
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.COMPLETED


def test_bytes_that_are_whole_in_the_second_copy_are_mended_and_placed(
    site: Site, tmp_path: Path
) -> None:
    options = {"location": str(tmp_path)}
    described = {"BACKEND": "pipelines.storage.DurableFileSystemStorage", "OPTIONS": options}
    with storages_of(copy=described):
        version = site.publish("1.0.0", files={"app.txt": b"to be mended"})
        promotion = approved(site, version)
        overwrite(stored(version), b"to be mender")
        assert execute(promotion).state == P.COMPLETED
    assert stored(version).read_bytes() == b"to be mended"


def test_a_bundle_that_is_gone_stops_the_execution(site: Site) -> None:
    version = site.publish("1.0.0", files={"a": b"in a", "b": b"bundle"})
    promotion = approved(site, version)
    assert version.bundle is not None
    # A stored one, as bundles were before they were composed.
    with blobs.open_blob(version.bundle) as content:
        stored = blobs.keep_stream(content)
    (Path(settings.DATA_DIR) / "blobs" / stored.storage_name).unlink()
    execute(promotion)
    assert promotion.state == P.FAILED
    assert f"“{version.bundle_name}” are missing or damaged" in promotion.reason
    assert placements() == []


# ---- Retried -------------------------------------------------------------------------------------
def test_a_retry_executes_the_plan_that_was_approved(
    site: Site, nobody_listens_to_the_queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    version = site.publish("1.0.0")
    promotion = approved(site, version)
    User.objects.filter(username="ben").update(roles=[])
    execute(promotion)
    User.objects.filter(username="ben").update(roles=[Role.RELEASE_MANAGER])
    with django_capture_on_commit_callbacks(execute=True):
        promoting.retry(promotion, by=site.cast.ada)
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, promotion.pk)]
    assert (promotion.state, promotion.attempt, promotion.finished_at) == (P.APPROVED, 0, None)
    assert execute(promotion).state == P.COMPLETED
    assert broken_promises() == []


def test_a_retry_of_what_has_changed_meanwhile_goes_stale(site: Site) -> None:
    version = site.publish("1.0.0")
    promotion = approved(site, version)
    User.objects.filter(username="ben").update(roles=[])
    execute(promotion)
    policies.set_policy(site.staging, {"approvals": 0}, by=site.cast.admin)
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.STALE
    assert placements() == []
    assert broken_promises() == []


# ---- Workers that die ----------------------------------------------------------------------------
def die(promotion: Promotion) -> None:
    """A worker takes the promotion and is never heard of again."""
    assert executing._claim(promotion.pk) is not None
    Promotion.objects.filter(pk=promotion.pk).update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def test_a_promotion_whose_worker_died_is_taken_over(
    site: Site, nobody_listens_to_the_queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    die(promotion)
    with nothing_changes():
        promoting.execute(promotion.pk)
    with django_capture_on_commit_callbacks(execute=True):
        sweeping.sweep()
    assert (promoting.EXECUTE, promotion.pk) in nobody_listens_to_the_queue
    execute(promotion)
    assert (promotion.state, promotion.attempt) == (P.COMPLETED, 2)
    assert broken_promises() == []


def test_a_worker_that_still_holds_its_lease_is_left_alone(site: Site) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    assert executing._claim(promotion.pk) is not None
    with nothing_changes():
        sweeping.sweep()


def test_a_worker_that_comes_back_too_late_moves_nothing(site: Site) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    late = executing._claim(promotion.pk)
    assert late is not None
    Promotion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    sweeping.sweep()
    with nothing_changes():
        executing._give_up(late, P.FAILED, "It was late.")
    execute(promotion)
    assert promotion.state == P.COMPLETED
    with nothing_changes():
        executing._give_up(late, P.ERRORED, "It was late.")


def test_three_deaths_are_an_error_that_may_be_retried(site: Site) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    for death in (1, 2, 3):
        die(promotion)
        sweeping.sweep()
        promotion.refresh_from_db()
        assert promotion.state == (P.ERRORED if death == 3 else P.APPROVED)
    assert promotion.reason == "Its worker died 3 times."
    assert LedgerEntry.objects.latest("sequence").type == "promotion.errored"
    assert placements() == []
    promoting.retry(promotion, by=site.cast.ada)
    assert execute(promotion).state == P.COMPLETED
    assert broken_promises() == []


def test_a_nudge_that_was_lost_is_repeated(
    site: Site, nobody_listens_to_the_queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    promotion = approved(site, site.publish("1.0.0"))
    long_ago = timezone.now() - 2 * settings.SWEEP_EVERY
    Promotion.objects.filter(pk=promotion.pk).update(decided_at=long_ago)
    with django_capture_on_commit_callbacks(execute=True), nothing_changes():
        sweeping.sweep()
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, promotion.pk)]


# ---- Rollback ------------------------------------------------------------------------------------
@pytest.fixture
def history(site: Site) -> dict[str, Version]:
    """1.0.0, 1.1.0 and 1.2.0 were placed in staging, one after the other."""
    versions = {name: site.publish(name) for name in ("1.0.0", "1.1.0", "1.2.0")}
    for version in versions.values():
        site.promote(site.staging, version)
    return versions


def target(promotion: Promotion) -> str:
    return promotion.items.get().version.name


def roll_back(site: Site, **options: Any) -> Promotion:
    package = Package.objects.get(name="app")
    return promoting.roll_back(site.staging, package, by=site.cast.ada, **options)


def test_a_rollback_places_the_version_before(site: Site, history: dict[str, Version]) -> None:
    promotion = roll_back(site, comment="It crashes.")
    assert (promotion.kind, promotion.comment) == (PromotionKind.ROLLBACK, "It crashes.")
    assert target(promotion) == "1.1.0"
    assert promotion.state == P.REQUESTED, "a rollback is approved like any other"
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    assert execute(promotion).state == P.COMPLETED
    assert site.placed(site.staging, history["1.1.0"].package) == "1.1.0"
    assert Placement.objects.count() == 4, "history is added to, not removed"
    assert broken_promises() == []


def test_a_rollback_passes_over_recalled_versions(site: Site, history: dict[str, Version]) -> None:
    recalling.recall(history["1.1.0"], by=site.cast.ben, reason="It loses data.")
    assert target(roll_back(site)) == "1.0.0"


def test_a_rollback_may_name_its_version(site: Site, history: dict[str, Version]) -> None:
    assert target(roll_back(site, to=history["1.0.0"])) == "1.0.0"


def test_a_rollback_is_of_the_plan_that_was_seen(site: Site, history: dict[str, Version]) -> None:
    refused(PlanChanged, lambda: roll_back(site, seen="sha256:" + "0" * 64))
    planned = plans.plan(site.staging, [history["1.1.0"]], kind=PromotionKind.ROLLBACK)
    assert roll_back(site, seen=planned.digest).plan_digest == planned.digest


def test_a_rollback_leads_only_to_what_was_there_and_may_be_used(
    site: Site, history: dict[str, Version]
) -> None:
    never = site.publish("1.3.0")
    refused(NotFound, lambda: roll_back(site, to=never))
    refused(NotFound, lambda: roll_back(site, to=history["1.2.0"]))
    for name in ("1.0.0", "1.1.0"):
        recalling.recall(history[name], by=site.cast.ben, reason="It loses data.")
        refused(Recalled, lambda: roll_back(site, to=history["1.0.0"]))
    refused(NotFound, lambda: roll_back(site))


def test_there_is_nothing_to_roll_back_where_nothing_is(site: Site) -> None:
    version = site.publish("1.0.0")
    package = version.package
    refused(NotFound, lambda: promoting.roll_back(site.staging, package, by=site.cast.ada))


def test_a_rollback_does_not_walk_the_way_from_upstream_again(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    for version in (old, new):
        for environment in (site.staging, site.production):
            site.promote(environment, version)
    refused(GateClosed, lambda: site.request(site.production, old))
    refused(AlreadyPlaced, lambda: site.request(site.staging, new))
    promotion = promoting.roll_back(site.production, old.package, by=site.cast.ada)
    assert [gate.name for gate in gathering.current_gates(promotion)] == [
        "not_recalled",
        "approvals",
    ]
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    assert execute(promotion).state == P.COMPLETED
    assert site.placed(site.production, old.package) == "1.0.0"
    assert site.placed(site.staging, old.package) == "1.1.0"
