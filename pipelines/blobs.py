"""Bytes by digest: staged while they are hashed, kept once, never half visible.

    with blobs.stage() as staged:        # a temporary file beside the store
        for chunk in chunks:
            staged.write(chunk)
        blob = blobs.keep(staged)        # synced, put into place, row written

Leaving the block without `keep` removes the temporary file and leaves nothing behind. Where the
site has a second copy, bytes are kept when they are in both; what the first has lost is read from
the second.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

from django.core.files import File
from django.core.files.storage import (
    FileSystemStorage,
    InvalidStorageError,
    Storage,
    storages,
)
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from pipelines import bundles, hashing
from pipelines.errors import BytesGone, Invalid, StorageUnavailable
from pipelines.models import Blob, BlobState
from pipelines.s3 import DurableS3Storage
from pipelines.staging import (
    CHUNK,
    Staged,
    StagedFile,
    open_stage,
    stage,
    storage_faults,
    sweep_staging,
)

__all__ = [
    "CHUNK",
    "Readable",
    "Staged",
    "StagedFile",
    "abort_stale_uploads",
    "compose",
    "copy_into",
    "copy_to",
    "erase",
    "fault_in",
    "has",
    "hold",
    "is_whole",
    "keep",
    "keep_bytes",
    "keep_stream",
    "let_go",
    "open_blob",
    "open_member",
    "open_stage",
    "places",
    "reads_true",
    "reads_true_in",
    "repair",
    "stage",
    "storage_faults",
    "store",
    "stores",
    "sweep_staging",
]

BATCH = 500


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def keep(staged: Staged) -> Blob:
    """Keep the staged bytes and answer their row; the same bytes are stored once.

    The bytes are durable before the row exists, so that a row never names bytes that a crash took.
    """
    now = timezone.now()
    blob = Blob(sha256=staged.sha256, md5=staged.md5, size=staged.size, created_at=now)
    is_known = _take_back([blob.pk]) and not _is_composed(blob.pk)
    if not is_known or not all(has(storage, blob) for storage in stores()):
        staged.sync()
        _store(blob, staged)
        with transaction.atomic():
            Blob.objects.bulk_create([blob], ignore_conflicts=True)
            # While the row is locked nothing removes the bytes. Until then they may have gone:
            # others kept them, which is why they needed no saving, and the collector came.
            Blob.objects.select_for_update().get(pk=blob.pk)
            _store(blob, staged)
            # Removed before, or composed until now: from here on the bytes themselves are there.
            Blob.objects.filter(pk=blob.pk).update(state=BlobState.KEPT, kept_at=now, recipe=None)
    return Blob.objects.get(pk=blob.pk)


def _store(blob: Blob, staged: Staged) -> None:
    """Put the staged bytes into each storage that does not have them wholly."""
    for nth, storage in enumerate(stores()):
        size = _size_in(storage, blob)
        if size == blob.size:
            continue
        with storage_faults(), staged.path.open("rb") as content:
            # Linked in two folders it would be one file, and its damage the damage of both.
            linked = nth == 0 or not isinstance(storage, FileSystemStorage)
            file = StagedFile(content, staged.path) if linked else File(content, blob.sha256)
            if size is None:
                storage.save(blob.storage_name, file)
            else:
                # Somebody cut it short, or put something else there.
                cast(Any, storage).replace(blob.storage_name, file)


def has(storage: Storage, blob: Blob) -> bool:
    return _size_in(storage, blob) == blob.size


def _size_in(storage: Storage, blob: Blob) -> int | None:
    try:
        return storage.size(blob.storage_name)
    except FileNotFoundError:
        return None


def hold(digests: Collection[str]) -> None:
    """Make sure that these bytes are there and stay. To be called in the very transaction that
    begins to refer to them.

    The collector removes only what was not held since it looked (collecting.py), and a row that is
    held cannot be condemned before the transaction's end. Raises BytesGone where it came too late.
    """
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        there = {blob.pk for blob in _locked(batch) if not _is_gone(blob)}
        if gone := sorted(set(batch) - there):
            raise BytesGone(
                f"The bytes {gone[0]} are no longer kept: retention removed them. "
                "Build or send them anew."
            )
        _take_back(batch)


def let_go(digests: Collection[str]) -> None:
    """Have the time of grace begin for these bytes: whoever is reading them just now may finish.
    To be called in the transaction that ends a reference."""
    wanted = sorted(set(digests))
    for start in range(0, len(wanted), BATCH):
        locked = [blob.pk for blob in _locked(wanted[start : start + BATCH])]
        Blob.objects.filter(pk__in=locked).update(kept_at=timezone.now())


def _locked(batch: Collection[str]) -> "QuerySet[Blob]":
    """The rows, in one order for all, so that two who hold the same do not wait for each other."""
    return Blob.objects.select_for_update().filter(pk__in=batch).order_by("pk")


def _is_gone(blob: Blob) -> bool:
    if blob.state == BlobState.CONDEMNED and blob.recipe is None:
        # A collector may have died after it had removed them and before it could say so.
        return not is_whole(blob)
    return blob.state == BlobState.REMOVED


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
    # The second copy goes first: where that fails, all is still as it was.
    for storage in reversed(stores()):
        storage.delete(blob.storage_name)


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


# ---- Reading -----------------------------------------------------------------------------------
def open_blob(blob: Blob) -> IO[bytes]:
    """The blob's bytes for reading and seeking. Raises FileNotFoundError when the storage has lost
    them, and StorageSilent when it does not answer; those of a composed blob are looked for as they
    are read."""
    if blob.recipe is not None:
        return bundles.open_bundle(bundles.Recipe.read(blob.recipe), open_member)
    return _open_stored(blob, stores())


def _open_stored(blob: Blob, places: "list[Storage]") -> IO[bytes]:
    """Out of the first storage that has them with their size."""
    fault: Exception | None = None
    for storage in places:
        try:
            stream = storage.open(blob.storage_name, "rb")
        except (OSError, StorageUnavailable) as error:
            # That one storage lost them says less than that another could not be asked.
            if fault is None or isinstance(fault, FileNotFoundError):
                fault = error
            continue
        if storage is places[-1] or stream.size == blob.size:
            return stream
        stream.close()
    assert fault is not None, "without a fault the last storage's stream has been answered"
    raise fault


def open_member(member: bundles.Member) -> IO[bytes]:
    """The bytes of a file of a bundle, which may be composed in turn."""
    try:
        return open_blob(Blob(sha256=member.sha256, size=member.size))
    except FileNotFoundError:
        if (inner := _composed(member)) is None:
            raise
        return open_blob(inner)


def compose(members: Sequence[bundles.Member]) -> Blob:
    """The bundle of these kept files as a blob: its row alone, unless its bytes are stored already.

    Every file is read once, because there is no shorter way to the digests.
    """
    digests = [member.sha256 for member in members]
    found = hashing.Digests()
    try:
        with bundles.SummedTar(members, open_member) as tar:
            for chunk in bundles.compose_bundle(tar):
                found.update(chunk)
    except FileNotFoundError:
        # Where the collector came in between, this says so; otherwise the storage has lost them.
        with transaction.atomic():
            hold(digests)
        raise
    recipe = bundles.Recipe(bundles.in_order(members), tar.crc32).as_json()
    now = timezone.now()
    blob = Blob(sha256=found.sha256, md5=found.md5, size=found.size, created_at=now, recipe=recipe)
    Blob.objects.bulk_create([blob], ignore_conflicts=True)
    if not _take_back([blob.pk]):
        Blob.objects.filter(pk=blob.pk, state=BlobState.REMOVED).update(
            state=BlobState.KEPT, kept_at=now, recipe=recipe
        )
    kept = Blob.objects.get(pk=blob.pk)
    if kept.recipe is None and not is_whole(kept):
        # Stored once and lost since: from here on it is made of its files.
        Blob.objects.filter(pk=blob.pk, recipe__isnull=True).update(recipe=recipe)
    # The bundle is never wanted for longer than its files, so the collector takes it before them.
    with transaction.atomic():
        hold(digests)
    return Blob.objects.get(pk=blob.pk)


def _composed(member: bundles.Member) -> Blob | None:
    return Blob.objects.filter(pk=member.sha256, recipe__isnull=False).first()


def _has_member(member: bundles.Member) -> bool:
    if is_whole(Blob(sha256=member.sha256, size=member.size)):
        return True
    inner = _composed(member)
    return inner is not None and is_whole(inner)


def copy_to(blob: Blob, target: Path) -> None:
    """Write the blob's bytes to a new file, which is gone again if they are not what they were."""
    for read in _ways_to_read(blob):
        hasher = hashlib.sha256()
        with read() as stream, target.open("xb") as out:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                out.write(chunk)
        if hasher.hexdigest() == blob.sha256:
            return
        target.unlink()
    raise Invalid(f"The stored bytes of {blob.sha256} are damaged; they were not handed out.")


