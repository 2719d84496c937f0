"""Buckets that people name: written and read by the rules for calling out, and no other way."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings

from pipelines import blobs, buckets
from pipelines.connections import Opened
from pipelines.destinations import DestinationForbidden
from pipelines.errors import Invalid, StorageSilent, StorageUnavailable
from pipelines.s3 import PART
from tests.parts import s3
from tests.parts.web import Asked, Handler, answer, serve
from tests.pipelines.stored import Bucket
from tests.pipelines.test_blobs import TOP, fresh

pytestmark = pytest.mark.outside

NAME = "sha256/aa/aabb"


@pytest.fixture
def bucket(s3_server: s3.Server) -> Bucket:
    return Bucket(s3_server, s3_server.bucket(), "production")


@pytest.fixture(autouse=True)
def loopback_is_open() -> Iterator[None]:
    with override_settings(ALLOWED_NETWORKS=(ip_network("127.0.0.1/32"),)):
        yield


def opened(bucket: str, address: str, kind: str = "s3", **settings: str) -> Opened:
    return Opened(
        "bucket",
        kind,
        address,
        {"access_key": s3.ACCESS, "bucket": bucket, **settings},
        {"secret_key": s3.SECRET},
    )


def storage_of(bucket: Bucket, port: int = 0) -> Any:
    address = f"127.0.0.1:{port or bucket.server.port}"
    return buckets.bucket_of(opened(bucket.name, address), bucket.prefix)


@pytest.mark.parametrize("size", [0, 10, 2 * PART + 3], ids=["empty", "small", "large"])
def test_a_bucket_of_a_connection_is_written_read_and_emptied(bucket: Bucket, size: int) -> None:
    data = os.urandom(size)
    storage = storage_of(bucket)
    storage.check()
    assert storage.is_conditional()
    storage.save(NAME, ContentFile(data))
    assert (storage.size(NAME), bucket.names()) == (size, [f"production/{NAME}"])
    with storage.open(NAME) as stream:
        assert stream.read() == data
        stream.seek(3)
        assert stream.read(4) == data[3:7]
    storage.save(NAME, ContentFile(data))
    storage.delete(NAME)
    assert not storage.exists(NAME)
    with pytest.raises(FileNotFoundError):
        storage.open(NAME)
    assert (bucket.names(), bucket.unfinished()) == ([], [])


@pytest.mark.parametrize("address", ["127.0.0.2:9000", "169.254.169.254", "[::1]:80", "2130706434"])
def test_an_endpoint_that_leads_inward_is_never_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", None)
    with override_settings(ALLOWED_NETWORKS=()):
        storage: Any = buckets.bucket_of(opened("releases", address))
        for act in (
            lambda: storage.save(NAME, ContentFile(b"x")),
            lambda: storage.open(NAME),
            lambda: storage.exists(NAME),
            lambda: storage.delete(NAME),
            storage.check,
            storage.abort_stale_uploads,
        ):
            with pytest.raises(DestinationForbidden):
                act()


def test_a_redirect_inward_is_not_followed() -> None:
    with serve(lambda handler, asked: answer(handler, 200)) as inner:

        def redirect(handler: Handler, asked: Asked) -> None:
            answer(handler, 307, location=f"{inner.url}/", x_amz_bucket_region="eu-1")

        with serve(redirect) as outer:
            storage = buckets.bucket_of(opened("releases", outer.address))
            with pytest.raises(StorageUnavailable):
                storage.save(NAME, ContentFile(b"x"))
            with pytest.raises(StorageSilent):
                storage.open(NAME)
        assert inner.asked == []
        assert {asked.headers["host"] for asked in outer.asked} == {outer.address}


def test_neither_a_proxy_nor_keys_of_the_worker_have_a_say(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-worker")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-worker")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-worker")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with s3.between(bucket.server, lambda handler, asked: False) as proxy:
        storage_of(bucket, proxy.port).save(NAME, ContentFile(b"x"))
    assert bucket.names() == [f"production/{NAME}"]
    assert all("of-the-worker" not in str(asked.headers) for asked in proxy.asked)


def test_a_connection_that_is_for_no_bucket_is_refused() -> None:
    with pytest.raises(Invalid, match="not for a bucket"):
        buckets.bucket_of(opened("releases", "s3.example.com", "git"))
    with pytest.raises(Invalid, match="does not say its bucket"):
        buckets.bucket_of(opened("", "s3.example.com"))


def test_the_bucket_is_named_where_the_host_expects_it() -> None:
    for host, url in {
        "s3.eu-1.amazonaws.com": "https://releases.s3.eu-1.amazonaws.com/",
        "oss-cn-hangzhou.aliyuncs.com": "https://releases.oss-cn-hangzhou.aliyuncs.com/",
        "minio.example.com": "https://minio.example.com/releases/",
        "minio.example.com:9000": "https://minio.example.com:9000/releases/",
    }.items():
        storage: Any = buckets.bucket_of(opened("releases", host, region="eu-1"))
        assert storage.signed_url(NAME, 60, "a").startswith(url)


@pytest.mark.parametrize("end", ["cut", "gone"])
def test_a_connection_that_is_cut_while_reading_is_taken_up_again(bucket: Bucket, end: str) -> None:
    data = os.urandom(PART)
    storage_of(bucket).save(NAME, ContentFile(data))
    cuts = [50_000] if end == "cut" else [50_000] * 100

    def meddle(handler: Handler, asked: Asked) -> bool:
        if asked.method != "GET" or not cuts:
            return False
        s3.pass_on(bucket.server, handler, asked, cut=cuts.pop() if end == "cut" else 0)
        return True

    with (
        s3.between(bucket.server, meddle) as proxy,
        storage_of(bucket, proxy.port).open(NAME) as stream,
    ):
        if end == "cut":
            assert stream.read() == data
        else:
            with pytest.raises(StorageSilent):
                stream.read()


# ---- Blobs into it -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_blob_is_copied_into_it_once_and_reads_true_there(bucket: Bucket) -> None:
    data = os.urandom(PART + 7)
    blob = blobs.keep_bytes([data])
    with s3.between(bucket.server, lambda handler, asked: False) as proxy:
        storage = storage_of(bucket, proxy.port)
        assert not blobs.reads_true_in(blob, storage)
        blobs.copy_into(blob, storage)
        assert bucket.read(blob) == data
        assert blobs.reads_true_in(blob, storage)
        asked = len(proxy.asked)
        blobs.copy_into(blob, storage)
        assert len(proxy.asked) == asked + 1, "one look at its size"
    bucket.overwrite(blob, data[::-1])
    assert not blobs.reads_true_in(blob, storage_of(bucket))


@pytest.mark.django_db
@pytest.mark.parametrize("size", [100, PART, PART + 7], ids=["small", "a part", "large"])
def test_a_damaged_blob_is_not_copied(bucket: Bucket, size: int) -> None:
    data = fresh() + bytes(size - 32)
    blob = blobs.keep_bytes([data])
    (TOP / blob.storage_name).write_bytes(data[:-1] + b"!")
    with pytest.raises(Invalid, match="damaged"):
        blobs.copy_into(blob, storage_of(bucket))
    assert (bucket.names(), bucket.unfinished()) == ([], [])
