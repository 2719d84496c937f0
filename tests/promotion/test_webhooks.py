"""Webhooks, with real receivers: signed, in order, at least once, and never inward."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from pipelines import sealing
from pipelines.destinations import DestinationForbidden
from pipelines.errors import BadRequest, Forbidden, Invalid, NameTaken, WrongState
from promotion import promoting, recalling, telling, webhooks
from promotion.models import Delivery, DeliveryState, Notice, Webhook
from tests.cast import ROLES, Site
from tests.parts.web import Asked, Handler, Served, answer, serve
from tests.world import nothing_changes, refused

pytestmark = pytest.mark.django_db

W = DeliveryState
URL = "https://8.8.8.8/hooks"


class Receiver:
    """Takes every event until told otherwise."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Callable[[Handler, Asked], None] = lambda handler, asked: answer(
            handler, self.status
        )
        self.served: Served

    def respond(self, handler: Handler, asked: Asked) -> None:
        self.answer(handler, asked)

    @property
    def asked(self) -> list[Asked]:
        return self.served.asked

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(each.body) for each in self.asked]

    @property
    def heard(self) -> list[tuple[str, str]]:
        return [(each["type"], each["subject"]) for each in self.events]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    opened = override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),))
    with serve(made.respond) as served, opened:
        made.served = served
        yield made


def webhook_to(
    site: Site, receiver: Receiver, *types: str, name: str = "ci"
) -> tuple[Webhook, str]:
    url = f"{receiver.served.url}/hooks"
    return webhooks.create(name, url, by=site.cast.admin, types=types)


def deliver_all() -> None:
    """What workers do with each nudge, until nothing is due any more."""
    telling.tell()
    for _ in range(50):
        due = list(webhooks._due().order_by("pk").values_list("pk", flat=True))
        if not due:
            return
        for pk in due:
            webhooks.deliver(pk)
    raise AssertionError("something is always due")


def becomes_due() -> None:
    Delivery.objects.filter(state=W.WAITING).update(due_at=timezone.now())


def waiting() -> int:
    return Delivery.objects.filter(state=W.WAITING).count()


# ---- What is sent --------------------------------------------------------------------------------
def test_an_event_is_a_cloud_event_signed_after_standard_webhooks(
    site: Site, receiver: Receiver
) -> None:
    _, secret = webhook_to(site, receiver, "promotion.completed")
    promotion = site.promote(site.staging, site.publish("1.0.0"))
    deliver_all()
    [asked] = receiver.asked
    assert (asked.method, asked.path) == ("POST", "/hooks")
    assert asked.headers["content-type"] == "application/cloudevents+json"
    event = json.loads(asked.body)
    assert {key: event[key] for key in ("specversion", "type", "subject", "source")} == {
        "specversion": "1.0",
        "type": "sluice.promotion.completed",
        "subject": "apps/app",
        "source": "http://127.0.0.1:8000",
    }
    assert event["data"]["promotion"] == promotion.pk
    id_, at = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
    assert id_ == event["id"]
    assert abs(time.time() - int(at)) < 300
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{id_}.{at}.".encode() + asked.body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert asked.headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_published_example() -> None:
    """The vector that the scheme's own libraries test with."""
    signed = webhooks.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_one_without_types_is_told_of_every_entry_once_and_in_order(
    site: Site, receiver: Receiver
) -> None:
    webhook_to(site, receiver)
    telling.tell()
    Delivery.objects.all().delete()
    site.promote(site.staging, site.publish("1.0.0"))
    deliver_all()
    deliver_all()
    assert [type_ for type_, _ in receiver.heard] == [
        "sluice.version.published", "sluice.promotion.requested", "sluice.promotion.approved",
        "sluice.promotion.completed",
    ]  # fmt: skip
    sequences = [int(each["sequence"]) for each in receiver.events]
    assert sequences == sorted(sequences)


def test_a_train_waits_in_a_line_of_its_own(site: Site, receiver: Receiver) -> None:
    webhook_to(site, receiver, "promotion.requested")
    both = site.request(site.staging, site.publish("1.0.0"), site.publish("1.0.0", package="web"))
    deliver_all()
    assert receiver.heard == [("sluice.promotion.requested", f"promotion/{both.pk}")]


