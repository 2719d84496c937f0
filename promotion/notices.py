"""Notices: write them once, count, read and settle them."""

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from accounts.models import Role, User
from pipelines.errors import NotFound
from pipelines.queue import nudge
from promotion.models import Letter, Notice

POST = "promotion.post"
LONGEST_SUBJECT = 200


def write(
    recipients: Iterable[User],
    *,
    key: str,
    type: str,
    subject: str,
    path: str,
    topic: str = "",
    asks: bool = False,
) -> int:
    """Tell each of `recipients` once, whatever they are called with again; how many were told.

    Machines have no inbox: they are told by webhooks. Call it in a transaction, so that a notice
    and its letter come together or not at all.
    """
    people = {each.pk: each for each in recipients if each.is_active and not each.is_machine}
    known = Notice.objects.filter(key=key, recipient__in=people).values_list("recipient", flat=True)
    new = sorted(people.keys() - set(known))
    now = timezone.now()
    Notice.objects.bulk_create(
        (
            Notice(
                recipient=people[pk],
                key=key,
                type=type,
                topic=topic,
                asks=asks,
                subject=in_one_line(subject),
                path=path,
                created_at=now,
            )
            for pk in new
        ),
        # Whoever tells the same at the same moment has written the same.
        ignore_conflicts=True,
    )
    _write_letters([people[pk] for pk in new], key, now)
    return len(new)


def _write_letters(people: Iterable[User], key: str, now: datetime) -> None:
    if not settings.EMAIL_HOST:
        return
    readers = [each.pk for each in people if each.gets_mail and each.email]
    told = Notice.objects.filter(key=key, recipient__in=readers, letter__isnull=True)
    Letter.objects.bulk_create(
        (Letter(notice_id=pk, due_at=now) for pk in told.values_list("pk", flat=True)),
        ignore_conflicts=True,
    )
    letters = Letter.objects.filter(notice__key=key, notice__recipient__in=readers)
    for pk in letters.values_list("pk", flat=True):
        nudge(POST, pk)


def tell_operators(*, key: str, type: str, subject: str, path: str) -> int:
    """Tell those who run the site of what only they can mend."""
    people = User.objects.filter(is_active=True)
    return write(
        [each for each in people if each.holds({Role.OPERATOR})],
        key=key,
        type=type,
        subject=subject,
        path=path,
    )


def in_one_line(text: str) -> str:
    """Fit for a line of a list and for the subject of a letter, whatever names are part of it."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(plain.split())
    return line if len(line) <= LONGEST_SUBJECT else f"{line[: LONGEST_SUBJECT - 1]}…"


# ---- Read --------------------------------------------------------------------------------------
def unread_count(user: User) -> int:
    return Notice.objects.unread_by(user).count()


def mark_read(notice: int, *, by: User) -> Notice:
    """Mark one of one's own as read; another's is answered as if there were none."""
    found = Notice.objects.filter(pk=notice, recipient=by).first()
    if found is None:
        raise NotFound(f"You have no notice {notice}.")
    if found.read_at is None:
        found.read_at = timezone.now()
        found.save(update_fields=["read_at"])
    return found


def mark_all_read(*, by: User, up_to: int | None = None) -> int:
    """Mark all of one's own as read, or those up to the newest that was seen; how many."""
    rows = Notice.objects.unread_by(by)
    if up_to is not None:
        rows = rows.filter(pk__lte=up_to)
    return rows.update(read_at=timezone.now())


def settle(topic: str, *, of: User | None = None) -> int:
    """Take what waited for a decision out of the unread, once it has been made (or made by one)."""
    rows = Notice.objects.filter(topic=topic, asks=True, read_at__isnull=True)
    if of is not None:
        rows = rows.filter(recipient=of)
    return rows.update(read_at=timezone.now())
