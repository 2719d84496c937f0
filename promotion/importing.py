"""Importing: versions that exist elsewhere become versions here, by the verbs that all use.

Each comes in as an external run of a pipeline that stands for the import, whose files are published
when the run has succeeded. So an import that is killed leaves at most one run that never ended,
which the next import cancels, or one whose files the next import, or the sweeper, publishes.
"""

import contextlib
import fcntl
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.models import User
from pipelines import artifacts, blobs, definitions, runs
from pipelines import rules as pipeline_rules
from pipelines.errors import Conflict, Invalid, SluiceError
from pipelines.models import ExecutionState, Pipeline, Run, Trigger
from pipelines.models.artifact import ArtifactType
from promotion import publishing, rules, uploads
from promotion.incoming import Incoming, IncomingFile
from promotion.models import Repository, RepositoryKind, Version, VersionState
from promotion.models.version import check_version_name

#: How the comment of a run begins that an import opened. No other run of the pipeline is touched.
MARK = "Imported from "
PLACE = artifacts.Place("import", "import", "import")

DEFINITION = """\
name: Import into {repository}
stages:
  import:
    name: Import
    jobs:
      import:
        name: Import
        steps:
          import:
            step: Command
            with:
              run: |
                echo "manage.py import_packages reports the runs of this pipeline." >&2
                exit 1
"""


