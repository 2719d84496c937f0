"""Placements in time: for any moment one answer, whatever the clock does and whoever writes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promotion import placing
from promotion.carrying import HERE
from promotion.intervals import NO_TWO_PLACEMENTS, guard_sql, trigger_names, unguard_sql
from promotion.ledger import intervals
from promotion.models import Environment, Package, Placement, Promotion, Version
from tests.cast import Site
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

START = datetime(2026, 5, 4, 10, tzinfo=UTC)
SAME = ("package_id", "environment_id")


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


class Clock:
    """What the machine that places believes the time to be."""

    def __init__(self) -> None:
        self.shows = START

    def now(self) -> datetime:
        return self.shows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(placing, "timezone", made)
    return made


@pytest.fixture
def placed(site: Site) -> Promotion:
    """A promotion whose placement is taken away again: tests write their own."""
    return site.request(site.staging, site.publish("1.0.0"))


def place(promotion: Promotion, version: Version | None = None) -> Placement:
    version = version or promotion.items.get().version
    return placing.place(promotion.environment, version, promotion, HERE)


def write(promotion: Promotion, since: int, until: int | None, **other: Any) -> Placement:
    """A placement written past the code that places."""
    item = promotion.items.get()
    return Placement.objects.create(
        **{
            "package": item.package,
            "environment": promotion.environment,
            "version": item.version,
            "promotion": promotion,
            "since": minute(since),
            "until": None if until is None else minute(until),
            "recorded_at": minute(since),
            **other,
        }
    )


@contextmanager
def refused_by_the_database() -> Iterator[None]:
    with (
        nothing_changes(),
        pytest.raises(IntegrityError, match=NO_TWO_PLACEMENTS),
        transaction.atomic(),
    ):
        yield


def execute(statements: Iterator[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


# ---- The guard -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("since", "until"), [(0, 5), (4, 6), (9, None), (5, 6), (0, None), (4, 10), (5, 10)]
)
def test_no_second_placement_at_the_same_time_whoever_writes_it(
    placed: Promotion, since: int, until: int | None
) -> None:
    write(placed, 4, 10)
    with refused_by_the_database():
        write(placed, since, until)


def test_no_second_current_placement(placed: Promotion) -> None:
    write(placed, 4, None)
    with refused_by_the_database():
        # The unique index on current placements says the same, a moment later.
        write(placed, 9, 10)
    with nothing_changes(), pytest.raises(IntegrityError), transaction.atomic():
        write(placed, 9, None)


def test_an_end_that_would_reach_into_the_next_placement_is_refused(placed: Promotion) -> None:
    write(placed, 4, 6)
    write(placed, 8, None)
    early = write(placed, 6, 6)
    Placement.objects.filter(pk=early.pk).update(until=minute(6))
    open_ = write(placed, 0, 2, package=Package.objects.get())
    assert open_.until == minute(2)
    with nothing_changes(), pytest.raises(IntegrityError), transaction.atomic():
        Placement.objects.filter(pk=open_.pk).update(until=minute(5))


@pytest.mark.parametrize(("since", "until"), [(0, 4), (10, None), (4, 4), (7, 7), (10, 10)])
def test_what_touches_or_holds_no_moment_overlaps_nothing(
    placed: Promotion, since: int, until: int | None
) -> None:
    write(placed, 4, 10)
    write(placed, since, until)
    assert list(intervals.overlaps()) == []


def test_other_packages_and_environments_do_not_stand_in_the_way(
    site: Site, placed: Promotion
) -> None:
    web = site.publish("1.0.0", package="web")
    write(placed, 4, None)
    write(placed, 4, None, package=web.package, version=web)
    write(placed, 4, None, environment=site.production)
    assert Placement.objects.current().count() == 3


def test_verify_finds_overlaps_by_reading_and_names_a_guard_that_is_missing(
    placed: Promotion,
) -> None:
    table = Placement._meta.db_table
    assert list(intervals.missing_guards()) == []
    execute(unguard_sql(connection.vendor, table, NO_TWO_PLACEMENTS))
    needed: Sequence[str] = (
        [NO_TWO_PLACEMENTS]
        if connection.vendor == "postgresql"
        else trigger_names(NO_TWO_PLACEMENTS)
    )
    assert list(intervals.missing_guards()) == [f"the guard {name} is missing" for name in needed]
    long, short, late = write(placed, 0, 9), write(placed, 1, 2), write(placed, 8, None)
    assert list(intervals.overlaps()) == [
        f"placements {long.pk} and {short.pk} are in one environment at once",
        f"placements {long.pk} and {late.pk} are in one environment at once",
    ]
    if connection.vendor == "postgresql":
        # It looks at what is there, too, and then foreign keys may not wait for the commit.
        execute(iter(["SET CONSTRAINTS ALL IMMEDIATE"]))
        with pytest.raises(IntegrityError, match=NO_TWO_PLACEMENTS), transaction.atomic():
            execute(guard_sql(connection.vendor, table, SAME, NO_TWO_PLACEMENTS))
    else:
        execute(guard_sql(connection.vendor, table, SAME, NO_TWO_PLACEMENTS))
        assert list(intervals.missing_guards()) == []


# ---- Any moment, as known at any other -----------------------------------------------------------
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shown=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_every_moment_has_one_answer_whatever_the_clock_showed(
    placed: Promotion, clock: Clock, shown: list[int]
) -> None:
    """Placed one after the other, by a clock that shows any minute. A simple model says what was
    there: the last that had begun."""
    with transaction.atomic():
        rows: list[tuple[int, int, int]] = []
        began = 0
        for number in shown:
            clock.shows = minute(number)
            began = max(began, number)
            rows.append((place(placed).pk, began, number))
        assert list(intervals.overlaps()) == []
        there = Placement.objects.all()
        assert there.current().get().pk == rows[-1][0]
        for moment in sorted({-1, *shown, began + 1}):
            expected = [pk for pk, since, _ in rows if since <= moment][-1:]
            assert [each.pk for each in there.at(minute(moment))] == expected
            for known in sorted({-1, *shown}):
                recorded = [row for row in rows if row[2] <= known]
                expected = [pk for pk, since, _ in recorded if since <= moment][-1:]
                found = there.at_as_known(minute(moment), minute(known))
                assert [each.pk for each in found] == expected
        transaction.set_rollback(True)


def test_an_end_is_not_known_before_it_was_recorded(placed: Promotion, clock: Clock) -> None:
    first = place(placed)
    clock.shows = minute(5)
    second = place(placed)
    there = Placement.objects.all()
    (then,) = there.at_as_known(minute(2), minute(4))
    assert (then.pk, then.known_until) == (first.pk, None)  # type: ignore[attr-defined]
    (now,) = there.at_as_known(minute(2), minute(5))
    assert (now.pk, now.known_until) == (first.pk, minute(5))  # type: ignore[attr-defined]
    # What was believed then of a moment to come.
    assert [each.pk for each in there.at_as_known(minute(9), minute(4))] == [first.pk]
    assert [each.pk for each in there.at_as_known(minute(9), minute(5))] == [second.pk]
    assert list(there.at_as_known(minute(2), minute(-1))) == []


def test_of_two_packages_each_has_its_own_answer(site: Site, clock: Clock) -> None:
    one = site.request(site.staging, site.publish("1.0.0"))
    web = site.request(site.staging, site.publish("1.0.0", package="web"))
    place(one)
    clock.shows = minute(3)
    place(web)
    clock.shows = minute(5)
    place(one)
    found = Placement.objects.all().at_as_known(minute(4), minute(4))
    assert sorted(each.package.name for each in found) == ["app", "web"]
    assert Environment.objects.get(name="staging").placements.count() == 3
