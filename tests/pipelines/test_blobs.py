"""Blobs: bytes by digest, kept once, durable, and never half visible."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.conf import settings
from django.test import override_settings

from pipelines import blobs
from pipelines.errors import StorageUnavailable, TooLarge
from pipelines.models import Blob
from tests.parallel import at_once
from tests.parts.strace import STRACE
from tests.pipelines.stored import Place
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

TOP = Path(settings.DATA_DIR) / "blobs"


def fresh(name: str = "") -> bytes:
    """Bytes that no other test has kept."""
    return os.urandom(32) + name.encode()


def staged_files() -> list[Path]:
    return list(Path(settings.BLOB_STAGING_DIR).iterdir())


def test_bytes_are_named_by_their_digest_and_nothing_else() -> None:
    data = fresh("../../etc/passwd")
    blob = blobs.keep_bytes([data[:5], data[5:]])
    sha256 = hashlib.sha256(data).hexdigest()
    assert (blob.sha256, blob.size) == (sha256, len(data))
    assert blob.md5 == hashlib.md5(data).hexdigest()
    file = TOP / "sha256" / sha256[:2] / sha256
    assert file.read_bytes() == data
    assert blob.storage_name == file.relative_to(TOP).as_posix()
    assert staged_files() == []


def test_the_same_bytes_are_stored_once(place: Place) -> None:
    data = fresh()
    first = blobs.keep_bytes([data])
    assert place.read(first) == data
    names = place.names()
    with nothing_changes():
        assert blobs.keep_bytes([data]) == first
    assert place.names() == names


def test_nothing_at_all_can_be_kept_too(place: Place) -> None:
    blob = blobs.keep_bytes([])
    assert (blob.sha256, blob.size) == (hashlib.sha256(b"").hexdigest(), 0)
    assert blobs.is_whole(blob)
    assert blobs.reads_true(blob)


def test_bytes_whose_row_is_there_and_whose_file_is_lost_are_stored_again(place: Place) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    place.lose(blob)
    assert not blobs.is_whole(blob)
    with pytest.raises(FileNotFoundError):
        blobs.open_blob(blob)
    assert blobs.keep_bytes([data]) == blob
    assert blobs.reads_true(blob)


def test_leaving_the_block_leaves_nothing_behind() -> None:
    with nothing_changes(), pytest.raises(ZeroDivisionError), blobs.stage() as staged:
        staged.write(fresh())
        assert staged_files() == [staged.path]
        raise ZeroDivisionError
    with nothing_changes(), blobs.stage() as staged:
        staged.write(fresh())


def test_bytes_that_were_cut_short_are_stored_again_in_their_place(place: Place) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    place.overwrite(blob, data[:-1])
    assert blobs.keep_bytes([data]) == blob
    assert place.read(blob) == data


def test_a_stream_is_read_to_its_end(place: Place, tmp_path: Path) -> None:
    data = os.urandom(9 * blobs.CHUNK + 7)
    (tmp_path / "big").write_bytes(data)
    with (tmp_path / "big").open("rb") as stream:
        blob = blobs.keep_stream(stream)
    assert blob.size == len(data)
    with blobs.open_blob(blob) as kept:
        assert kept.read() == data
        for start in (5 * blobs.CHUNK, 3, len(data) - 2, len(data) + 9):
            kept.seek(start)
            assert kept.read(10) == data[start : start + 10]
        assert kept.seek(-4, os.SEEK_END) == len(data) - 4
        assert kept.read() == data[-4:]
    assert staged_files() == []


def test_what_is_too_large_is_refused_at_the_byte_that_is_too_much() -> None:
    data = fresh()
    with override_settings(MAX_UPLOAD_BYTES=len(data)):
        blobs.keep_bytes([data])
        with nothing_changes(), pytest.raises(TooLarge), blobs.stage() as staged:
            staged.write(data)
            staged.write(b"1")


def test_damage_is_told_from_loss(place: Place) -> None:
    blob = blobs.keep_bytes([fresh()])
    whole = place.read(blob)
    place.overwrite(blob, whole[::-1])
    assert blobs.is_whole(blob)
    assert not blobs.reads_true(blob)
    place.overwrite(blob, whole[:-1])
    assert not blobs.is_whole(blob)
    place.lose(blob)
    assert not blobs.is_whole(blob)
    assert not blobs.reads_true(blob)


# ---- Disks that fail ----------------------------------------------------------------------------
@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A real limit of the operating system: a write past it fails, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [100, 3 * blobs.CHUNK], ids=["in the last write", "on the way"])
def test_a_write_that_the_system_refuses_is_a_refusal_that_can_be_understood(size: int) -> None:
    known = blobs.keep_bytes([fresh()])
    data = os.urandom(size)
    with nothing_changes(), pytest.raises(StorageUnavailable), files_of_at_most(size // 2):
        blobs.keep_bytes([data])
    assert blobs.reads_true(known), "what was kept before can still be read"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_bytes_that_cannot_be_made_durable_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The system call is replaced: no device that fails in fsync alone can be had without root."""
    synced: list[int] = []

    def fail(handle: int) -> NoReturn:
        synced.append(handle)
        raise OSError(number, os.strerror(number))

    data = fresh()
    with nothing_changes(), pytest.raises(StorageUnavailable), monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        blobs.keep_bytes([data])
    assert len(synced) == 1, "a sync that failed is never tried again on the same file"
    assert blobs.keep_bytes([data]).size == len(data)


