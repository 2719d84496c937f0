"""Artifacts: describe them as Flow does, store them, find them by reference."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from pipelines import blobs, connections, links, registry, rules, sources
from pipelines.bundles import Member
from pipelines.canonical import ManifestFile, digest, files_manifest, image_manifest
from pipelines.errors import (
    Invalid,
    InvalidFilename,
    NameTaken,
    SluiceError,
    UnresolvedReference,
    WrongState,
)
from pipelines.flow.references import Reference, ReferenceError_, parse_reference
from pipelines.models import (
    Artifact,
    ArtifactFile,
    Blob,
    ConnectionKind,
    ExecutionState,
    Run,
    ServiceConnection,
)
from pipelines.models.artifact import ArtifactType
from pipelines.registry import Credentials

#: What a file system takes as one name; and the whole path, which is a column's and an address's.
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
MAX_FILES = 10_000
# Invisible characters with which a name is made to look like another.
BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
IMAGE = re.compile(
    r"^(?P<name>[a-z0-9][a-zA-Z0-9._:/-]{0,400}?)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"@(?P<digest>sha256:[0-9a-f]{64})\Z"
)
HOP = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z")
NAME = re.compile(r"^[^\s/\\\x00-\x1f\x7f$\[\]{}]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run an artifact was made."""

    stage: str
    job: str
    step: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """One file of an artifact to be: a checked relative path and its bytes."""

    path: str
    blob: Blob
    executable: bool = False


# ---- Store -------------------------------------------------------------------------------------
def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def check_path(path: str) -> str:
    """A relative path with forward slashes, or InvalidFilename saying what is wrong with it."""
    wrong = None
    parts = path.split("/")
    length = len(_bytes_of(path))
    longest = max(len(_bytes_of(part)) for part in parts)
    if not path:
        wrong = "is empty"
    elif length > MAX_PATH_BYTES:
        wrong = f"has {length} bytes with its folders, and may have {MAX_PATH_BYTES}"
    elif longest > MAX_NAME_BYTES:
        wrong = f"has a name of {longest} bytes in it, and one may have {MAX_NAME_BYTES}"
    elif re.search(r"[\x00-\x1f\x7f\\]", path):
        wrong = "has a control character or a backslash"
    elif any(part in {"", ".", ".."} for part in parts):
        wrong = "is absolute or has an empty, . or .. part"
    elif any(char in BIDI for char in path):
        wrong = "has a character that turns the direction of writing"
    elif any("\ud800" <= char <= "\udfff" for char in path):
        wrong = "is not Unicode"
    if wrong:
        # Of a long path the end says which file it is.
        shown = path if len(path) <= 80 else f"{path[:20]}…{path[-59:]}"
        shown = shown.encode("unicode_escape").decode().replace("\\u2026", "…")
        raise InvalidFilename(f"The file name “{shown}” {wrong}. Use a plain relative path.")
    return path


@dataclass(frozen=True, slots=True)
class Release:
    """Where the files of an artifact are published, and as what, once the run has succeeded."""

    repository: str
    version: str


def store_files(
    run: Run,
    place: Place,
    name: str,
    files: Sequence[NamedBlob],
    *,
    by: User,
    release: Release | None = None,
    then: Callable[[Artifact], None] | None = None,
) -> Artifact:
    """Record files, whose bytes are kept already, as one artifact of a run that is running.

    With one file its bytes are what is downloaded; with more, a tar.gz composed of them. `then` is
    called in the transaction that records it: what it raises undoes the record.
    """
    _check_paths([file.path for file in files])
    _require_open(run)
    manifest = files_manifest(
        ManifestFile(file.path, file.blob.sha256, file.blob.size, file.executable) for file in files
    )
    if len(files) == 1:
        bundle, bundle_name = files[0].blob, PurePosixPath(files[0].path).name
    else:
        bundle, bundle_name = blobs.compose(members(files)), f"{name}.tgz"
    artifact = Artifact(
        type=ArtifactType.PACKAGES if release else ArtifactType.FLOW_PUBLIC,
        digest=digest(manifest),
        bundle=bundle,
        bundle_name=bundle_name,
        repository=release.repository if release else "",
        version=release.version if release else "",
    )
    return _record(artifact, run, place, name, files, by=by, then=then)


def store_image(run: Run, place: Place, name: str, image: str, tag: str, *, by: User) -> Artifact:
    """Record an image that is in a registry, pinned by the digest in `image`."""
    match = IMAGE.match(image)
    if match is None:
        raise Invalid(
            f"dockerUrl “{image[:120]}” names no exact image. Send the digest that the registry "
            "reports: registry/name:tag@sha256:…"
        )
    _require_open(run)
    artifact = Artifact(
        type=ArtifactType.DOCKER_IMAGE,
        digest=digest(image_manifest(match["digest"])),
        image=image,
        image_tag=tag or match["tag"] or "",
    )
    return _record(artifact, run, place, name, (), by=by)


