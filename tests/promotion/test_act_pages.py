"""The pages on which people break the glass, review that, hold versions and lift holds."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from promotion import holding, policies
from promotion.models import Hold, Override, Promotion, PromotionState, Review
from tests.cast import Site
from tests.promotion.acting import execute, on_call, override
from tests.sealed import unsealed
from tests.world import nothing_changes

P = PromotionState
BROKEN = {"reason": "The site is down.", "gates": ["approvals"], "confirmed": "yes"}


@pytest.fixture
def promotion(site: Site) -> Promotion:
    """Requested by ada; cleo is on call."""
    on_call(site, "cleo")
    return site.request(site.staging, site.publish("1.0.0"))


def seen(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


# ---- Break-glass ---------------------------------------------------------------------------------
def test_whoever_may_is_offered_to_break_the_glass_and_nobody_else_is(
    site: Site, promotion: Promotion, client: Client
) -> None:
    address = f"/promotions/{promotion.pk}/"
    client.force_login(site.cast.ben)
    assert "Break the glass" not in seen(client, address)
    client.force_login(site.cast.cleo)
    assert "Break the glass" in seen(client, address)


def test_the_glass_is_broken_on_the_page_and_the_board_is_loud(
    site: Site, promotion: Promotion, client: Client
) -> None:
    client.force_login(site.cast.cleo)
    answer = client.post(f"/promotions/{promotion.pk}/override/", BROKEN)
    assert answer.status_code == 303
    assert execute(promotion).state == P.COMPLETED
    for address in ("/", "/environments/staging/"):
        page = seen(client, address)
        assert "broke the glass in staging" in page
        assert "The site is down." in page
        assert "overdue" not in page
    assert "The glass was broken" in seen(client, f"/promotions/{promotion.pk}/")
    client.force_login(site.cast.dora)
    assert "broke the glass over" in seen(client, "/history/")


@pytest.mark.parametrize("missing", BROKEN)
def test_a_glass_that_is_not_broken_properly_stays_whole(
    site: Site, promotion: Promotion, client: Client, missing: str
) -> None:
    client.force_login(site.cast.cleo)
    given = {key: value for key, value in BROKEN.items() if key != missing}
    with nothing_changes():
        answer = client.post(f"/promotions/{promotion.pk}/override/", given)
    assert answer.status_code == 422


def test_gates_that_are_not_closed_are_not_overridden(
    site: Site, promotion: Promotion, client: Client
) -> None:
    client.force_login(site.cast.cleo)
    with nothing_changes():
        answer = client.post(f"/promotions/{promotion.pk}/override/", {**BROKEN, "gates": ["soak"]})
    assert answer.status_code == 422


def test_a_review_is_given_on_the_page_and_the_board_is_calm_again(
    site: Site, promotion: Promotion, client: Client
) -> None:
    execute(override(site, promotion))
    with unsealed():
        Override.objects.update(review_due=timezone.now() - timedelta(days=1))
    client.force_login(site.cast.ada)
    assert "broke the glass" not in seen(client, "/waiting/")
    client.force_login(site.cast.ben)
    assert "broke the glass" in seen(client, "/waiting/")
    assert "the review is overdue" in seen(client, "/")
    address = f"/promotions/{promotion.pk}/review/"
    with nothing_changes():
        assert client.post(address, {"verdict": "perhaps"}).status_code == 422
        assert client.post(address, {"verdict": "object"}).status_code == 422
    answer = client.post(address, {"verdict": "object", "comment": "Call me first."})
    assert answer.status_code == 303
    assert Review.objects.get().by == site.cast.ben
    assert "broke the glass" not in seen(client, "/")
    assert "broke the glass" not in seen(client, "/waiting/")
    assert "Call me first." in seen(client, f"/promotions/{promotion.pk}/")


def test_an_emergency_is_requested_on_the_page(site: Site, client: Client) -> None:
    on_call(site, "cleo", upstream="production")
    version = site.publish("1.0.0")
    address = f"/promotions/new/?environment=staging&version={version.pk}"
    client.force_login(site.cast.ben)
    assert "Request as an emergency" not in seen(client, address)
    client.force_login(site.cast.cleo)
    assert "Request as an emergency" in seen(client, address)
    given = {"environment": "staging", "version": version.pk, "comment": "It is down."}
    for wrong in ({}, {"emergency": "yes"}, {"confirmed": "yes"}):
        with nothing_changes():
            assert client.post("/promotions/new/", {**given, **wrong}).status_code in {409, 422}
    answer = client.post("/promotions/new/", {**given, "emergency": "yes", "confirmed": "yes"})
    assert answer.status_code == 303
    assert Promotion.objects.get().state == P.REQUESTED
    client.force_login(site.cast.dora)
    assert "as an emergency" in seen(client, "/history/")


# ---- Holds ---------------------------------------------------------------------------------------
def test_a_hold_is_placed_and_lifted_on_pages(site: Site, client: Client) -> None:
    version = site.publish("1.0.0")
    promotion = site.request(site.staging, version)
    client.force_login(site.cast.ben)
    given = {"environment": "staging", "reason": "It crashes."}
    assert client.post("/repositories/apps/app/1.0.0/hold/", given).status_code == 303
    hold = Hold.objects.get()
    pages = (
        "/repositories/apps/app/1.0.0/",
        "/environments/staging/",
        f"/promotions/{promotion.pk}/",
    )
    for address in pages:
        assert "It crashes." in seen(client, address)
        assert f"/holds/{hold.pk}/lift/" in seen(client, address)
    lift = f"/environments/staging/holds/{hold.pk}/lift/"
    with nothing_changes():
        assert client.post(lift).status_code == 422
        assert client.post(lift.replace("staging", "production")).status_code == 404
    assert client.post(lift, {"confirmed": "yes"}).status_code == 303
    for address in pages:
        assert f"/holds/{hold.pk}/lift/" not in seen(client, address)
    client.force_login(site.cast.dora)
    history = seen(client, "/history/")
    assert "lifted the hold on" in history
    assert "back in" in history


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"environment": "nowhere", "reason": "Bad."}, 404),
        ({"environment": "staging", "reason": " "}, 422),
        ({}, 404),
    ],
)
def test_a_hold_that_cannot_be_is_refused_on_the_page(
    site: Site, client: Client, given: dict[str, str], status: int
) -> None:
    site.publish("1.0.0")
    client.force_login(site.cast.ben)
    with nothing_changes():
        answer = client.post("/repositories/apps/app/1.0.0/hold/", given)
    assert answer.status_code == status


def test_whoever_may_not_lift_sees_the_hold_without_the_form(site: Site, client: Client) -> None:
    version = site.publish("1.0.0")
    hold = holding.place_hold(site.staging, version, by=site.cast.ben, reason="It crashes.")
    client.force_login(site.cast.ada)
    page = seen(client, "/environments/staging/")
    assert "It crashes." in page
    assert "/lift/" not in page
    with nothing_changes():
        answer = client.post(f"/environments/staging/holds/{hold.pk}/lift/", {"confirmed": "yes"})
    assert answer.status_code == 403


def test_a_policy_without_groups_offers_no_emergency(site: Site, client: Client) -> None:
    policies.set_policy(site.staging, {"upstream": "production"}, by=site.cast.admin)
    version = site.publish("1.0.0")
    client.force_login(site.cast.cleo)
    page = seen(client, f"/promotions/new/?environment=staging&version={version.pk}")
    assert "It cannot be requested" in page
    assert "emergency" not in page
