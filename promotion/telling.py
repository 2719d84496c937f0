"""Tell people, and other systems, what the ledger says, in its order and each entry once.

The ledger is the stream of events, and `Told` says how far it was told. One worker at a time holds
that row's lease. Each entry is told in a transaction that also moves the position on, by compare
and swap: a worker that dies tells nothing by halves, and one that lost its lease tells nothing any
more. What fails is tried again when its lease has ended; after MAX_ATTEMPTS the entry is passed
over, the operators are told so, and those behind it go on.
"""

import logging

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from promotion import mailing, news, notices, reminding, webhooks
from promotion.ledger.append import current_size
from promotion.models import LedgerEntry, Told
from promotion.news import Settled

log = logging.getLogger(__name__)

TELL = "promotion.tell"
PASSED_OVER = "telling.passed_over"
#: For how many entries one task goes on; the next sweep does the rest.
AT_ONCE = 500


class _Lost(Exception):
    """Another worker tells now."""


def sweep() -> None:
    """Tell what was not told yet, remind, and repeat nudges that were lost."""
    tell()
    reminding.remind()
    mailing.post_where_due()
    webhooks.deliver_where_due()


def tell() -> int:
    """Tell what the ledger has that nobody was told of; how many entries were told."""
    told = 0
    # Looked at again once the lease was given back: whoever came meanwhile found it taken.
    while told < AT_ONCE and _is_behind() and (held := _claimed()) is not None:
        try:
            told += _tell_on(held, AT_ONCE - told)
        except _Lost:
            break
    return told


def _is_behind() -> bool:
    position = Told.objects.filter(pk=Told.THE_ONE).values_list("position", flat=True).first()
    return (position or 0) < current_size()


def _claimed() -> Told | None:
    """The row, ours until its lease ends; None while another worker holds it."""
    now = timezone.now()
    Told.objects.bulk_create([Told(pk=Told.THE_ONE)], ignore_conflicts=True)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    rows = Told.objects.filter(free, pk=Told.THE_ONE)
    if not rows.update(attempt=F("attempt") + 1, lease_until=now + settings.LEASE):
        return None
    return Told.objects.get(pk=Told.THE_ONE)


def _tell_on(held: Told, most: int) -> int:
    """Tell from the position on, then give the lease back. What fails leaves it to run out."""
    end, count = current_size(), 0
    while held.position < end and count < most:
        entry = _next_entry(held, end)
        if entry is None:
            _move(held, to=end)
            break
        has_failed = held.attempt > settings.MAX_ATTEMPTS
        with transaction.atomic():
            # First of all, so that the row is locked: who has lost it writes nothing.
            _move(held, to=entry.sequence + 1)
            if has_failed:
                _pass_over(entry)
            else:
                _tell_entry(entry)
        count += 1
    ours = Told.objects.filter(pk=held.pk, position=held.position, attempt=held.attempt)
    ours.update(attempt=0, lease_until=None)
    return count


def _next_entry(held: Told, end: int) -> LedgerEntry | None:
    """The next one that somebody is told of: people, or a webhook, which may ask for any."""
    rows = LedgerEntry.objects.filter(sequence__gte=held.position, sequence__lt=end)
    if not webhooks.are_listening():
        rows = rows.filter(type__in=news.WRITERS)
    return rows.select_related("actor").order_by("sequence").first()


def _move(held: Told, *, to: int) -> None:
    """Move on by compare and swap, with a new lease; the next entry is on its first attempt."""
    until = timezone.now() + settings.LEASE
    ours = Told.objects.filter(pk=held.pk, position=held.position, attempt=held.attempt)
    if not ours.update(position=to, attempt=1, lease_until=until):
        raise _Lost
    held.position, held.attempt, held.lease_until = to, 1, until


def _tell_entry(entry: LedgerEntry) -> None:
    for position, each in enumerate(news.of_entry(entry)):
        if isinstance(each, Settled):
            notices.settle(each.topic, of=each.of)
        else:
            notices.write(
                each.to,
                key=f"ledger:{entry.sequence}:{position}",
                type=entry.type,
                subject=each.subject,
                path=each.path,
                topic=each.topic,
                asks=each.asks,
            )
    webhooks.queue(entry)


def _pass_over(entry: LedgerEntry) -> None:
    log.error("Nobody was told of ledger entry %s: telling it failed.", entry.sequence)
    notices.tell_operators(
        key=f"{PASSED_OVER}:{entry.sequence}",
        type=PASSED_OVER,
        subject=f"Nobody could be told of entry {entry.sequence} of the history ({entry.type}). "
        "The worker's log says why.",
        path=reverse("promotion:history_entry", args=[entry.sequence]),
    )
