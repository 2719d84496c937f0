"""Leases: work that the schedule begins anew while the last time may still be going on.

Whoever dies with a lease loses it when its time is over; nobody waits for one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.utils import timezone

from pipelines.models import Lease


@contextmanager
def leased(name: str, time: timedelta) -> Iterator[bool]:
    """Have the work `name` to oneself for the block, at most for `time`; False where another has
    it."""
    now = timezone.now()
    until = now + time
    Lease.objects.bulk_create([Lease(name=name, until=now)], ignore_conflicts=True)
    has_it = bool(Lease.objects.filter(name=name, until__lte=now).update(until=until))
    try:
        yield has_it
    finally:
        if has_it:
            # Unless it ran out, and is another's by now.
            Lease.objects.filter(name=name, until=until).update(until=timezone.now())
