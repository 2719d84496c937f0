"""Claims, overrides, holds and automatic requests at once, with real threads and real locks."""

from functools import partial
from typing import Any

import pytest

from pipelines.errors import SluiceError, WrongState
from promotion import automating, executing, holding, overriding, promoting
from promotion.errors import AlreadyHeld, AlreadyOverridden
from promotion.models import Hold, Override, Placement, Promotion, PromotionState, Verdict
from tests.cast import Site, make_site
from tests.parallel import at_once, outcomes
from tests.promotion.acting import approved, broken_promises, follower, on_call, types

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

P = PromotionState


@pytest.fixture(autouse=True)
def site(transactional_db: None) -> Site:
    return make_site()


def refusals(answers: list[Any]) -> list[type[SluiceError]]:
    return [type(answer) for answer in answers if isinstance(answer, SluiceError)]


def state(promotion: Promotion) -> str:
    return str(Promotion.objects.get(pk=promotion.pk).state)


def fetch(promotion: Promotion) -> Promotion:
    return Promotion.objects.get(pk=promotion.pk)


def test_two_workers_claim_one_promotion_once(site: Site) -> None:
    promotion = approved(site, site.staging, site.publish("1.0.0"))
    claimed = at_once([partial(executing._claim, promotion.pk)] * 6)
    assert len([each for each in claimed if each is not None]) == 1
    assert fetch(promotion).attempt == 1


@pytest.mark.parametrize("turn", range(3))
def test_of_many_promotions_of_a_package_one_is_claimed(site: Site, turn: int) -> None:
    every = [approved(site, site.staging, site.publish(f"1.{n}.0")) for n in range(4)]
    claimed = at_once([partial(executing._claim, each.pk) for each in every])
    assert len([each for each in claimed if each is not None]) == 1
    assert sorted(state(each) for each in every) == ["approved"] * 3 + ["executing"]


@pytest.mark.parametrize("turn", range(3))
def test_two_executions_of_a_package_place_one_and_leave_no_doubt(site: Site, turn: int) -> None:
    both = [approved(site, site.staging, site.publish(f"1.{n}.0")) for n in range(2)]
    at_once([partial(promoting.execute, each.pk) for each in both])
    # Whoever came second went stale, or waits and goes stale when it is nudged.
    for each in both:
        promoting.execute(each.pk)
    assert sorted(state(each) for each in both) == ["completed", "stale"]
    assert Placement.objects.count() == 1
    assert broken_promises() == []


def test_two_overrides_at_once_are_one(site: Site) -> None:
    on_call(site, "cleo", "ben")
    promotion = site.request(site.staging, site.publish("1.0.0"))
    answers = outcomes(
        [
            partial(overriding.override, fetch(promotion), by=by, reason="It is down.")
            for by in (site.cast.ben, site.cast.cleo)
        ]
    )
    assert refusals(answers) == [AlreadyOverridden]
    assert Override.objects.count() == 1
    assert types("promotion.overridden") == ["promotion.overridden"]
    assert broken_promises() == []


@pytest.mark.parametrize("turn", range(3))
def test_an_override_and_a_rejection_take_turns(site: Site, turn: int) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, site.publish("1.0.0"))
    answers = outcomes(
        [
            partial(overriding.override, fetch(promotion), by=site.cast.cleo, reason="It is down."),
            partial(
                promoting.reject, fetch(promotion), by=site.cast.ben, plan=promotion.plan_digest
            ),
        ]
    )
    assert refusals(answers) == [WrongState]
    assert state(promotion) == (P.APPROVED if Override.objects.exists() else P.REJECTED)
    assert broken_promises() == []


def test_two_reviews_of_one_person_at_once_are_one(site: Site) -> None:
    on_call(site, "cleo")
    promotion = site.request(site.staging, site.publish("1.0.0"))
    overriding.override(promotion, by=site.cast.cleo, reason="It is down.")
    give = partial(overriding.review, promotion, by=site.cast.ben, verdict=Verdict.APPROVE)
    assert len(refusals(outcomes([give] * 6))) == 5
    assert broken_promises() == []


def test_two_holds_at_once_are_one(site: Site) -> None:
    version = site.publish("1.0.0")
    hold = partial(holding.place_hold, site.staging, version, by=site.cast.ben, reason="Bad.")
    assert refusals(outcomes([hold] * 6)) == [AlreadyHeld] * 5
    lift = partial(holding.lift_hold, Hold.objects.get(), by=site.cast.ben)
    assert refusals(outcomes([lift] * 6)) == [WrongState] * 5
    assert types("hold.") == ["hold.placed", "hold.lifted"]
    assert broken_promises() == []


def test_workers_that_look_at_once_request_once(site: Site) -> None:
    place = follower(site)
    site.promote(site.staging, site.publish("1.0.0"))
    made = at_once([partial(automating.promote_into, place.pk)] * 6)
    assert sum(len(each) for each in made) == 1
    assert Promotion.objects.filter(environment=place).count() == 1
    assert broken_promises() == []


@pytest.mark.parametrize("turn", range(3))
def test_a_lift_and_an_automatic_request_take_turns(site: Site, turn: int) -> None:
    place = follower(site)
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    hold = holding.place_hold(place, version, by=site.cast.ben, reason="Bad.")
    lift = partial(holding.lift_hold, hold, by=site.cast.ben)
    assert refusals(outcomes([lift, partial(automating.promote_into, place.pk)])) == []
    order = [each for each in types("") if each == "hold.lifted" or each == "promotion.requested"]
    if Promotion.objects.filter(environment=place).exists():
        assert order[-2:] == ["hold.lifted", "promotion.requested"], "it was held all the same"
    else:
        assert len(automating.promote_into(place.pk)) == 1
    assert broken_promises() == []


@pytest.mark.parametrize("turn", range(3))
def test_a_hold_and_an_automatic_execution_take_turns(site: Site, turn: int) -> None:
    place = follower(site)
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    (made,) = automating.promote_into(place.pk)
    hold = partial(holding.place_hold, place, version, by=site.cast.ben, reason="Bad.")
    assert refusals(outcomes([hold, partial(promoting.execute, made.pk)])) == []
    order = [each for each in types("") if each == "hold.placed" or each == "promotion.completed"]
    if state(made) == P.COMPLETED:
        assert order[-2:] == ["promotion.completed", "hold.placed"]
    else:
        assert state(made) == P.FAILED
    assert broken_promises() == []
