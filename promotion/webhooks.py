"""Webhooks: tell other systems what the ledger says, signed, in order and at least once.

Events are CloudEvents 1.0, signed after Standard Webhooks. Each waits in a line: that of its
package, or of its promotion where that has several packages. The first of a line is sent until the
receiver takes it, with growing pauses; the others of that line wait behind it, other lines do not.
"""

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from pipelines import destinations, outbound, sealing
from pipelines.canonical import canonical, timestamp
from pipelines.errors import Invalid, NameTaken, SluiceError, WrongState
from pipelines.models.pipeline import check_slug
from pipelines.queue import nudge
from promotion import notices, rules
from promotion.models import Delivery, DeliveryState, LedgerEntry, Webhook

log = logging.getLogger(__name__)

DELIVER = "promotion.deliver"
TEST = "webhook.test"
DISABLED = "webhook.disabled"
#: How long a receiver may take until the head of its answer is there; its body is not read.
SECONDS = 15.0
LEASE = timedelta(minutes=2)
LONGEST_PAUSE = timedelta(hours=1)
#: While a receiver fails, it is tried this often at most, whatever waits: it may hang each time.
PROBE_EVERY = timedelta(seconds=30)
KEPT_FOR = timedelta(days=30)
AT_ONCE = 200

TYPE = re.compile(r"^[a-z_]{1,31}\.[a-z_]{1,31}\Z")

W = DeliveryState


# ---- Make and change ---------------------------------------------------------------------------
@sensitive_variables()
def create(name: str, url: str, *, by: User, types: Iterable[str] = ()) -> tuple[Webhook, str]:
    """Make a webhook; the second value is its secret, not to be had again."""
    rules.require(by, "webhook.manage")
    try:
        check_slug(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name a webhook. {error.message}") from error
    types = sorted(set(types))
    if wrong := [each for each in types if not TYPE.match(each)]:
        raise Invalid(
            f"“{wrong[0][:64]}” is no type of event. They are like promotion.completed; the "
            "history's filter lists them."
        )
    require_allowed(url)
    secret = _new_secret()
    try:
        with transaction.atomic():
            webhook = Webhook.objects.create(
                name=name,
                url=url,
                types=types,
                sealed=sealing.seal({"secret": secret}),
                created_by=by,
                created_at=timezone.now(),
            )
    except IntegrityError as error:
        raise NameTaken(f"There is a webhook “{name}” already. Choose another name.") from error
    return webhook, secret


@sensitive_variables()
def rotate(webhook: Webhook, *, by: User) -> str:
    """Give it a new secret; whatever is sent from now on is signed with it."""
    rules.require(by, "webhook.manage")
    secret = _new_secret()
    webhook.sealed = sealing.seal({"secret": secret})
    webhook.save(update_fields=["sealed"])
    return secret


def remove(webhook: Webhook, *, by: User) -> None:
    """Forget it, with its secret and all that waits for it."""
    rules.require(by, "webhook.manage")
    webhook.delete()


def enable(webhook: Webhook, *, by: User) -> None:
    """Have it told again, beginning with what still waits."""
    rules.require(by, "webhook.manage")
    with transaction.atomic():
        off = Webhook.objects.filter(pk=webhook.pk, disabled_at__isnull=False)
        if not off.update(disabled_at=None, disabled_why="", failing_since=None):
            raise WrongState(f"The webhook {webhook.name} is enabled.", current="enabled")
        webhook.deliveries.filter(state=W.WAITING).update(due_at=timezone.now(), attempt=0)
    _nudge_first(webhook)


def send_test(webhook: Webhook, *, by: User) -> Delivery:
    """Send an event that says nothing but that it works, in a line of its own."""
    rules.require(by, "webhook.manage")
    _require_enabled(webhook)
    event = str(uuid.uuid4())
    content = _cloud_event(event, TEST, "webhook", {"webhook": webhook.name, "by": by.username})
    return _put(webhook, event, TEST, f"test:{event}", content)


def redeliver(delivery: Delivery, *, by: User) -> None:
    """Send the very same event once more, under its own id, or sooner than it is due."""
    rules.require(by, "webhook.manage")
    _require_enabled(delivery.webhook)
    Delivery.objects.filter(pk=delivery.pk).update(
        state=W.WAITING, due_at=timezone.now(), attempt=0, delivered_at=None
    )
    nudge(DELIVER, delivery.pk)


def require_allowed(url: str) -> None:
    """Refuse an address that no event could go to, now already; each delivery asks again."""
    outbound.origin_of(url)
    parts = urlsplit(url)
    destinations.allowed_address(parts.hostname or "", parts.port or outbound.PORTS[parts.scheme])


def rotate_keys() -> int:
    """Encrypt every webhook's secret anew with the first key; how many there were."""
    return sealing.reseal_all(Webhook.objects.order_by("name"))


def _new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _require_enabled(webhook: Webhook) -> None:
    if webhook.disabled_at is not None:
        raise WrongState(
            f"The webhook {webhook.name} is disabled. Enable it first.", current="disabled"
        )


# ---- What is told ------------------------------------------------------------------------------
def are_listening() -> bool:
    return Webhook.objects.filter(disabled_at__isnull=True).exists()


def queue(entry: LedgerEntry) -> None:
    """Put an entry of the ledger into the line of each webhook that wants it, once."""
    wanting = [
        each
        for each in Webhook.objects.filter(disabled_at__isnull=True).order_by("pk")
        if not each.types or entry.type in each.types
    ]
    if not wanting:
        return
    body = json.loads(bytes(entry.body))
    event, subject = f"ledger-{entry.sequence}", _subject(entry, body["data"])
    content = _cloud_event(event, entry.type, subject, body["data"]) | {
        "time": timestamp(entry.at),
        "sequence": str(entry.sequence),
    }
    if body["actor"]:
        content["actor"] = body["actor"]
    for webhook in wanting:
        _put(webhook, event, entry.type, subject, content)


def _subject(entry: LedgerEntry, data: dict[str, object]) -> str:
    """What an event is about, which is also the line that it waits in."""
    if entry.package:
        return f"{entry.repository}/{entry.package}"
    if "promotion" in data:
        return f"promotion/{data['promotion']}"
    return entry.environment or entry.repository or "site"


def _cloud_event(
    event: str, type_: str, subject: str, data: dict[str, object]
) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": event,
        "source": settings.SITE_URL,
        "type": f"sluice.{type_}",
        "subject": subject,
        "time": timestamp(timezone.now()),
        "datacontenttype": "application/json",
        "data": data,
    }


