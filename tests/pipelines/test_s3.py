"""Buckets: safety.md's faults of S3, with a proxy that meddles in front of a real server."""

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage

from pipelines import blobs
from pipelines import s3 as module
from pipelines.errors import StorageSilent, StorageUnavailable
from pipelines.models import Blob
from pipelines.s3 import AT_ONCE, MOST_PARTS, PART, DurableS3Storage, part_size
from tests.parallel import at_once
from tests.parts import s3
from tests.parts.web import Asked, Handler, answer
from tests.pipelines.stored import Bucket
from tests.pipelines.test_blobs import fresh, staged_files
from tests.world import nothing_changes

# Two parts and a little: what is larger than one part goes out as several.

pytestmark = pytest.mark.outside

LARGE = 2 * PART + 5
NAME = "sha256/aa/aabb"


@pytest.fixture
def bucket(s3_server: s3.Server) -> Bucket:
    return Bucket(s3_server, s3_server.bucket())


def storage_of(bucket: Bucket, endpoint: str = "", **more: Any) -> DurableS3Storage:
    options = s3.in_settings(endpoint or bucket.server.endpoint, bucket.name)["OPTIONS"]
    return DurableS3Storage(**{**options, **more})


@contextmanager
def meddled(bucket: Bucket, meddle: s3.Meddle) -> Iterator[list[Asked]]:
    """The site's blobs in the bucket, by way of a proxy."""
    with (
        s3.between(bucket.server, meddle) as proxy,
        s3.storages_of(blobs=s3.in_settings(proxy.url, bucket.name)),
    ):
        yield proxy.asked


def is_part(asked: Asked) -> bool:
    return asked.method == "PUT" and "partNumber=" in asked.path


def is_end(asked: Asked) -> bool:
    return asked.method == "POST" and "uploadId=" in asked.path


def is_read(asked: Asked) -> bool:
    return asked.method == "GET" and "sha256/" in asked.path


# ---- What is kept --------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART])
def test_bytes_of_every_length_come_back_as_they_were(bucket: Bucket, size: int) -> None:
    data = os.urandom(size)
    storage = storage_of(bucket)
    storage.save(NAME, ContentFile(data))
    assert storage.size(NAME) == size
    with storage.open(NAME) as stream:
        assert stream.read() == data
    assert bucket.unfinished() == []
    assert bucket.names() == [f"blobs/{NAME}"]


def test_parts_are_as_large_as_it_takes_to_have_few_enough() -> None:
    assert part_size(0) == part_size(MOST_PARTS * PART) == PART
    for size in (MOST_PARTS * PART + 1, 5 * 1024**4):
        assert part_size(size) * MOST_PARTS >= size > (part_size(size) - 1024**2) * MOST_PARTS


def test_of_eight_who_write_at_once_the_server_lets_one_win(bucket: Bucket) -> None:
    """Each brings other bytes, so that it shows whose they are: the first ones stay."""
    storage = storage_of(bucket)
    assert storage.is_conditional()
    for size in (10, PART + 1):
        name = f"sha256/aa/{size}"
        mine = [bytes([number]) * size for number in range(8)]
        at_once([partial(storage.save, name, ContentFile(data)) for data in mine])
        with storage.open(name) as stream:
            winner = stream.read()
        assert winner in mine
        storage.save(name, ContentFile(bytes([9]) * size))
        with storage.open(name) as stream:
            assert stream.read() == winner
    assert bucket.unfinished() == []


def test_a_server_that_ignores_the_condition_is_found_out_once(bucket: Bucket) -> None:
    conditions: list[bool] = []

    def ignore(handler: Handler, asked: Asked) -> bool:
        if asked.method == "PUT":
            conditions.append("if-none-match" in asked.headers)
        if "if-none-match" not in asked.headers:
            return False
        # What is there already is put there once more.
        answer(handler, 200, etag='"d41d8cd98f00b204e9800998ecf8427e"')
        return True

    with s3.between(bucket.server, ignore) as proxy:
        storage = storage_of(bucket, proxy.url)
        assert not storage.is_conditional()
        for _ in range(2):
            storage.save(NAME, ContentFile(b"x"))
    assert conditions == [False, True, False, False]
    assert bucket.names() == [f"blobs/{NAME}"], "what it was tried with is gone"


