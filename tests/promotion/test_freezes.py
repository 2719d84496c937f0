"""Freeze windows: local time, repeated, over the change of clocks."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promotion.gates.freezes import SHORTEST, frozen_until
from promotion.gates.language import Freeze

WEEKEND = Freeze("Weekend", "2026-01-02T18:00", "2026-01-05T06:00", "Europe/Berlin", "weekly")
NIGHT = Freeze("Night", "2026-01-01T22:00", "2026-01-02T06:00", "Europe/Berlin", "daily")
MONTH_END = Freeze("Month end", "2026-01-31T00:00", "2026-02-01T12:00", "UTC", "monthly")
YEAR_END = Freeze("Year end", "2020-12-20T00:00", "2021-01-03T00:00", "America/New_York", "yearly")
ONCE = Freeze("Move", "2026-03-01T00:00", "2026-03-02T00:00", "Asia/Tokyo")


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("freeze", "moment", "until"),
    [
        (WEEKEND, at("2026-11-27T17:59", "Europe/Berlin"), None),
        (WEEKEND, at("2026-11-27T18:00", "Europe/Berlin"), "2026-11-30T06:00"),
        (WEEKEND, at("2026-11-30T05:59", "Europe/Berlin"), "2026-11-30T06:00"),
        (WEEKEND, at("2026-11-30T06:00", "Europe/Berlin"), None),
        # The clocks go back in this night, and the window still ends at six.
        (NIGHT, at("2026-10-25T05:59", "Europe/Berlin"), "2026-10-25T06:00"),
        (NIGHT, at("2026-10-25T06:00", "Europe/Berlin"), None),
        (MONTH_END, at("2026-02-28T13:00"), "2026-03-01T12:00"),
        (MONTH_END, at("2026-02-27T23:59"), None),
        (YEAR_END, at("2026-12-31T12:00"), "2027-01-03T00:00"),
        (YEAR_END, at("2026-12-19T23:00", "America/New_York"), None),
        # Before the first of them there is none.
        (YEAR_END, at("2019-12-31T12:00"), None),
        (ONCE, at("2026-02-28T15:00"), "2026-03-02T00:00"),
        (ONCE, at("2027-03-01T00:00", "Asia/Tokyo"), None),
    ],
)
def test_when_a_window_is_open(freeze: Freeze, moment: datetime, until: str | None) -> None:
    ends = at(until, freeze.time_zone).astimezone(UTC) if until else None
    assert frozen_until(freeze, moment) == ends


MONTHS = {"monthly": 1, "yearly": 12}


@given(
    day=st.dates(date(2000, 1, 1), date(2030, 1, 28)).filter(lambda day: day.day <= 28),
    repeats=st.sampled_from(sorted(SHORTEST)),
    count=st.integers(0, 400),
    hours=st.integers(1, 20),
)
def test_every_repetition_is_found(day: date, repeats: str, count: int, hours: int) -> None:
    begins = datetime.combine(day, time(12), tzinfo=UTC)
    ends = begins + timedelta(hours=hours)
    window = Freeze("Each", f"{begins:%Y-%m-%dT%H:%M}", f"{ends:%Y-%m-%dT%H:%M}", "UTC", repeats)
    if repeats in MONTHS:
        year, month = divmod(begins.year * 12 + begins.month - 1 + count * MONTHS[repeats], 12)
        there = begins.replace(year=year, month=month + 1)
    else:
        there = begins + SHORTEST[repeats] * count
    assert frozen_until(window, there) == there + timedelta(hours=hours)
    assert frozen_until(window, there - timedelta(minutes=1)) is None


NEW_YEAR = Freeze("Night", "2026-01-30T22:00", "2026-01-31T06:00", "UTC", "monthly")
TWICE = Freeze("Twice", "2026-10-25T01:00", "2026-10-25T02:30", "Europe/Berlin")
GAP = Freeze("Gap", "2026-03-29T01:30", "2026-03-29T02:30", "Europe/Berlin")


@pytest.mark.parametrize(
    ("freeze", "moment", "until"),
    [
        # April has no 31st; the night is frozen all the same.
        (NEW_YEAR, "2026-04-30T23:00", "2026-05-01T06:00"),
        (NEW_YEAR, "2026-02-28T23:00", "2026-03-01T06:00"),
        (NEW_YEAR, "2026-03-30T23:00", "2026-03-31T06:00"),
        # Half past two comes twice in that night: the window lasts until the second.
        (TWICE, "2026-10-25T00:45", "2026-10-25T01:30"),
        (TWICE, "2026-10-25T01:30", None),
        # And never in this one: the window lasts as long as it would have.
        (GAP, "2026-03-29T00:45", "2026-03-29T01:30"),
        (GAP, "2026-03-29T01:30", None),
    ],
)
def test_in_doubt_the_window_is_the_longer_one(
    freeze: Freeze, moment: str, until: str | None
) -> None:
    assert frozen_until(freeze, at(moment)) == (at(until) if until else None)


@pytest.mark.parametrize("repeats", ["", *sorted(SHORTEST)])
@pytest.mark.parametrize("year", ["1970", "2999"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Apia", "Etc/GMT+12"])
def test_dates_at_the_edge_are_answered(year: str, repeats: str, zone: str) -> None:
    window = Freeze("Edge", f"{year}-12-31T00:00", f"{year}-12-31T23:59", zone, repeats)
    for moment in ("1970-01-01T00:00", "2026-11-25T12:00", "2999-12-31T23:59"):
        until = frozen_until(window, at(moment))
        assert until is None or until > at(moment)
