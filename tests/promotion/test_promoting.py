"""Promotions until they are decided: plans, requests, gates, approvals, what makes them stale."""

import json
from functools import partial
from typing import Any

import pytest

from accounts.models import Role, User
from pipelines.canonical import canonical, digest
from pipelines.errors import AlreadyDecided, Forbidden, Invalid
from promotion import plans, policies, promoting, recalling, sweeping
from promotion.errors import (
    AlreadyPlaced,
    GateClosed,
    PlanChanged,
    Recalled,
    SelfApproval,
)
from promotion.evidence import keeping
from promotion.models import (
    Approval,
    Environment,
    LedgerEntry,
    Placement,
    Promotion,
    PromotionState,
    Version,
)
from tests.cast import Site
from tests.sealed import unsealed
from tests.world import nothing_changes, refused

P = PromotionState
Queue = list[tuple[str, int]]


def state_of(promotion: Promotion) -> str:
    return Promotion.objects.values_list("state", flat=True).get(pk=promotion.pk)


def entries() -> list[str]:
    return list(LedgerEntry.objects.order_by("sequence").values_list("type", flat=True))


# ---- Plans ---------------------------------------------------------------------------------------
def test_a_plan_changes_nothing_and_is_the_same_each_time(site: Site) -> None:
    version = site.publish("1.0.0")
    with nothing_changes():
        first = plans.plan(site.staging, [version])
        second = plans.plan(Environment.objects.get(name="staging"), [Version.objects.get()])
    assert first.text == second.text
    assert first.digest == second.digest == digest(first.text.encode())
    assert first.text.encode() == canonical(json.loads(first.text))


def test_the_order_in_which_versions_are_named_does_not_matter(site: Site) -> None:
    one, other = site.publish("1.0.0", package="api"), site.publish("1.0.0", package="web")
    there = plans.plan(site.staging, [one, other])
    back = plans.plan(site.staging, [other, one])
    assert there.digest == back.digest
    assert [item["package"] for item in there.content["items"]] == ["api", "web"]


def test_a_plan_names_what_it_places_and_what_that_replaces(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, old)
    (item,) = plans.plan(site.staging, [new]).content["items"]
    assert item == {
        "repository": "apps",
        "package": "app",
        "version": "1.1.0",
        "manifest_digest": new.manifest_digest,
        "replaces": {"version": "1.0.0", "manifest_digest": old.manifest_digest},
        "evidence": [],
    }


def test_everything_that_is_approved_is_bound_by_the_digest(site: Site) -> None:
    old, new = site.publish("1.0.0"), site.publish("1.1.0")
    digests = [plans.plan(site.staging, [old]).digest, plans.plan(site.staging, [new]).digest]
    site.promote(site.staging, old)
    digests.append(plans.plan(site.staging, [new]).digest)
    keeping.add_evidence(new, by=site.cast.ada, predicate_type="test", result="passed", payload={})
    digests.append(plans.plan(site.staging, [new]).digest)
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    digests.append(plans.plan(site.staging, [new]).digest)
    digests.append(plans.plan(site.staging, [new], kind="rollback").digest)
    digests.append(plans.plan(site.production, [new]).digest)
    assert len(set(digests)) == len(digests)


def test_a_plan_needs_versions_and_one_of_each_package(site: Site) -> None:
    versions = [site.publish("1.0.0"), site.publish("1.1.0")]
    refused(Invalid, lambda: plans.plan(site.staging, []))
    refused(Invalid, lambda: plans.plan(site.staging, versions))


# ---- Request -------------------------------------------------------------------------------------
def test_a_request_keeps_its_plan_and_moves_nothing(site: Site) -> None:
    version = site.publish("1.0.0")
    planned = plans.plan(site.staging, [version])
    promotion = promoting.request(
        site.staging, [version], by=site.cast.ada, comment=" please ", seen=planned.digest
    )
    assert (promotion.plan, promotion.plan_digest) == (planned.text, planned.digest)
    assert (promotion.state, promotion.comment) == (P.REQUESTED, "please")
    assert [item.version for item in promotion.items.all()] == [version]
    assert not Placement.objects.exists()
    assert entries()[-1] == "promotion.requested"


