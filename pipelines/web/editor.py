"""Pages on which definitions are written, and the check as one types."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pipelines import definitions, impact, rules
from pipelines.errors import PreconditionFailed, SluiceError
from pipelines.models import Pipeline
from pipelines.models.pipeline import is_slug
from pipelines.web.checks import look
from pipelines.web.doors import PageRequest, done, one, page, shown
from pipelines.web.forms import DefinitionForm, NewPipelineForm, unix_lines


@page("GET", "POST")
def pipeline_new(request: PageRequest) -> HttpResponse:
    rules.require(request.user, "pipeline.write")
    form = NewPipelineForm(request.POST or None)
    refused = None
    if _saves(request) and form.is_valid():
        written = form.cleaned_data
        try:
            made = definitions.create(
                written["slug"], written["name"], written["yaml"], by=request.user
            )
        except SluiceError as error:
            refused = error
        else:
            return done(request, f"{made.slug} is ready to run.", "pipelines:pipeline", made.slug)
    slug = str(form["slug"].value() or "")
    text = unix_lines(str(form["yaml"].value() or ""))
    context = {"form": form, "check": look(text, slug if is_slug(slug) else None) if text else None}
    return _shown(request, "pipelines/pipeline_new.html", context, refused)


@page("GET", "POST")
def definition(request: PageRequest, slug: str) -> HttpResponse:
    found = one(
        Pipeline.objects.select_related("revision"),
        f"There is no pipeline “{slug[:64]}”.",
        slug=slug,
    )
    rules.require(request.user, "pipeline.write")
    assert found.revision is not None, "every pipeline is created with a revision"
    start = {"yaml": found.revision.yaml, "expected": found.revision.number}
    form = DefinitionForm(request.POST or None, initial=start)
    refused = None
    if _saves(request) and form.is_valid():
        written = form.cleaned_data
        try:
            revision = impact.revise(
                found,
                written["yaml"],
                by=request.user,
                expected=written["expected"],
                accept_broken=request.POST.get("confirmed") == "yes",
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
    text = unix_lines(str(form["yaml"].value() or ""))
    context = {
        "pipeline": found,
        "form": form,
        "check": look(text, found.slug),
        "seen": _seen(form, found) if isinstance(refused, PreconditionFailed) else None,
    }
    return _shown(request, "pipelines/definition.html", context, refused)


@page("POST")
def definition_check(request: PageRequest) -> HttpResponse:
    """What there is to say of the text as it stands in the editor. Nothing is kept."""
    text = unix_lines(request.POST.get("yaml", ""))
    slug = request.POST.get("pipeline") or request.POST.get("slug") or ""
    context = {
        "check": look(text, slug if is_slug(slug) else None),
        # A new pipeline breaks nobody, so its page has no place to say so.
        "tells_breaks": bool(request.POST.get("pipeline")),
    }
    return render(request, "pipelines/_check_answer.html", context)


def _seen(form: DefinitionForm, pipeline: Pipeline) -> int | None:
    """The revision that the writer began with, where it can be compared with the current one."""
    expected: int = form.cleaned_data["expected"]
    pipeline.refresh_from_db()
    current = pipeline.revision.number if pipeline.revision else 0
    return expected if 0 < expected < current else None


def _saves(request: HttpRequest) -> bool:
    """Whether the form was sent to be saved, not only to be looked at."""
    return request.method == "POST" and "check" not in request.POST


def _shown(
    request: PageRequest, template: str, context: dict[str, Any], refused: SluiceError | None
) -> HttpResponse:
    if request.method == "POST" and not _saves(request):
        # Asking for a check is no attempt to save that could have failed.
        return render(request, template, context)
    return shown(request, template, context, refused)
