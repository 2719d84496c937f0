"""Calls on repositories, packages, versions and selections."""

from functools import partial
from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import ApiView, NoBody, StrictSerializer, idempotent, page, query, read
from pipelines.api.downloads import MayDownload, download_all, download_file, fetched_by
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
from pipelines.errors import Invalid, NotFound
from pipelines.models import Artifact
from promotion import descriptors, images, publishing, recalling, registries, selection
from promotion.api import lookups
from promotion.api.shapes import (
    PackageAnswer,
    RepositoryAnswer,
    ResolvedAnswer,
    SelectionAnswer,
    VersionAnswer,
    package_answer,
    repository_answer,
    version_answer,
)
from promotion.ledger.append import current_size
from promotion.models import Repository, RepositoryKind, Selection, Version

TAG = "Repositories"
SELECTIONS = "Selections"


class RepositoryBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(RepositoryKind.values, default=RepositoryKind.GENERIC)
    description = serializers.CharField(max_length=500, default="", allow_blank=True)
    registry = serializers.CharField(max_length=255, default="", allow_blank=True)
    connection = serializers.CharField(max_length=64, default="", allow_blank=True)


class RegistryBody(StrictSerializer):
    """Where the images of a repository lie, and the service connection that is used to ask."""

    registry = serializers.CharField(max_length=255, allow_blank=True)
    connection = serializers.CharField(max_length=64, default="", allow_blank=True)


class PublishBody(StrictSerializer):
    """Name the artifact by its id, or by pipeline, run and reference."""

    version = serializers.CharField(max_length=128)
    artifact = serializers.IntegerField(required=False)
    pipeline = serializers.CharField(max_length=64, required=False)
    run = serializers.IntegerField(required=False)
    reference = serializers.CharField(max_length=500, required=False)
    notes = serializers.CharField(default="", allow_blank=True, max_length=20_000)


class SelectBody(StrictSerializer):
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    environment = serializers.CharField(max_length=64, required=False)
    version = serializers.CharField(max_length=128, required=False)
    range = serializers.CharField(max_length=200, required=False)
    consumer = serializers.CharField(max_length=200, default="", allow_blank=True)


