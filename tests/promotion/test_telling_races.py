"""Several workers that tell, post and deliver at the same moment, with real locks."""

from collections.abc import Callable
from functools import partial
from ipaddress import ip_network

import pytest
from django.test import override_settings

from accounts.models import User
from promotion import mailing, promoting, reminding, telling, webhooks
from promotion.ledger.append import current_size
from promotion.models import Delivery, Letter, LetterState, Notice, Promotion, Told
from tests.cast import Site, make_site
from tests.parallel import at_once
from tests.parts import mail
from tests.parts.web import answer, serve
from tests.promotion.test_mailing import SMTP
from tests.promotion.test_telling import HOUR, expires_in

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def site(transactional_db: None) -> Site:
    return make_site()


def _requests(site: Site, count: int) -> list[Promotion]:
    return [site.request(site.staging, site.publish(f"{each}.0.0")) for each in range(count)]


def test_workers_that_tell_at_once_tell_each_entry_once_and_in_order(site: Site) -> None:
    _requests(site, 10)
    counts = at_once([telling.tell] * 8)
    assert sum(counts) == 10
    told = Notice.objects.filter(recipient=site.cast.ben).order_by("pk")
    keys = [int(key.split(":")[1]) for key in told.values_list("key", flat=True)]
    assert len(keys) == 10
    assert keys == sorted(keys)
    assert Told.objects.get().position == current_size()


def test_telling_while_others_request_and_decide_leaves_nothing_out(site: Site) -> None:
    promotions = _requests(site, 6)
    approve = [
        partial(promoting.reject, each, by=site.cast.ben, plan=each.plan_digest)
        for each in promotions
    ]
    acts: list[Callable[[], object]] = [*approve, *([telling.tell] * 4)]
    at_once(acts)
    telling.tell()
    rejected = Notice.objects.filter(recipient=site.cast.ada, type="promotion.rejected")
    assert rejected.count() == 6
    assert not Notice.objects.filter(asks=True, read_at=None).exists()


def test_workers_that_remind_at_once_remind_everybody_once(site: Site) -> None:
    User.objects.update(email="somebody@example.com")
    [promotion] = _requests(site, 1)
    expires_in(promotion, HOUR, 300 * HOUR)
    with override_settings(EMAIL_HOST="mail.example.com"):
        at_once([reminding.remind] * 8)
    assert Notice.objects.count() == Letter.objects.count() == 2


def test_workers_that_post_the_same_letter_at_once_send_it_once(site: Site) -> None:
    User.objects.filter(username="ben").update(email="ben@example.com")
    with (
        mail.serve() as mailbox,
        override_settings(
            EMAIL_BACKEND=SMTP, EMAIL_HOST="127.0.0.1", EMAIL_PORT=mailbox.port, EMAIL_USE_TLS=False
        ),
    ):
        _requests(site, 1)
        telling.tell()
        at_once([partial(mailing.post, Letter.objects.get().pk)] * 8)
    assert len(mailbox.letters) == 1
    assert Letter.objects.get().state == LetterState.SENT


def test_workers_that_deliver_at_once_send_each_event_once_and_in_order(site: Site) -> None:
    opened = override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.0/8"),))
    with serve(lambda handler, asked: answer(handler, 200)) as served, opened:
        webhooks.create("ci", f"{served.url}/", by=site.cast.admin, types=["promotion.requested"])
        _requests(site, 5)
        telling.tell()
        keys = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
        for _ in keys:
            at_once([partial(webhooks.deliver, pk) for pk in keys * 2])
    ids = [each.headers["webhook-id"] for each in served.asked]
    assert ids == list(Delivery.objects.order_by("pk").values_list("event", flat=True))
    assert not Delivery.objects.filter(delivered_at=None).exists()