def _put(
    webhook: Webhook, event: str, type_: str, line: str, content: dict[str, object]
) -> Delivery:
    now = timezone.now()
    delivery, is_new = Delivery.objects.get_or_create(
        webhook=webhook,
        event=event,
        defaults={
            "type": type_,
            "line": line,
            "body": canonical(content).decode(),
            "created_at": now,
            "due_at": now,
        },
    )
    if is_new and webhook.failing_since is None:
        nudge(DELIVER, delivery.pk)
    return delivery


# ---- Deliver -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one try. `status` is what was answered, where anything was."""

    status: int | None
    error: str = ""


def deliver_where_due() -> None:
    """Nudge for the first of each line whose time has come; for one where the receiver fails."""
    for webhook in Webhook.objects.filter(disabled_at__isnull=True).order_by("pk"):
        if webhook.failing_since is None:
            _nudge_first(webhook)
        elif webhook.tried_at is None or webhook.tried_at < timezone.now() - PROBE_EVERY:
            _nudge_first(webhook, most=1)


def deliver(delivery_id: int) -> None:
    """Send one delivery, if it is due and the first of its line."""
    now = timezone.now()
    # Whether it is the first is asked apart: PostgreSQL would not ask a subquery again after it
    # has waited for the row. Nothing can come before it any more once it is.
    if not _due().filter(pk=delivery_id).exists():
        return
    ours = Delivery.objects.filter(pk=delivery_id, state=W.WAITING, due_at__lte=now)
    if not ours.update(attempt=F("attempt") + 1, due_at=now + LEASE):
        return
    delivery = Delivery.objects.select_related("webhook").get(pk=delivery_id)
    Webhook.objects.filter(pk=delivery.webhook_id).update(tried_at=now)
    _note(delivery, _sent(delivery))


