"""Ways around gates, holds, overrides and `verify` that somebody found, now closed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from pipelines.errors import Forbidden, Invalid, WrongState
from pipelines.models import Run
from pipelines.models.run import Trigger
from promotion import gathering, holding, plans, policies, promoting, sweeping
from promotion.gates import Rules, evaluate
from promotion.ledger import approved as checked
from promotion.models import (
    Package,
    Placement,
    Promotion,
    PromotionKind,
    PromotionState,
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
)
from tests.sealed import unsealed
from tests.world import refused

P = PromotionState


@pytest.fixture
def version(site: Site) -> Version:
    return site.publish("1.0.0")


def policy(site: Site, **rules: Any) -> None:
    policies.set_policy(site.staging, rules, by=site.cast.admin)


# ---- Approvals ---------------------------------------------------------------------------------
def test_an_expression_does_not_see_the_approval_of_somebody_who_has_left(
    site: Site, version: Version
) -> None:
    """Attack 12, by a gate of one's own."""
    named = {"name": "Ben", "expression": "'ben' in approvers", "waits": True}
    policy(site, approvals=1, custom=[named])
    promotion = site.request(site.staging, version)
    promoting.approve(promotion, by=site.cast.cleo, plan=promotion.plan_digest)
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    promotion.refresh_from_db()
    assert promotion.state == P.APPROVED
    User.objects.filter(username="ben").update(is_active=False)
    assert execute(promotion).state != P.COMPLETED
    assert not Placement.objects.exists()


def test_what_failed_is_not_retried_past_its_time(site: Site, version: Version) -> None:
    """Its approvals, and its override, were given for another day."""
    promotion = approved(site, site.staging, version)
    with unsealed({"promotion_promotion"}):
        past = timezone.now() - timedelta(days=1)
        Promotion.objects.filter(pk=promotion.pk).update(state=P.FAILED, expires_at=past)
    refused(WrongState, lambda: promoting.retry(promotion, by=site.cast.ada))


# ---- Runs --------------------------------------------------------------------------------------
def made_by(version: Version, trigger: Trigger, **inputs: Any) -> Run:
    run = version.artifact.run
    Run.objects.filter(pk=run.pk).update(trigger=trigger, **inputs)
    return Run.objects.get(pk=run.pk)


def pin(version: Version) -> None:
    sources = {"code": {"type": "git", "branch": "main", "commit": "e" * 40}}
    with unsealed({"promotion_version"}):
        Version.objects.filter(pk=version.pk).update(
            provenance={**version.provenance, "sources": sources}
        )


def opened(site: Site, version: Version, name: str) -> bool:
    planned = plans.plan(site.staging, plans.fresh([version]))
    found = {gate.name: gate for gate in gathering.preview_gates(planned, by=site.cast.ada)}
    return found[name].open


@pytest.mark.parametrize(
    ("trigger", "is_on_it"), [(Trigger.API, False), (Trigger.MANUAL, False), (Trigger.PUSH, True)]
)
def test_a_commit_that_somebody_named_is_of_no_branch(
    site: Site, version: Version, trigger: Trigger, is_on_it: bool
) -> None:
    """Nobody has looked whether it is on the branch that it says."""
    policy(site, approvals=1, run={"branches": ["main"]})
    pin(version)
    made_by(version, trigger, asked_sources={"code": {"commit": "e" * 40}})
    assert opened(site, version, "branch") is is_on_it


def test_what_was_given_by_hand_stays_so_over_the_api_and_when_it_runs_again(
    site: Site, version: Version
) -> None:
    policy(site, approvals=1, run={"no_manual_override": True})
    run = made_by(version, Trigger.API, variables={"SKIP_TESTS": "1"})
    assert not opened(site, version, "no_manual_override")
    other = site.publish("1.1.0")
    again = made_by(other, Trigger.AGAIN, variables={"SKIP_TESTS": "1"}, again_of=run)
    assert again.again_of == run
    assert not opened(site, other, "no_manual_override")


# ---- Evidence ----------------------------------------------------------------------------------
def test_two_gates_on_one_type_of_evidence_have_two_names(site: Site, version: Version) -> None:
    asked = [{"type": "junit", "result": "passed"}, {"type": "junit", "signed_by": ["ci"]}]
    rules = Rules.read({"evidence": asked})
    facts = gathering.facts_of(
        plans.plan(site.staging, plans.fresh([version])), rules, requester=site.cast.ada
    )
    names = [gate.name for gate in evaluate(rules, facts)]
    assert len(set(names)) == len(names)


