"""Letters: send by e-mail what stands in the inbox, at least once.

The row is the to-do list: a try moves its due time ahead first, so a worker that dies or a nudge
that is lost only delays it, and two workers do not send the same. What was read meanwhile is not
sent. A letter that was sent by a worker which died before it could say so comes twice, with the
same Message-ID.
"""

import logging
from datetime import timedelta
from email.utils import parseaddr

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from pipelines.links import absolute
from pipelines.queue import nudge
from promotion import notices
from promotion.models import Letter, LetterState, Notice

log = logging.getLogger(__name__)

#: A try that has not ended after this died with its worker. A server may take ten seconds a step.
LEASE = timedelta(minutes=5)
TRIES = 12
LONGEST_PAUSE = timedelta(hours=1)
FAILED = "mail.failed"
AT_ONCE = 200


def post_where_due() -> None:
    """Nudge for each letter whose time has come: a lost nudge, a dead worker, another try."""
    due = Letter.objects.filter(state=LetterState.WAITING, due_at__lte=timezone.now())
    for pk in due.order_by("due_at").values_list("pk", flat=True)[:AT_ONCE]:
        nudge(notices.POST, pk)


def post(letter_id: int) -> None:
    """Send one letter, if it is due and still of use."""
    letter = _claimed(letter_id)
    if letter is None:
        return
    notice = letter.notice
    person = notice.recipient
    if notice.read_at or not settings.EMAIL_HOST or not (person.is_active and person.gets_mail):
        _end(letter, LetterState.SPARED)
        return
    try:
        validate_email(person.email)
        written(notice).send()
    except ValidationError:
        _give_up(letter, f"{person.username} has no e-mail address that a letter could go to.")
    except Exception as error:
        # Whatever the way to the server raises: it is tried again, and its words are kept.
        log.warning("Letter %s was not sent: %s", letter.pk, type(error).__name__)
        _try_again(letter, f"{type(error).__name__}: {error}")
    else:
        _end(letter, LetterState.SENT)


def written(notice: Notice) -> EmailMessage:
    """The letter of a notice: plain text with the way to the page."""
    text = (
        f"{notice.subject}\n\n{absolute(notice.path)}\n\n--\n"
        f"You get this because it concerns you. All notices: "
        f"{absolute(reverse('promotion:notices'))}\n"
        f"No e-mail any more: {absolute(reverse('accounts:account'))}\n"
    )
    host = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    return EmailMessage(
        subject=f"[Sluice] {notices.in_one_line(notice.subject)}",
        body=text,
        to=[notice.recipient.email],
        headers={
            "Message-ID": f"<sluice-notice-{notice.pk}@{host}>",
            # So that nobody's holiday answers.
            "Auto-Submitted": "auto-generated",
        },
    )


def _claimed(letter_id: int) -> Letter | None:
    """The letter, ours until its lease ends; None when it is another's, ended or not yet due."""
    now = timezone.now()
    ours = Letter.objects.filter(pk=letter_id, state=LetterState.WAITING, due_at__lte=now)
    if not ours.update(attempt=F("attempt") + 1, due_at=now + LEASE):
        return None
    letter = Letter.objects.select_related("notice__recipient").get(pk=letter_id)
    if letter.attempt > TRIES:
        _give_up(letter, f"Its worker died on the last of {TRIES} tries.")
        return None
    return letter


def _end(letter: Letter, state: LetterState, error: str = "") -> bool:
    """By compare and swap: who has lost the letter to another worker says nothing about it."""
    ours = Letter.objects.filter(pk=letter.pk, state=LetterState.WAITING, attempt=letter.attempt)
    sent_at = timezone.now() if state == LetterState.SENT else None
    return bool(ours.update(state=state, error=notices.in_one_line(error), sent_at=sent_at))


def _try_again(letter: Letter, error: str) -> None:
    if letter.attempt >= TRIES:
        _give_up(letter, error)
        return
    pause = min(timedelta(seconds=30) * 2**letter.attempt, LONGEST_PAUSE)
    Letter.objects.filter(pk=letter.pk, state=LetterState.WAITING, attempt=letter.attempt).update(
        due_at=timezone.now() + pause, error=notices.in_one_line(error)
    )


def _give_up(letter: Letter, why: str) -> None:
    """End it, and tell the operators, once a day at most: by a broken server all letters fail."""
    if letter.notice.type == FAILED:
        _end(letter, LetterState.FAILED, why)
        return
    with transaction.atomic():
        if _end(letter, LetterState.FAILED, why):
            notices.tell_operators(
                key=f"{FAILED}:{timezone.now():%Y-%m-%d}",
                type=FAILED,
                subject=f"E-mail could not be sent: {why}",
                path=reverse("promotion:webhook_list"),
            )
