"""When a freeze window is open. Pure: local times of a zone in, moments out.

A repeated window is moved by whole days, weeks, months or years of local time, so that 18:00 stays
18:00 when the clocks change. In doubt the window is the longer one: it ends at the later of two
times that a clock shows twice, and the last night of January is followed by that of February.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from promotion.gates.language import Freeze

STEPS = {
    "daily": relativedelta(days=1),
    "weekly": relativedelta(weeks=1),
    "monthly": relativedelta(months=1),
    "yearly": relativedelta(years=1),
}
#: How long each repetition lasts at the least, for finding the ones near a moment.
SHORTEST = {
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=28),
    "yearly": timedelta(days=365),
}


def frozen_until(freeze: Freeze, moment: datetime) -> datetime | None:
    """When the window ends in which `moment` lies; None where it lies in none."""
    for starts, ends in _near(freeze, moment):
        if starts <= moment < ends:
            return ends
    return None


def _near(freeze: Freeze, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    zone = ZoneInfo(freeze.time_zone)
    starts, ends = (datetime.fromisoformat(text) for text in (freeze.starts, freeze.ends))
    if not freeze.repeats:
        yield _starting(starts, zone), _ending(ends, zone)
        return
    step = STEPS[freeze.repeats]
    passed = moment.astimezone(zone).replace(tzinfo=None) - starts
    # The window that began last may be one or two back, for months and years have many lengths.
    about = max(0, int(passed / SHORTEST[freeze.repeats]))
    first = max(0, int(about * 0.9) - 2) if freeze.repeats in {"monthly", "yearly"} else about - 1
    for count in range(max(0, first), about + 2):
        begins = starts + step * count
        # A month without a 31st would otherwise end a window on the day on which it begins.
        over = max(ends + step * count, begins + (ends - starts))
        yield _starting(begins, zone), _ending(over, zone)


def _starting(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _ending(local: datetime, zone: ZoneInfo) -> datetime:
    twice = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(twice)
