"""Publish an artifact as a version."""

from typing import Any

from django.db import transaction
from django.http import HttpResponse

from pipelines.errors import SluiceError
from pipelines.models import Artifact
from pipelines.models.artifact import ArtifactType
from pipelines.web.doors import PageRequest, SeeOther, done, one, page, shown
from promotion import publishing, rules
from promotion.models import Repository, Version
from promotion.web import shapes
from promotion.web.forms import PublishForm


@page("GET", "POST")
def publish(request: PageRequest, artifact_id: int) -> HttpResponse:
    rules.require(request.user, "version.publish")
    artifact = one(
        Artifact.objects.select_related("run__pipeline", "run__revision", "bundle"),
        f"There is no artifact {artifact_id}.",
        pk=artifact_id,
    )
    kind = publishing.KIND_OF_TYPE[ArtifactType(artifact.type)]
    may_create = rules.may(request.user, "repository.create")
    form = PublishForm(artifact, kind, may_create, request.POST or None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            return _publish(request, form, artifact, kind)
        except SluiceError as error:
            refused = error
    context = {
        "artifact": artifact,
        "run": artifact.run,
        "form": form,
        "versions": Version.objects.with_names().filter(artifact=artifact),
    }
    return shown(request, "promotion/publish.html", context, refused)


def _publish(
    request: PageRequest, form: PublishForm, artifact: Artifact, kind: str
) -> HttpResponse:
    written = form.cleaned_data
    # A repository that was named for this version alone goes with it when it is refused.
    with transaction.atomic():
        published = _published(request, written, artifact, kind)
    address = shapes.version_address(published.version)
    if not published.is_new:
        return SeeOther(address)
    return done(request, f"{published.version} is published and sealed.", address)


def _published(
    request: PageRequest, written: dict[str, Any], artifact: Artifact, kind: str
) -> publishing.Published:
    if name := written.get("new_repository"):
        repository = publishing.create_repository(name, kind=kind, by=request.user)
    else:
        repository = Repository.objects.get(name=written["repository"])
    return publishing.publish(
        repository,
        written["package"],
        written["version"],
        artifact,
        by=request.user,
        notes=written["notes"],
    )
