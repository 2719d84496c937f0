"""Pages of revisions: one, and how any two differ."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render

from pipelines.errors import Invalid
from pipelines.flow.difference import compare_definitions, compare_texts
from pipelines.flow.parser import parse
from pipelines.models import Revision
from pipelines.web.checks import look_at_graph
from pipelines.web.doors import PageRequest, one, page

SHOWN_PARTS = 100


@page("GET")
def revision(request: PageRequest, slug: str, number: int) -> HttpResponse:
    found = _revision(slug, number)
    context: dict[str, Any] = {
        "revision": found,
        "pipeline": found.pipeline,
        "title": f"Revision {found.number}",
        "drawn": look_at_graph(found.yaml, found.pipeline.slug),
        "before": found.number - 1,
        "runs": found.runs.select_related("started_by").order_by("-number")[:20],
    }
    return render(request, "pipelines/revision.html", context)


@page("GET")
def revision_choose(request: PageRequest, slug: str) -> HttpResponse:
    """The form that chooses two revisions sends them here as a query."""
    numbers = [request.GET.get(name, "").strip() for name in ("old", "new")]
    if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in numbers):
        raise Invalid("Name two revisions by their numbers.")
    old, new = map(int, numbers)
    return redirect("pipelines:revision_diff", slug, old, new)


@page("GET")
def revision_diff(request: PageRequest, slug: str, old: int, new: int) -> HttpResponse:
    before, after = _revision(slug, old), _revision(slug, new)
    one_, other = parse(before.yaml).definition, parse(after.yaml).definition
    parts = compare_definitions(one_, other) if one_ and other else ()
    context = {
        "pipeline": before.pipeline,
        "old": before,
        "new": after,
        "title": f"Revision {before.number} to {after.number}",
        "difference": compare_texts(before.yaml, after.yaml),
        "parts": parts[:SHOWN_PARTS],
        "more_parts": max(len(parts) - SHOWN_PARTS, 0),
    }
    return render(request, "pipelines/revision_diff.html", context)


def _revision(slug: str, number: int) -> Revision:
    return one(
        Revision.objects.select_related("pipeline__revision", "created_by"),
        f"There is no revision {number} of a pipeline “{slug[:64]}”.",
        pipeline__slug=slug,
        number=number,
    )