# ---- Machines ----------------------------------------------------------------------------------
def test_a_machine_lifts_no_hold(site: Site, version: Version) -> None:
    hold = holding.place_hold(site.staging, version, by=site.cast.ben, reason="It crashes.")
    User.objects.filter(username="cleo").update(is_machine=True)
    site.cast.cleo.refresh_from_db()
    refused(Forbidden, lambda: holding.lift_hold(hold, by=site.cast.cleo))


def test_a_later_request_of_a_machine_does_not_close_its_earlier_ones(
    site: Site, version: Version
) -> None:
    policy(site, approvals=1, machines={"open_requests": 1})
    User.objects.filter(username="ada").update(is_machine=True)
    site.cast.ada.refresh_from_db()
    failed = approved(site, site.staging, version)
    Promotion.objects.filter(pk=failed.pk).update(state=P.FAILED)
    later = approved(site, site.staging, site.publish("1.0.0", package="other"))
    promoting.retry(failed, by=site.cast.ben)
    assert execute(later).state == P.COMPLETED


# ---- Break-glass -------------------------------------------------------------------------------
def test_what_waits_after_its_approvals_were_overridden_is_looked_at_again(
    site: Site, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_call(site, "cleo", freezes=[FROZEN])
    promotion = override(site, site.request(site.staging, version), "approvals")
    assert promotion.state == P.REQUESTED
    monkeypatch.setattr("promotion.gates.deciding.frozen_until", lambda freeze, moment: None)
    sweeping.sweep()
    promotion.refresh_from_db()
    assert promotion.state == P.APPROVED


def test_an_override_counts_no_longer_once_whoever_gave_it_may_not(
    site: Site, version: Version
) -> None:
    """Attack 12, by an override that waits for an approval."""
    on_call(site, "cleo", freezes=[FROZEN])
    promotion = override(site, site.request(site.staging, version), "freeze")
    site.cast.cleo.groups.clear()
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    execute(promotion)
    assert promotion.state == P.REQUESTED
    assert not Placement.objects.exists()


def test_a_second_rollback_does_not_bring_back_what_the_first_took_away(site: Site) -> None:
    for name in ("1.0.0", "1.1.0", "1.2.0"):
        site.promote(site.staging, site.publish(name))
    policy(site, approvals=1, rollback={"approvals": 0})
    package = Package.objects.get(name="app")
    for there in ("1.1.0", "1.0.0"):
        execute(promoting.roll_back(site.staging, package, by=site.cast.ada))
        assert site.placed(site.staging, package) == there


# ---- Ranges ------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["vers:maven/1.0.0", "vers:pypi/>=1.0.0"])
def test_a_range_of_another_scheme_is_refused_and_breaks_nothing(site: Site, text: str) -> None:
    refused(Invalid, lambda: policy(site, versions={"range": text}))


# ---- Verify ------------------------------------------------------------------------------------
def test_a_policy_that_was_out_of_force_is_found(site: Site, version: Version) -> None:
    """Attack 22: put a weak revision back for a moment, and take it away again."""
    policy(site, approvals=0)
    weak = site.staging.policy_id
    policy(site, approvals=2)
    strict = site.staging.policy_id
    type(site.staging).objects.filter(pk=site.staging.pk).update(policy=weak)
    site.staging.refresh_from_db()
    promotion = site.request(site.staging, version)
    assert execute(promotion).state == P.COMPLETED
    type(site.staging).objects.filter(pk=site.staging.pk).update(policy=strict)
    assert [each for each in broken_promises() if "policy of promotion" in each]


def test_a_row_that_is_not_what_its_plan_says_is_found(site: Site, version: Version) -> None:
    promotion = site.promote(site.staging, version)
    with unsealed({"promotion_promotion"}):
        Promotion.objects.update(kind=PromotionKind.ROLLBACK)
    assert [each for each in broken_promises() if "not what its plan says" in each]
    assert promotion is not None


def test_a_gate_that_was_closed_is_not_hidden_by_one_of_its_name(
    site: Site, version: Version
) -> None:
    site.promote(site.staging, version)
    promotion = Promotion.objects.get()
    shut = {"name": "freeze", "open": False, "reason": "", "inputs": {}}
    Promotion.objects.update(gates=[shut, {**shut, "open": True}, *promotion.gates])
    assert [each for each in checked.findings() if "gate freeze closed" in each]


def test_a_gap_in_history_is_found(site: Site, version: Version) -> None:
    site.promote(site.staging, version)
    site.promote(site.staging, site.publish("1.1.0"))
    assert broken_promises() == []
    old = Placement.objects.get(version=version)
    assert old.until is not None
    with unsealed({"promotion_placement"}):
        early = old.since + (old.until - old.since) / 2
        Placement.objects.filter(pk=old.pk).update(until=early)
    assert [each for each in broken_promises() if "did not end when" in each]