def _ways_to_read(blob: Blob) -> Iterator[Callable[[], IO[bytes]]]:
    """As everybody reads it, and after that out of the second copy alone, if it has them."""
    yield lambda: open_blob(blob)
    for storage in stores()[1:]:
        if blob.recipe is None and has(storage, blob):
            yield lambda: _open_stored(blob, [storage])  # noqa: B023  # called before the next


def copy_into(
    blob: Blob, storage: Storage, *, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Copy the blob's bytes to `storage`, unless it has them with their size.

    They are hashed on their way out: damaged ones are Invalid, and nothing of them stays there.
    """
    if has(storage, blob):
        return
    with open_blob(blob) as stream:
        storage.save(blob.storage_name, _Verified(stream, blob, meanwhile))


class _Verified(File[bytes]):
    """A blob as storages take it, which at its end refuses to have been other bytes."""

    def __init__(self, stream: IO[bytes], blob: Blob, meanwhile: Callable[[], None]) -> None:
        super().__init__(stream, name=blob.sha256)
        self._stream = stream
        self._blob = blob
        self._meanwhile = meanwhile
        self._hasher = hashlib.sha256()
        self.size = blob.size

    def seek(self, offset: int, whence: int = 0) -> int:
        assert (offset, whence) == (0, 0), "it is read once, from its beginning to its end"
        self._hasher = hashlib.sha256()
        return self._stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._hasher.update(chunk)
        self._meanwhile()
        # A reader who got less than it asked for is at the end and may not ask again.
        if (size < 0 or len(chunk) < size) and self._hasher.hexdigest() != self._blob.sha256:
            raise Invalid(
                f"The stored bytes of {self._blob.sha256} are damaged; they were not copied."
            )
        return chunk


def is_whole(blob: Blob) -> bool:
    """Whether the storage has the blob, or all that it is composed of, with the recorded size."""
    if blob.recipe is not None:
        return all(map(_has_member, bundles.Recipe.read(blob.recipe).members))
    try:
        with open_blob(blob) as stream:
            return bool(cast(Any, stream).size == blob.size)
    except OSError:
        return False


def reads_true(blob: Blob, *, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether re-reading every byte gives the recorded digest; calls `meanwhile` at each piece."""
    return _is_true(blob, lambda: open_blob(blob), meanwhile)


def reads_true_in(
    blob: Blob, storage: Storage, *, meanwhile: Callable[[], None] = lambda: None
) -> bool:
    """Whether re-reading every byte in `storage` gives the recorded digest."""
    return _is_true(blob, lambda: storage.open(blob.storage_name, "rb"), meanwhile)


def _is_true(blob: Blob, read: Callable[[], IO[bytes]], meanwhile: Callable[[], None]) -> bool:
    hasher, size = hashlib.sha256(), 0
    try:
        with read() as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                if size > blob.size:
                    # Somebody else's bucket may have no end.
                    return False
                hasher.update(chunk)
                meanwhile()
    except OSError:
        return False
    return hasher.hexdigest() == blob.sha256


# ---- Where they are ----------------------------------------------------------------------------
def store() -> Storage:
    return storages["blobs"]


def stores() -> "list[Storage]":
    """Every storage that bytes are kept in; the first is read."""
    try:
        return [storages["blobs"], storages["blobs-copy"]]
    except InvalidStorageError:
        return [storages["blobs"]]


def places() -> "dict[str, Storage]":
    """The same storages as a report calls them."""
    return dict(zip(("the storage", "the second copy"), stores(), strict=False))


def fault_in(storage: Storage, blob: Blob, *, scrub: bool = False) -> str:
    """What is wrong with the blob's own bytes in `storage`; empty if nothing is."""
    if not has(storage, blob):
        return f"is missing or does not have {blob.size} bytes"
    if scrub and not reads_true_in(blob, storage):
        return "reads as other bytes"
    return ""


def repair(blob: Blob, storage: Storage, *, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Put the blob's bytes right in `storage`, out of another that has them; whether that was.

    They are read wholly and compared before anything is written.
    """
    for other in stores():
        if other is storage or not reads_true_in(blob, other, meanwhile=meanwhile):
            continue
        with other.open(blob.storage_name, "rb") as stream:
            cast(Any, storage).replace(blob.storage_name, _Verified(stream, blob, meanwhile))
        return reads_true_in(blob, storage, meanwhile=meanwhile)
    return False


def abort_stale_uploads() -> int:
    """Abort what was begun in buckets and never ended; how many uploads that were."""
    return sum(
        storage.abort_stale_uploads()
        for storage in stores()
        if isinstance(storage, DurableS3Storage)
    )