def test_a_request_for_another_plan_than_was_seen_is_refused(site: Site) -> None:
    version = site.publish("1.0.0")
    seen = plans.plan(site.production, [version]).digest
    refusal = refused(
        PlanChanged,
        lambda: promoting.request(site.staging, [version], by=site.cast.ada, seen=seen),
    )
    assert refusal.extra["current"] == plans.plan(site.staging, [version]).digest


def test_what_is_placed_already_is_not_requested_again(site: Site) -> None:
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    refused(AlreadyPlaced, lambda: site.request(site.staging, version))


def test_a_recalled_version_is_not_requested(site: Site) -> None:
    bad, good = site.publish("1.0.0"), site.publish("1.0.1")
    recalling.recall(bad, by=site.cast.ben, reason="It loses data.", replacement=good)
    refusal = refused(Recalled, lambda: site.request(site.staging, bad))
    assert refusal.extra == {"replacement": "1.0.1"}
    assert "It loses data." in refusal.detail


def test_a_version_that_is_not_upstream_is_not_requested(site: Site) -> None:
    version = site.publish("1.0.0")
    refusal = refused(GateClosed, lambda: site.request(site.production, version))
    (gate,) = refusal.extra["closed_gates"]
    assert (gate["name"], gate["open"]) == ("upstream", False)
    assert gate["inputs"] == {"environment": "staging", "since": {"apps/app 1.0.0": None}}
    assert "apps/app 1.0.0 is not in staging" in refusal.detail
    site.promote(site.staging, version)
    assert site.request(site.production, version).state == P.REQUESTED


def test_one_item_that_is_not_upstream_stops_both(site: Site) -> None:
    one, other = site.publish("1.0.0", package="api"), site.publish("1.0.0", package="web")
    site.promote(site.staging, one)
    refusal = refused(GateClosed, lambda: site.request(site.production, one, other))
    assert "apps/web 1.0.0" in refusal.detail
    assert "apps/api" not in refusal.detail


def test_a_policy_that_asks_nobody_sends_the_request_off(
    site: Site, nobody_listens_to_the_queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    policies.set_policy(site.staging, {"approvals": 0}, by=site.cast.admin)
    version = site.publish("1.0.0")
    with django_capture_on_commit_callbacks(execute=True):
        promotion = site.request(site.staging, version)
    assert promotion.state == P.APPROVED
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, promotion.pk)]
    promoting.execute(promotion.pk)
    assert site.placed(site.staging, version.package) == "1.0.0"


# ---- Decide --------------------------------------------------------------------------------------
def test_the_approval_that_was_missing_sends_the_promotion_off(
    site: Site, nobody_listens_to_the_queue: Queue, django_capture_on_commit_callbacks: Any
) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    with django_capture_on_commit_callbacks(execute=True):
        approval = promoting.approve(
            promotion, by=site.cast.ben, plan=promotion.plan_digest, comment=" good "
        )
    assert (approval.by, approval.comment) == (site.cast.ben, "good")
    assert approval.plan_digest == promotion.plan_digest
    assert promotion.state == P.APPROVED
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, promotion.pk)]
    assert entries()[-1] == "promotion.approved"


@pytest.mark.parametrize("decide", [promoting.approve, promoting.reject])
def test_nobody_decides_on_a_request_of_their_own(site: Site, decide: Any) -> None:
    promotion = promoting.request(site.staging, [site.publish("1.0.0")], by=site.cast.ben)
    plan = promotion.plan_digest
    refused(SelfApproval, lambda: decide(promotion, by=site.cast.ben, plan=plan))
    User.objects.filter(username="ben").update(roles=Role.values, is_superuser=True)
    ben = User.objects.get(username="ben")
    refused(SelfApproval, lambda: decide(promotion, by=ben, plan=plan))


def test_a_policy_may_let_requesters_approve_who_may_approve_at_all(site: Site) -> None:
    policies.set_policy(site.staging, {"self_approval": True}, by=site.cast.admin)
    one, other = site.publish("1.0.0"), site.publish("1.1.0")
    own = promoting.request(site.staging, [one], by=site.cast.ben)
    promoting.approve(own, by=site.cast.ben, plan=own.plan_digest)
    assert own.state == P.APPROVED
    adas = site.request(site.staging, other)
    plan = adas.plan_digest
    refused(Forbidden, lambda: promoting.approve(adas, by=site.cast.ada, plan=plan))


