"""What a crash leaves: files without a row, and files that were on their way in."""

import os
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.base import ContentFile

from pipelines import blobs, collecting, strays
from pipelines.models import Blob, BlobState
from tests.pipelines.stored import Place
from tests.pipelines.test_blobs import TOP, fresh, staged_files
from tests.pipelines.test_collecting import NOW, state_of
from tests.world import nothing_changes

pytestmark = pytest.mark.django_db

BEFORE = timedelta(minutes=-5)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_of_other_tests() -> None:
    """Their files lie in the same folder and lost their rows when each test was rolled back."""
    shutil.rmtree(TOP / "sha256", ignore_errors=True)


def left_behind(data: bytes) -> Blob:
    """The bytes as a process leaves them that dies between the file and its row."""
    with blobs.stage() as staged:
        staged.write(data)
        blob = Blob(sha256=staged.sha256, size=len(data))
    blobs.store().save(blob.storage_name, ContentFile(data))
    return blob


def test_a_file_without_a_row_is_adopted_and_collected(place: Place) -> None:
    data = fresh()
    blob = left_behind(data)
    with nothing_changes():
        assert strays.adopt(grace=DAY) == 0
    assert strays.adopt(grace=BEFORE) == 1
    assert state_of(blob) == BlobState.CONDEMNED
    assert (blob.size, place.read(blob)) == (len(data), data)
    collecting.collect(grace=NOW)
    assert state_of(blob) == BlobState.REMOVED
    assert not any(blob.pk in name for name in place.names())


def test_whoever_sends_the_bytes_of_a_stray_keeps_them(place: Place) -> None:
    data = fresh()
    left_behind(data)
    strays.adopt(grace=BEFORE)
    blob = blobs.keep_bytes([data])
    collecting.condemn(grace=DAY)
    assert not collecting.remove(blob.pk)
    assert blobs.reads_true(blob)


def test_bytes_that_came_in_again_and_got_no_row_are_removed_again(place: Place) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    collecting.collect(grace=NOW)
    left_behind(data)
    assert strays.adopt(grace=BEFORE) == 1
    assert state_of(blob) == BlobState.REMOVED
    assert not any(blob.pk in name for name in place.names())


def test_what_has_a_row_is_no_stray(place: Place) -> None:
    blob = blobs.keep_bytes([fresh()])
    strays.adopt(grace=BEFORE)
    with nothing_changes():
        assert strays.adopt(grace=BEFORE) == 0
    assert state_of(blob) == BlobState.KEPT


def test_what_does_not_hold_what_its_name_says_gets_no_row() -> None:
    blob = left_behind(fresh())
    (TOP / blob.storage_name).write_bytes(b"other bytes")
    with nothing_changes():
        assert strays.adopt(grace=BEFORE) == 0
    (TOP / blob.storage_name).unlink()


def test_half_a_file_goes() -> None:
    partial = TOP / "sha256" / "partial-of-a-copy"
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"half")
    assert strays.adopt(grace=BEFORE) == 1
    assert not partial.exists()


# ---- On their way in -----------------------------------------------------------------------------
def age(path: Path, by: timedelta) -> None:
    then = time.time() - by.total_seconds()
    os.utime(path, (then, then))


def test_old_staged_files_are_removed_and_never_one_in_use() -> None:
    folder = Path(settings.BLOB_STAGING_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    old, young, other = (folder / name for name in ("staged-old", "staged-young", "kept-apart"))
    for path in (old, young, other):
        path.write_bytes(b"left")
    age(old, 2 * DAY)
    age(other, 2 * DAY)
    try:
        with blobs.stage() as staged:
            age(staged.path, 2 * DAY)
            assert blobs.sweep_staging() == 1
            assert sorted(staged_files()) == sorted([young, other, staged.path])
            staged.write(data := fresh())
            assert blobs.reads_true(blobs.keep(staged))
        assert data
    finally:
        young.unlink()
        other.unlink()
