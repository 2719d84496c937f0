"""Automatic promotion: Sluice requests what every gate lets through, in the name of the rule."""

from typing import Any

import pytest

from accounts import tokens
from accounts.models import Token, User
from pipelines.errors import Forbidden, WrongState
from promotion import automating, executing, holding, itself, policies, promoting, sweeping
from promotion.models import (
    Environment,
    Hold,
    LedgerEntry,
    Promotion,
    PromotionState,
    Version,
)
from tests.cast import Site
from tests.promotion.acting import broken_promises, execute, follower
from tests.world import nothing_changes, refused

P = PromotionState
Queue = list[tuple[str, int]]


@pytest.fixture
def place(site: Site) -> Environment:
    return follower(site)


def staged(site: Site, name: str, **options: Any) -> Version:
    version = site.publish(name, **options)
    site.promote(site.staging, version)
    return version


def test_what_is_placed_upstream_is_requested_in_the_name_of_the_rule(
    site: Site, place: Environment
) -> None:
    version = staged(site, "1.0.0")
    sweeping.sweep()
    promotion = Promotion.objects.get(environment=place)
    assert promotion.state == P.APPROVED
    assert promotion.requested_by.username == "sluice"
    assert promotion.comment == (
        "Automatic: revision 1 of the policy of follower says “automatic”, the version is in "
        "staging, and every gate is open."
    )
    assert execute(promotion).state == P.COMPLETED
    assert site.placed(place, version.package) == "1.0.0"
    entry = LedgerEntry.objects.get(type="promotion.requested", environment="follower")
    assert entry.actor == promotion.requested_by
    assert broken_promises() == []
    with nothing_changes():
        sweeping.sweep()


def test_whoever_places_upstream_nudges_downstream(
    site: Site,
    place: Environment,
    nobody_listens_to_the_queue: Queue,
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        staged(site, "1.0.0")
    assert (executing.AUTOMATE, place.pk) in nobody_listens_to_the_queue


def test_only_newer_versions_follow(site: Site, place: Environment) -> None:
    for name in ("2.0.0", "1.0.0"):
        staged(site, name)
        for made in automating.promote_into(place.pk):
            execute(made)
    assert Promotion.objects.filter(environment=place).count() == 1
    (made,) = _after(site, place, "2.1.0")
    assert made.items.get().version.name == "2.1.0"


def _after(site: Site, place: Environment, name: str) -> list[Promotion]:
    staged(site, name)
    return automating.promote_into(place.pk)


def test_a_held_version_waits_until_the_hold_is_lifted(site: Site, place: Environment) -> None:
    version = staged(site, "1.0.0")
    hold = holding.place_hold(place, version, by=site.cast.ben, reason="It crashes.")
    with nothing_changes():
        sweeping.sweep()
    holding.lift_hold(hold, by=site.cast.ben)
    assert len(automating.promote_into(place.pk)) == 1


def test_a_hold_that_comes_after_the_request_stops_it(site: Site, place: Environment) -> None:
    version = staged(site, "1.0.0")
    (made,) = automating.promote_into(place.pk)
    holding.place_hold(place, version, by=site.cast.ben, reason="It crashes.")
    assert execute(made).state == P.FAILED
    assert site.placed(place, version.package) is None


def test_what_was_rolled_back_is_not_brought_back(site: Site, place: Environment) -> None:
    for name in ("1.0.0", "1.1.0"):
        for made in _after(site, place, name):
            execute(made)
    package = made.items.get().package
    back = promoting.roll_back(place, package, by=site.cast.ada)
    assert execute(back).state == P.COMPLETED
    assert Hold.objects.get().version.name == "1.1.0"
    with nothing_changes():
        sweeping.sweep()
    assert site.placed(place, package) == "1.0.0"


def test_one_closed_gate_is_enough(site: Site, place: Environment) -> None:
    rules = {"approvals": 0, "upstream": "staging", "automatic": True, "soak": "1h"}
    policies.set_policy(place, rules, by=site.cast.admin)
    staged(site, "1.0.0")
    itself.sluice()
    with nothing_changes():
        sweeping.sweep()


def test_a_policy_that_is_not_automatic_requests_nothing(site: Site) -> None:
    staged(site, "1.0.0")
    with nothing_changes():
        sweeping.sweep()
        assert automating.promote_into(site.production.pk) == []
    assert not User.objects.filter(username="sluice").exists()


def test_an_open_promotion_of_the_package_comes_first(site: Site, place: Environment) -> None:
    staged(site, "1.0.0")
    (first,) = automating.promote_into(place.pk)
    staged(site, "1.1.0")
    assert automating.promote_into(place.pk) == []
    execute(first)
    assert len(automating.promote_into(place.pk)) == 1


@pytest.mark.parametrize("state", [P.FAILED, P.ERRORED, P.WITHDRAWN, P.EXPIRED, P.COMPLETED])
def test_what_was_tried_is_not_tried_again_for_the_same_reasons(
    site: Site, place: Environment, state: PromotionState
) -> None:
    staged(site, "1.0.0")
    (made,) = automating.promote_into(place.pk)
    Promotion.objects.filter(pk=made.pk).update(state=state)
    with nothing_changes():
        assert automating.promote_into(place.pk) == []
    rules = {"approvals": 0, "upstream": "staging", "automatic": True, "expires_after_days": 3}
    policies.set_policy(place, rules, by=site.cast.admin)
    assert len(automating.promote_into(place.pk)) == 1, "another revision is another reason"


# ---- Sluice as a user ----------------------------------------------------------------------------
def test_nobody_signs_in_as_sluice(site: Site, client: Any) -> None:
    sluice = itself.sluice()
    assert itself.sluice() == sluice
    assert not sluice.is_active
    assert not sluice.has_usable_password()
    assert not Token.objects.filter(user=sluice).exists()
    assert not client.login(username="sluice", password="")
    token = tokens.issue(sluice, name="by mistake")[1]
    answer = client.get("/api/v1/promotions/", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "change", [{"is_active": True}, {"is_machine": False}, {"password": "md5$x$y"}]
)
def test_a_person_of_that_name_is_not_mistaken_for_sluice(
    site: Site, place: Environment, change: dict[str, Any]
) -> None:
    version = staged(site, "1.0.0")
    somebody = itself.sluice()
    User.objects.update_or_create(pk=somebody.pk, defaults=change)
    somebody.refresh_from_db()
    refused(WrongState, itself.sluice)
    with nothing_changes():
        assert automating.promote_into(place.pk) == []
    refused(Forbidden, lambda: promoting.request(place, [version], by=somebody))
