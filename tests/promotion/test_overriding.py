"""Break-glass: by whom the policy names, for one plan, loudly, and reviewed afterwards."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from accounts.models import User
from pipelines.errors import AlreadyDecided, Forbidden, Invalid, WrongState
from promotion import gathering, overriding, policies, promoting, recalling, sweeping
from promotion.errors import AlreadyOverridden, GateClosed, PlanChanged
from promotion.gates import deciding
from promotion.models import (
    Approval,
    Override,
    Promotion,
    PromotionState,
    Review,
    Verdict,
    Version,
)
from tests.cast import Site
from tests.promotion.acting import (
    FROZEN,
    approved,
    broken_promises,
    execute,
    on_call,
    override,
    types,
)
from tests.sealed import unsealed
from tests.world import refused

P = PromotionState


@pytest.fixture
def version(site: Site) -> Version:
    return site.publish("1.0.0")


def emergency(site: Site, version: Version, by: User | None = None) -> Promotion:
    return promoting.request(site.staging, [version], by=by or site.cast.cleo, emergency=True)


# ---- Who may, and for what -----------------------------------------------------------------------
def test_an_override_opens_the_closed_gates_and_sends_the_promotion_off(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo", override={"reviews": 2, "review_within": "7d"})
    promotion = override(site, site.request(site.staging, version))
    assert promotion.state == P.APPROVED
    made = Override.objects.get()
    assert (made.by, made.reason) == (site.cast.cleo, "The site is down.")
    assert (made.gates, made.plan_digest) == (["approvals"], promotion.plan_digest)
    assert (made.reviews_required, made.review_due - made.at) == (2, timedelta(days=7))
    assert types("promotion.") == ["promotion.requested", "promotion.overridden"]
    assert execute(promotion).state == P.COMPLETED
    (gate,) = [gate for gate in promotion.gates if gate["name"] == "approvals"]
    assert (gate["open"], gate["overridden"]) == (False, True)
    assert broken_promises() == []


def test_nobody_may_whom_the_policy_does_not_name(site: Site, version: Version) -> None:
    promotion = site.request(site.staging, version)
    nobody = refused(Forbidden, lambda: override(site, promotion))
    assert "lets nobody override" in nobody.detail
    on_call(site, "ben")
    promotion = site.request(site.staging, version)
    other = refused(Forbidden, lambda: override(site, promotion))
    assert other.detail == (
        "cleo is in none of on-call, and so may not override the gates of staging."
    )


def test_a_machine_never_breaks_the_glass(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    User.objects.filter(username="cleo").update(is_machine=True)
    site.cast.cleo.refresh_from_db()
    promotion = site.request(site.staging, version)
    assert "is a machine" in refused(Forbidden, lambda: override(site, promotion)).detail


@pytest.mark.parametrize("reason", ["", " \n"])
def test_an_override_says_why(site: Site, version: Version, reason: str) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    refused(Invalid, lambda: overriding.override(promotion, by=site.cast.cleo, reason=reason))


def test_what_is_recalled_cannot_be_overridden(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")
    closed = refused(GateClosed, lambda: override(site, promotion))
    assert "was recalled" in closed.detail


def test_a_narrow_override_opens_what_it_names_and_nothing_else(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo", freezes=[FROZEN])
    promotion = override(site, site.request(site.staging, version), "freeze")
    assert promotion.state == P.REQUESTED
    opened = {gate.name: gate for gate in gathering.current_gates(promotion)}
    assert opened["freeze"].overridden
    assert not opened["approvals"].overridden
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    assert execute(promotion).state == P.COMPLETED
    assert broken_promises() == []


def test_where_the_approvals_alone_are_overridden_time_may_open_the_last_gate(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo", freezes=[FROZEN])
    promotion = override(site, site.request(site.staging, version), "approvals")
    assert promotion.state == P.REQUESTED
    with mock.patch.object(deciding, "frozen_until", return_value=None):
        sweeping.sweep()
    promotion.refresh_from_db()
    assert promotion.state == P.APPROVED


def test_only_closed_gates_are_named(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    stray = refused(Invalid, lambda: override(site, promotion, "soak"))
    assert stray.detail == "The gate “soak” is not closed. Closed are: approvals."


def test_gates_are_overridden_once(site: Site, version: Version) -> None:
    on_call(site, "cleo", freezes=[FROZEN])
    promotion = override(site, site.request(site.staging, version), "freeze")
    refused(AlreadyOverridden, lambda: override(site, promotion))


@pytest.mark.parametrize("state", sorted(set(P) - {P.REQUESTED, P.APPROVED}))
def test_only_what_waits_is_overridden(site: Site, version: Version, state: PromotionState) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    Promotion.objects.filter(pk=promotion.pk).update(state=state)
    refused(WrongState, lambda: override(site, promotion))


def test_where_every_gate_is_open_nothing_is_overridden(site: Site, version: Version) -> None:
    on_call(site, "cleo", approvals=0)
    promotion = site.request(site.staging, version)
    refused(Invalid, lambda: override(site, promotion))


def test_an_approved_promotion_is_brought_through_a_freeze(
    site: Site, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_call(site, "cleo", freezes=[FROZEN])
    with monkeypatch.context() as patch:
        patch.setattr("promotion.gates.deciding.frozen_until", lambda freeze, at: None)
        promotion = approved(site, site.staging, version)
    assert execute(promotion).state == P.APPROVED
    override(site, promotion)
    assert Override.objects.get().gates == ["freeze"]
    assert execute(promotion).state == P.COMPLETED
    assert broken_promises() == []


# ---- One plan ------------------------------------------------------------------------------------
def test_an_override_of_what_has_changed_goes_stale(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    on_call(site, "cleo", approvals=2)
    with pytest.raises(PlanChanged):
        override(site, promotion)
    assert promotion.state == P.STALE
    assert not Override.objects.exists()
    assert broken_promises() == []


def test_an_override_of_another_plan_than_was_seen_is_refused(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, version)
    refused(
        PlanChanged,
        lambda: overriding.override(
            promotion, by=site.cast.cleo, reason="Now.", seen=f"sha256:{'0' * 64}"
        ),
    )


def test_an_override_counts_for_no_other_plan(site: Site, version: Version) -> None:
    on_call(site, "cleo")
    promotion = override(site, site.request(site.staging, version))
    on_call(site, "cleo", approvals=2)
    assert [gate.name for gate in gathering.current_gates(promotion) if gate.overridden] == []
    assert execute(promotion).state == P.STALE


# ---- Emergencies ---------------------------------------------------------------------------------
def test_what_a_closed_gate_refuses_is_requested_in_an_emergency_alone(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo", upstream="production")
    refused(GateClosed, lambda: promoting.request(site.staging, [version], by=site.cast.cleo))
    refused(Forbidden, lambda: emergency(site, version, by=site.cast.ada))
    promotion = emergency(site, version)
    assert promotion.state == P.REQUESTED, "the request alone opens nothing"
    override(site, promotion)
    assert Override.objects.get().gates == ["upstream", "approvals"]
    assert execute(promotion).state == P.COMPLETED
    assert broken_promises() == []


def test_a_recalled_version_is_not_even_requested_in_an_emergency(
    site: Site, version: Version
) -> None:
    on_call(site, "cleo")
    recalling.recall(version, by=site.cast.ben, reason="It loses data.")
    with pytest.raises(Exception, match="recalled"):
        emergency(site, version)
    assert not Promotion.objects.exists()


# ---- Reviews -------------------------------------------------------------------------------------
@pytest.fixture
def overridden(site: Site, version: Version) -> Promotion:
    """Requested by ada, overridden by cleo, carried out; two reviews are owed."""
    on_call(site, "cleo", override={"reviews": 2})
    return execute(override(site, site.request(site.staging, version)))


def review(promotion: Promotion, by: User, **options: Any) -> Review:
    return overriding.review(promotion, by=by, **{"verdict": Verdict.APPROVE, **options})


def test_a_review_is_owed_until_so_many_others_have_given_one(
    site: Site, overridden: Promotion
) -> None:
    assert Override.objects.owing().count() == 1
    review(overridden, site.cast.ben)
    assert Override.objects.owing().count() == 1
    review(overridden, site.cast.dora, verdict=Verdict.OBJECT, comment="Call me first.")
    assert Override.objects.owing().count() == 0
    assert types("override.") == ["override.reviewed"] * 2
    assert broken_promises() == []


def test_nobody_reviews_what_they_had_a_hand_in(site: Site, overridden: Promotion) -> None:
    assert "yourself" in refused(Forbidden, lambda: review(overridden, site.cast.cleo)).detail
    User.objects.filter(username="ada").update(roles=["auditor"])
    site.cast.ada.refresh_from_db()
    assert "yourself" in refused(Forbidden, lambda: review(overridden, site.cast.ada)).detail


def test_a_review_that_cannot_be(site: Site, overridden: Promotion) -> None:
    refused(Invalid, lambda: review(overridden, site.cast.ben, verdict=Verdict.OBJECT))
    review(overridden, site.cast.ben)
    refused(AlreadyDecided, lambda: review(overridden, site.cast.ben))
    plain = site.request(site.staging, site.publish("1.1.0"))
    refused(WrongState, lambda: review(plain, site.cast.ben))


def test_overdue_reviews_close_the_environment_for_promotions_and_not_for_rollbacks(
    site: Site, overridden: Promotion
) -> None:
    newer = site.publish("1.1.0")
    assert site.promote(site.staging, newer).state == P.COMPLETED, "it is not due yet"
    with unsealed():
        Override.objects.update(review_due=timezone.now() - timedelta(days=1))
    promotion = approved(site, site.staging, site.publish("1.2.0"))
    assert promotion.state == P.REQUESTED
    (gate,) = [gate for gate in promotion.gates if gate["name"] == "reviews"]
    assert f"promotion {overridden.pk}" in gate["reason"]
    policies.set_policy(site.production, {}, by=site.cast.admin)
    assert site.promote(site.production, newer).state == P.COMPLETED, "that is another's"
    back = promoting.roll_back(site.staging, newer.package, by=site.cast.ada)
    promoting.approve(back, by=site.cast.ben, plan=back.plan_digest)
    assert back.state == P.APPROVED


def test_reviews_that_are_given_late_open_the_gate_again(site: Site, overridden: Promotion) -> None:
    with unsealed():
        Override.objects.update(review_due=timezone.now() - timedelta(days=1))
    promotion = approved(site, site.staging, site.publish("1.1.0"))
    for by in (site.cast.ben, site.cast.dora):
        review(overridden, by)
    promoting.reconsider(promotion)
    assert execute(promotion).state == P.COMPLETED


# ---- Tampered with -------------------------------------------------------------------------------
def test_an_overridden_gate_without_an_override_is_found(site: Site, version: Version) -> None:
    promotion = site.promote(site.staging, version)
    gates = [
        {**gate, "open": False, "overridden": True} if gate["name"] == "approvals" else gate
        for gate in promotion.gates
    ]
    with unsealed():
        Approval.objects.all().delete()
        Promotion.objects.update(gates=gates)
    said = f"promotion {promotion.pk} was carried out with the gate approvals closed"
    assert any(each.startswith(said) for each in broken_promises())


@pytest.mark.parametrize(
    "change", [{"gates": []}, {"plan_digest": f"sha256:{'0' * 64}"}, {"gates": ["soak"]}]
)
def test_an_override_that_does_not_fit_is_found(
    overridden: Promotion, change: dict[str, Any]
) -> None:
    with unsealed():
        Override.objects.update(**change)
    said = f"promotion {overridden.pk} was carried out with the gate approvals closed"
    assert any(each.startswith(said) for each in broken_promises())