class RepositoriesView(ApiView):
    @operation("List repositories", {200: page_of(RepositoryAnswer)}, tag=TAG, is_list=True)
    def get(self, request: Request) -> Response:
        query(request)
        rows = Repository.objects.select_related("created_by", "connection")
        return page(self, request, rows, repository_answer)

    @operation(
        "Create a repository",
        {201: shape(RepositoryAnswer)},
        refusals=(409, 415, 422),
        body=RepositoryBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(RepositoryBody, request)
        connection = registries.named_connection(body.pop("connection"), by=caller(request))
        made = publishing.create_repository(by=caller(request), connection=connection, **body)
        return Response(repository_answer(made), status=201)


class RepositoryView(ApiView):
    @operation("One repository", {200: shape(RepositoryAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, repository: str) -> Response:
        query(request, is_list=False)
        return Response(repository_answer(lookups.repository(repository)))


class RegistryView(ApiView):
    @operation(
        "Say in which registry the images of a repository lie",
        {200: shape(RepositoryAnswer)},
        refusals=(404, 415, 422),
        body=RegistryBody,
        tag=TAG,
    )
    def put(self, request: Request, repository: str) -> Response:
        body = read(RegistryBody, request)
        found = lookups.repository(repository)
        connection = registries.named_connection(body["connection"], by=caller(request))
        registries.set_registry(found, body["registry"], by=caller(request), connection=connection)
        return Response(repository_answer(lookups.repository(repository)))


class PackagesView(ApiView):
    @operation(
        "List the packages of a repository, with what is placed of each",
        {200: page_of(PackageAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, repository: str) -> Response:
        query(request)
        rows = lookups.packages().filter(repository=lookups.repository(repository))
        return page(self, request, rows, package_answer)


class PackageView(ApiView):
    @operation("One package", {200: shape(PackageAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, repository: str, package: str) -> Response:
        query(request, is_list=False)
        found = get_object_or_404(lookups.packages(), repository__name=repository, name=package)
        return Response(package_answer(found))


class VersionsView(ApiView):
    @operation(
        "List the versions of a package, newest first",
        {200: page_of(VersionAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, repository: str, package: str) -> Response:
        query(request)
        rows = lookups.whole_versions().filter(package=lookups.package(repository, package))
        return page(self, request, rows, partial(version_answer, by=caller(request)))

    @operation(
        "Publish an artifact as a version",
        {201: shape(VersionAnswer), 200: shape(VersionAnswer, "It exists with the same bytes.")},
        refusals=(404, 409, 410, 415, 422),
        body=PublishBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, repository: str, package: str) -> Response:
        body = read(PublishBody, request)
        published = publishing.publish(
            lookups.repository(repository),
            package,
            body["version"],
            _named_artifact(body),
            by=caller(request),
            notes=body["notes"],
        )
        answer = version_answer(
            lookups.version(repository, package, body["version"]), by=caller(request)
        )
        return Response(answer, status=201 if published.is_new else 200)


def _named_artifact(body: dict[str, Any]) -> Artifact:
    by_reference = [body.get(key) for key in ("pipeline", "run", "reference")]
    if "artifact" in body and not any(by_reference):
        found = (
            Artifact.objects.select_related("run__pipeline", "run__revision", "bundle")
            .filter(pk=body["artifact"])
            .first()
        )
        if found is None:
            raise NotFound(f"There is no artifact {body['artifact']}.")
        return found
    if all(by_reference) and "artifact" not in body:
        return publishing.artifact_of_reference(body["pipeline"], body["run"], body["reference"])
    raise Invalid("Name the artifact by its id, or else by pipeline, run and reference together.")


class VersionView(ApiView):
    @operation("One version", {200: shape(VersionAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, repository: str, package: str, version: str) -> Response:
        query(request, is_list=False)
        return Response(
            version_answer(lookups.version(repository, package, version), by=caller(request))
        )


class ImageLookView(ApiView):
    @operation(
        "Ask the registry now what the tag of an image names",
        {200: shape(VersionAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, repository: str, package: str, version: str) -> Response:
        read(NoBody, request)
        found = lookups.version(repository, package, version)
        images.look_for_drift(found, by=caller(request))
        return Response(
            version_answer(lookups.version(repository, package, version), by=caller(request))
        )


class VersionDownloadView(ApiView):
    reading = ""
    permission_classes = [MayDownload]

    @operation(
        "The bytes of a version",
        BYTES,
        refusals=NO_BYTES,
        query={**SIGNATURE, **FORMAT},
        headers=PARTS,
        tag=TAG,
    )
    def get(
        self,
        request: Request,
        repository: str,
        package: str,
        version: str,
        name: str | None = None,
    ) -> HttpResponseBase:
        found = lookups.version_for_bytes(repository, package, version)
        return download_all(request, found, name, partial(_note_download, found, request))

    head = get


class VersionFileView(ApiView):
    reading = ""
    permission_classes = [MayDownload]

    @operation(
        "One file of a version",
        BYTES,
        refusals=NO_BYTES,
        query=SIGNATURE,
        headers=PARTS,
        tag=TAG,
    )
    def get(
        self, request: Request, repository: str, package: str, version: str, path: str
    ) -> HttpResponseBase:
        found = lookups.version_for_bytes(repository, package, version)
        return download_file(request, found, path, partial(_note_download, found, request))

    head = get


# ---- Selections --------------------------------------------------------------------------------
class ResolveView(ApiView):
    @operation(
        "Which exact version answers, and why; nothing is recorded",
        {200: shape(ResolvedAnswer)},
        refusals=(404, 409, 410, 422),
        query={
            "environment": "What is placed there.",
            "version": "Exactly this one.",
            "range": "The highest in it: npm-style, or VERS.",
            "as_of": "What the environment had at this time.",
        },
        tag=SELECTIONS,
    )
    def get(self, request: Request, repository: str, package: str) -> Response:
        asked = query(request, "environment", "version", "range", "as_of", is_list=False)
        as_of = asked.pop("as_of", None)
        resolved = selection.resolve(
            lookups.package(repository, package),
            selection.Query(**asked, as_of=lookups.moment(as_of, "as_of") if as_of else None),
        )
        version = lookups.whole_versions().get(pk=resolved.version.pk)
        whole = version_answer(version, resolved.placed, by=caller(request))
        return Response({**whole, "explanation": resolved.explanation(current_size())})


class SelectionsView(ApiView):
    @operation(
        "Select one exact version, with a receipt",
        {201: shape(SelectionAnswer)},
        refusals=(404, 409, 410, 415, 422),
        body=SelectBody,
        headers=IDEMPOTENCY,
        tag=SELECTIONS,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(SelectBody, request)
        package = lookups.named_package(body["repository"], body["package"])
        wanted = selection.Query(
            environment=body.get("environment"),
            version=body.get("version"),
            range=body.get("range"),
        )
        made = selection.select(package, wanted, by=caller(request), consumer=body["consumer"])
        return Response(_selection_answer(made), status=201)


class SelectionView(ApiView):
    @operation(
        "A selection, answered as it was made",
        {200: shape(SelectionAnswer)},
        refusals=(404,),
        tag=SELECTIONS,
    )
    def get(self, request: Request, selection: int) -> Response:
        query(request, is_list=False)
        return Response(_selection_answer(get_object_or_404(Selection, pk=selection)))


def _note_download(version: Version, request: Request) -> None:
    recalling.note_download(version, by=fetched_by(request))


def _selection_answer(made: Selection) -> dict[str, Any]:
    """The receipt, and beside it where its bytes are now: by links of whoever selected them, so
    that a replay is the same answer whoever asks for it."""
    version = lookups.whole_versions().get(pk=made.version_id)
    answered = selection.receipt(made)
    placed = selection.placed_image(answered)
    return {
        **answered,
        "artifact": descriptors.descriptor(version, placed=placed, owner=made.by_id),
        "sha256": version.bundle.sha256 if version.bundle else None,
    }
