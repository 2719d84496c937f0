"""Calls on the artifacts of runs: report them, describe them, download them."""

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from accounts.models import User
from pipelines import artifacts, blobs, connections, forgetting
from pipelines.api.base import ApiView, StrictSerializer, idempotent, page, query, read
from pipelines.api.downloads import MayDownload, download_all, download_file
from pipelines.api.parsers import JsonParser
from pipelines.api.runs import TAG, find_run
from pipelines.api.schema import (
    BYTES,
    FORMAT,
    IDEMPOTENCY,
    NO_BYTES,
    PARTS,
    SIGNATURE,
    operation,
    page_of,
    shape,
)
from pipelines.api.shapes import ArtifactAnswer, artifact_answer
from pipelines.api.uploads import StagedUpload, StagingParser, announced_digest
from pipelines.errors import DigestMismatch, Invalid, UnknownField
from pipelines.models import Artifact, Run, ServiceConnection


class ImageBody(StrictSerializer):
    """An image that is in a registry: Flow's descriptor, and where in the run it was made.

    A dockerUrl without a digest is looked up: openly, or with the service connection named.
    """

    artifact = serializers.CharField(max_length=128)
    type = serializers.ChoiceField(["dockerImage"])
    dockerUrl = serializers.CharField(max_length=500)  # noqa: N815  # Flow's own key
    dockerTag = serializers.CharField(max_length=128, default="")  # noqa: N815  # Flow's own key
    connection = serializers.CharField(max_length=64, required=False)
    stage = serializers.CharField(max_length=64, default="build")
    job = serializers.CharField(max_length=64, default="build")
    step = serializers.CharField(max_length=64, default="upload")


def whole_artifacts() -> QuerySet[Artifact]:
    return (
        Artifact.objects.select_related("run__pipeline", "bundle", "created_by")
        .defer("bundle__recipe")
        .prefetch_related("files__blob")
    )


class RunArtifactsView(ApiView):
    parser_classes = [JsonParser, StagingParser]

    @operation(
        "List the artifacts of a run",
        {200: page_of(ArtifactAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, pipeline: str, number: str) -> Response:
        query(request)
        rows = whole_artifacts().filter(run=find_run(pipeline, number))
        return page(self, request, rows, artifact_answer)

    @operation(
        "Add an artifact to a run that another CI system executes",
        {201: shape(ArtifactAnswer)},
        refusals=(404, 409, 413, 415, 422, 507),
        body={
            "multipart/form-data": {
                "type": "object",
                "properties": {
                    "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "artifact": {"type": "string"},
                    "stage": {"type": "string"},
                    "job": {"type": "string"},
                    "step": {"type": "string"},
                },
                "required": ["file", "artifact"],
            },
            "application/json": ImageBody,
        },
        headers={
            **IDEMPOTENCY,
            "Repr-Digest": "sha-256 of the one file that is sent; another one is refused.",
            "Content-Digest": "sha-256 of the whole body; another one is refused.",
        },
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        run = find_run(pipeline, number)
        if request.FILES:
            artifact = _take_files(request, run)
        else:
            body = read(ImageBody, request)
            artifact = artifacts.report_image(
                run,
                artifacts.Place(body["stage"], body["job"], body["step"]),
                body["artifact"],
                body["dockerUrl"],
                body["dockerTag"],
                by=caller(request),
                connection=_named_connection(body.get("connection"), caller(request)),
            )
        return Response(artifact_answer(whole_artifacts().get(pk=artifact.pk)), status=201)


def _named_connection(name: str | None, by: User) -> ServiceConnection | None:
    if name is None:
        return None
    found = connections.visible_to(by).filter(name=name).first()
    if found is None:
        raise Invalid(f"There is no service connection “{name[:64]}” that {by.username} may use.")
    return found


PLACE = {"stage": "build", "job": "build", "step": "upload"}


def _take_files(request: Request, run: Run) -> Artifact:
    """Keep the uploaded files as an artifact, once their names and digest are known to be right."""
    uploads: list[StagedUpload] = [
        file for file in request.FILES.getlist("file") if isinstance(file, StagedUpload)
    ]
    for field in request.FILES:
        if field != "file":
            raise UnknownField(f"Send files in the field “file”, not in “{field[:64]}”.")
    for field in request.POST:
        if field not in {"artifact", *PLACE}:
            raise UnknownField(f"There is no field “{field[:64]}” here.")
    name = str(request.POST.get("artifact", ""))
    if not name:
        raise Invalid("Name the artifact in the field “artifact”.")
    announced = announced_digest(request, "Repr-Digest")
    if announced is not None and [announced] != [file.sha256 for file in uploads]:
        raise DigestMismatch(
            "The file does not have the Repr-Digest that was sent (it is that of one file)."
        )
    paths = [file.sent_name for file in uploads]
    stage, job, step = (str(request.POST.get(key) or usual) for key, usual in PLACE.items())
    place = artifacts.Place(stage, job, step)
    artifacts.check_report(run, place, name, paths, by=caller(request))
    kept = [
        artifacts.NamedBlob(path, blobs.keep(file.staged))
        for path, file in zip(paths, uploads, strict=True)
    ]
    return artifacts.report_files(run, place, name, kept, by=caller(request))


class ArtifactView(ApiView):
    @operation("One artifact", {200: shape(ArtifactAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, artifact: int) -> Response:
        query(request, is_list=False)
        return Response(artifact_answer(get_object_or_404(whole_artifacts(), pk=artifact)))


class ArtifactDownloadView(ApiView):
    reading = ""
    permission_classes = [MayDownload]

    @operation(
        "The bytes of an artifact",
        BYTES,
        refusals=NO_BYTES,
        query={**SIGNATURE, **FORMAT},
        headers=PARTS,
        tag=TAG,
    )
    def get(self, request: Request, artifact: int, name: str | None = None) -> HttpResponseBase:
        found = get_object_or_404(
            Artifact.objects.select_related("bundle", "run__pipeline"), pk=artifact
        )
        return download_all(request, found, name, lambda: forgetting.require_bytes(found))

    head = get


class ArtifactFileView(ApiView):
    reading = ""
    permission_classes = [MayDownload]

    @operation(
        "One file of an artifact",
        BYTES,
        refusals=NO_BYTES,
        query=SIGNATURE,
        headers=PARTS,
        tag=TAG,
    )
    def get(self, request: Request, artifact: int, path: str) -> HttpResponseBase:
        found = get_object_or_404(Artifact.objects.select_related("run__pipeline"), pk=artifact)
        return download_file(request, found, path, lambda: forgetting.require_bytes(found))

    head = get


class ResolveView(ApiView):
    @operation(
        "The artifact that a reference means in a run",
        {200: shape(ArtifactAnswer)},
        refusals=(404, 422),
        query={"reference": "Like $[stages.build.build_job.upload.artifacts.default]"},
        tag=TAG,
    )
    def get(self, request: Request, pipeline: str, number: str) -> Response:
        reference = query(request, "reference", is_list=False).get("reference", "")
        found = artifacts.resolve_text(find_run(pipeline, number), reference)
        return Response(artifact_answer(whole_artifacts().get(pk=found.pk)))