@pytest.mark.parametrize("decide", [promoting.approve, promoting.reject])
def test_the_digest_of_another_plan_decides_nothing(site: Site, decide: Any) -> None:
    one = site.request(site.staging, site.publish("1.0.0", package="api"))
    other = site.request(site.staging, site.publish("1.0.0", package="web"))
    for plan in (other.plan_digest, "", one.plan_digest[:-1], one.plan_digest.upper()):
        refusal = refused(PlanChanged, partial(decide, one, by=site.cast.ben, plan=plan))
        assert refusal.extra["current"] == one.plan_digest


def test_an_approval_for_one_environment_is_none_for_another(site: Site) -> None:
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    policies.create_environment("canary", rank=3, by=site.cast.admin)
    canary = site.request(Environment.objects.get(name="canary"), version)
    production = site.request(site.production, version)
    plan = canary.plan_digest
    refused(PlanChanged, lambda: promoting.approve(production, by=site.cast.ben, plan=plan))


def test_two_required_approvals_are_those_of_two_people(site: Site) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    plan = promotion.plan_digest
    promoting.approve(promotion, by=site.cast.ben, plan=plan)
    assert promotion.state == P.REQUESTED
    assert promotion.gates[-1]["reason"] == "1 of 2 approvals (by ben)."
    refused(AlreadyDecided, lambda: promoting.approve(promotion, by=site.cast.ben, plan=plan))
    refused(AlreadyDecided, lambda: promoting.reject(promotion, by=site.cast.ben, plan=plan))
    promoting.approve(promotion, by=site.cast.cleo, plan=plan)
    assert promotion.state == P.APPROVED
    assert promotion.gates[-1]["inputs"]["counted"] == ["ben", "cleo"]


def test_one_rejection_ends_a_request_that_has_an_approval(site: Site) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    promoting.reject(promotion, by=site.cast.cleo, plan=promotion.plan_digest, comment="Not now.")
    assert (promotion.state, promotion.reason) == (P.REJECTED, "Not now.")
    with nothing_changes():
        promoting.execute(promotion.pk)


def test_an_approver_who_lost_the_role_no_longer_counts_for_the_next(site: Site) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    User.objects.filter(username="ben").update(roles=[Role.DEVELOPER])
    promoting.approve(promotion, by=site.cast.cleo, plan=promotion.plan_digest)
    assert promotion.state == P.REQUESTED
    assert promotion.gates[-1]["inputs"]["counted"] == ["cleo"]


def test_a_release_manager_sees_what_waits_for_them(site: Site) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    adas = site.request(site.staging, site.publish("1.0.0", package="api"))
    bens = promoting.request(site.staging, [site.publish("1.0.0", package="web")], by=site.cast.ben)
    waiting = Promotion.objects.awaiting
    assert set(waiting(site.cast.ben)) == {adas}
    assert set(waiting(site.cast.cleo)) == {adas, bens}
    promoting.approve(adas, by=site.cast.cleo, plan=adas.plan_digest)
    assert set(waiting(site.cast.cleo)) == {bens}
    assert set(Promotion.objects.open()) == {adas, bens}
    promoting.withdraw(bens, by=site.cast.ben)
    assert set(Promotion.objects.open()) == {adas}


# ---- Stale ---------------------------------------------------------------------------------------
def change_policy(site: Site, version: Version) -> None:
    policies.set_policy(site.staging, {"approvals": 0}, by=site.cast.admin)


def add_evidence(site: Site, version: Version) -> None:
    keeping.add_evidence(
        version, by=site.cast.ada, predicate_type="scan", result="failed", payload={"cve": 1}
    )


def replace_what_is_placed(site: Site, version: Version) -> None:
    site.promote(site.staging, site.publish("0.9.0"))


CHANGES = {
    "the environment's policy": change_policy,
    "the evidence on apps/app 1.0.0": add_evidence,
    "the version of apps/app that would be replaced": replace_what_is_placed,
}