def test_what_is_refused_holds_up_its_own_line_and_no_other(site: Site, receiver: Receiver) -> None:
    webhook_to(site, receiver, "version.published")

    def refuses_app(handler: Handler, asked: Asked) -> None:
        is_app = json.loads(asked.body)["subject"] == "apps/app"
        answer(handler, 500 if is_app and receiver.status == 500 else 200)

    receiver.answer, receiver.status = refuses_app, 500
    for name, package in (("1.0.0", "app"), ("2.0.0", "app"), ("1.0.0", "web")):
        site.publish(name, package=package)
    deliver_all()
    assert [each["data"]["version"] for each in receiver.events] == ["1.0.0", "1.0.0"]
    first = Delivery.objects.order_by("pk")[0]
    assert (first.state, first.status, first.attempt) == (W.WAITING, 500, 1)
    assert first.error == "It answered 500; only 200 to 299 say that it took the event."
    assert first.due_at > timezone.now()
    receiver.status = 200
    becomes_due()
    deliver_all()
    told = [(each["subject"], each["data"]["version"]) for each in receiver.events]
    assert told == [("apps/app", "1.0.0"), ("apps/web", "1.0.0"), ("apps/app", "1.0.0"),
                    ("apps/app", "2.0.0")]  # fmt: skip
    assert waiting() == 0
    # The receiver knows the event that comes again by its id.
    assert receiver.asked[0].headers["webhook-id"] == receiver.asked[2].headers["webhook-id"]
    assert Webhook.objects.get().failing_since is None


@pytest.mark.parametrize("status", [199, 204, 301, 302, 404, 500])
def test_only_an_answer_of_the_two_hundreds_says_that_it_was_taken(
    site: Site, receiver: Receiver, status: int
) -> None:
    webhook_to(site, receiver, "version.published")
    receiver.answer = lambda handler, asked: answer(
        handler, max(status, 200) if status == 199 else status, location=f"{receiver.served.url}/x"
    )
    site.publish("1.0.0")
    deliver_all()
    assert waiting() == (0 if status in {199, 204} else 1)
    # No redirect is followed.
    assert [each.path for each in receiver.asked] == ["/hooks"]


def test_an_endless_answer_ends_with_its_head(site: Site, receiver: Receiver) -> None:
    webhook_to(site, receiver, "version.published")

    def endless(handler: Handler, asked: Asked) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"and another thing " * 4096)

    receiver.answer = endless
    site.publish("1.0.0")
    deliver_all()
    assert waiting() == 0


def test_one_that_never_answers_is_given_up_and_tried_again(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "SECONDS", 0.5)
    webhook_to(site, receiver, "version.published")
    done = False

    def slow(handler: Handler, asked: Asked) -> None:
        while not done:
            time.sleep(0.05)

    receiver.answer = slow
    site.publish("1.0.0")
    deliver_all()
    done = True
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.status) == (W.WAITING, None)
    assert "0.5 s" in delivery.error


def test_one_that_is_down_is_tried_again_and_gets_everything_in_order(
    site: Site, receiver: Receiver
) -> None:
    webhook_to(site, receiver, "version.published")
    Webhook.objects.update(url="http://127.0.0.1:1/hooks")
    site.publish("1.0.0")
    site.publish("2.0.0")
    deliver_all()
    assert waiting() == 2
    Webhook.objects.update(url=f"{receiver.served.url}/hooks")
    becomes_due()
    deliver_all()
    assert [each["data"]["version"] for each in receiver.events] == ["1.0.0", "2.0.0"]


