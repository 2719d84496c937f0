"""Pages of pipelines: the list, and one pipeline."""

from dataclasses import dataclass

from django.db.models import Count, F
from django.http import HttpResponse
from django.shortcuts import render

from pipelines import impact, rules
from pipelines.flow.parser import parse
from pipelines.models import Pipeline, Run
from pipelines.web.checks import ShownGraph, existing, look_at_graph
from pipelines.web.doors import PageRequest, one, page
from pipelines.web.hooks import shown_hooks
from pipelines.web.paging import in_order, newest_first

SHOWN_REFERRERS = 50


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Another pipeline that this one names in its sources; `references` is None if uncounted."""

    slug: str
    exists: bool
    sources: list[str]
    references: int | None


@page("GET")
def pipeline_list(request: PageRequest) -> HttpResponse:
    listed = in_order(request, Pipeline.objects.select_related("revision"))
    last = {
        run.pipeline_id: run
        for run in Run.objects.filter(
            pipeline__in=[each.pk for each in listed.rows], number=F("pipeline__last_run_number")
        )
        .select_related("started_by")
        .annotate(artifact_count=Count("artifacts"))
    }
    context = {
        "page": listed,
        "rows": [(each, last.get(each.pk)) for each in listed.rows],
        "may_write": rules.may(request.user, "pipeline.write"),
    }
    return render(request, "pipelines/pipeline_list.html", context)


@page("GET")
def pipeline(request: PageRequest, slug: str) -> HttpResponse:
    found = one(
        Pipeline.objects.select_related("revision__created_by", "created_by"),
        f"There is no pipeline “{slug[:64]}”.",
        slug=slug,
    )
    assert found.revision is not None, "every pipeline is created with a revision"
    runs = found.runs.select_related("started_by", "revision").annotate(
        artifact_count=Count("artifacts")
    )
    definition = parse(found.revision.yaml).definition
    drawn = look_at_graph(found.revision.yaml, found.slug)
    referrers = impact.counted_referrers(found.slug, SHOWN_REFERRERS + 1)
    context = {
        "pipeline": found,
        "drawn": drawn,
        "upstreams": _upstreams(found, drawn),
        "referrers": referrers[:SHOWN_REFERRERS],
        "has_more_referrers": len(referrers) > SHOWN_REFERRERS,
        "page": newest_first(request, runs, key="number", size=20),
        "sources": definition.sources.values() if definition else (),
        "hooks": shown_hooks(found, definition),
        "revisions": found.revisions.select_related("created_by")[:20],
        "before": found.revision.number - 1,
        "may_write": rules.may(request.user, "pipeline.write"),
        "may_start": rules.may(request.user, "run.start"),
        "may_report": rules.may(request.user, "run.report"),
    }
    return render(request, "pipelines/pipeline.html", context)


def _upstreams(pipeline: Pipeline, drawn: ShownGraph | None) -> list[Upstreams]:
    """The pipelines that this one takes input from, each once, with the references to it."""
    sources: dict[str, list[str]] = {}
    for upstream in pipeline.upstreams.all():
        sources.setdefault(upstream.slug, []).append(upstream.source)
    known = existing(sources)
    found = drawn.report.references if drawn and drawn.report else None
    return [
        Upstreams(
            slug,
            slug in known,
            names,
            sum(each.pipeline == slug for each in found) if found is not None else None,
        )
        for slug, names in sources.items()
    ]
