"""Letters, through a real mail server: to whom they go, what is in them, and what may go wrong."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.test import Client, override_settings
from django.utils import timezone

from accounts.models import User
from config import env
from promotion import mailing, notices, promoting, telling
from promotion.models import Letter, LetterState, Notice, Promotion
from tests.cast import Site
from tests.parts import mail
from tests.parts.mail import Mailbox

pytestmark = pytest.mark.django_db

S = LetterState
SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.fixture
def mailbox(site: Site) -> Iterator[Mailbox]:
    """Everybody of the cast has an address; the site sends through a server on loopback."""
    for user in User.objects.all():
        user.email = f"{user.username}@example.com"
        user.save()
    with (
        mail.serve() as server,
        override_settings(
            EMAIL_BACKEND=SMTP, EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port, EMAIL_USE_TLS=False,
            DEFAULT_FROM_EMAIL="Sluice <sluice@sluice.example>", SITE_URL="https://sluice.example",
        ),
    ):  # fmt: skip
        yield server


def requested(site: Site) -> Promotion:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    telling.tell()
    return promotion


def post_all() -> None:
    for pk in Letter.objects.order_by("pk").values_list("pk", flat=True):
        mailing.post(pk)


def becomes_due() -> None:
    Letter.objects.update(due_at=timezone.now())


def states() -> list[str]:
    return list(Letter.objects.order_by("pk").values_list("state", flat=True))


def test_whoever_is_told_gets_a_letter_with_the_way_to_the_page(
    site: Site, mailbox: Mailbox
) -> None:
    promotion = requested(site)
    post_all()
    assert sorted(mailbox.recipients) == ["ben@example.com", "cleo@example.com"]
    letter = mailbox.letters[0]
    assert letter["subject"] == (
        f"[Sluice] ada asks for your decision: app 1.0.0 to staging (promotion {promotion.pk})"
    )
    assert parseaddr(letter["from"]) == ("Sluice", "sluice@sluice.example")
    assert letter["auto-submitted"] == "auto-generated"
    assert letter.get_content_type() == "text/plain"
    lines = letter.get_content().splitlines()
    assert f"https://sluice.example/promotions/{promotion.pk}/" in lines
    assert states() == [S.SENT, S.SENT]


def test_a_letter_is_sent_once_however_often_it_is_posted(site: Site, mailbox: Mailbox) -> None:
    requested(site)
    for _ in range(3):
        post_all()
        becomes_due()
    assert len(mailbox.letters) == 2


def test_without_a_server_nothing_is_written_to_be_sent(site: Site, mailbox: Mailbox) -> None:
    with override_settings(EMAIL_HOST=""):
        requested(site)
    assert Notice.objects.count() == 2
    assert states() == []


def test_whoever_wants_none_or_has_no_address_gets_none(site: Site, mailbox: Mailbox) -> None:
    User.objects.filter(username="ben").update(gets_mail=False)
    User.objects.filter(username="cleo").update(email="")
    requested(site)
    assert Notice.objects.count() == 2
    assert states() == []


def test_what_was_read_or_decided_meanwhile_is_not_sent(site: Site, mailbox: Mailbox) -> None:
    promotion = requested(site)
    notices.mark_read(Notice.objects.get(recipient=site.cast.ben).pk, by=site.cast.ben)
    promoting.withdraw(promotion, by=site.cast.ada)
    telling.tell()
    post_all()
    assert mailbox.letters == []
    assert states() == [S.SPARED, S.SPARED]


def test_a_lost_nudge_is_repeated_and_so_is_the_try_of_a_worker_that_died(
    site: Site, mailbox: Mailbox, nobody_listens_to_the_queue: list[tuple[str, int]],
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    requested(site)
    first, second = Letter.objects.order_by("pk").values_list("pk", flat=True)
    # Its worker took it and died: nobody else sends it until its lease has ended.
    assert mailing._claimed(first) is not None
    mailing.post(first)
    assert mailbox.letters == []
    nobody_listens_to_the_queue.clear()
    with django_capture_on_commit_callbacks(execute=True):
        telling.sweep()
    assert nobody_listens_to_the_queue == [(notices.POST, second)]
    becomes_due()
    with django_capture_on_commit_callbacks(execute=True):
        telling.sweep()
    assert {(notices.POST, first), (notices.POST, second)} <= set(nobody_listens_to_the_queue)
    post_all()
    assert len(mailbox.letters) == 2


def test_what_the_server_refuses_is_tried_again_later_and_said(
    site: Site, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    requested(site)
    mailbox.refusal = "451 come back later"
    with caplog.at_level(logging.WARNING):
        post_all()
    letter = Letter.objects.order_by("pk")[0]
    assert letter.state == S.WAITING
    assert "451, b'come back later'" in letter.error
    assert letter.due_at > timezone.now() + timedelta(seconds=30)
    assert "was not sent: SMTPDataError" in caplog.text
    mailbox.refusal = ""
    becomes_due()
    post_all()
    assert states() == [S.SENT, S.SENT]
    assert Letter.objects.order_by("pk")[0].error == ""


def test_a_server_that_is_gone_ends_in_one_notice_a_day_to_the_operators(
    site: Site, mailbox: Mailbox
) -> None:
    requested(site)
    Letter.objects.update(attempt=mailing.TRIES - 1)
    # Nothing listens on port 1.
    with override_settings(EMAIL_PORT=1):
        post_all()
    assert states()[:2] == [S.FAILED, S.FAILED]
    notice = Notice.objects.get(type=mailing.FAILED)
    assert notice.recipient == site.cast.admin
    assert notice.path == "/webhooks/"
    # The letter about it fails, too, and is told to nobody.
    Letter.objects.filter(notice=notice).update(attempt=mailing.TRIES - 1)
    with override_settings(EMAIL_PORT=1):
        mailing.post(Letter.objects.get(notice=notice).pk)
    assert Notice.objects.filter(type=mailing.FAILED).count() == 1
    client = Client()
    client.force_login(site.cast.admin)
    assert "Connection refused" in client.get("/webhooks/").content.decode()


def test_a_letter_whose_workers_always_die_is_given_up(site: Site, mailbox: Mailbox) -> None:
    requested(site)
    Letter.objects.update(attempt=mailing.TRIES)
    post_all()
    assert mailbox.letters == []
    assert states()[:2] == [S.FAILED, S.FAILED]


@pytest.mark.parametrize("address", ["ben@example.com\nBcc: all@example.com", "ben", "a@b, c@d"])
def test_an_address_that_is_none_gets_nothing_and_is_said(
    site: Site, mailbox: Mailbox, address: str
) -> None:
    User.objects.filter(username="ben").update(email=address)
    requested(site)
    post_all()
    assert mailbox.recipients == ["cleo@example.com"]
    failed = Letter.objects.get(notice__recipient=site.cast.ben)
    assert failed.state == S.FAILED
    assert failed.error == "ben has no e-mail address that a letter could go to."


def test_nothing_that_somebody_wrote_becomes_a_header(site: Site, mailbox: Mailbox) -> None:
    ben = User.objects.get(username="ben")
    notices.write([ben], key="x", type="x", subject="Hello", path="/x/")
    Notice.objects.update(subject="Hello\r\nBcc: all@example.com")
    post_all()
    assert mailbox.recipients == ["ben@example.com"]
    assert mailbox.letters[0]["bcc"] is None
    assert mailbox.letters[0]["subject"] == "[Sluice] Hello Bcc: all@example.com"


def test_the_account_page_turns_letters_off_and_on(site: Site, mailbox: Mailbox) -> None:
    client = Client()
    client.force_login(site.cast.ben)
    assert "also sent to ben@example.com" in client.get("/account/").content.decode()
    assert client.post("/account/mail/", {"gets_mail": "no"}).status_code == 303
    assert not User.objects.get(username="ben").gets_mail
    assert "You get no e-mail." in client.get("/account/").content.decode()
    client.post("/account/mail/", {"gets_mail": "yes"})
    assert User.objects.get(username="ben").gets_mail
    assert client.get("/account/mail/").status_code == 405


@pytest.mark.parametrize("value", ["Sluice", "a@b\nBcc: c@d", "a b@c", "<>"])
def test_a_sender_that_is_no_address_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SLUICE_EMAIL_FROM", value)
    with pytest.raises(ImproperlyConfigured, match="SLUICE_EMAIL_FROM"):
        env.mailbox("SLUICE_EMAIL_FROM", "Sluice <sluice@localhost>")


def test_the_letter_of_a_notice_has_the_same_id_each_time(site: Site) -> None:
    notices.write([site.cast.ben], key="x", type="x", subject="Hello", path="/x/")
    ids: set[str] = set()
    for _ in range(2):
        message: EmailMessage = mailing.written(Notice.objects.get())
        ids.add(message.message()["Message-ID"])
    assert len(ids) == 1