def test_a_worker_that_died_over_a_delivery_is_followed_when_its_lease_has_ended(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
    nobody_listens_to_the_queue: list[tuple[str, int]], django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    webhook_to(site, receiver, "version.published")
    site.publish("1.0.0")
    telling.tell()
    pk = Delivery.objects.get().pk

    def dies(delivery: Delivery) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(webhooks, "_sent", dies)
        webhooks.deliver(pk)
    webhooks.deliver(pk)
    assert receiver.asked == []
    becomes_due()
    nobody_listens_to_the_queue.clear()
    with django_capture_on_commit_callbacks(execute=True):
        telling.sweep()
    assert nobody_listens_to_the_queue == [(webhooks.DELIVER, pk)]
    webhooks.deliver(pk)
    webhooks.deliver(pk)
    assert len(receiver.asked) == 1


def test_while_a_receiver_fails_a_sweep_tries_one_delivery_and_only_now_and_then(
    site: Site, receiver: Receiver, nobody_listens_to_the_queue: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    webhook_to(site, receiver, "version.published")
    receiver.status = 503
    for package in ("a", "b", "c"):
        site.publish("1.0.0", package=package)
    deliver_all()
    becomes_due()
    nobody_listens_to_the_queue.clear()
    with django_capture_on_commit_callbacks(execute=True):
        telling.sweep()
    assert nobody_listens_to_the_queue == []
    Webhook.objects.update(tried_at=timezone.now() - 2 * webhooks.PROBE_EVERY)
    with django_capture_on_commit_callbacks(execute=True):
        telling.sweep()
    assert [task for task, _ in nobody_listens_to_the_queue] == [webhooks.DELIVER]


# ---- Where it may go -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/", "http://169.254.169.254/latest/", "http://2130706433/",
        "http://[::ffff:127.0.0.1]/", "https://10.0.0.1/", "http://localhost/",
    ],
)  # fmt: skip
def test_an_address_that_leads_inward_is_refused(site: Site, url: str) -> None:
    refused(DestinationForbidden, lambda: webhooks.create("ci", url, by=site.cast.admin))


def test_an_address_that_leads_inward_later_is_refused_when_it_is_called(
    site: Site, receiver: Receiver
) -> None:
    webhook_to(site, receiver, "version.published")
    site.publish("1.0.0")
    with override_settings(ALLOWED_NETWORKS=()):
        deliver_all()
    assert receiver.asked == []
    assert "which is not on the public internet" in Delivery.objects.get().error


@pytest.mark.parametrize(
    ("name", "url", "types", "error"),
    [
        ("ci", "ftp://8.8.8.8/", [], BadRequest),
        ("ci", "https://user:secret@8.8.8.8/", [], BadRequest),
        ("c i", URL, [], Invalid),
        ("ci", URL, ["everything"], Invalid),
        ("ci", URL, ["promotion.completed\n"], Invalid),
    ],
)
def test_what_makes_no_webhook_is_refused(
    site: Site, name: str, url: str, types: list[str], error: type[Any]
) -> None:
    refused(error, lambda: webhooks.create(name, url, by=site.cast.admin, types=types))


def test_each_name_is_used_once(site: Site) -> None:
    webhooks.create("ci", URL, by=site.cast.admin)
    refused(NameTaken, lambda: webhooks.create("ci", URL, by=site.cast.admin))


@pytest.mark.parametrize("name", sorted(ROLES.keys() - {"admin"}))
def test_operators_alone_manage_webhooks(site: Site, name: str) -> None:
    user = site.cast.everyone()[name]
    webhook, _ = webhooks.create("ci", URL, by=site.cast.admin)
    delivery = webhooks.send_test(webhook, by=site.cast.admin)
    for act in (
        lambda: webhooks.create("other", URL, by=user),
        lambda: webhooks.rotate(webhook, by=user),
        lambda: webhooks.remove(webhook, by=user),
        lambda: webhooks.enable(webhook, by=user),
        lambda: webhooks.send_test(webhook, by=user),
        lambda: webhooks.redeliver(delivery, by=user),
    ):
        refused(Forbidden, act)


# ---- Disabled, enabled, sent again ---------------------------------------------------------------
def test_what_fails_for_days_is_disabled_and_the_operators_are_told_once(
    site: Site, receiver: Receiver
) -> None:
    webhook, _ = webhook_to(site, receiver, "version.published")
    receiver.status = 500
    site.publish("1.0.0")
    deliver_all()
    assert Webhook.objects.get().failing_since is not None
    Webhook.objects.update(failing_since=timezone.now() - timedelta(days=6))
    becomes_due()
    deliver_all()
    disabled = Webhook.objects.get()
    assert disabled.disabled_why.startswith("It failed for 5 days. Last: It answered 500;")
    notice = Notice.objects.get(type=webhooks.DISABLED)
    assert (notice.recipient, notice.path) == (site.cast.admin, "/webhooks/ci/")
    # Nothing more is sent to it, nor put into its lines.
    site.publish("2.0.0")
    becomes_due()
    deliver_all()
    assert len(receiver.asked) == 2
    assert waiting() == 1
    refused(WrongState, lambda: webhooks.send_test(disabled, by=site.cast.admin))
    receiver.status = 200
    webhooks.enable(disabled, by=site.cast.admin)
    deliver_all()
    assert [each["data"]["version"] for each in receiver.events] == ["1.0.0"] * 3
    refused(WrongState, lambda: webhooks.enable(webhook, by=site.cast.admin))