def report_files(
    run: Run,
    place: Place,
    name: str,
    files: Sequence[NamedBlob],
    *,
    by: User,
    release: Release | None = None,
    then: Callable[[Artifact], None] | None = None,
) -> Artifact:
    """Files that another CI system reports for its own run, or that an import takes in."""
    require_reportable(run, by)
    return store_files(run, place, name, files, by=by, release=release, then=then)


def report_image(
    run: Run,
    place: Place,
    name: str,
    image: str,
    tag: str,
    *,
    by: User,
    connection: ServiceConnection | None = None,
) -> Artifact:
    """An image that another CI system reports for its own run.

    Without a digest its registry is asked now, with `connection` or openly, for the tag's.
    """
    require_reportable(run, by)
    if "@" not in image:
        image = _pinned(image, tag, connection, by=by)
    return store_image(run, place, name, image, tag, by=by)


def _pinned(image: str, tag: str, connection: ServiceConnection | None, *, by: User) -> str:
    """The name with the digest that its registry reports for the tag, or Invalid saying why not."""
    try:
        named = registry.parse(image)
        if not named.tag:
            named = registry.parse(f"{image}:{tag}")
        login = None
        if connection is not None:
            opened = connections.open_as(connection, ConnectionKind.REGISTRY, bound_by=by)
            connections.require_host(opened, named.registry)
            login = Credentials(opened.settings.get("username", ""), opened.secrets["password"])
        return str(named.pinned(registry.digest_of(named, login)))
    except SluiceError as refusal:
        raise Invalid(
            f"dockerUrl “{image[:120]}” names no exact image, and its tag could not be looked up: "
            f"{refusal.detail} Send the digest that the registry reports: "
            "registry/name:tag@sha256:…"
        ) from refusal


def check_report(run: Run, place: Place, name: str, paths: Sequence[str], *, by: User) -> None:
    """Refuse files that `report_files` would refuse, before any byte of them is kept."""
    require_reportable(run, by)
    _check_paths(paths)
    _check_names(place, name)
    if run.artifacts.filter(
        stage=place.stage, job=place.job, step=place.step, attempt=place.attempt, name=name
    ).exists():
        raise _taken(run, place, name)


def require_reportable(run: Run, by: User) -> None:
    """Refuse unless `by` may add artifacts to `run` from outside."""
    rules.require(by, "run.report")
    if not run.is_external:
        raise WrongState(
            f"{run} runs inside Sluice: its steps upload its artifacts. "
            "Only a run that was started as external takes them over the API.",
            current=run.state,
        )
    _require_open(run)


def _check_paths(paths: Sequence[str]) -> None:
    if not paths:
        raise Invalid("An artifact needs at least one file.")
    if len(paths) > MAX_FILES:
        raise Invalid(f"An artifact may have at most {MAX_FILES} files, not {len(paths)}.")
    seen: set[str] = set()
    for path in paths:
        if check_path(path) in seen:
            raise InvalidFilename(f"The path “{path}” occurs twice in the artifact.")
        seen.add(path)


def _check_names(place: Place, name: str) -> None:
    if not NAME.match(name) or name == "default":
        raise Invalid(
            f"“{name[:80]}” cannot name an artifact: use 1 to 128 characters without spaces, "
            "slashes or $ [ ] { }, and not the word default."
        )
    for noun in ("stage", "job", "step"):
        if not HOP.match(getattr(place, noun)):
            raise Invalid(
                f"{noun} “{getattr(place, noun)[:80]}” could not stand in a reference: use 1 to "
                "64 letters, digits, _ and -."
            )


def _taken(run: Run, place: Place, name: str) -> NameTaken:
    return NameTaken(
        f"{run} has an artifact “{name}” from {place.stage}.{place.job}.{place.step} already. "
        "Artifacts never change: use another name."
    )


def _require_open(run: Run) -> None:
    run.refresh_from_db(fields=["state"])
    if run.state != ExecutionState.RUNNING:
        raise WrongState(
            f"{run} is {run.state}; artifacts are added while it is running.", current=run.state
        )


def _record(
    artifact: Artifact,
    run: Run,
    place: Place,
    name: str,
    files: Sequence[NamedBlob],
    *,
    by: User,
    then: Callable[[Artifact], None] | None = None,
) -> Artifact:
    _check_names(place, name)
    artifact.run = run
    artifact.stage, artifact.job, artifact.step = place.stage, place.job, place.step
    artifact.attempt = place.attempt
    artifact.name = name
    artifact.created_by = by
    artifact.created_at = timezone.now()
    try:
        with transaction.atomic():
            # The run may have ended while the bytes came in; a lock makes the answer hold.
            _require_open(Run.objects.select_for_update().get(pk=run.pk))
            blobs.hold(
                [file.blob.pk for file in files]
                + ([artifact.bundle_id] if artifact.bundle_id else [])
            )
            artifact.save(force_insert=True)
            ArtifactFile.objects.bulk_create(
                ArtifactFile(
                    artifact=artifact, path=file.path, blob=file.blob, executable=file.executable
                )
                for file in files
            )
            if then:
                then(artifact)
    except IntegrityError as error:
        raise _taken(run, place, name) from error
    return artifact


