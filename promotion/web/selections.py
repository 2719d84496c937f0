"""The page of a selection: the receipt of one recorded pick."""

import json

from django.http import HttpResponse
from django.shortcuts import render

from pipelines.web.doors import PageRequest, one, page
from promotion import selection as selecting
from promotion.models import Selection


@page("GET")
def selection(request: PageRequest, selection_id: int) -> HttpResponse:
    found = one(
        Selection.objects.select_related(
            "by", "environment", "version__package__repository", "version__replacement"
        ),
        f"There is no selection {selection_id}.",
        pk=selection_id,
    )
    receipt = selecting.receipt(found)
    context = {
        "selection": found,
        "title": f"Selection {found.pk}",
        "version": found.version,
        "explanation": receipt["explanation"],
        "image": receipt.get("image") or found.version.image,
        "receipt": json.dumps(receipt, indent=2, ensure_ascii=False),
    }
    return render(request, "promotion/selection.html", context)
