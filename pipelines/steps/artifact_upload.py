"""The step `ArtifactUpload`: files of the workspace become an artifact of the run."""

import os
import stat
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path, PurePosixPath

from pipelines import artifacts, blobs, releases
from pipelines.errors import SluiceError
from pipelines.steps.base import StepContext, StepFailed

SHOWN = 20


def run(context: StepContext) -> None:
    name = context.text("artifact")
    release = _release(context) if context.text("uploadType") == "packages" else None
    try:
        files = [
            _kept(context, path, inner)
            for path, inner in _selected(context, bool(context.with_.get("includePathInArtifact")))
        ]
        if release is not None:
            # Before anything is recorded: what could not be published would only be found later.
            releases.check(context.run, name, release, files)
        artifact = artifacts.store_files(
            context.run,
            context.made_at,
            name,
            files,
            by=context.run.started_by,
            release=release,
        )
    except SluiceError as error:
        raise StepFailed(error.detail) from error
    total = sum(file.blob.size for file in files)
    context.log.say(f"uploaded “{name}”: {len(files)} files, {total} bytes, {artifact.digest}")
    if release is not None:
        context.log.say(
            f"it becomes {release.repository}/{name} {release.version} once this run has succeeded"
        )


def _release(context: StepContext) -> artifacts.Release:
    version = context.text("version").strip()
    if not version:
        raise StepFailed("uploadType packages needs the version to publish as: give `version`.")
    return artifacts.Release(context.text("repo"), version)


def _selected(context: StepContext, include_path: bool) -> Iterator[tuple[Path, str]]:
    """Each file to upload and its path in the artifact."""
    seen: set[str] = set()
    for pattern in context.texts("filePath"):
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise StepFailed(f"filePath “{pattern}” leads out of the workspace.")
        matches = (
            sorted(context.folder.glob(pattern))
            if has_magic(pattern)
            else [context.folder / pattern]
        )
        matches = [match for match in matches if os.path.lexists(match)]
        if not matches:
            raise StepFailed(f"filePath “{pattern}” matches nothing. {_what_is_there(context)}")
        for match in matches:
            top = context.folder if include_path or not match.is_dir() else match
            for file in _files_below(match):
                inner = (
                    file.relative_to(top).as_posix() if include_path or top == match else file.name
                )
                if inner in seen:
                    raise StepFailed(
                        f"Two files would be “{inner}” in the artifact. "
                        "Set includePathInArtifact: true."
                    )
                seen.add(inner)
                yield file, inner


def _what_is_there(context: StepContext) -> str:
    if not context.folder.is_dir():
        return f"There is no folder {context.folder.name}."
    there = sorted(entry.name for entry in context.folder.iterdir())
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    return f"The folder holds: {', '.join(there[:SHOWN]) or 'nothing'}{more}."


def _files_below(path: Path) -> Iterator[Path]:
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for folder, folders, names in os.walk(path):
        # Sorted, so that the same tree always uploads in the same order.
        folders[:] = sorted(name for name in folders if name != ".git")
        # Links to folders are not followed; they are handed on to be refused, not left out.
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield Path(folder) / name


def _kept(context: StepContext, path: Path, inner: str) -> artifacts.NamedBlob:
    """Keep one file's bytes. A link that leads out of the workspace is refused, because the worker
    may read what the step may not."""
    real = path.resolve()
    if not real.is_relative_to(context.place.workspace.resolve()):
        raise StepFailed(f"“{inner}” is a link that leads out of the workspace.")
    handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise StepFailed(f"“{inner}” is not a plain file.")
        blob = blobs.keep_stream(stream)
    return artifacts.NamedBlob(inner, blob, executable=bool(mode & stat.S_IXUSR))