def test_64_mib_go_in_and_out_in_little_memory(bucket: Bucket, tmp_path: Path) -> None:
    size = 64 * 1024**2
    with (tmp_path / "large").open("wb") as out:
        out.truncate(size)
    storage = storage_of(bucket)
    storage.exists(NAME)
    tracemalloc.start()
    try:
        with (tmp_path / "large").open("rb") as content:
            storage.save(NAME, blobs.StagedFile(content, tmp_path / "large"))
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        with storage.open(NAME) as stream:
            assert sum(len(chunk) for chunk in iter(lambda: stream.read(65536), b"")) == size
        read = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert written < (AT_ONCE + 2) * PART + 8 * 1024**2 < size
    assert read < 8 * 1024**2


def test_a_jump_fetches_little_of_what_is_not_wanted(bucket: Bucket) -> None:
    storage_of(bucket).save(NAME, ContentFile(os.urandom(LARGE)))
    with s3.between(bucket.server, lambda handler, asked: False) as proxy:
        with storage_of(bucket, proxy.url).open(NAME) as stream:
            for start in (PART, 0, 2 * PART):
                stream.seek(start)
                stream.read(4)
        ranges = [asked.headers["range"] for asked in proxy.asked if is_read(asked)]
    assert [text.partition("-")[0] for text in ranges] == [
        f"bytes={start}" for start in (PART, 0, 2 * PART)
    ]
    for text in ranges:
        first, last = text.removeprefix("bytes=").split("-")
        assert int(last) - int(first) < module.FIRST_WINDOW


def test_whoever_has_a_signed_address_downloads_until_it_ends(bucket: Bucket) -> None:
    storage = storage_of(bucket)
    storage.save(NAME, ContentFile(b"hello"))
    url = storage.signed_url(NAME, 60, "größe.txt")
    got = httpx.get(url, headers={"Range": "bytes=1-2"}, trust_env=False)
    assert (got.status_code, got.content) == (206, b"el")
    assert got.headers["content-disposition"].startswith("attachment; filename*=utf-8''gr%C3%B6")
    assert httpx.get(url.replace("aabb", "aabc"), trust_env=False).status_code == 403


def test_only_old_uploads_of_ones_own_are_aborted(bucket: Bucket) -> None:
    client = bucket.server.client()
    for key in ("blobs/sha256/aa/left", "others/left"):
        client.create_multipart_upload(Bucket=bucket.name, Key=key)
    storage = storage_of(bucket)
    assert storage.abort_stale_uploads() == 0
    assert storage.abort_stale_uploads(timedelta(minutes=-5)) == 1
    assert bucket.unfinished() == ["others/left"]


# ---- Faults while writing ------------------------------------------------------------------------
def fails(handler: Handler, asked: Asked) -> bool:
    answer(handler, 500, b"<Error><Code>InternalError</Code></Error>")
    return True


def resets(handler: Handler, asked: Asked) -> bool:
    s3.hang_up(handler)
    return True


def lies(handler: Handler, asked: Asked) -> bool:
    """A 200 that carries an error, as S3 sends it when it fails after it began to answer."""
    answer(handler, 200, b'<?xml version="1.0"?><Error><Code>InternalError</Code></Error>')
    return True


def denies(handler: Handler, asked: Asked) -> bool:
    answer(handler, 403, b"<Error><Code>AccessDenied</Code></Error>")
    return True


@pytest.mark.django_db
@pytest.mark.parametrize("fault", [fails, resets, denies], ids=["500", "reset", "denied"])
@pytest.mark.parametrize("where", [is_part, is_end], ids=["part", "end"])
def test_a_large_upload_that_fails_is_a_refusal_and_leaves_nothing(
    bucket: Bucket, fault: s3.Meddle, where: Any
) -> None:
    def meddle(handler: Handler, asked: Asked) -> bool:
        return where(asked) and fault(handler, asked)

    with meddled(bucket, meddle), nothing_changes(), pytest.raises(StorageUnavailable):
        blobs.keep_bytes([os.urandom(LARGE)])
    assert bucket.unfinished() == []
    assert bucket.names() == []
    assert staged_files() == []


@pytest.mark.django_db
def test_a_200_that_carries_an_error_is_no_success(bucket: Bucket) -> None:
    def meddle(handler: Handler, asked: Asked) -> bool:
        return is_end(asked) and lies(handler, asked)

    with meddled(bucket, meddle), nothing_changes(), pytest.raises(StorageUnavailable):
        blobs.keep_bytes([os.urandom(LARGE)])
    assert (bucket.unfinished(), bucket.names()) == ([], [])


@pytest.mark.django_db
@pytest.mark.parametrize("fault", [fails, resets, denies], ids=["500", "reset", "denied"])
def test_a_small_upload_that_fails_is_a_refusal_and_leaves_nothing(
    bucket: Bucket, fault: s3.Meddle
) -> None:
    def meddle(handler: Handler, asked: Asked) -> bool:
        return asked.method == "PUT" and "sha256/" in asked.path and fault(handler, asked)

    with meddled(bucket, meddle), nothing_changes(), pytest.raises(StorageUnavailable):
        blobs.keep_bytes([fresh()])
    assert bucket.names() == []


