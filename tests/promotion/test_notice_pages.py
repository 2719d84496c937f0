"""The inbox and the pages of webhooks, as people use them without JavaScript."""

import html
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from pipelines import sealing
from promotion import notices, promoting, telling, webhooks
from promotion.models import Delivery, Notice, Webhook
from tests.cast import ROLES, Site
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

URL = "https://8.8.8.8/hooks"


def as_(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer: Any) -> str:
    return " ".join(html.unescape(answer.content.decode()).split())


def tell(user: User, count: int) -> None:
    for number in range(count):
        notices.write([user], key=f"{number}", type="test", subject=f"No. {number}.", path="/x/")


# ---- Notices -------------------------------------------------------------------------------------
def test_the_inbox_lists_what_is_unread_and_leads_to_it(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    telling.tell()
    answer = as_(site.cast.ben).get("/notices/")
    assert f'href="/promotions/{promotion.pk}/"' in answer.content.decode()
    assert "waits for you" in text_of(answer)
    assert 'count-strong">1<span class="visually-hidden"> unread' in answer.content.decode()


def test_an_inbox_without_notices_says_what_will_come(site: Site) -> None:
    client = as_(site.cast.ada)
    with nothing_changes():
        assert "Nothing new" in text_of(client.get("/notices/"))
        assert "No notices yet" in text_of(client.get("/notices/?all=1"))


def test_one_is_marked_as_read_and_stays_under_all(site: Site) -> None:
    tell(site.cast.ada, 2)
    client = as_(site.cast.ada)
    first = Notice.objects.order_by("pk")[0]
    assert client.post(f"/notices/{first.pk}/read/").status_code == 303
    assert "No. 0." not in text_of(client.get("/notices/"))
    assert "No. 0." in text_of(client.get("/notices/?all=1"))
    read_at = Notice.objects.get(pk=first.pk).read_at
    client.post(f"/notices/{first.pk}/read/")
    assert Notice.objects.get(pk=first.pk).read_at == read_at


def test_all_that_was_seen_is_marked_and_what_came_since_is_not(site: Site) -> None:
    tell(site.cast.ada, 3)
    client = as_(site.cast.ada)
    newest = Notice.objects.latest("pk")
    assert f'name="up_to" value="{newest.pk}"' in client.get("/notices/").content.decode()
    notices.write([site.cast.ada], key="new", type="test", subject="New.", path="/x/")
    client.post("/notices/read/", {"up_to": newest.pk})
    assert [each.subject for each in Notice.objects.unread_by(site.cast.ada)] == ["New."]


@pytest.mark.parametrize("up_to", ["", "-1", "9" * 40, "x"])
def test_marking_all_up_to_nothing_marks_none(site: Site, up_to: str) -> None:
    tell(site.cast.ada, 1)
    client = as_(site.cast.ada)
    client.post("/notices/read/", {"up_to": up_to})
    assert notices.unread_count(site.cast.ada) == 1


def test_another_persons_notices_are_neither_shown_nor_marked(site: Site) -> None:
    tell(site.cast.ada, 1)
    ben = as_(site.cast.ben)
    pk = Notice.objects.get().pk
    assert "No. 0." not in text_of(ben.get("/notices/?all=1"))
    assert ben.post(f"/notices/{pk}/read/").status_code == 404
    ben.post("/notices/read/", {"up_to": pk})
    assert notices.unread_count(site.cast.ada) == 1


def test_a_page_counts_them_with_one_statement_however_many_there_are(site: Site) -> None:
    client = as_(site.cast.dora)

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            client.get("/environments/")
        return [each["sql"] for each in captured.captured_queries]

    before = statements()
    tell(site.cast.dora, 30)
    after = statements()
    assert len(after) == len(before)
    assert len([sql for sql in after if "promotion_notice" in sql]) == 1


def test_a_long_inbox_is_walked_page_by_page_in_a_fixed_number_of_statements(site: Site) -> None:
    client = as_(site.cast.ada)
    tell(site.cast.ada, 60)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get("/notices/")
    # The session, the person, the rows, and the count twice: in the frame and on the page.
    assert len(captured) <= 5
    shown = text_of(answer)
    assert "No. 59." in shown
    assert "No. 9." not in shown
    oldest = Notice.objects.order_by("-pk")[49]
    assert "No. 9." in text_of(client.get(f"/notices/?before={oldest.pk}"))


def test_what_somebody_wrote_is_shown_as_text(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.reject(
        promotion, by=site.cast.ben, plan=promotion.plan_digest, comment="<script>x</script>"
    )
    telling.tell()
    content = as_(site.cast.ada).get("/notices/").content.decode()
    assert "&lt;script&gt;x&lt;/script&gt;" in content
    assert "<script>x" not in content


# ---- Webhooks ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ROLES)
def test_operators_alone_see_webhooks(site: Site, name: str) -> None:
    webhooks.create("ci", URL, by=site.cast.admin)
    client = as_(site.cast.everyone()[name])
    expected = 200 if name == "admin" else 403
    with nothing_changes():
        for address in ("/webhooks/", "/webhooks/-/new/", "/webhooks/ci/"):
            assert client.get(address).status_code == expected
        if name != "admin":
            for verb in ("test", "rotate", "enable", "remove", "deliveries/1/redeliver"):
                answer = client.post(f"/webhooks/ci/{verb}/", {"confirmed": "yes"})
                assert answer.status_code == 403


def test_a_webhook_is_made_and_its_secret_shown_once(site: Site) -> None:
    client = as_(site.cast.admin)
    form = {"name": "ci", "url": URL, "types": "promotion.completed  version.recalled"}
    made = client.post("/webhooks/-/new/", form)
    secret = sealing.unseal(Webhook.objects.get().sealed)["secret"]
    assert secret in text_of(made)
    assert "no-store" in made["Cache-Control"]
    for address in ("/webhooks/", "/webhooks/ci/"):
        assert secret not in client.get(address).content.decode()
    assert Webhook.objects.get().types == ["promotion.completed", "version.recalled"]


def test_what_makes_no_webhook_is_said_beside_the_form(site: Site) -> None:
    client = as_(site.cast.admin)
    with nothing_changes():
        inward = client.post("/webhooks/-/new/", {"name": "ci", "url": "http://127.0.0.1/"})
        empty = client.post("/webhooks/-/new/", {"name": ""})
    assert inward.status_code == 400
    assert "which is not on the public internet" in text_of(inward)
    assert empty.status_code == 422


def test_what_cannot_be_taken_back_is_asked_first(site: Site) -> None:
    webhooks.create("ci", URL, by=site.cast.admin)
    client = as_(site.cast.admin)
    with nothing_changes():
        for verb in ("rotate", "remove"):
            assert client.post(f"/webhooks/ci/{verb}/").status_code == 422
    before = Webhook.objects.get().sealed
    assert client.post("/webhooks/ci/rotate/", {"confirmed": "yes"}).status_code == 200
    assert Webhook.objects.get().sealed != before
    assert client.post("/webhooks/ci/remove/", {"confirmed": "yes"}).status_code == 303
    assert not Webhook.objects.exists()
    assert client.get("/webhooks/ci/").status_code == 404


def test_a_test_event_is_listed_and_can_be_sent_again(site: Site) -> None:
    webhooks.create("ci", URL, by=site.cast.admin)
    client = as_(site.cast.admin)
    assert client.post("/webhooks/ci/test/").status_code == 303
    delivery = Delivery.objects.get()
    assert delivery.event in text_of(client.get("/webhooks/ci/"))
    Delivery.objects.update(state="delivered")
    again = f"/webhooks/ci/deliveries/{delivery.pk}/redeliver/"
    assert client.post(again).status_code == 303
    assert Delivery.objects.get().state == "waiting"
    webhooks.create("other", URL, by=site.cast.admin)
    elsewhere = f"/webhooks/other/deliveries/{delivery.pk}/redeliver/"
    assert client.post(elsewhere).status_code == 404