def _due() -> "QuerySet[Delivery]":
    before = Delivery.objects.filter(
        webhook=OuterRef("webhook"), line=OuterRef("line"), state=W.WAITING, pk__lt=OuterRef("pk")
    )
    return Delivery.objects.filter(
        ~Exists(before),
        state=W.WAITING,
        due_at__lte=timezone.now(),
        webhook__disabled_at__isnull=True,
    )


@sensitive_variables()
def _sent(delivery: Delivery) -> Outcome:
    """Call the receiver. Only the head of its answer is waited for, however long the body is."""
    try:
        body = delivery.body.encode()
        secret = sealing.unseal(delivery.webhook.sealed)["secret"]
        at = str(int(timezone.now().timestamp()))
        headers = {
            "content-type": "application/cloudevents+json",
            "webhook-id": delivery.event,
            "webhook-timestamp": at,
            "webhook-signature": signature(secret, delivery.event, at, body),
        }
        url = delivery.webhook.url
        with outbound.open(
            "POST", url, headers=headers, body=body, seconds=SECONDS, silence=SECONDS
        ) as answer:
            status = answer.status
    except SluiceError as error:
        return Outcome(None, error.detail)
    if 200 <= status < 300:
        return Outcome(status)
    return Outcome(status, f"It answered {status}; only 200 to 299 say that it took the event.")


@sensitive_variables()
def signature(secret: str, event: str, at: str, body: bytes) -> str:
    """As Standard Webhooks has it: HMAC-SHA256 over id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join([event.encode(), at.encode(), body])
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def _note(delivery: Delivery, outcome: Outcome) -> None:
    """Write down what became of a try, unless another worker has taken it over meanwhile."""
    now = timezone.now()
    ours = Delivery.objects.filter(pk=delivery.pk, state=W.WAITING, attempt=delivery.attempt)
    error = notices.in_one_line(outcome.error)
    if not error:
        if ours.update(state=W.DELIVERED, delivered_at=now, status=outcome.status, error=""):
            failing = Webhook.objects.filter(pk=delivery.webhook_id, failing_since__isnull=False)
            failing.update(failing_since=None)
            _nudge_first(delivery.webhook, line=delivery.line)
        return
    pause = min(timedelta(seconds=5) * 2 ** min(delivery.attempt, 20), LONGEST_PAUSE)
    if ours.update(due_at=now + pause, status=outcome.status, error=error):
        _note_failure(delivery.webhook, error)


def _note_failure(webhook: Webhook, error: str) -> None:
    """Disable what has failed for days, and tell the operators, once for each time."""
    now = timezone.now()
    working = Webhook.objects.filter(pk=webhook.pk, disabled_at__isnull=True)
    if working.filter(failing_since__isnull=True).update(failing_since=now):
        return
    limit = now - timedelta(days=settings.WEBHOOK_DAYS)
    why = f"It failed for {settings.WEBHOOK_DAYS} days. Last: {error}"
    with transaction.atomic():
        if working.filter(failing_since__lte=limit).update(
            disabled_at=now, disabled_why=notices.in_one_line(why)
        ):
            notices.tell_operators(
                key=f"{DISABLED}:{webhook.pk}:{now:%Y-%m-%dT%H:%M:%S}",
                type=DISABLED,
                subject=f"The webhook {webhook.name} was disabled. {why}",
                path=reverse("promotion:webhook", args=[webhook.name]),
            )


def _nudge_first(webhook: Webhook, *, most: int = AT_ONCE, **of: str) -> None:
    first = _due().filter(webhook=webhook, **of).order_by("due_at", "pk")
    for pk in first.values_list("pk", flat=True)[:most]:
        nudge(DELIVER, pk)


def forget() -> int:
    """Remove what was delivered long ago; how many. What waits stays."""
    old = Delivery.objects.filter(state=W.DELIVERED, delivered_at__lt=timezone.now() - KEPT_FOR)
    return old.delete()[0]
