"""Bytes by digest: staged while they are hashed, kept once, never half visible.

    with blobs.stage() as staged:        # a temporary file beside the store
        for chunk in chunks:
            staged.write(chunk)
        blob = blobs.keep(staged)        # synced, linked into place, row written

Leaving the block without `keep` removes the temporary file and leaves nothing behind.
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.utils import timezone

from pipelines.errors import BytesGone, Invalid, StorageUnavailable, TooLarge
from pipelines.models import Blob, BlobState

CHUNK = 1024 * 1024
BATCH = 500
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Staged:
    """Bytes on their way in, hashed as they come."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self.path = path
        self.size = 0
        self._sha256 = hashlib.sha256()
        # MD5 is Flow's name for an artifact, not a proof of anything.
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(
                f"A file may have at most {settings.MAX_UPLOAD_BYTES} bytes "
                "(SLUICE_MAX_UPLOAD_BYTES)."
            )
        with storage_faults():
            self._file.write(chunk)
        self._sha256.update(chunk)
        self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

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
        handle, name = tempfile.mkstemp(dir=folder, prefix="staged-")
    return Staged(os.fdopen(handle, "wb", buffering=CHUNK), Path(name))


@contextmanager
def stage() -> Iterator[Staged]:
    staged = open_stage()
    try:
        yield staged
    finally:
        staged.discard()


def keep(staged: Staged) -> Blob:
    """Keep the staged bytes and answer their row; the same bytes are stored once.

    The bytes are durable before the row exists, so that a row never names bytes that a crash took.
    """
    now = timezone.now()
    blob = Blob(sha256=staged.sha256, md5=staged.md5, size=staged.size, created_at=now)
    is_known = _take_back([blob.pk]) and not _is_composed(blob.pk)
    if not is_known or not store().exists(blob.storage_name):
        staged.sync()
        with storage_faults(), staged.path.open("rb") as content:
            store().save(blob.storage_name, StagedFile(content, staged.path))
        Blob.objects.bulk_create([blob], ignore_conflicts=True)
        # Removed before, or composed until now: from here on the bytes themselves are there.
        Blob.objects.filter(pk=blob.pk).update(state=BlobState.KEPT, kept_at=now, recipe=None)
    return Blob.objects.get(pk=blob.pk)


def hold(digests: Collection[str]) -> None:
    """Make sure that these bytes are there and stay. To be called in the very transaction that
    begins to refer to them.

    The collector removes only what was not held since it looked (collecting.py), and a row that is
    held cannot be condemned before the transaction's end. Raises BytesGone where it came too late.
    """
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        # One order for all, so that two who hold the same bytes do not wait for each other.
        list(Blob.objects.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk"))
        if _take_back(batch) != len(batch):
            there = Blob.objects.there().filter(pk__in=batch).values_list("pk", flat=True)
            gone = min(set(batch) - set(there))
            raise BytesGone(
                f"The bytes {gone} are no longer kept: retention removed them. "
                "Build or send them anew."
            )


def _take_back(digests: Collection[str]) -> int:
    """Note that these bytes are wanted, and answer how many of them are there."""
    return (
        Blob.objects.filter(pk__in=digests)
        .exclude(state=BlobState.REMOVED)
        .update(state=BlobState.KEPT, kept_at=timezone.now())
    )


def _is_composed(sha256: str) -> bool:
    return Blob.objects.filter(pk=sha256, recipe__isnull=False).exists()


def erase(blob: Blob) -> None:
    """Remove the stored bytes. Called by collecting.py alone, which holds the row."""
    store().delete(blob.storage_name)


def keep_stream(source: Readable) -> Blob:
    """Keep all that `source` has to read."""
    with stage() as staged:
        while chunk := source.read(CHUNK):
            staged.write(chunk)
        return keep(staged)


def keep_bytes(chunks: Iterable[bytes]) -> Blob:
    with stage() as staged:
        for chunk in chunks:
            staged.write(chunk)
        return keep(staged)


def open_blob(blob: Blob) -> IO[bytes]:
    """The blob's bytes for reading. Raises FileNotFoundError when the storage has lost them."""
    return store().open(blob.storage_name, "rb")


def copy_to(blob: Blob, target: Path) -> None:
    """Write the blob's bytes to a new file, which is gone again if they are not what they were."""
    hasher = hashlib.sha256()
    with open_blob(blob) as stream, target.open("xb") as out:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
            out.write(chunk)
    if hasher.hexdigest() != blob.sha256:
        target.unlink()
        raise Invalid(f"The stored bytes of {blob.sha256} are damaged; they were not handed out.")


def is_whole(blob: Blob) -> bool:
    """Whether the storage has the blob with the recorded size."""
    try:
        return store().size(blob.storage_name) == blob.size
    except OSError:
        return False


def reads_true(blob: Blob, *, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether re-reading every byte gives the recorded digest; calls `meanwhile` at each piece."""
    hasher = hashlib.sha256()
    try:
        with open_blob(blob) as stream:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                meanwhile()
    except OSError:
        return False
    return hasher.hexdigest() == blob.sha256


def store() -> Storage:
    return storages["blobs"]


class StagedFile(File[bytes]):
    """A staged file as storages take it; local ones link it by its path instead of copying."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, name=path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)
