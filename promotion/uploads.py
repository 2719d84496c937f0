"""Publish what pipelines uploaded for a repository (`ArtifactUpload` with `uploadType: packages`)
and what imports took in.

A version comes from a run that has succeeded, whoever asks for it: a step that uploads is told at
once what could not be published, and the version is sealed in the moment the run has succeeded.
"""

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from pipelines import releases
from pipelines.artifacts import NamedBlob, Release
from pipelines.canonical import ManifestFile, digest, files_manifest
from pipelines.errors import Invalid, NotFound, SluiceError
from pipelines.models import Artifact, ExecutionState, Run
from pipelines.models.artifact import ArtifactType
from promotion import publishing, rules
from promotion.errors import VersionExists
from promotion.models import Repository, RepositoryKind, UploadOutcome, Version, VersionState
from promotion.models.version import check_version_name

PUBLISH = "promotion.publish_uploads"


def register() -> None:
    releases.register(check)


def check(run: Run, name: str, release: Release, files: Sequence[NamedBlob]) -> None:
    """Refuse files that could not be published as `release` when `run` has succeeded."""
    rules.require(run.started_by, "version.publish")
    repository = _repository(release.repository)
    if repository.kind != RepositoryKind.GENERIC:
        raise Invalid(f"{repository.name} holds images; uploadType packages needs one for files.")
    publishing.check_package_name(name)
    try:
        check_version_name(release.version)
    except ValidationError as error:
        raise Invalid(f"“{release.version[:80]}” cannot name a version. {error.message}") from error
    # A runner calls this, which may read no more of people's rows than it must.
    existing = Version.objects.select_related("package__repository").filter(
        package__repository=repository, package__name=name, name=release.version
    )
    manifest = files_manifest(
        ManifestFile(file.path, file.blob.sha256, file.blob.size, file.executable) for file in files
    )
    taken = existing.exclude(
        state=VersionState.PUBLISHED, pruned_at__isnull=True, manifest_digest=digest(manifest)
    )
    if version := taken.first():
        raise VersionExists(
            f"{version} exists with other bytes, or was recalled or pruned. A version's name "
            "is never used again: upload under a new one.",
            current=version.manifest_digest,
        )


def publish_uploads(run_id: int) -> None:
    """Publish what a run that has succeeded uploaded for repositories. Safe to call twice."""
    run = Run.objects.with_names().get(pk=run_id)
    if run.state != ExecutionState.SUCCEEDED:
        return
    waiting = Artifact.objects.of_last_attempts().filter(
        run=run, type=ArtifactType.PACKAGES, upload_outcome__isnull=True
    )
    for artifact in waiting.select_related("run__pipeline", "run__revision", "bundle"):
        _publish(artifact, run)


def _publish(artifact: Artifact, run: Run) -> None:
    version, refused = None, ""
    try:
        version = publishing.publish(
            _repository(artifact.repository),
            artifact.name,
            artifact.version,
            artifact,
            by=run.started_by,
            notes=_notes(run),
        ).version
    except SluiceError as refusal:
        refused = refusal.detail
    try:
        with transaction.atomic():
            UploadOutcome.objects.create(
                artifact=artifact, version=version, refused=refused, at=timezone.now()
            )
    except IntegrityError:
        return  # The same task was delivered twice; the other one has written it.


def _notes(run: Run) -> str:
    """An external run says itself where its files come from."""
    if run.is_external and run.comment:
        return f"{run.comment} (by {run})."
    return f"Uploaded by {run}."


def _repository(name: str) -> Repository:
    repository = Repository.objects.filter(name=name).first()
    if repository is None:
        raise NotFound(f"There is no repository “{name[:64]}” to publish into. Make it first.")
    return repository
