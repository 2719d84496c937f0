"""Local storage that keeps what it was given: durable, and never half visible."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from django.core.files import File
from django.core.files.storage import FileSystemStorage

CHUNK = 1024 * 1024
#: What files are called that are not wholly there yet. No digest begins like it.
PARTIAL = "partial-"
# Another file system, or one of those on the network that have no links.
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored file, as a listing shows it."""

    name: str
    size: int
    modified: datetime


class Durable(Protocol):
    """What a storage of blobs can do besides what each of Django's storages can."""

    def replace(self, name: str, content: File[bytes]) -> None:
        """Put `content` where other bytes may be, at once and wholly."""

    def listed(self, below: str) -> Iterator[Stored]:
        """Every file whose name begins with the folder `below`."""

    def check(self) -> None:
        """Raise where nothing could be kept at present."""


class DurableFileSystemStorage(FileSystemStorage):
    """Content-addressed files in a local folder.

    Django's own FileSystemStorage never syncs and silently takes another name when one is taken.
    Here a file that was staged on the same file system is linked into place after its bytes have
    been synced, and the folder is synced after that. A name that is taken already holds the same
    bytes, because names are digests, and is left alone.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        final = Path(self.path(name))
        make_durable_folder(final.parent, Path(self.location))
        staged = getattr(content, "temporary_file_path", None)
        if staged is None or not _link(Path(staged()), final):
            _write(content, final)
        sync_folder(final.parent)
        return name

    def replace(self, name: str, content: File[bytes]) -> None:
        final = Path(self.path(name))
        make_durable_folder(final.parent, Path(self.location))
        _write(content, final)
        sync_folder(final.parent)

    def listed(self, below: str) -> Iterator[Stored]:
        top = Path(self.location)
        for folder, _, files in os.walk(top / below):
            for file in files:
                path = Path(folder) / file
                with suppress(FileNotFoundError):
                    found = path.stat()
                    yield Stored(
                        path.relative_to(top).as_posix(),
                        found.st_size,
                        datetime.fromtimestamp(found.st_mtime, UTC),
                    )

    def check(self) -> None:
        folder = Path(self.location)
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _link(staged: Path, final: Path) -> bool:
    """Link the staged file into place; whether that can be done at all between the two."""
    try:
        os.link(staged, final)
    except FileExistsError:
        # Whoever linked it may not have synced the folder yet.
        pass
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def _write(content: File[Any], final: Path) -> None:
    """Write the bytes beside their place, sync them, and only then rename them into it, which is
    as atomic as a link and replaces a file of the same digest by the same bytes."""
    content.seek(0)
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=PARTIAL)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb", buffering=CHUNK) as out:
            while chunk := content.read(CHUNK):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def make_durable_folder(folder: Path, top: Path) -> None:
    """Make `folder` and its parents below `top`, syncing each parent that gained an entry."""
    if folder.is_dir():
        return
    if folder != top:
        make_durable_folder(folder.parent, top)
    folder.mkdir(exist_ok=True, mode=0o750)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
