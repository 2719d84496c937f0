"""Read the ledger as people ask for it: by whom, of what type, on what, and when."""

from datetime import datetime

from django.db.models import QuerySet

from promotion.models import LedgerEntry

#: Query parameter → column.
FILTERS = {
    "actor": "actor__username",
    "type": "type",
    "repository": "repository",
    "package": "package",
    "environment": "environment",
}


def entries(
    *, since: datetime | None = None, until: datetime | None = None, **wanted: str
) -> "QuerySet[LedgerEntry]":
    """Entries newest first. `wanted` takes the keys of FILTERS; `until` itself is left out."""
    rows = LedgerEntry.objects.select_related("actor").order_by("-sequence")
    for key, value in wanted.items():
        rows = rows.filter(**{FILTERS[key]: value})
    if since:
        rows = rows.filter(at__gte=since)
    if until:
        rows = rows.filter(at__lt=until)
    return rows