class HasBytes(Protocol):
    """A file of an artifact or of a version."""

    @property
    def path(self) -> str: ...
    @property
    def blob(self) -> Blob: ...
    @property
    def executable(self) -> bool: ...


def members(files: Iterable[HasBytes]) -> list[Member]:
    """The files as an archive of them takes them."""
    return [Member(each.path, each.blob.sha256, each.blob.size, each.executable) for each in files]


# ---- Describe ----------------------------------------------------------------------------------
def download_path(artifact: Artifact) -> str:
    """Ends with the name of the file, which is what `curl -O` and `wget` keep it under."""
    return reverse("api:artifact-download-named", args=[artifact.pk, artifact.bundle_name])


def descriptor(artifact: Artifact) -> dict[str, str]:
    """The descriptor with exactly the keys that Flow documents.

    `downloadUrl` is a link that needs no token for a while, for whoever runs curl.
    """
    if artifact.type == ArtifactType.DOCKER_IMAGE:
        return {
            "artifact": artifact.name,
            "type": artifact.type,
            "dockerUrl": artifact.image,
            "dockerTag": artifact.image_tag,
        }
    assert artifact.bundle is not None
    path = download_path(artifact)
    address = links.signed(path)
    if artifact.type == ArtifactType.PACKAGES:
        return {
            "artifact": artifact.name,
            "type": artifact.type,
            "repoId": artifact.repository,
            "downloadUrl": address,
            "version": artifact.version,
            "md5": artifact.bundle.md5,
        }
    return {
        "artifact": artifact.name,
        "type": artifact.type,
        "downloadUrl": address,
        "md5": artifact.bundle.md5,
    }


def properties(artifact: Artifact) -> dict[str, str]:
    """All that a reference can ask of an artifact: the descriptor, and its digests."""
    known = {**descriptor(artifact), "digest": artifact.digest}
    if artifact.bundle is not None:
        known |= {"sha256": artifact.bundle.sha256, "file": artifact.bundle_name}
    return known


def as_text(found: Mapping[str, str], property_: str | None) -> str | None:
    """What a reference becomes in text: the property asked for, or else the image or the URL."""
    if property_:
        return found.get(property_)
    return found.get("dockerUrl") or found.get("downloadUrl")


# ---- Find --------------------------------------------------------------------------------------
def resolve_text(run: Run, text: str) -> Artifact:
    """The artifact that a written reference means in `run`."""
    try:
        reference = parse_reference(text.strip())
    except ReferenceError_ as error:
        raise UnresolvedReference(f"“{text[:120]}” is not a reference: {error}.") from error
    return find(run, reference)


def find(run: Run, reference: Reference, *, stage: str | None = None) -> Artifact:
    """The artifact that `reference` means in `run`, read from the stage `stage`.

    Raises UnresolvedReference with the hop at which the way ended.
    """
    if reference.kind == "source":
        raise UnresolvedReference(
            f"{reference.text} names a source, not an artifact of a step of {run}."
        )
    if reference.kind == "pipeline":
        run = sources.upstream_run(run, reference.source or "")
    in_stage = reference.stage or stage
    current = run.artifacts.of_last_attempts()
    if in_stage is None:
        jobs = set(current.filter(job=reference.job or "").values_list("stage", flat=True))
        if len(jobs) > 1:
            raise UnresolvedReference(
                f"{reference.text} means a job of the same stage, and {run} has artifacts of a job "
                f"“{reference.job}” in several stages: write $[stages.<stage>.…]."
            )
        in_stage = jobs.pop() if jobs else ""
    made = current.filter(
        stage=in_stage, job=reference.job or "", step=reference.step or ""
    ).select_related("bundle", "run__pipeline")
    if reference.artifact != "default":
        made = made.filter(name=reference.artifact or "")
    found = list(made[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise UnresolvedReference(
            f"{reference.text}: the step {in_stage}.{reference.job}.{reference.step} of {run} made "
            "several artifacts; name the one you mean instead of default."
        )
    names = sorted(current.values_list("name", flat=True)[:20])
    raise UnresolvedReference(
        f"{reference.text}: {run} has no such artifact. "
        + (f"It has: {', '.join(names)}." if names else "It has none at all.")
    )
