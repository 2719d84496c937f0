"""The API from the browser: with its session, and then only with the CSRF token."""

import pytest
from django.test import Client

from tests.api.caller import Api, problem
from tests.api.conftest import People, Things
from tests.world import nothing_changes


@pytest.fixture
def browser(things: Things) -> Api:
    client = Client(enforce_csrf_checks=True)
    client.force_login(things.site.cast.ben)
    return Api(client=client)


def _csrf(browser: Api) -> str:
    browser.client.get("/login/")
    page = browser.client.get("/account/")
    assert page.status_code == 200
    return browser.client.cookies["csrftoken"].value


def test_a_session_reads(browser: Api) -> None:
    assert browser.get("pipelines/").json["results"]


def test_a_session_without_its_csrf_token_changes_nothing(browser: Api, things: Things) -> None:
    path = f"promotions/{things.requested.pk}/approve/"
    body = {"plan_digest": things.requested.plan_digest}
    with nothing_changes():
        problem(browser.call("POST", path, body), 403, "forbidden")
        problem(browser.call("POST", path, body, X_CSRFToken="x" * 32), 403, "forbidden")


def test_a_session_with_its_csrf_token_may_act(browser: Api, things: Things) -> None:
    path = f"promotions/{things.requested.pk}/approve/"
    body = {"plan_digest": things.requested.plan_digest}
    answer = browser.call("POST", path, body, X_CSRFToken=_csrf(browser))
    assert (answer.status, answer.json["state"]) == (200, "approved"), answer.content


def test_another_sites_form_is_refused_with_the_session(browser: Api, things: Things) -> None:
    path = f"promotions/{things.requested.pk}/approve/"
    body = b"plan_digest=" + things.requested.plan_digest.encode()
    for form in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        with nothing_changes():
            answer = browser.call("POST", path, body, content_type=form)
        problem(answer, 403, "forbidden")


def test_a_token_needs_no_csrf_token(people: People, things: Things) -> None:
    client = Client(enforce_csrf_checks=True)
    ben = Api(people.ben.token, client=client)
    path = f"promotions/{things.requested.pk}/approve/"
    ben.post(path, {"plan_digest": things.requested.plan_digest}, expect=200)


def test_a_bad_token_is_not_made_good_by_a_session(browser: Api) -> None:
    answer = browser.call("GET", "pipelines/", Authorization="Bearer sluice_wrong")
    problem(answer, 401, "unauthenticated")


def test_a_session_ends_with_the_person(browser: Api, things: Things) -> None:
    ben = things.site.cast.ben
    type(ben).objects.filter(pk=ben.pk).update(is_active=False)
    problem(browser.call("GET", "pipelines/"), 401, "unauthenticated")
