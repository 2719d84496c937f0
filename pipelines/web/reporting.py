"""Pages of runs that are reported by hand: open one, add artifacts, end it."""

from django.http import HttpResponse
from django.urls import reverse

from pipelines import artifacts, blobs, receiving, rules, runs
from pipelines.artifacts import NamedBlob
from pipelines.errors import Invalid, SluiceError, TruncatedUpload
from pipelines.models import Artifact, ExecutionState, Pipeline, Run, Upload
from pipelines.web.doors import PageRequest, done, one, page, require_confirmed, shown
from pipelines.web.forms import ArtifactForm, ReportRunForm

#: In which ways a person can say that a run ended.
ENDS = (ExecutionState.SUCCEEDED, ExecutionState.FAILED)


@page("GET", "POST")
def run_report(request: PageRequest, slug: str) -> HttpResponse:
    rules.require(request.user, "run.report")
    pipeline = one(Pipeline.objects.all(), f"There is no pipeline “{slug[:64]}”.", slug=slug)
    form = ReportRunForm(request.POST if request.method == "POST" else None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            run = runs.report(pipeline, by=request.user, **form.cleaned_data)
        except SluiceError as error:
            refused = error
        else:
            said = f"{run} is open. Add its artifacts, then say how it ended."
            return done(request, said, "pipelines:run", slug, run.number)
    context = {"pipeline": pipeline, "form": form}
    return shown(request, "pipelines/run_report.html", context, refused)


@page("POST")
def run_finish(request: PageRequest, slug: str, number: int) -> HttpResponse:
    run = _run(slug, number)
    require_confirmed(request)
    state = request.POST.get("status", "")
    if state not in ENDS:
        raise Invalid("Say how the run ended: succeeded or failed.")
    runs.finish(run, ExecutionState(state), by=request.user)
    return done(request, f"{run} has {state}.", "pipelines:run", slug, number)


@page("GET", "POST")
def artifact_add(request: PageRequest, slug: str, number: int) -> HttpResponse:
    """Where scripts run, static/js/upload.js sends the files in parts; else the form does."""
    run = _run(slug, number)
    artifacts.require_reportable(run, request.user)
    began = Upload.objects.open().filter(run=run, created_by=request.user).order_by("-pk")
    newest = began.first()
    form = ArtifactForm(
        request.POST if request.method == "POST" else None,
        initial={"name": newest.name} if newest else None,
    )
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            artifact = _take(request, run, form)
        except SluiceError as error:
            refused = error
        else:
            said = f"“{artifact.name}” was added to {run}."
            return done(request, said, "pipelines:artifact", artifact.pk)
    context = {
        "run": run,
        "pipeline": run.pipeline,
        "form": form,
        "began": began,
        "uploads_url": reverse("api:uploads", args=[slug, number]),
    }
    return shown(request, "pipelines/artifact_add.html", context, refused)


@page("POST")
def upload_abort(request: PageRequest, slug: str, number: int, upload: int) -> HttpResponse:
    mine = Upload.objects.filter(run=_run(slug, number), created_by=request.user)
    found = one(mine, f"There is no upload {upload} of yours for this run.", pk=upload)
    receiving.abort(found, by=request.user)
    said = f"What had come in of “{found.name}” was removed."
    return done(request, said, "pipelines:artifact_add", slug, number)


def _run(slug: str, number: int) -> Run:
    return one(
        Run.objects.with_names(),
        f"There is no run {number} of a pipeline “{slug[:64]}”.",
        pipeline__slug=slug,
        number=number,
    )


def _take(request: PageRequest, run: Run, form: ArtifactForm) -> Artifact:
    """Keep the files of a form that was sent as a whole."""
    if request.POST.get("end") != "yes":
        # A body that breaks off looks whole to the parser, but for the field after the files.
        raise TruncatedUpload("The form ended before its end. Nothing was kept; send it again.")
    files = request.FILES.getlist("file")
    name, place = form.cleaned_data["name"], form.place
    paths = [file.name or "" for file in files]
    artifacts.check_report(run, place, name, paths, by=request.user)
    kept = [
        NamedBlob(path, blobs.keep_stream(file)) for path, file in zip(paths, files, strict=True)
    ]
    return artifacts.report_files(run, place, name, kept, by=request.user)
