"""Pages of the history: the ledger as sentences, and each entry as it was hashed."""

from datetime import UTC, datetime, time
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from pipelines.web.doors import PageRequest, one, page
from pipelines.web.paging import newest_first
from promotion import rules
from promotion.ledger.append import current_size
from promotion.models import LedgerEntry
from promotion.web.forms import HistoryForm
from promotion.web.sentences import sentence, types


@page("GET")
def history(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "history.view")
    form = HistoryForm(types(), request.GET)
    rows = LedgerEntry.objects.select_related("actor")
    if form.is_valid():
        rows = _narrowed(rows, form.cleaned_data)
    listed = newest_first(request, rows, key="sequence")
    context = {
        "form": form,
        "page": listed,
        "rows": [(entry, sentence(entry)) for entry in listed.rows],
        "size": current_size(),
        "is_narrowed": any(form.cleaned_data.values()) if form.is_valid() else True,
    }
    status = 422 if form.errors else 200
    return render(request, "promotion/history.html", context, status=status)


def _narrowed(rows: "QuerySet[LedgerEntry]", wanted: dict[str, Any]) -> "QuerySet[LedgerEntry]":
    for name in ("type", "repository", "package", "environment"):
        if wanted[name]:
            rows = rows.filter(**{name: wanted[name].strip()})
    if actor := wanted["actor"].strip():
        rows = rows.filter(actor=None) if actor == "sluice" else rows.filter(actor__username=actor)
    if since := wanted["since"]:
        rows = rows.filter(at__gte=datetime.combine(since, time.min, UTC))
    if until := wanted["until"]:
        # The last day is meant whole.
        rows = rows.filter(at__lte=datetime.combine(until, time.max, UTC))
    return rows


@page("GET")
def entry(request: PageRequest, sequence: int) -> HttpResponse:
    rules.require(request.user, "history.view")
    found = one(
        LedgerEntry.objects.select_related("actor"),
        f"The ledger has no entry {sequence}.",
        sequence=sequence,
    )
    last = current_size() - 1
    context = {
        "entry": found,
        "title": f"Entry {sequence}",
        "sentence": sentence(found),
        "body": bytes(found.body).decode(),
        "last": last,
        "older": _address(sequence - 1) if sequence else None,
        "newer": _address(sequence + 1) if sequence < last else None,
    }
    return render(request, "promotion/entry.html", context)


def _address(sequence: int) -> str:
    return reverse("promotion:history_entry", args=[sequence])