@pytest.mark.parametrize("decide", [promoting.approve, promoting.reject])
@pytest.mark.parametrize("what", CHANGES)
def test_deciding_on_what_has_changed_makes_it_stale(site: Site, what: str, decide: Any) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    CHANGES[what](site, version)
    placed = Placement.objects.count()
    with pytest.raises(PlanChanged, match=what) as refusal:
        decide(promotion, by=site.cast.cleo, plan=promotion.plan_digest)
    assert refusal.value.extra["current"] == plans.replan(promotion).digest
    assert promotion.state == state_of(promotion) == P.STALE
    assert what in promotion.reason
    assert entries()[-1] == "promotion.stale"
    assert not Approval.objects.filter(promotion=promotion).exists()
    assert Placement.objects.count() == placed


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_after_the_approval_is_not_executed(site: Site, what: str) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    CHANGES[what](site, version)
    before = set(Placement.objects.values_list("pk", "until"))
    promoting.execute(promotion.pk)
    promotion.refresh_from_db()
    assert promotion.state == P.STALE
    assert what in promotion.reason
    assert entries()[-1] == "promotion.stale"
    assert set(Placement.objects.values_list("pk", "until")) == before


@pytest.mark.parametrize("approved", [False, True])
def test_the_sweeper_makes_requests_under_an_old_policy_stale(site: Site, approved: bool) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    if approved:
        promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    elsewhere = site.request(
        policies.create_environment("canary", rank=3, by=site.cast.admin),
        Version.objects.get(),
    )
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    sweeping.sweep()
    assert state_of(promotion) == P.STALE
    assert state_of(elsewhere) == P.REQUESTED
    with nothing_changes():
        sweeping.sweep()
        promoting.execute(promotion.pk)


def test_the_same_policy_again_is_no_change(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    with nothing_changes():
        policies.set_policy(site.staging, {"approvals": 1}, by=site.cast.admin)
        sweeping.sweep()
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    assert promotion.state == P.APPROVED


def test_what_went_stale_can_be_requested_anew(site: Site) -> None:
    version = site.publish("1.0.0")
    site.request(site.staging, version)
    change_policy(site, version)
    sweeping.sweep()
    again = site.request(Environment.objects.get(name="staging"), version)
    promoting.execute(again.pk)
    assert site.placed(site.staging, version.package) == "1.0.0"


# ---- Expiry --------------------------------------------------------------------------------------
def let_it_expire(promotion: Promotion) -> None:
    """As if its days had passed."""
    with unsealed():
        Promotion.objects.filter(pk=promotion.pk).update(expires_at=promotion.requested_at)


@pytest.mark.parametrize("approved", [False, True])
def test_what_nobody_decided_on_in_time_expires(site: Site, approved: bool) -> None:
    version = site.publish("1.0.0")
    promotion, other = site.request(site.staging, version), site.request(site.staging, version)
    if approved:
        promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    let_it_expire(promotion)
    sweeping.sweep()
    assert state_of(promotion) == P.EXPIRED
    promotion.refresh_from_db()
    why = "It was approved, and could not be placed" if approved else "Nobody decided"
    assert promotion.reason == f"{why} in time."
    assert state_of(other) == P.REQUESTED
    assert entries()[-1] == "promotion.expired"
    with nothing_changes():
        sweeping.sweep()
        promoting.execute(promotion.pk)


def test_a_policy_says_for_how_many_days_a_request_waits(site: Site) -> None:
    policies.set_policy(site.staging, {"expires_after_days": 3}, by=site.cast.admin)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    assert (promotion.expires_at - promotion.requested_at).days == 3


def test_a_request_with_all_its_approvals_goes_on_once_its_last_gate_opens(site: Site) -> None:
    version, other = site.publish("1.0.0"), site.publish("1.1.0")
    site.promote(site.staging, version)
    promotion = site.request(site.production, version)
    site.promote(site.staging, other)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    promotion.refresh_from_db()
    assert promotion.state == P.REQUESTED
    site.promote(site.staging, version)
    sweeping.sweep()
    promotion.refresh_from_db()
    assert promotion.state == P.APPROVED


def test_how_the_gates_stood_at_each_decision_is_kept_for_ever(site: Site) -> None:
    policies.set_policy(site.staging, {"approvals": 2}, by=site.cast.admin)
    site.staging.refresh_from_db()
    promotion = site.request(site.staging, site.publish("1.0.0"))
    for manager in (site.cast.ben, site.cast.cleo):
        promoting.approve(promotion, by=manager, plan=promotion.plan_digest)
    entries = LedgerEntry.objects.filter(type__in=["promotion.requested", "promotion.approved"])
    kept = [json.loads(bytes(each.body))["data"]["gates"] for each in entries.order_by("sequence")]
    counted = [gate["inputs"]["counted"] for gates in kept for gate in gates[-1:]]
    assert counted == [[], ["ben"], ["ben", "cleo"]]
