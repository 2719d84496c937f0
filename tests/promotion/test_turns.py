"""One promotion at a time for a package and an environment; the others wait, and say for what."""

from typing import Any

import pytest
from django.test import Client

from promotion import executing, policies, promoting, sweeping, turns
from promotion.models import Promotion, PromotionState
from tests.cast import Site, token_of
from tests.promotion.acting import FROZEN, approved, broken_promises, execute
from tests.world import nothing_changes

P = PromotionState
Queue = list[tuple[str, int]]


@pytest.fixture
def two(site: Site) -> tuple[Promotion, Promotion]:
    """Two approved promotions of one package; a worker has claimed the first."""
    first = approved(site, site.staging, site.publish("1.0.0"))
    second = approved(site, site.staging, site.publish("1.1.0"))
    assert executing._claim(first.pk) is not None
    first.refresh_from_db()
    return first, second


# ---- Turns ---------------------------------------------------------------------------------------
def test_a_claim_is_refused_while_another_of_the_package_is_executed(
    two: tuple[Promotion, Promotion],
) -> None:
    first, second = two
    with nothing_changes():
        promoting.execute(second.pk)
    assert turns.waits_for(second) == first.pk
    assert turns.waits_for(first) is None


def test_who_waits_says_for_what_in_the_api_and_on_the_page(
    site: Site, two: tuple[Promotion, Promotion], client: Client
) -> None:
    first, second = two
    bearer = {"Authorization": f"Bearer {token_of(site.cast.ada)}"}
    answer = client.get(f"/api/v1/promotions/{second.pk}/", headers=bearer).json()
    assert (answer["state"], answer["waits_for"]) == ("approved", first.pk)
    client.force_login(site.cast.ada)
    for address in ("", "progress/?seen=approved"):
        page = client.get(f"/promotions/{second.pk}/{address}").content.decode()
        assert f">promotion {first.pk}</a>" in page
        assert "waits its turn" in page


def test_other_packages_and_other_environments_do_not_wait(
    site: Site, two: tuple[Promotion, Promotion]
) -> None:
    other = approved(site, site.staging, site.publish("1.0.0", package="web"))
    policies.set_policy(site.production, {}, by=site.cast.admin)
    elsewhere = approved(site, site.production, two[1].items.get().version)
    assert execute(other).state == P.COMPLETED
    assert execute(elsewhere).state == P.COMPLETED


def test_one_shared_package_of_several_is_enough_to_wait(
    site: Site, two: tuple[Promotion, Promotion]
) -> None:
    both = approved(site, site.staging, site.publish("1.2.0"), site.publish("1.0.0", package="web"))
    assert execute(both).state == P.APPROVED
    assert turns.waits_for(both) == two[0].pk


def test_whoever_ends_nudges_the_one_that_was_approved_first(
    site: Site,
    two: tuple[Promotion, Promotion],
    nobody_listens_to_the_queue: Queue,
    django_capture_on_commit_callbacks: Any,
) -> None:
    first, second = two
    third = approved(site, site.staging, site.publish("1.2.0"))
    nobody_listens_to_the_queue.clear()
    with django_capture_on_commit_callbacks(execute=True):
        executing._give_up(first, P.FAILED, "It was not to be.")
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, second.pk)]
    nobody_listens_to_the_queue.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert execute(second).state == P.COMPLETED
    assert nobody_listens_to_the_queue == [(promoting.EXECUTE, third.pk)]
    assert execute(third).state == P.STALE, "it would replace what the second one replaced"
    assert site.placed(site.staging, third.items.get().package) == "1.1.0"
    assert broken_promises() == []


# ---- Gates that close after the approval ---------------------------------------------------------
@pytest.fixture
def frozen(site: Site, monkeypatch: pytest.MonkeyPatch) -> Promotion:
    """A promotion that was approved before the freeze of its policy began."""
    policies.set_policy(site.staging, {"freezes": [FROZEN]}, by=site.cast.admin)
    with monkeypatch.context() as patch:
        patch.setattr("promotion.gates.deciding.frozen_until", lambda freeze, at: None)
        promotion = approved(site, site.staging, site.publish("1.0.0"))
    assert promotion.state == P.APPROVED
    return promotion


def test_a_freeze_that_began_after_the_approval_is_waited_for(
    site: Site, frozen: Promotion, client: Client
) -> None:
    execute(frozen)
    assert (frozen.state, frozen.attempt) == (P.APPROVED, 0)
    assert frozen.reason == "Frozen (Always); opens on 1 Jan 2120 00:00 UTC."
    with nothing_changes():
        sweeping.sweep()
        promoting.execute(frozen.pk)
    client.force_login(site.cast.ada)
    assert "Frozen (Always)" in client.get(f"/promotions/{frozen.pk}/").content.decode()


def test_what_waits_for_a_freeze_keeps_nobody_back_and_is_placed_after_it(
    site: Site, frozen: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(frozen)
    assert turns.next_after(approved_elsewhere(site)) is None
    monkeypatch.setattr("promotion.gates.deciding.frozen_until", lambda freeze, at: None)
    assert (execute(frozen).state, frozen.reason) == (P.COMPLETED, "")
    assert broken_promises() == []


def approved_elsewhere(site: Site) -> Promotion:
    """Of the same package and environment, and not executed."""
    return site.request(site.staging, site.publish("1.1.0"))


def test_a_freeze_that_begins_during_the_execution_is_waited_for_too(
    site: Site, frozen: Promotion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("promotion.gates.deciding.frozen_until", lambda freeze, at: None)
        claimed = executing._claim(frozen.pk)
    assert claimed is not None
    monkeypatch.setattr(executing, "_claim", lambda pk: claimed)
    execute(frozen)
    assert (frozen.state, frozen.attempt, frozen.lease_until) == (P.APPROVED, 0, None)
    assert frozen.reason.startswith("Frozen (Always)")
    assert broken_promises() == []
