"""The machines of promotions and versions: every edge, every non-edge, every verb everywhere."""

from collections.abc import Callable
from itertools import product

import pytest

from pipelines.errors import WrongState
from pipelines.states import move
from promotion import promoting, recalling
from promotion.models import (
    Approval,
    LedgerEntry,
    Placement,
    Promotion,
    PromotionState,
    Version,
    VersionState,
)
from tests.cast import Site
from tests.world import nothing_changes, refused

P = PromotionState
V = VersionState

LEFT = {"withdrawn", "expired", "stale"}
DRAWN = {
    "requested": {"approved", "rejected", *LEFT},
    "approved": {"executing", *LEFT},
    "executing": {"completed", "failed", "errored", "stale", "approved"},
    "failed": {"approved"},
    "errored": {"approved"},
    "completed": set(),
    "rejected": set(),
    "withdrawn": set(),
    "expired": set(),
    "stale": set(),
}


@pytest.fixture
def promotion(site: Site) -> Promotion:
    return site.request(site.staging, site.publish("1.0.0"))


def in_state(promotion: Promotion, state: P) -> Promotion:
    """The promotion as if it had come to `state`, past the machine."""
    Promotion.objects.filter(pk=promotion.pk).update(state=state)
    promotion.refresh_from_db()
    return promotion


def last_entry() -> str:
    return LedgerEntry.objects.values_list("type", flat=True).latest("sequence")


def test_the_machines_are_those_that_are_drawn() -> None:
    assert {state.value: {to.value for to in state.targets} for state in P} == DRAWN
    assert {state.value for state in P if state.is_final} == {
        state for state, targets in DRAWN.items() if not targets
    }
    assert {state.value: {to.value for to in state.targets} for state in V} == {
        "published": {"recalled"},
        "recalled": set(),
    }
    assert [state for state in V if state.is_final] == [V.RECALLED]


@pytest.mark.parametrize(("before", "to"), [(a, b) for a, b in product(P, P) if b in a.targets])
def test_a_promotion_moves_along_every_edge(promotion: Promotion, before: P, to: P) -> None:
    assert move(in_state(promotion, before), to, reason="why").state == to
    stored = Promotion.objects.values_list("state", "reason").get(pk=promotion.pk)
    assert stored == (to.value, "why")


@pytest.mark.parametrize(("before", "to"), [(a, b) for a, b in product(P, P) if b not in a.targets])
def test_a_promotion_moves_along_nothing_else(promotion: Promotion, before: P, to: P) -> None:
    in_state(promotion, before)
    refusal = refused(WrongState, lambda: move(promotion, to, reason="why"))
    assert refusal.extra["current"] == before.value


@pytest.mark.parametrize(("before", "to"), list(product(V, V)))
def test_a_version_moves_from_published_to_recalled_only(site: Site, before: V, to: V) -> None:
    version = site.publish("1.0.0")
    Version.objects.filter(pk=version.pk).update(state=before)
    if (before, to) == (V.PUBLISHED, V.RECALLED):
        assert move(version, to).state == V.RECALLED
    else:
        refused(WrongState, lambda: move(version, to, recall_reason="why"))


# ---- Every verb in every state ------------------------------------------------------------------
Decide = Callable[..., Approval]


@pytest.mark.parametrize("state", P)
@pytest.mark.parametrize(
    ("decide", "to"), [(promoting.approve, P.APPROVED), (promoting.reject, P.REJECTED)]
)
def test_only_what_is_requested_is_decided_on(
    site: Site, promotion: Promotion, decide: Decide, to: P, state: P
) -> None:
    in_state(promotion, state)
    plan = promotion.plan_digest
    if state == P.REQUESTED:
        decide(promotion, by=site.cast.ben, plan=plan, comment="seen")
        assert promotion.state == to
        assert last_entry() == f"promotion.{to.value}"
        assert Approval.objects.get().comment == "seen"
    else:
        refusal = refused(WrongState, lambda: decide(promotion, by=site.cast.ben, plan=plan))
        assert refusal.extra["current"] == state.value


@pytest.mark.parametrize("state", P)
def test_only_what_has_not_begun_is_withdrawn(site: Site, promotion: Promotion, state: P) -> None:
    in_state(promotion, state)
    if state in {P.REQUESTED, P.APPROVED}:
        assert promoting.withdraw(promotion, by=site.cast.ada).state == P.WITHDRAWN
        assert promotion.reason == "Withdrawn by ada."
        assert last_entry() == "promotion.withdrawn"
    else:
        refused(WrongState, lambda: promoting.withdraw(promotion, by=site.cast.ada))


@pytest.mark.parametrize("state", P)
def test_only_what_failed_is_retried(site: Site, promotion: Promotion, state: P) -> None:
    in_state(promotion, state)
    if state in {P.FAILED, P.ERRORED}:
        Promotion.objects.filter(pk=promotion.pk).update(attempt=3, reason="It broke.")
        promoting.retry(promotion, by=site.cast.ada)
        assert (promotion.state, promotion.attempt, promotion.reason) == (P.APPROVED, 0, "")
        assert last_entry() == "promotion.retried"
    else:
        refused(WrongState, lambda: promoting.retry(promotion, by=site.cast.ada))


@pytest.mark.parametrize("state", P)
def test_only_what_is_approved_is_executed(site: Site, promotion: Promotion, state: P) -> None:
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    in_state(promotion, state)
    if state == P.APPROVED:
        promoting.execute(promotion.pk)
        promotion.refresh_from_db()
        assert promotion.state == P.COMPLETED
        assert Placement.objects.count() == 1
        assert last_entry() == "promotion.completed"
    with nothing_changes():
        promoting.execute(promotion.pk)


def test_executing_what_does_not_exist_does_nothing(site: Site) -> None:
    with nothing_changes():
        promoting.execute(4711)


@pytest.mark.parametrize("state", V)
def test_only_a_published_version_is_recalled(site: Site, state: V) -> None:
    version = site.publish("1.0.0")
    Version.objects.filter(pk=version.pk).update(state=state)

    def recall() -> Version:
        return recalling.recall(version, by=site.cast.ben, reason="It loses data.")

    if state == V.PUBLISHED:
        recalled = recall()
        assert (recalled.state, recalled.recall_reason) == (V.RECALLED, "It loses data.")
        assert recalled.recalled_by == site.cast.ben
        assert last_entry() == "version.recalled"
    else:
        refused(WrongState, recall)
