"""Pages of jobs: their steps, their log while it is written, and the manual gate."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from pipelines import rules, runs
from pipelines.errors import SluiceError
from pipelines.models import ExecutionState, Job, Run
from pipelines.web import tails
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.runs import FINAL, stages_of


@page("GET")
def job(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    return _shown_job(request, _job(slug, number, stage, job))


@page("GET")
def job_log(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    """The lines since the reader's last, and the job's state. Ends by no longer asking again."""
    found = _job(slug, number, stage, job)
    after = tails.Place.read(request.GET.get("after", ""))
    context = _facts(found, after)
    response = render(request, "pipelines/_job_tail.html", context)
    if after.attempt != found.attempt or request.GET.get("seen") != context["seen"]:
        response["HX-Refresh"] = "true"
    return response


@page("POST")
def job_pass(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    found = _job(slug, number, stage, job)
    try:
        runs.pass_job(found, by=request.user)
    except SluiceError as error:
        return _shown_job(request, _job(slug, number, stage, job), error)
    return done(request, f"{found.name} goes on.", "pipelines:run", slug, number)


@page("POST")
def job_refuse(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    found = _job(slug, number, stage, job)
    try:
        require_confirmed(request)
        runs.refuse_job(found, by=request.user)
    except SluiceError as error:
        return _shown_job(request, _job(slug, number, stage, job), error)
    return done(request, f"{found.name} was refused.", "pipelines:run", slug, number)


def _job(slug: str, number: int, stage: str, key: str) -> Job:
    return one(
        Job.objects.select_related("run__pipeline", "run__revision", "run__started_by"),
        f"There is no job {stage[:64]}.{key[:64]} in run {number} of “{slug[:64]}”.",
        run__pipeline__slug=slug,
        run__number=number,
        stage=stage,
        key=key,
    )


def _shown_job(request: PageRequest, job: Job, refused: SluiceError | None = None) -> HttpResponse:
    run: Run = job.run
    context = {
        **_facts(job, None),
        "stages": stages_of(run, run.jobs.all(), current=job),
        "may_decide": rules.may(request.user, "run.decide"),
    }
    return shown(request, "pipelines/job.html", context, refused)


def _facts(job: Job, after: tails.Place | None) -> dict[str, Any]:
    is_final = job.state in FINAL
    return {
        "job": job,
        "run": job.run,
        "pipeline": job.run.pipeline,
        "steps": job.steps.all(),
        "tail": tails.tail(job, after, whole=is_final),
        "is_final": is_final,
        # Changes whenever the buttons on the page would.
        "seen": "waiting" if job.state == ExecutionState.WAITING else "other",
    }
