"""Pages of runs: start one, watch it, cancel it."""

import hashlib
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from pipelines import definitions, rules, runs
from pipelines.errors import SluiceError
from pipelines.models import ExecutionState, Job, Pipeline, Run, Trigger, stage_state
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.forms import StartRunForm

#: What of a pinned source is shown as its facts, in this order.
FACTS = ("endpoint", "branch", "commit", "pipeline", "run", "repository", "package", "version")


@page("GET", "POST")
def run_start(request: PageRequest, slug: str) -> HttpResponse:
    rules.require(request.user, "run.start")
    pipeline = one(
        Pipeline.objects.select_related("revision"),
        f"There is no pipeline “{slug[:64]}”.",
        slug=slug,
    )
    assert pipeline.revision is not None, "every pipeline is created with a revision"
    definition = definitions.definition_of(pipeline.revision)
    form = StartRunForm(definition, request.POST if request.method == "POST" else None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            started = runs.start(
                pipeline,
                by=request.user,
                trigger=Trigger.MANUAL,
                variables=form.cleaned_data["variables"],
                asked=form.asked,
                comment=form.cleaned_data["comment"],
            )
        except SluiceError as error:
            refused = error
        else:
            return done(request, f"{started} is queued.", "pipelines:run", slug, started.number)
    context = {"pipeline": pipeline, "form": form}
    return shown(request, "pipelines/run_start.html", context, refused)


@page("GET")
def run(request: PageRequest, slug: str, number: int) -> HttpResponse:
    return _shown_run(request, _run(slug, number))


@page("GET")
def run_progress(request: PageRequest, slug: str, number: int) -> HttpResponse:
    """The part of a run's page that moves, if it did.

    Once its forms must change too, the page is loaded.
    """
    found = _run(slug, number)
    if request.GET.get("version") == _version(found):
        return HttpResponse(status=204)  # To which htmx does nothing.
    context = _progress(found)
    response = render(request, "pipelines/_run_progress.html", context)
    if request.GET.get("seen") != context["seen"]:
        response["HX-Refresh"] = "true"
    return response


@page("POST")
def run_cancel(request: PageRequest, slug: str, number: int) -> HttpResponse:
    found = _run(slug, number)
    try:
        require_confirmed(request)
        runs.cancel(found, by=request.user)
    except SluiceError as error:
        return _shown_run(request, _run(slug, number), error)
    return done(request, f"{found} was cancelled.", "pipelines:run", slug, number)


def _run(slug: str, number: int) -> Run:
    return one(
        Run.objects.with_names(),
        f"There is no run {number} of a pipeline “{slug[:64]}”.",
        pipeline__slug=slug,
        number=number,
    )


def _shown_run(request: PageRequest, run: Run, refused: SluiceError | None = None) -> HttpResponse:
    context = {
        **_progress(run),
        "may_cancel": run.state not in FINAL and rules.may(request.user, "run.cancel"),
        "may_decide": rules.may(request.user, "run.decide"),
        "may_start": rules.may(request.user, "run.start"),
    }
    return shown(request, "pipelines/run.html", context, refused)


FINAL = frozenset(state for state in ExecutionState if state.is_final)


def _progress(run: Run) -> dict[str, Any]:
    jobs = list(run.jobs.prefetch_related("steps"))
    waiting = [job for job in jobs if job.state == ExecutionState.WAITING]
    is_final = run.state in FINAL
    return {
        "run": run,
        "pipeline": run.pipeline,
        "is_final": is_final,
        "jobs": [(job, job_address(run, job)) for job in jobs],
        "waiting": waiting,
        "stages": stages_of(run, jobs),
        "sources": pinned_sources(run),
        "artifacts": run.artifacts.select_related("bundle").order_by("pk"),
        "version": _version(run),
        # Changes whenever the buttons on the page would.
        "seen": f"{'ended' if is_final else 'open'}-{'-'.join(str(job.pk) for job in waiting)}",
    }


def _version(run: Run) -> str:
    """Changes whenever the part that moves would; times that count on are not part of it."""
    jobs = run.jobs.values_list("pk", "state", "attempt", "started_at", "finished_at", "error")
    made = run.artifacts.aggregate(count=Count("pk"), last=Max("pk"))
    facts = [run.state, run.error, run.started_at, run.finished_at, *jobs, *made.values()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def job_address(run: Run, job: Job) -> str:
    return reverse("pipelines:job", args=[run.pipeline.slug, run.number, job.stage, job.key])


def stages_of(run: Run, jobs: Iterable[Job], current: Job | None = None) -> list[dict[str, Any]]:
    """The jobs by stage, as the graph draws them."""
    by_stage: dict[int, list[Job]] = {}
    for job in jobs:
        by_stage.setdefault(job.stage_position, []).append(job)
    return [
        {
            "name": by_stage[position][0].stage_name,
            "state": stage_state([ExecutionState(job.state) for job in by_stage[position]]),
            "jobs": [
                {
                    "name": job.name,
                    "state": job.state,
                    "duration": job.duration,
                    "started_at": job.started_at,
                    "url": job_address(run, job),
                    "current": current is not None and job.pk == current.pk,
                }
                for job in by_stage[position]
            ],
        }
        for position in sorted(by_stage)
    ]


def pinned_sources(run: Run) -> list[dict[str, Any]]:
    """What each source of the run was pinned to, and why."""
    return [
        {
            "id": source_id,
            "type": pinned.get("type", ""),
            "why": pinned.get("why", ""),
            "facts": [(name, pinned[name]) for name in FACTS if pinned.get(name)],
            "digest": pinned.get("manifest_digest"),
        }
        for source_id, pinned in run.sources.items()
    ]
