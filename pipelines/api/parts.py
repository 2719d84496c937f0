"""Calls on uploads in parts: begun, sent part by part, completed or given up."""

from typing import Any

from django.db.models import Prefetch
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import artifacts, receiving, rules
from pipelines.api.artifacts import PLACE, whole_artifacts
from pipelines.api.base import ApiView, NoBody, StrictSerializer, idempotent, query, read
from pipelines.api.runs import find_run
from pipelines.api.schema import IDEMPOTENCY, operation, shape
from pipelines.api.shapes import ArtifactAnswer, artifact_answer
from pipelines.api.shapes_of_uploads import PartItem, UploadAnswer, part_item, upload_answer
from pipelines.api.uploads import RawParser, Whole, announced_digest
from pipelines.errors import TruncatedUpload
from pipelines.models import Upload, UploadFile

TAG = "Runs"
LARGEST = 2**63 - 1


class AnnouncedFile(StrictSerializer):
    path = serializers.CharField(max_length=1024, trim_whitespace=False)
    size = serializers.IntegerField(min_value=0, max_value=LARGEST)
    sha256 = serializers.RegexField(r"^(?:[0-9a-f]{64})?\Z", default="", allow_blank=True)
    executable = serializers.BooleanField(default=False)


class UploadBody(StrictSerializer):
    artifact = serializers.CharField(max_length=128)
    stage = serializers.CharField(max_length=64, default=PLACE["stage"])
    job = serializers.CharField(max_length=64, default=PLACE["job"])
    step = serializers.CharField(max_length=64, default=PLACE["step"])
    files: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=AnnouncedFile(), allow_empty=False, max_length=artifacts.MAX_FILES
    )


def find_upload(request: Request, pipeline: str, number: str, upload: int) -> Upload:
    """The caller's own upload for this run; another's is not told of."""
    rules.require(caller(request), "run.report")
    found = (
        Upload.objects.filter(run=find_run(pipeline, number), created_by=caller(request), pk=upload)
        .select_related("run__pipeline", "created_by", "artifact")
        .first()
    )
    if found is None:
        raise Http404
    return found


def _answer(pk: int) -> UploadAnswer:
    files = Prefetch("files", UploadFile.objects.prefetch_related("parts"))
    rows = Upload.objects.select_related("run__pipeline", "created_by").prefetch_related(files)
    return upload_answer(rows.get(pk=pk))


class UploadsView(ApiView):
    @operation(
        "Begin to send an artifact in parts, for a run that another CI system executes",
        {201: shape(UploadAnswer)},
        refusals=(404, 409, 413, 415, 422),
        body=UploadBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, pipeline: str, number: str) -> Response:
        run = find_run(pipeline, number)
        body = read(UploadBody, request)
        place = artifacts.Place(body["stage"], body["job"], body["step"])
        files = [receiving.Announced(**file) for file in body["files"]]
        upload = receiving.create(run, place, body["artifact"], files, by=caller(request))
        return Response(_answer(upload.pk), status=201)


class UploadView(ApiView):
    reading = "run.report"

    @operation(
        "An upload of one's own: what of it is there, and what is missing",
        {200: shape(UploadAnswer)},
        refusals=(404,),
        tag=TAG,
    )
    def get(self, request: Request, pipeline: str, number: str, upload: int) -> Response:
        query(request, is_list=False)
        return Response(_answer(find_upload(request, pipeline, number, upload).pk))


class PartView(ApiView):
    parser_classes = [RawParser]

    @operation(
        "Send one part of one file, in any order; the same again is taken as sent before",
        {201: shape(PartItem), 200: shape(PartItem, "It was there already.")},
        refusals=(404, 409, 410, 413, 415, 422, 507),
        body={"application/octet-stream": {"type": "string", "format": "binary"}},
        headers={
            "Repr-Digest": "sha-256 of the part; another one is refused.",
            "Content-Digest": "The same, as it is the whole body.",
        },
        tag=TAG,
    )
    def put(  # noqa: PLR0917  # the address names them all
        self, request: Request, pipeline: str, number: str, upload: int, file: int, part: int
    ) -> Response:
        found = find_upload(request, pipeline, number, upload)
        body = request.data
        if not isinstance(body, Whole):
            raise TruncatedUpload("The body is empty. Send the part with its Content-Length.")
        announced = {
            announced_digest(request, header) for header in ("Repr-Digest", "Content-Digest")
        }
        kept, is_new = receiving.put_part(
            found,
            file,
            part,
            body,
            by=caller(request),
            length=body.length,
            digests=[digest for digest in announced if digest],
        )
        return Response(part_item(found, kept.file, kept), status=201 if is_new else 200)


class CompleteView(ApiView):
    @operation(
        "Make the artifact of an upload that is whole",
        {201: shape(ArtifactAnswer), 200: shape(ArtifactAnswer, "It was completed before.")},
        refusals=(404, 409, 410, 413, 415, 507),
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, number: str, upload: int) -> Response:
        found = find_upload(request, pipeline, number, upload)
        read(NoBody, request)
        artifact, is_new = receiving.complete(found, by=caller(request))
        answer = artifact_answer(whole_artifacts().get(pk=artifact.pk))
        return Response(answer, status=201 if is_new else 200)


class AbortView(ApiView):
    @operation(
        "Give an upload up and remove what came in of it",
        {200: shape(UploadAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, number: str, upload: int) -> Response:
        found = find_upload(request, pipeline, number, upload)
        read(NoBody, request)
        receiving.abort(found, by=caller(request))
        return Response(_answer(found.pk))
