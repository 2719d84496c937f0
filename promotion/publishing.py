"""Publishing: an artifact becomes a version, sealed and never changed."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from pipelines import blobs, forgetting
from pipelines.artifacts import resolve_text
from pipelines.canonical import (
    ManifestFile,
    digest,
    files_manifest,
    image_manifest,
)
from pipelines.errors import Invalid, NameTaken, NotFound
from pipelines.models import Artifact, ExecutionState, Run, ServiceConnection
from pipelines.models.artifact import ArtifactType
from pipelines.models.pipeline import check_slug
from promotion import images, registries, rules
from promotion.errors import NotValidated, Pruned, Recalled, VersionExists
from promotion.evidence import keeping, producing
from promotion.ledger.append import About, append
from promotion.models import (
    Package,
    Repository,
    RepositoryKind,
    Version,
    VersionFile,
    VersionState,
)
from promotion.models.version import check_version_name
from promotion.naming import about, named

KIND_OF_TYPE = {
    ArtifactType.FLOW_PUBLIC: RepositoryKind.GENERIC,
    ArtifactType.PACKAGES: RepositoryKind.GENERIC,
    ArtifactType.DOCKER_IMAGE: RepositoryKind.DOCKER,
}


@dataclass(frozen=True, slots=True)
class Published:
    """The version, and whether this call made it or found it with the same bytes."""

    version: Version
    is_new: bool


def create_repository(
    name: str,
    *,
    by: User,
    kind: str = RepositoryKind.GENERIC,
    description: str = "",
    registry: str = "",
    connection: ServiceConnection | None = None,
) -> Repository:
    rules.require(by, "repository.create")
    _check_name(name, "a repository")
    if kind not in RepositoryKind.values:
        raise Invalid(f"A repository's kind is one of: {', '.join(RepositoryKind.values)}.")
    address = registries.check(kind, registry, connection, by=by)
    try:
        with transaction.atomic():
            now = timezone.now()
            repository = Repository.objects.create(
                name=name, kind=kind, description=description, created_by=by, created_at=now
            )
            append(
                "repository.created",
                by=by,
                at=now,
                about=About(repository=name),
                data={"repository": name, "kind": kind},
            )
            registries.bind(repository, address, connection, by=by)
    except IntegrityError as error:
        raise NameTaken(f"There is a repository “{name}” already.") from error
    return repository


def publish(
    repository: Repository,
    package_name: str,
    version_name: str,
    artifact: Artifact,
    *,
    by: User,
    notes: str = "",
) -> Published:
    """Seal an artifact as a version. The same bytes under the same name again change nothing."""
    rules.require(by, "version.publish")
    check_package_name(package_name)
    try:
        check_version_name(version_name)
    except ValidationError as error:
        raise Invalid(f"“{version_name[:80]}” cannot name a version. {error.message}") from error
    if repository.kind != KIND_OF_TYPE[ArtifactType(artifact.type)]:
        raise Invalid(
            f"{repository.name} holds {repository.get_kind_display().lower()}; the artifact "
            f"“{artifact.name}” is of type {artifact.type}."
        )
    _require_succeeded(artifact.run)
    _require_current(artifact)
    forgetting.require_bytes(artifact)
    manifest = manifest_of(artifact)
    # Asked and read before the transaction: nothing waits for another machine with the database
    # locked.
    is_taken = _is_taken(repository, package_name, version_name, artifact)
    asks = bool(artifact.image) and not is_taken
    looked_up = images.look_up(repository, artifact.image, artifact.image_tag) if asks else None
    produced = () if is_taken else producing.of(artifact)
    try:
        with transaction.atomic():
            package, _ = Package.objects.get_or_create(
                repository=repository,
                name=package_name,
                defaults={"created_at": timezone.now()},
            )
            # Known already: asking for it again would cost a statement.
            package.repository = repository
            version = _seal(
                package, version_name, artifact, manifest, looked_up, by=by, notes=notes
            )
            keeping.bring(version, produced, by=by)
    except IntegrityError as error:
        existing = _existing(repository, package_name, version_name)
        if why := _why_taken(existing, digest(manifest)):
            raise VersionExists(why, current=existing.manifest_digest) from error
        return Published(existing, is_new=False)
    return Published(version, is_new=True)


def _is_taken(repository: Repository, package: str, version: str, artifact: Artifact) -> bool:
    """Whether the version is there already, so that nothing need be found out for it. What another
    CI system reports of files needs nothing found out, and no statement to know so."""
    if artifact.run.is_external and not artifact.image:
        return False
    return Version.objects.filter(
        package__repository=repository, package__name=package, name=version
    ).exists()


def _why_taken(existing: Version, manifest_digest: str) -> str:
    """Why a name cannot be published again; empty where it names these very bytes, still kept."""
    if existing.state == VersionState.RECALLED:
        return f"{existing} was recalled. Its name is never used again: take a new one."
    if existing.pruned_at is not None:
        return f"{existing} was pruned. Its name is never used again: take a new one."
    if existing.manifest_digest != manifest_digest:
        return (
            f"{existing} exists with other bytes ({existing.manifest_digest}). A version's "
            "name is never used again: publish under a new one."
        )
    return ""


def _require_succeeded(run: Run) -> None:
    if run.state != ExecutionState.SUCCEEDED:
        raise NotValidated(
            f"{run} is {run.state}. Only the artifacts of a succeeded run can be published.",
            current=run.state,
        )


def _require_current(artifact: Artifact) -> None:
    """Refuse what an attempt left behind whose job was begun anew: the run succeeded without it."""
    if not Artifact.objects.of_last_attempts().filter(pk=artifact.pk).exists():
        raise NotValidated(
            f"“{artifact.name}” was made by attempt {artifact.attempt} of its job, which was begun "
            "anew after it. Publish the artifact of the last attempt.",
            current=artifact.run.state,
        )


def manifest_of(artifact: Artifact) -> bytes:
    """The canonical manifest that becomes the version's: its digest is the artifact's too."""
    if artifact.type == ArtifactType.DOCKER_IMAGE:
        return image_manifest(artifact.image.rpartition("@")[2])
    return files_manifest(
        ManifestFile(file.path, file.blob.sha256, file.blob.size, file.executable)
        for file in artifact.files.select_related("blob")
    )


def _seal(
    package: Package,
    name: str,
    artifact: Artifact,
    manifest: bytes,
    looked_up: images.LookedUp | None,
    *,
    by: User,
    notes: str,
) -> Version:
    now = timezone.now()
    # Locked, so that it is not forgotten meanwhile (pipelines/forgetting.py).
    forgetting.require_bytes(
        Artifact.objects.select_related("run__pipeline")
        .select_for_update(no_key=True, of=("self",))
        .get(pk=artifact.pk)
    )
    files = list(artifact.files.all())
    blobs.hold(
        [file.blob_id for file in files] + ([artifact.bundle_id] if artifact.bundle_id else [])
    )
    version = Version.objects.create(
        package=package,
        name=name,
        manifest=manifest.decode(),
        manifest_digest=digest(manifest),
        artifact=artifact,
        bundle=artifact.bundle,
        bundle_name=artifact.bundle_name,
        image=artifact.image,
        image_tag=artifact.image_tag,
        provenance=_provenance(artifact),
        notes=notes,
        published_by=by,
        published_at=now,
    )
    VersionFile.objects.bulk_create(
        VersionFile(
            version=version, path=file.path, blob_id=file.blob_id, executable=file.executable
        )
        for file in files
    )
    details = images.keep(version, looked_up) if looked_up else None
    append(
        "version.published",
        by=by,
        at=now,
        about=about(version),
        data={
            **named(version),
            "bundle": version.bundle_id,
            "provenance": version.provenance,
            **({"image_details": details.digest} if details else {}),
        },
    )
    return version


def _provenance(artifact: Artifact) -> dict[str, Any]:
    """Where the bytes come from: the run, its revision and the commits it was made of."""
    run = artifact.run
    commits = {
        source_id: pinned["commit"]
        for source_id, pinned in run.sources.items()
        if "commit" in pinned
    }
    return {
        "pipeline": run.pipeline.slug,
        "run": run.number,
        "revision": run.revision.number,
        "revision_digest": run.revision.digest,
        "commit": run.commit or next(iter(commits.values()), ""),
        "sources": run.sources,
        "artifact": artifact.pk,
        "reference": artifact.reference,
        "url": run.url,
    }


def _existing(repository: Repository, package: str, version: str) -> Version:
    found = (
        Version.objects.with_names()
        .filter(package__repository=repository, package__name=package, name=version)
        .first()
    )
    if found is None:
        raise NotFound(f"{repository.name}/{package} has no version {version}.")
    return found


def check_package_name(name: str) -> None:
    _check_name(name, "a package")


def _check_name(name: str, noun: str) -> None:
    try:
        check_slug(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name {noun}. {error.message}") from error


def artifact_of_reference(pipeline: str, number: int, reference: str) -> Artifact:
    """The artifact that a publisher names by pipeline, run and reference."""
    run = Run.objects.with_names().filter(pipeline__slug=pipeline, number=number).first()
    if run is None:
        raise NotFound(f"There is no run {number} of a pipeline “{pipeline[:64]}”.")
    _require_succeeded(run)
    return resolve_text(run, reference)


def require_usable(version: Version) -> None:
    """Refuse a version that can no longer be promoted or selected, naming what to use instead."""
    if version.state == VersionState.RECALLED:
        replacement = version.replacement.name if version.replacement else None
        instead = f" Use {replacement}." if replacement else ""
        raise Recalled(
            f"{version} was recalled: {version.recall_reason}{instead}", replacement=replacement
        )
    require_bytes(version)


def require_bytes(version: Version) -> None:
    """Refuse a version that was pruned, naming the newest that can be used instead."""
    if version.pruned_at is not None:
        newest = Version.objects.available().filter(package=version.package_id).order_by("-pk")
        replacement = newest.values_list("name", flat=True).first()
        instead = f"Use {replacement}." if replacement else "Publish it anew under another name."
        raise Pruned(
            f"{version} was pruned on {version.pruned_at:%Y-%m-%d}: {version.pruned_reason} "
            f"Its bytes are no longer kept. {instead}",
            replacement=replacement,
        )