def test_a_test_event_goes_out_at_once_whatever_waits(site: Site, receiver: Receiver) -> None:
    webhook, _ = webhook_to(site, receiver, "promotion.completed")
    webhooks.send_test(webhook, by=site.cast.admin)
    deliver_all()
    assert receiver.heard == [("sluice.webhook.test", "webhook")]


def test_a_delivery_can_be_sent_again_under_its_own_id(site: Site, receiver: Receiver) -> None:
    webhook_to(site, receiver, "version.published")
    site.publish("1.0.0")
    deliver_all()
    delivery = Delivery.objects.select_related("webhook").get()
    webhooks.redeliver(delivery, by=site.cast.admin)
    deliver_all()
    assert len(receiver.asked) == 2
    assert receiver.asked[0].body == receiver.asked[1].body
    assert receiver.asked[0].headers["webhook-id"] == receiver.asked[1].headers["webhook-id"]


def test_a_removed_one_is_told_nothing_any_more(site: Site, receiver: Receiver) -> None:
    webhook, _ = webhook_to(site, receiver)
    telling.tell()
    webhooks.remove(webhook, by=site.cast.admin)
    assert Delivery.objects.count() == 0
    site.publish("1.0.0")
    deliver_all()
    assert receiver.asked == []


def test_what_was_delivered_long_ago_is_forgotten_and_what_waits_is_not(
    site: Site, receiver: Receiver
) -> None:
    webhook_to(site, receiver, "version.published")
    site.publish("1.0.0")
    deliver_all()
    receiver.status = 500
    site.publish("2.0.0")
    deliver_all()
    with nothing_changes():
        assert webhooks.forget() == 0
    Delivery.objects.update(delivered_at=timezone.now() - timedelta(days=31))
    assert webhooks.forget() == 1
    Delivery.objects.get(state=W.WAITING)


# ---- The secret ----------------------------------------------------------------------------------
def test_the_secret_is_encrypted_and_another_one_signs_after_it_was_changed(
    site: Site, receiver: Receiver
) -> None:
    webhook, secret = webhook_to(site, receiver)
    assert secret not in webhook.sealed
    assert sealing.unseal(webhook.sealed) == {"secret": secret}
    other = webhooks.rotate(webhook, by=site.cast.admin)
    assert other != secret
    assert sealing.unseal(Webhook.objects.get().sealed) == {"secret": other}


def test_webhooks_are_among_what_is_encrypted_anew(site: Site) -> None:
    webhooks.create("ci", URL, by=site.cast.admin)
    before = Webhook.objects.get().sealed
    assert [rotate() for rotate, _, _ in sealing.others] == [1]
    after = Webhook.objects.get().sealed
    assert before != after
    assert sealing.unseal(before) == sealing.unseal(after)


def test_no_secret_is_in_what_is_sent_kept_or_logged(
    site: Site, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    webhook, secret = webhook_to(site, receiver)
    promotion = site.request(site.staging, site.publish("1.0.0"))
    promoting.reject(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    recalling.recall(promotion.items.get().version, by=site.cast.ben, reason="Bad.")
    receiver.status = 500
    deliver_all()
    bare = secret.removeprefix("whsec_")
    kept = "".join(Delivery.objects.values_list("body", flat=True)) + "".join(
        Delivery.objects.values_list("error", flat=True)
    )
    sent = b"".join(each.body for each in receiver.asked).decode()
    heads = str([each.headers for each in receiver.asked])
    assert bare not in kept + sent + heads + caplog.text + repr(webhook)
