"""Whether at every moment an environment had one version of a package at most, and is kept so."""

from collections.abc import Iterator
from datetime import UTC, datetime

from django.db import connection

from promotion.intervals import NO_TWO_PLACEMENTS, trigger_names
from promotion.models import Placement

ALWAYS = datetime.max.replace(tzinfo=UTC)


def overlaps() -> Iterator[str]:
    """Placements of a package in an environment that share a moment, by reading all of them."""
    rows = Placement.objects.order_by("environment", "package", "since", "id")
    last: tuple[int, int] | None = None
    longest, ends = 0, ALWAYS
    columns = ("id", "environment_id", "package_id", "since", "until")
    for pk, environment, package, since, until in rows.values_list(*columns).iterator():
        if until is not None and until <= since:
            continue  # It holds no moment: the clock went back between its two ends.
        if (environment, package) == last and since < ends:
            yield f"placements {longest} and {pk} are in one environment at once"
        if (environment, package) != last or (until or ALWAYS) > ends:
            longest, ends = pk, until or ALWAYS
        last = (environment, package)


def gaps() -> Iterator[str]:
    """Placements that ended before, or after, the one that took their place began."""
    rows = Placement.objects.order_by("environment", "package", "id")
    last: tuple[int, int, int, datetime | None] | None = None
    columns = ("id", "environment_id", "package_id", "since", "until")
    for pk, environment, package, since, until in rows.values_list(*columns).iterator():
        if last and last[:2] == (environment, package) and last[3] != since:
            yield f"placement {last[2]} did not end when {pk} took its place"
        last = (environment, package, pk, until)


def missing_guards() -> Iterator[str]:
    """What should refuse overlapping placements and is not there."""
    table = Placement._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            needed: tuple[str, ...] = (NO_TWO_PLACEMENTS,)
            cursor.execute(
                "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass "
                "AND contype = 'x' AND convalidated",
                [table],
            )
        else:
            needed = trigger_names(NO_TWO_PLACEMENTS)
            cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s "
                "AND sql LIKE %s",
                [table, f"%RAISE(ABORT, '{NO_TWO_PLACEMENTS}')%"],
            )
        present = {row[0] for row in cursor.fetchall()}
    for name in needed:
        if name not in present:
            yield f"the guard {name} is missing"
