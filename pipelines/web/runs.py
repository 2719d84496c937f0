"""Pages of runs: start one, watch it, cancel it, try it again."""

import functools
import hashlib
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from pipelines import definitions, rules, runners, runs
from pipelines.errors import SluiceError
from pipelines.models import ExecutionState, Job, Pipeline, Run, Trigger, stage_state
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.forms import StartRunForm
from pipelines.web.gates import gate_of

#: What of a pinned source is shown as its facts where it is set, in this order.
FACTS = (
    "endpoint",
    "branch",
    "commit",
    "depth",
    "submodules",
    "connection",
    "pipeline",
    "run",
    "repository",
    "package",
    "image",
    "version",
)


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
    context = _progress(found)
    if request.GET.get("version") == context["version"]:
        return HttpResponse(status=204)  # To which htmx does nothing.
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


@page("POST")
def run_retry(request: PageRequest, slug: str, number: int) -> HttpResponse:
    found = _run(slug, number)
    try:
        require_confirmed(request)
        runs.retry(found, by=request.user)
    except SluiceError as error:
        return _shown_run(request, _run(slug, number), error)
    return done(request, f"What failed of {found} begins anew.", "pipelines:run", slug, number)


@page("POST")
def run_again(request: PageRequest, slug: str, number: int) -> HttpResponse:
    found = _run(slug, number)
    try:
        again = runs.start_again(found, by=request.user)
    except SluiceError as error:
        return _shown_run(request, _run(slug, number), error)
    said = f"{again} is queued, on the inputs of {found}."
    return done(request, said, "pipelines:run", slug, again.number)


def _run(slug: str, number: int) -> Run:
    return one(
        Run.objects.with_names().select_related("again_of__pipeline"),
        f"There is no run {number} of a pipeline “{slug[:64]}”.",
        pipeline__slug=slug,
        number=number,
    )


def _shown_run(request: PageRequest, run: Run, refused: SluiceError | None = None) -> HttpResponse:
    progress = _progress(run)
    may_start = rules.may(request.user, "run.start")
    # Where nothing was ever pinned, there are no inputs that could be the same.
    has_inputs = run.state in FINAL and not run.is_external and run.started_at is not None
    can_be_retried = run.state in FINAL - {S.SUCCEEDED} and not run.is_external
    context = {
        **progress,
        "gates": [gate_of(job, request.user) for job in progress["waiting"]],
        "may_cancel": run.state not in FINAL and rules.may(request.user, "run.cancel"),
        "may_start": may_start,
        "may_retry": may_start and can_be_retried and not progress["is_unbegun"],
        "may_repeat": may_start and has_inputs,
        "may_report": run.is_external
        and run.state == S.RUNNING
        and rules.may(request.user, "run.report"),
    }
    return shown(request, "pipelines/run.html", context, refused)


S = ExecutionState
FINAL = frozenset(state for state in S if state.is_final)


def _progress(run: Run) -> dict[str, Any]:
    jobs = list(run.jobs.prefetch_related("steps", "decisions"))
    for job in jobs:
        job.run = run
    waiting = [job for job in jobs if job.state == S.WAITING]
    is_final = run.state in FINAL
    # An event asked for it, and it was refused; it is there to say so.
    is_unbegun = is_final and not run.is_external and not jobs
    held = held_jobs(jobs)
    return {
        "run": run,
        "pipeline": run.pipeline,
        "is_final": is_final,
        "is_unbegun": is_unbegun,
        "jobs": [(job, job_address(run, job)) for job in jobs],
        "waiting": waiting,
        "held": held,
        "stages": stages_of(run, jobs),
        "sources": pinned_sources(run),
        "asked": _asked(run) if is_unbegun else [],
        "artifacts": run.artifacts.select_related("bundle").defer("bundle__recipe").order_by("pk"),
        "version": _version(run, jobs, held),
        # Changes whenever the buttons on the page would.
        "seen": f"{'ended' if is_final else 'open'}-{'-'.join(map(gate_seen, waiting))}",
    }


def _version(run: Run, jobs: Iterable[Job], held: object) -> str:
    """Changes whenever the part that moves would; times that count on are not part of it."""
    made = run.artifacts.aggregate(count=Count("pk"), last=Max("pk"))
    of_jobs = [
        (job.pk, job.state, job.attempt, job.started_at, job.finished_at, job.error, gate_seen(job))
        for job in jobs
    ]
    facts = [run.state, run.error, run.started_at, run.finished_at, of_jobs, held, made]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def gate_seen(job: Job) -> str:
    """Changes whenever what is shown of the job's gate would."""
    return f"{job.pk}.{job.gate}.{len(job.decisions.all())}"


def held_jobs(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """The queued jobs that something holds back, and what; gates are shown as such."""
    why_nobody = functools.cache(runners.why_nobody)
    held = [
        {"name": job.name, "why": runners.why_held(job, why_nobody)}
        for job in jobs
        if job.state == S.QUEUED
    ]
    return [each for each in held if each["why"]]


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
            "state": stage_state([S(job.state) for job in by_stage[position]]),
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
            "facts": [(name, _shown_fact(pinned[name])) for name in FACTS if pinned.get(name)],
            "digest": pinned.get("manifest_digest") or pinned.get("digest"),
        }
        for source_id, pinned in run.sources.items()
    ]


def _shown_fact(value: Any) -> Any:
    return "yes" if value is True else value


def _asked(run: Run) -> list[tuple[str, str]]:
    """What was asked of each source of a run that came to nothing."""
    return [
        (source_id, ", ".join(f"{what} {value}" for what, value in wish.items()))
        for source_id, wish in run.asked_sources.items()
    ]
