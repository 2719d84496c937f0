"""Pages of pipelines: the list, one pipeline, its definition and revisions."""

from typing import Any

from django.db.models import Count, F
from django.http import HttpResponse
from django.shortcuts import render

from pipelines import definitions, rules
from pipelines.errors import SluiceError
from pipelines.flow.parser import parse
from pipelines.models import Pipeline, Revision, Run
from pipelines.web.doors import PageRequest, done, one, page, shown
from pipelines.web.forms import DefinitionForm, NewPipelineForm
from pipelines.web.paging import in_order, newest_first


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


@page("GET", "POST")
def pipeline_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "pipeline.write")
    form = NewPipelineForm(request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            made = definitions.create(
                written["slug"], written["name"], written["yaml"], by=request.user
            )
        except SluiceError as error:
            refused = error
        else:
            return done(request, f"{made.slug} is ready to run.", "pipelines:pipeline", made.slug)
    context = {"form": form, "text": form["yaml"].value() or ""}
    return shown(request, "pipelines/pipeline_new.html", context, refused)


@page("GET")
def pipeline(request: PageRequest, slug: str) -> HttpResponse:
    found = _pipeline(slug)
    assert found.revision is not None, "every pipeline is created with a revision"
    runs = found.runs.select_related("started_by", "revision").annotate(
        artifact_count=Count("artifacts")
    )
    definition = parse(found.revision.yaml).definition
    context = {
        "pipeline": found,
        "page": newest_first(request, runs, key="number", size=20),
        "sources": definition.sources.values() if definition else (),
        "revisions": found.revisions.select_related("created_by")[:20],
        "may_write": rules.may(request.user, "pipeline.write"),
        "may_start": rules.may(request.user, "run.start"),
    }
    return render(request, "pipelines/pipeline.html", context)


@page("GET", "POST")
def definition(request: PageRequest, slug: str) -> HttpResponse:
    found = _pipeline(slug)
    rules.require(request.user, "pipeline.write")
    assert found.revision is not None, "every pipeline is created with a revision"
    start = {"yaml": found.revision.yaml, "expected": found.revision.number}
    form = DefinitionForm(request.POST or None, initial=start)
    refused = None
    if request.method == "POST" and form.is_valid():
        written = form.cleaned_data
        try:
            revision = definitions.revise(
                found, written["yaml"], by=request.user, expected=written["expected"]
            )
        except SluiceError as error:
            refused = error
        else:
            said = (
                f"Saved as revision {revision.number}."
                if revision.number != written["expected"]
                else "The text is the same: nothing was saved."
            )
            return done(request, said, "pipelines:pipeline", found.slug)
    context = {"pipeline": found, "form": form, "text": form["yaml"].value() or ""}
    return shown(request, "pipelines/definition.html", context, refused)


@page("GET")
def revision(request: PageRequest, slug: str, number: int) -> HttpResponse:
    found = one(
        Revision.objects.select_related("pipeline__revision", "created_by"),
        f"There is no revision {number} of a pipeline “{slug[:64]}”.",
        pipeline__slug=slug,
        number=number,
    )
    context: dict[str, Any] = {
        "revision": found,
        "pipeline": found.pipeline,
        "title": f"Revision {found.number}",
        "runs": found.runs.select_related("started_by").order_by("-number")[:20],
    }
    return render(request, "pipelines/revision.html", context)


def _pipeline(slug: str) -> Pipeline:
    return one(
        Pipeline.objects.select_related("revision__created_by", "created_by"),
        f"There is no pipeline “{slug[:64]}”.",
        slug=slug,
    )