@pytest.mark.django_db
@pytest.mark.parametrize("size", [100, LARGE], ids=["small", "large"])
def test_bytes_that_change_on_the_way_are_not_taken(bucket: Bucket, size: int) -> None:
    def meddle(handler: Handler, asked: Asked) -> bool:
        if asked.method != "PUT" or not asked.body:
            return False
        turned = bytes([asked.body[0] ^ 1]) + asked.body[1:]
        s3.pass_on(bucket.server, handler, Asked(asked.method, asked.path, asked.headers, turned))
        return True

    with meddled(bucket, meddle), nothing_changes(), pytest.raises(StorageUnavailable):
        blobs.keep_bytes([os.urandom(size)])
    assert (bucket.unfinished(), bucket.names()) == ([], [])


@pytest.mark.django_db
@pytest.mark.parametrize("size", [100, LARGE], ids=["small", "large"])
def test_an_answer_that_is_lost_on_its_way_is_no_failure(bucket: Bucket, size: int) -> None:
    """The second try is told that the object is there, or that the upload is no more."""
    lost: list[str] = []

    def meddle(handler: Handler, asked: Asked) -> bool:
        last = is_end(asked) if size > PART else asked.method == "PUT" and "sha256/" in asked.path
        if not last or lost:
            return False
        lost.append(asked.path)
        s3.ask(bucket.server, asked)
        s3.hang_up(handler)
        return True

    data = os.urandom(size)
    with meddled(bucket, meddle):
        blob = blobs.keep_bytes([data])
        assert blobs.reads_true(blob)
    assert len(lost) == 1
    assert bucket.read(blob) == data


@pytest.mark.django_db
def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.3)
    over = threading.Event()

    def silent(handler: Handler, asked: Asked) -> bool:
        over.wait(60)
        return resets(handler, asked)

    with meddled(bucket, silent) as asked:
        with nothing_changes(), pytest.raises(StorageUnavailable, match="Read timed out"):
            blobs.keep_bytes([fresh()])
        assert len(asked) == module.TRIES
        over.set()


@pytest.mark.django_db
def test_a_bucket_that_is_not_there_is_said_so(s3_server: s3.Server) -> None:
    with s3.storages_of(blobs=s3.in_settings(s3_server.endpoint, "no-such-bucket")):
        with nothing_changes(), pytest.raises(StorageUnavailable, match="NoSuchBucket"):
            blobs.keep_bytes([fresh()])
        with pytest.raises(StorageSilent, match="NoSuchBucket"):
            storage: Any = blobs.store()
            storage.check()


# ---- Faults while reading ------------------------------------------------------------------------
def kept_in(bucket: Bucket, data: bytes) -> Blob:
    with s3.storages_of(blobs=s3.in_settings(bucket.server.endpoint, bucket.name)):
        return blobs.keep_bytes([data])


@pytest.mark.django_db
def test_a_read_that_breaks_off_goes_on_where_it_broke(bucket: Bucket) -> None:
    data = os.urandom(LARGE)
    blob = kept_in(bucket, data)
    cuts = [100, 70_000]

    def meddle(handler: Handler, asked: Asked) -> bool:
        if not is_read(asked) or not cuts:
            return False
        s3.pass_on(bucket.server, handler, asked, cut=cuts.pop())
        return True

    with meddled(bucket, meddle), blobs.open_blob(blob) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == blob.sha256
    assert cuts == []


@pytest.mark.django_db
@pytest.mark.parametrize("fault", [fails, resets, denies], ids=["500", "reset", "denied"])
def test_a_storage_that_fails_is_not_taken_for_lost_bytes(bucket: Bucket, fault: s3.Meddle) -> None:
    blob = kept_in(bucket, fresh())
    with meddled(bucket, fault):
        for ask in (blobs.open_blob, blobs.is_whole, blobs.reads_true):
            with pytest.raises(StorageSilent):
                ask(blob)
    with (
        meddled(bucket, lambda handler, asked: is_read(asked) and fault(handler, asked)),
        blobs.open_blob(blob) as stream,
        pytest.raises(StorageSilent),
    ):
        stream.read()


def test_what_is_not_there_is_not_found(bucket: Bucket) -> None:
    storage: Storage = storage_of(bucket)
    assert not storage.exists(NAME)
    for ask in (storage.open, storage.size):
        with pytest.raises(FileNotFoundError):
            ask(NAME)
    storage.delete(NAME)
