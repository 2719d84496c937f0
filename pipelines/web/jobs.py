"""Pages of jobs: their steps, their log while it is written, and the manual gate."""

from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from pipelines import ansi, following, logs, runs
from pipelines.errors import SluiceError
from pipelines.models import ExecutionState, Job, Run
from pipelines.tails import Place, RawLine, is_stale
from pipelines.web import tails
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.gates import comment_of, gate_of
from pipelines.web.runs import FINAL, gate_seen, held_jobs, stages_of


@page("GET")
def job(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    return _shown_job(request, _job(slug, number, stage, job))


@page("GET")
def job_log(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    """The lines since the reader's last, and the job's state. Ends by no longer asking again."""
    found = _job(slug, number, stage, job)
    after = Place.read(request.GET.get("after", ""))
    context = _facts(found)
    context["lines"], context["place"] = tails.since(found, after, whole=context["is_final"])
    response = render(request, "pipelines/_job_tail.html", context)
    if is_stale(after, found) or request.GET.get("seen") != context["seen"]:
        response["HX-Refresh"] = "true"
    return response


@page("GET")
def job_stream(
    request: PageRequest, slug: str, number: int, stage: str, job: str
) -> HttpResponseBase:
    """The same as job_log, but as events while they happen."""
    after = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    found = _job(slug, number, stage, job)
    return following.answer(found, Place.read(after), PageTeller())


class PageTeller:
    """What the job's page puts into its place."""

    def lines(self, job: Job, found: list[RawLine], after: Place) -> tuple[str, Place]:
        lines, place = tails.shown(job, found, after)
        return _one_line_each("components/output_lines.html", {"lines": lines}), place

    def state(self, job: Job) -> str:
        return _one_line_each("pipelines/_job_state.html", _facts(job))


def _one_line_each(template: str, context: dict[str, Any]) -> str:
    # A carriage return would end a line of an event, and what follows would be read as a field.
    return render_to_string(template, context).replace("\r", " ")


@page("GET")
def job_download(
    request: PageRequest, slug: str, number: int, stage: str, job: str
) -> HttpResponseBase:
    """The whole log as a text file; `raw=1` leaves the codes for terminals in it."""
    found = _job(slug, number, stage, job)
    pieces = logs.read(found)
    if request.GET.get("raw") != "1":
        pieces = ansi.stripped_pieces(pieces)
    return StreamingHttpResponse(
        (piece.encode("utf-8", "replace") for piece in pieces),
        content_type="text/plain; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{_file_name(found)}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )


def _file_name(job: Job) -> str:
    name = f"{job.run.pipeline.slug}-{job.run.number}-{job.stage}-{job.key}.log"
    # A header holds neither quotes nor letters beyond ASCII.
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)


@page("POST")
def job_pass(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    found = _job(slug, number, stage, job)
    try:
        passed = runs.pass_job(found, by=request.user, comment=comment_of(request))
    except SluiceError as error:
        return _shown_job(request, _job(slug, number, stage, job), error)
    said = f"{found.name} goes on."
    if passed.state == ExecutionState.WAITING:
        said = f"You passed {found.name}. {passed.waits_for}"
    return done(request, said, "pipelines:run", slug, number)


@page("POST")
def job_refuse(request: PageRequest, slug: str, number: int, stage: str, job: str) -> HttpResponse:
    found = _job(slug, number, stage, job)
    try:
        require_confirmed(request)
        runs.refuse_job(found, by=request.user, comment=comment_of(request))
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
    is_waiting = job.state == ExecutionState.WAITING
    context = {
        **_facts(job),
        **_log_facts(request, job),
        "stages": stages_of(run, run.jobs.all(), current=job),
        "gate": gate_of(job, request.user) if is_waiting else None,
        "decisions": [] if is_waiting else job.decisions.select_related("by"),
    }
    return shown(request, "pipelines/job.html", context, refused)


def _log_facts(request: PageRequest, job: Job) -> dict[str, Any]:
    """The part of the log that was asked for: by a line, by a step, or by what it has in it."""
    whole = job.state in FINAL
    if query := request.GET.get("q", "").strip():
        return {"search": tails.search(job, query)}
    line = request.GET.get("line", "")
    if line.isascii() and line.isdigit():
        return {"window": tails.around(job, int(line[:10]), whole=whole)}
    if step := request.GET.get("step", ""):
        return {"window": tails.of_step(job, step, whole=whole)}
    return {"window": tails.end(job, whole=whole)}


def _facts(job: Job) -> dict[str, Any]:
    is_final = job.state in FINAL
    is_waiting = job.state == ExecutionState.WAITING
    steps = list(job.steps.all())
    return {
        "job": job,
        "run": job.run,
        "pipeline": job.run.pipeline,
        "steps": steps,
        "steps_ended": sum(step.state in FINAL for step in steps),
        "is_final": is_final,
        "held": held_jobs([job]),
        # Changes whenever the buttons on the page would, or the log begins anew.
        "seen": f"{gate_seen(job) if is_waiting else 'other'}-{job.log_since}",
    }
