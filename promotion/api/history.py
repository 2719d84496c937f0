"""The history, in pages or as one stream."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    page,
    query,
)
from pipelines.api.schema import operation, page_of
from promotion.api import lookups
from promotion.api.shapes import (
    HistoryAnswer,
    history_answer,
)
from promotion.ledger import history
from promotion.models import LedgerEntry
from promotion.rules import require

TAG = "Audit"


class CsvRenderer(BaseRenderer):
    """Chosen by `Accept: text/csv`; the view streams by itself."""

    media_type = "text/csv"
    format = "csv"


class LinesRenderer(CsvRenderer):
    media_type = "application/x-ndjson"
    format = "ndjson"


class HistoryView(ApiView):
    reading = "history.view"
    renderer_classes = [JSONRenderer, CsvRenderer, LinesRenderer]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # This reading is promotion's own; the base class asks the rules of pipelines.
        self.reading, reading = "view", self.reading
        super().initial(request, *args, **kwargs)
        require(caller(request), reading)

    @operation(
        "The promotion history, newest first",
        {
            200: page_of(HistoryAnswer),
            (200, "text/csv"): str,
            (200, "application/x-ndjson"): str,
        },
        refusals=(422,),
        query={
            "actor": "Only what this user did.",
            "type": "Only entries of this type, like promotion.completed.",
            "repository": "Only on this repository.",
            "package": "Only on packages of this name.",
            "environment": "Only on this environment.",
            "since": "From this time or date on.",
            "until": "Before this time or date.",
        },
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> HttpResponseBase:
        wanted = query(request, *history.FILTERS, "since", "until")
        since, until = wanted.pop("since", None), wanted.pop("until", None)
        rows = history.entries(
            since=lookups.moment(since, "since") if since else None,
            until=lookups.moment(until, "until") if until else None,
            **wanted,
        )
        chosen = request.accepted_renderer
        if isinstance(chosen, LinesRenderer):
            return StreamingHttpResponse(_lines(rows), content_type=chosen.media_type)
        if isinstance(chosen, CsvRenderer):
            return StreamingHttpResponse(_rows(rows), content_type="text/csv; charset=utf-8")
        return page(self, request, rows, history_answer, ordering="-sequence")


def _lines(rows: "QuerySet[LedgerEntry]") -> Iterator[bytes]:
    for entry in rows.iterator(chunk_size=500):
        yield json.dumps(history_answer(entry)).encode() + b"\n"


def _rows(rows: "QuerySet[LedgerEntry]") -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["sequence", "at", "type", "actor", "data", "leaf_hash"])
    for entry in rows.iterator(chunk_size=500):
        answer = history_answer(entry)
        data = json.dumps(answer["data"], sort_keys=True)
        fixed = [answer["sequence"], answer["at"], answer["type"], answer["actor"]]
        writer.writerow([*fixed, data, answer["leaf_hash"]])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
