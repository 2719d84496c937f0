"""Holds: what a rollback takes away, automation does not bring back until somebody says so."""

from typing import Any

import pytest

from pipelines.errors import Invalid, NotFound, WrongState
from promotion import gathering, holding, plans, policies, promoting
from promotion.errors import AlreadyHeld, GateClosed
from promotion.models import (
    Hold,
    LedgerEntry,
    Package,
    Promotion,
    PromotionState,
    Version,
)
from tests.cast import Site
from tests.promotion.acting import broken_promises, execute, types
from tests.sealed import unsealed
from tests.world import refused

P = PromotionState


@pytest.fixture
def versions(site: Site) -> list[Version]:
    """Two versions, placed in staging one after the other."""
    both = [site.publish("1.0.0"), site.publish("1.1.0")]
    for version in both:
        site.promote(site.staging, version)
    return both


def roll_back(site: Site, comment: str = "") -> Promotion:
    package = Package.objects.get(name="app")
    return promoting.roll_back(site.staging, package, by=site.cast.ada, comment=comment)


def approve(site: Site, promotion: Promotion) -> Promotion:
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    return promotion


# ---- Rollback ------------------------------------------------------------------------------------
def test_a_completed_rollback_holds_back_what_it_took_away(
    site: Site, versions: list[Version]
) -> None:
    back = roll_back(site, "It crashes.")
    assert not Hold.objects.exists(), "whoever rejects it must not leave a hold behind"
    execute(approve(site, back))
    hold = Hold.objects.get()
    assert (hold.environment, hold.version, hold.promotion) == (site.staging, versions[1], back)
    assert hold.reason == f"Taken away by promotion {back.pk}: It crashes."
    assert hold.by == site.cast.ada
    assert types("hold.") == ["hold.placed"]
    assert broken_promises() == []


def test_the_next_rollback_does_not_bring_back_what_the_last_one_took_away(
    site: Site, versions: list[Version]
) -> None:
    execute(approve(site, roll_back(site)))
    refused(NotFound, lambda: roll_back(site))
    package = versions[1].package
    named = promoting.roll_back(site.staging, package, by=site.cast.ada, to=versions[1])
    assert named.items.get().version == versions[1]


def test_a_rejected_rollback_holds_nothing(site: Site, versions: list[Version]) -> None:
    back = roll_back(site)
    promoting.reject(back, by=site.cast.ben, plan=back.plan_digest)
    assert not Hold.objects.exists()


def test_a_promotion_of_an_older_version_holds_nothing(site: Site, versions: list[Version]) -> None:
    assert site.promote(site.staging, versions[0]).state == P.COMPLETED
    assert not Hold.objects.exists()


def test_what_was_held_already_is_held_once(site: Site, versions: list[Version]) -> None:
    holding.place_hold(site.staging, versions[1], by=site.cast.ben, reason="I saw it crash.")
    assert execute(approve(site, roll_back(site))).state == P.COMPLETED
    assert Hold.objects.get().reason == "I saw it crash."


@pytest.mark.parametrize("approvals", [0, 1])
def test_a_rollback_takes_as_many_approvals_as_its_own_rule_says(
    site: Site, versions: list[Version], approvals: int
) -> None:
    rules = {"approvals": 2, "rollback": {"approvals": approvals}}
    policies.set_policy(site.staging, rules, by=site.cast.admin)
    back = roll_back(site)
    assert back.state == (P.REQUESTED if approvals else P.APPROVED)
    if approvals:
        approve(site, back)
    assert execute(back).state == P.COMPLETED
    assert broken_promises() == []


# ---- What a hold does ----------------------------------------------------------------------------
def test_a_hold_stops_machines_and_not_people(site: Site) -> None:
    version = site.publish("1.0.0")
    holding.place_hold(site.staging, version, by=site.cast.ben, reason="It crashes.")
    robot = site.cast.production
    robot.roles = ["developer"]
    robot.save()
    closed = refused(GateClosed, lambda: promoting.request(site.staging, [version], by=robot))
    assert closed.detail == "apps/app 1.0.0: held by ben: It crashes."
    assert site.promote(site.staging, version).state == P.COMPLETED


def test_a_hold_is_of_one_environment_and_counts_until_it_is_lifted(site: Site) -> None:
    version = site.publish("1.0.0")
    hold = holding.place_hold(site.production, version, by=site.cast.ben, reason="It crashes.")
    assert held(site, site.staging, version) == ""
    assert held(site, site.production, version) == "held by ben: It crashes"
    holding.lift_hold(hold, by=site.cast.cleo)
    assert held(site, site.production, version) == ""
    hold.refresh_from_db()
    assert hold.lifted_by == site.cast.cleo
    assert types("hold.") == ["hold.placed", "hold.lifted"]
    entry = LedgerEntry.objects.latest("sequence")
    assert (entry.repository, entry.package, entry.environment) == ("apps", "app", "production")
    assert broken_promises() == []


def held(site: Site, environment: Any, version: Version) -> str:
    planned = plans.plan(environment, [version])
    policy = policies.rules_of(policies.current_policy(environment))
    facts = gathering.facts_of(planned, policy, requester=site.cast.ada)
    return facts.items[0].hold


def test_what_was_lifted_can_be_held_again(site: Site) -> None:
    version = site.publish("1.0.0")
    for _ in range(2):
        hold = holding.place_hold(site.staging, version, by=site.cast.ben, reason="It crashes.")
        holding.lift_hold(hold, by=site.cast.ben)
    assert Hold.objects.count() == 2
    assert broken_promises() == []


def test_a_hold_that_cannot_be(site: Site) -> None:
    version = site.publish("1.0.0")

    def hold(reason: str = "It crashes.") -> Hold:
        return holding.place_hold(site.staging, version, by=site.cast.ben, reason=reason)

    refused(Invalid, lambda: hold(" \n"))
    first = hold()
    refused(AlreadyHeld, hold)
    holding.lift_hold(first, by=site.cast.ben)
    refused(WrongState, lambda: holding.lift_hold(first, by=site.cast.cleo))


# ---- Tampered with -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change", [{"reason": "It is fine."}, {"lifted_at": None, "lifted_by": None}]
)
def test_a_hold_that_was_changed_behind_the_ledger_is_found(
    site: Site, change: dict[str, Any]
) -> None:
    hold = holding.place_hold(
        site.staging, site.publish("1.0.0"), by=site.cast.ben, reason="It crashes."
    )
    holding.lift_hold(hold, by=site.cast.ben)
    with unsealed():
        Hold.objects.update(**change)
    assert any(each.startswith(f"hold {hold.pk}: ") for each in broken_promises())