class Fate(StrEnum):
    """What became of a version, or would have become of it."""

    PUBLISHED = "published"
    PRESENT = "there already"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`why` says what was wrong; `files` and `size`, in bytes, what came in or is there."""

    fate: Fate
    why: str = ""
    files: int = 0
    size: int = 0


def require_importer(repository: Repository, by: User) -> None:
    """Refuse unless `by` may do all that an import does, before it does any of it."""
    for act in ("pipeline.write", "run.report", "run.cancel"):
        pipeline_rules.require(by, act)
    rules.require(by, "version.publish")
    if repository.kind != RepositoryKind.GENERIC:
        raise Invalid(f"{repository.name} holds images; import into a repository for files.")


def pipeline_for(repository: Repository, slug: str, *, by: User) -> Pipeline:
    """The pipeline that stands for imports into `repository`, made the first time."""
    found = Pipeline.objects.filter(slug=slug).first()
    return found or definitions.create(
        slug, "", DEFINITION.format(repository=repository.name), by=by
    )


@contextmanager
def alone(pipeline: Pipeline) -> Iterator[None]:
    """Keep a second import by the same pipeline out; the end of the process lets go in any case.

    Without it a second one would take the runs of the first for forgotten ones.
    """
    refusal = Conflict(f"Another import by the pipeline {pipeline.slug} is at work. Wait for it.")
    with (Path(settings.DATA_DIR) / f"import-{pipeline.slug}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        if connection.vendor != "postgresql":
            yield
            return
        # Other hosts share the database and not this folder.
        name = hashlib.sha256(f"sluice-import:{pipeline.pk}".encode()).digest()
        key = [int.from_bytes(name[:8], "big", signed=True)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", key)
            if cursor.fetchone() != (True,):
                raise refusal
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", key)


def settle(pipeline: Pipeline, *, by: User) -> int:
    """Bring to an end what an import before left undone; how many runs that were."""
    begun = pipeline.runs.filter(trigger=Trigger.EXTERNAL, comment__startswith=MARK)
    left = list(begun.open())
    for run in left:
        runs.cancel(run, by=by)
    unpublished = begun.filter(
        state=ExecutionState.SUCCEEDED,
        artifacts__type=ArtifactType.PACKAGES,
        artifacts__upload_outcome__isnull=True,
    )
    done = list(unpublished.values_list("pk", flat=True))
    for pk in done:
        uploads.publish_uploads(pk)
    return len(left) + len(done)


def take_in(
    incoming: Incoming,
    repository: Repository,
    pipeline: Pipeline,
    *,
    by: User,
    moved: Callable[[int], None] = lambda size: None,
) -> Outcome:
    """Publish one version, or find it there. Calls `moved` with the size of each piece read.

    Raises whatever is wrong with the version; nothing of it is left half done.
    """
    files = _checked_files(incoming)
    existing = _existing(incoming, repository)
    if existing is not None:
        return _compared(existing, files, moved)
    run = runs.report(pipeline, by=by, comment=f"{MARK}{incoming.place}")
    try:
        kept = [_keep(file, moved) for file in files]
        release = artifacts.Release(repository.name, incoming.version)
        uploads.check(run, incoming.package, release, kept)
        made = artifacts.report_files(run, PLACE, incoming.package, kept, by=by, release=release)
        runs.finish(run, ExecutionState.SUCCEEDED, by=by)
    except BaseException:
        _give_up(run, by)
        raise
    uploads.publish_uploads(run.pk)
    outcome = made.upload_outcome
    if outcome.refused:
        return Outcome(Fate.CONFLICT, outcome.refused)
    return Outcome(Fate.PUBLISHED, "", len(kept), sum(file.blob.size for file in kept))


def foresee(incoming: Incoming, repository: Repository) -> Outcome:
    """What `take_in` would make of it. Changes nothing."""
    files = _checked_files(incoming)
    existing = _existing(incoming, repository)
    if existing is not None:
        return _compared(existing, files, lambda size: None)
    return Outcome(Fate.PUBLISHED, "", len(files), sum(file.size or 0 for file in files))


def _checked_files(incoming: Incoming) -> Sequence[IncomingFile]:
    try:
        publishing.check_package_name(incoming.package)
    except Invalid as error:
        raise Invalid(f"{error.detail} Give it another name with --rename.") from error
    try:
        check_version_name(incoming.version)
    except ValidationError as error:
        raise Invalid(
            f"“{incoming.version[:80]}” cannot name a version. {error.message}"
        ) from error
    files = incoming.files()
    if not files:
        raise Invalid("It has no files. Put some there, or remove it.")
    return files


def _existing(incoming: Incoming, repository: Repository) -> Version | None:
    return (
        Version.objects.with_names()
        .filter(
            package__repository=repository, package__name=incoming.package, name=incoming.version
        )
        .first()
    )


def _compared(
    version: Version, files: Sequence[IncomingFile], moved: Callable[[int], None]
) -> Outcome:
    """Whether a version that is there has just these files.

    What a manifest says of each file is compared, sizes first: no byte of a version that differs in
    more than its bytes is read, and none is stored.
    """
    if version.state == VersionState.RECALLED:
        return Outcome(Fate.CONFLICT, f"{version} was recalled. Its name is never used again.")
    if version.pruned_at is not None:
        return Outcome(Fate.CONFLICT, f"{version} was pruned. Its name is never used again.")
    here = {file.path: file for file in version.files.select_related("blob")}
    there = {file.path: file for file in files}
    why = ""
    if missing := min(here.keys() - there.keys(), default=None):
        why = f"it has a file {missing}, which is not among these"
    elif added := min(there.keys() - here.keys(), default=None):
        why = f"it has no file {added}"
    for path, file in there.items():
        if why:
            break
        if file.size not in {None, here[path].blob.size}:
            why = f"{path} has {here[path].blob.size} bytes in it, and {file.size} here"
        elif file.executable != here[path].executable:
            why = f"{path} is executable in one of them only"
    for path, file in there.items():
        if why:
            break
        if (file.sha256() or _read(file, moved)) != here[path].blob_id:
            why = f"{path} has other bytes"
    if why:
        return Outcome(
            Fate.CONFLICT,
            f"{version} exists and differs: {why}. A version never changes; give this one another "
            "name.",
        )
    size = sum(file.blob.size for file in here.values())
    return Outcome(Fate.PRESENT, "", len(here), size)


def _read(file: IncomingFile, moved: Callable[[int], None]) -> str:
    hasher = hashlib.sha256()
    with file.open() as pieces:
        for piece in pieces:
            hasher.update(piece)
            moved(len(piece))
    return hasher.hexdigest()


def _keep(file: IncomingFile, moved: Callable[[int], None]) -> artifacts.NamedBlob:
    def counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            moved(len(piece))

    with file.open() as pieces:
        blob = blobs.keep_bytes(counted(pieces))
    return artifacts.NamedBlob(file.path, blob, file.executable)


def _give_up(run: Run, by: User) -> None:
    """End a run that came to nothing. Where even that fails, the next import does it."""
    with contextlib.suppress(SluiceError, OSError):
        runs.cancel(run, by=by)