def test_another_fault_of_the_system_is_not_mistaken_for_a_full_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(handle: int) -> NoReturn:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    with nothing_changes(), pytest.raises(OSError, match="Invalid argument"):  # noqa: SIM117
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            blobs.keep_bytes([fresh()])


def test_the_bytes_are_durable_before_their_row_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of system calls is looked at, not replaced: each still does its work."""
    happened: list[str] = []
    sync, link = os.fsync, os.link

    def noted_sync(handle: int) -> None:
        is_folder = Path(f"/proc/self/fd/{handle}").resolve().is_dir()
        happened.append("sync folder" if is_folder else "sync file")
        assert not Blob.objects.filter(pk=sha256).exists()
        sync(handle)

    def noted_link(source: Any, target: Any) -> None:
        happened.append("link")
        link(source, target)

    data = fresh()
    sha256 = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "link", noted_link)
    blobs.keep_bytes([data])
    assert happened[0] == "sync file"
    assert happened.index("link") < len(happened) - 1
    assert happened[-1] == "sync folder"


def test_a_file_system_without_links_is_served_by_renaming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some network file systems refuse link(2); none of them is at hand."""

    def fail(source: Any, target: Any) -> NoReturn:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    data = fresh()
    blob = blobs.keep_bytes([data])
    assert blobs.reads_true(blob)
    assert staged_files() == []


# ---- At once -------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_the_same_bytes_kept_at_once_are_one_blob(place: Place) -> None:
    data = fresh()
    before = len(place.names())
    kept = at_once([lambda: blobs.keep_bytes([data])] * 8)
    assert {blob.sha256 for blob in kept} == {hashlib.sha256(data).hexdigest()}
    assert Blob.objects.filter(pk=kept[0].sha256).count() == 1
    assert len(place.names()) == before + 1
    assert blobs.reads_true(kept[0])


# ---- A disk that fails, as the kernel says it ----------------------------------------------------
CHILD = """
import django
django.setup()
from django.db import connection
from pipelines import blobs
from pipelines.errors import StorageUnavailable
from pipelines.models import Blob
import hashlib, sys
with connection.schema_editor() as editor:
    editor.create_model(Blob)
try:
    blobs.keep_bytes([sys.argv[1].encode()])
except StorageUnavailable:
    print("refused", Blob.objects.count())
else:
    print("kept", Blob.objects.count())
known = sys.argv[2].encode()
print(blobs.reads_true(Blob(sha256=hashlib.sha256(known).hexdigest(), size=len(known))))
"""


def test_eio_at_fsync_leaves_nothing_and_is_not_tried_again(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SLUICE_DATA": str(tmp_path),
        # A database in memory syncs nothing: what is counted below are the blob's own calls.
        "SLUICE_DATABASE_URL": "sqlite://",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    for variable in ("SLUICE_BLOBS_URL", "SLUICE_BLOBS_COPY_URL"):
        environment.pop(variable, None)

    def child(*before: str, keep: str) -> str:
        argv = [*before, sys.executable, "-c", CHILD, keep, "known"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert child(keep="known") == "kept 1\nTrue\n"
    files = sorted(tmp_path.glob("blobs/**/*"))
    log = tmp_path / "calls"
    tracing = [STRACE.path(), "-f", "-qq", "-o", str(log), "-e", "trace=fsync"]
    said = child(*tracing, "-e", "inject=fsync:error=EIO", keep="other")
    assert said == "refused 0\nTrue\n"
    assert log.read_text().count("fsync(") == 1
    assert sorted(tmp_path.glob("blobs/**/*")) == files
