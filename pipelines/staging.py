"""Bytes on their way in: a temporary file of this machine, hashed as it grows."""

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File

from pipelines.errors import StorageUnavailable, TooLarge
from pipelines.hashing import Digests

CHUNK = 1024 * 1024
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
#: How staged files are called, and what /readyz tries the folder with.
PREFIXES = ("staged-", "probe-")


class Staged:
    """Bytes on their way in, hashed as they come."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self.path = path
        self.size = 0
        self._digests = Digests()
        # Until it is closed, by us or by the end of the process, `sweep_staging` spares the file.
        fcntl.flock(file.fileno(), fcntl.LOCK_SH)

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(
                f"A file may have at most {settings.MAX_UPLOAD_BYTES} bytes "
                "(SLUICE_MAX_UPLOAD_BYTES)."
            )
        with storage_faults():
            self._file.write(chunk)
        self._digests.update(chunk)

    @property
    def sha256(self) -> str:
        return self._digests.sha256

    @property
    def md5(self) -> str:
        return self._digests.md5

    def sync(self) -> None:
        with storage_faults():
            self._file.flush()
            os.fsync(self._file.fileno())

    def discard(self) -> None:
        # On a full disk closing fails too, with what is still to be written: it is not wanted.
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def storage_faults() -> Iterator[None]:
    """Turn a full or failing disk into a refusal that the sender can understand."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise StorageUnavailable(
                "The storage has no room or failed while writing. Nothing was kept; free space "
                "or mend the disk, then send it again."
            ) from error
        raise


def open_stage() -> Staged:
    """A staged file whose owner calls `discard` in the end, whatever happened."""
    folder = Path(settings.BLOB_STAGING_DIR)
    with storage_faults():
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle, name = tempfile.mkstemp(dir=folder, prefix=PREFIXES[0])
    return Staged(os.fdopen(handle, "wb", buffering=CHUNK), Path(name))


@contextmanager
def stage() -> Iterator[Staged]:
    staged = open_stage()
    try:
        yield staged
    finally:
        staged.discard()


class StagedFile(File[bytes]):
    """A staged file as storages take it; local ones link it by its path instead of copying."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, name=path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)


def sweep_staging(older: timedelta = timedelta(days=1)) -> int:
    """Remove staged files that nobody has open and nobody wrote to for so long; how many."""
    cutoff = time.time() - older.total_seconds()
    return sum(
        _remove_unused(path, cutoff)
        for path in Path(settings.BLOB_STAGING_DIR).glob("*")
        if path.name.startswith(PREFIXES)
    )


def _remove_unused(path: Path, cutoff: float) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if os.fstat(file.fileno()).st_mtime >= cutoff:
            return False
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
        return True
    return False
