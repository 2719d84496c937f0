"""A second copy: bytes are kept in both, read from either, and each repairs the other."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from pipelines import blobs, collecting, scrubbing, tasks
from pipelines.bundles import Member
from pipelines.errors import Invalid, StorageUnavailable
from pipelines.models import Blob
from tests.parts import s3
from tests.pipelines.stored import Bucket, Folder
from tests.pipelines.test_blobs import fresh
from tests.pipelines.test_collecting import NOW, state_of
from tests.world import nothing_changes

pytestmark = [pytest.mark.outside, pytest.mark.django_db]

FIRST = Folder()


@pytest.fixture
def copy(s3_server: s3.Server) -> Iterator[Bucket]:
    """The first copy lies in a folder, the second in a bucket."""
    bucket = Bucket(s3_server, s3_server.bucket(), "copy")
    with s3.storages_of(copy=s3.in_settings(s3_server.endpoint, bucket.name, "copy")):
        yield bucket


def verify(*arguments: str) -> tuple[int, str]:
    out, status = StringIO(), 0
    try:
        call_command("verify", *arguments, stdout=out)
    except SystemExit as end:
        status = int(end.code or 0)
    return status, out.getvalue()


def test_bytes_are_kept_in_both(copy: Bucket) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    assert FIRST.read(blob) == copy.read(blob) == data


def test_a_copy_in_another_folder_is_one_as_well(tmp_path: Path) -> None:
    options = {"location": str(tmp_path)}
    described = {"BACKEND": "pipelines.storage.DurableFileSystemStorage", "OPTIONS": options}
    with s3.storages_of(copy=described):
        blob = blobs.keep_bytes([fresh()])
        FIRST.lose(blob)
        assert blobs.reads_true(blob)
        assert verify("--scrub", "--repair")[0] == 0
    assert FIRST.read(blob) == (tmp_path / blob.storage_name).read_bytes()


def test_without_the_second_copy_nothing_is_kept(s3_server: s3.Server) -> None:
    known = blobs.keep_bytes([fresh()])
    with s3.storages_of(copy=s3.in_settings(s3_server.endpoint, "no-such-bucket")):
        with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
            blobs.keep_bytes([data := fresh()])
        assert blobs.reads_true(known), "what was kept before can still be read"
    assert not Blob.objects.exclude(pk=known.pk).exists()
    assert blobs.keep_bytes([data]).size == len(data)


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_what_the_first_has_lost_is_read_from_the_second(
    copy: Bucket, harm: str, tmp_path: Path
) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    if harm == "lost":
        FIRST.lose(blob)
    else:
        FIRST.overwrite(blob, data[:-1])
    assert blobs.is_whole(blob)
    assert blobs.reads_true(blob)
    blobs.copy_to(blob, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data


def test_what_is_damaged_in_the_first_is_handed_out_from_the_second(
    copy: Bucket, tmp_path: Path
) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    FIRST.overwrite(blob, data[::-1])
    blobs.copy_to(blob, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == data
    copy.overwrite(blob, data[::-1])
    with pytest.raises(Invalid, match="damaged"):
        blobs.copy_to(blob, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bytes_that_nobody_needs_are_removed_from_both(copy: Bucket) -> None:
    blob = blobs.keep_bytes([fresh()])
    collecting.collect(grace=NOW)
    assert state_of(blob) == "removed"
    assert not any(blob.pk in name for name in (*FIRST.names(), *copy.names()))


def test_bytes_that_cannot_be_removed_from_both_stay_for_another_try(s3_server: s3.Server) -> None:
    blob = blobs.keep_bytes([fresh()])
    with s3.storages_of(copy=s3.in_settings(s3_server.endpoint, "no-such-bucket")):
        collecting.collect(grace=NOW)
        assert state_of(blob) == "condemned"
    assert blobs.reads_true(blob)
    collecting.collect(grace=NOW)
    assert state_of(blob) == "removed"


def test_a_storage_that_does_not_answer_is_not_asked_for_each_of_many(
    s3_server: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        blobs.keep_bytes([fresh()])
    tried: list[Blob] = []
    monkeypatch.setattr(blobs, "erase", tried.append)
    with s3.storages_of(copy=s3.in_settings(s3_server.endpoint, "no-such-bucket")):
        done = collecting.run(grace=NOW)
    assert (done.removed, done.failed, tried) == (0, 3, [])


# ---- Scrub and repair ----------------------------------------------------------------------------
@pytest.mark.parametrize("harm", ["lost", "cut short", "damaged"])
@pytest.mark.parametrize("where", ["the storage", "the second copy"])
def test_repair_puts_right_what_the_other_has(copy: Bucket, where: str, harm: str) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    place: Any = FIRST if where == "the storage" else copy
    if harm == "lost":
        place.lose(blob)
    else:
        place.overwrite(blob, data[:-1] if harm == "cut short" else data[::-1])
    with nothing_changes():
        status, text = verify("--scrub")
    assert status == 1
    assert f"blob {blob.pk}" in text
    assert f"in {where}" in text
    status, text = verify("--scrub", "--repair")
    assert status == 0
    assert f"repaired         blob {blob.pk}" in text
    assert FIRST.read(blob) == copy.read(blob) == data
    assert "repaired" not in verify("--scrub", "--repair")[1]


def test_what_is_damaged_in_both_is_left_as_it_is(copy: Bucket) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    FIRST.overwrite(blob, data[::-1])
    copy.overwrite(blob, data[:-1])
    with nothing_changes():
        status, text = verify("--scrub", "--repair")
    assert status == 1
    assert text.count(f"blob {blob.pk}") == 2
    assert copy.read(blob) == data[:-1]


def test_what_was_found_before_a_check_broke_off_is_told(s3_server: s3.Server) -> None:
    for _ in range(2):
        FIRST.lose(blobs.keep_bytes([fresh()]))
    wrong = s3.in_settings(s3_server.endpoint, s3_server.bucket())
    wrong["OPTIONS"]["secret_key"] = "another"
    with s3.storages_of(copy=wrong):
        status, text = verify()
    assert status == 1
    assert text.count("is missing or does not have") == 1
    said = next(line for line in text.splitlines() if line.startswith("could not check"))
    assert said.endswith("(the check broke off after 1 findings)")
    assert "StorageSilent(" not in text


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Path]:
    """Both copies lie in folders."""
    options = {"location": str(tmp_path / "second")}
    described = {"BACKEND": "pipelines.storage.DurableFileSystemStorage", "OPTIONS": options}
    with s3.storages_of(copy=described):
        yield tmp_path / "second"


def test_whoever_needs_true_bytes_has_them_mended(second: Path) -> None:
    data, beats = fresh(), []
    blob = blobs.keep_bytes([data])
    FIRST.overwrite(blob, data[::-1])
    assert scrubbing.make_true(blob, meanwhile=lambda: beats.append(1))
    assert FIRST.read(blob) == data
    assert beats


def test_files_of_a_composed_bundle_are_mended(second: Path) -> None:
    data = fresh()
    files = [blobs.keep_bytes([each]) for each in (data, fresh())]
    bundle = blobs.compose([Member(blob.pk, blob.pk, blob.size) for blob in files])
    FIRST.overwrite(files[0], data[::-1])
    tasks.mend_bytes(bundle.pk)
    assert FIRST.read(files[0]) == data
    assert blobs.reads_true(bundle)


def test_what_is_damaged_everywhere_does_not_read_true(second: Path) -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    FIRST.overwrite(blob, data[::-1])
    (second / blob.storage_name).chmod(0o600)
    (second / blob.storage_name).write_bytes(data[:-1])
    assert not scrubbing.make_true(blob)
    assert FIRST.read(blob) == data[::-1]


def test_a_storage_that_does_not_answer_is_not_checked_rather_than_broken(
    s3_server: s3.Server,
) -> None:
    blobs.keep_bytes([fresh()])
    wrong = s3.in_settings(s3_server.endpoint, s3_server.bucket())
    wrong["OPTIONS"]["secret_key"] = "another"
    with s3.storages_of(copy=wrong):
        status, text = verify("--scrub")
    assert status == 2
    assert "could not check" in text


def test_repair_needs_a_scrub() -> None:
    with pytest.raises(CommandError, match="--scrub"):
        call_command("verify", "--repair")
