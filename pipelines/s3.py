"""Blobs in a bucket of S3, or of whatever speaks like it: MinIO, Ceph, OSS, R2, …

Written in parts that go out side by side, each checked by the server against its digests; visible
only when all parts are there; and never twice, where the server honours `If-None-Match: *`. Read in
ranges, so that a reader who jumps about neither fetches nor stores what it does not look at.

Nothing waits for ever: each request has its time and a few tries. What the storage will not do is
a StorageUnavailable, of which StorageSilent is the one for reading.
"""

import base64
import hashlib
import io
import itertools
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from django.core.files import File
from django.utils import timezone
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

from pipelines.errors import StorageSilent, StorageUnavailable
from pipelines.storage import Stored

PART = 8 * 1024 * 1024
# What S3 takes at most of one object.
MOST_PARTS = 10_000
# With this many parts on their way, memory holds one more: the one that is being read.
AT_ONCE = 3
# Connections kept open: what the 32 threads of a web process may have under way between them.
KEPT_OPEN = 32 * AT_ONCE
CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 30, 3
FIRST_WINDOW, LAST_WINDOW = 1024 * 1024, 64 * 1024 * 1024
DAY = timedelta(days=1)
#: Below this folder lies what is ours in the bucket.
OURS = "sha256/"
NETWORK = (BotoCoreError, urllib3.exceptions.HTTPError, OSError)


class DurableS3Storage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """Content-addressed objects below a prefix of one bucket."""

    #: What else to do to a client that was just made (buckets.py has it call out by our rules).
    prepare: Callable[[Any], None] | None = None

    def __init__(self, *, tries: int = TRIES, **options: Any) -> None:
        addressing: Any = options.pop("addressing_style", None) or "auto"
        super().__init__(
            **options,
            # Django-storages would look for these in settings and variables of its own.
            gzip=False,
            custom_domain=None,
            proxies=None,
            session_profile=None,
            default_acl=None,
            object_parameters={},
            client_config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": tries},
                signature_version="s3v4",
                max_pool_connections=KEPT_OPEN,
                tcp_keepalive=True,
                # The SHA-256 of every body is part of its signature, over https too. The checksums
                # that newer clients send besides are more than some servers understand.
                s3={"addressing_style": addressing, "payload_signing_enabled": True},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._lock = threading.Lock()
        self._made: tuple[int, Any] = (0, None)
        self._conditional: bool | None = None

    @property
    def client(self) -> Any:
        """One client for all threads. A process that forked off makes one of its own."""
        with self._lock:
            if self._made[0] != os.getpid():
                client = self._create_session().client(
                    "s3",
                    region_name=self.region_name,
                    endpoint_url=self.endpoint_url,
                    config=self.client_config,
                )
                if self.prepare is not None:
                    self.prepare(client)
                self._made = (os.getpid(), client)
            return self._made[1]

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    # ---- Writing -------------------------------------------------------------------------------
    def _save(self, name: str, content: File[bytes]) -> str:
        self._put(name, content, only_new=True)
        return name

    def replace(self, name: str, content: File[bytes]) -> None:
        self._put(name, content, only_new=False)

    def _put(self, name: str, content: File[bytes], *, only_new: bool) -> None:
        content.seek(0)
        with self._faults(name, StorageUnavailable):
            only_new = only_new and self.is_conditional()
        size = part_size(content.size)
        first = content.read(size)
        if len(first) < size:
            self._settle(
                name,
                len(first),
                only_new,
                lambda conditions: self.client.put_object(
                    **self._at(name),
                    **_body(first),
                    ContentType=self.default_content_type,
                    **conditions,
                ),
            )
        else:
            self._put_parts(name, first, content, only_new)

    def _put_parts(self, name: str, first: bytes, content: File[bytes], only_new: bool) -> None:
        with self._faults(name, StorageUnavailable):
            begun = self.client.create_multipart_upload(
                **self._at(name), ContentType=self.default_content_type
            )
        at = {**self._at(name), "UploadId": begun["UploadId"]}
        try:
            size, parts = self._send_parts(name, at, first, content)
            is_ours = self._settle(
                name,
                size,
                only_new,
                lambda conditions: self.client.complete_multipart_upload(
                    **at, MultipartUpload={"Parts": parts}, **conditions
                ),
            )
        except BaseException:
            self._abort(at)
            raise
        if not is_ours:
            self._abort(at)

    def _abort(self, at: dict[str, str]) -> None:
        # What cannot be told to go now is found by `abort_stale_uploads` in a day.
        with suppress(ClientError, *NETWORK):
            self.client.abort_multipart_upload(**at)

    def _send_parts(
        self, name: str, at: dict[str, str], first: bytes, content: File[bytes]
    ) -> tuple[int, list[dict[str, Any]]]:
        """Send part after part, a few at once; how many bytes that were, and what names them."""
        total = 0
        parts: list[dict[str, Any]] = []
        waiting: deque[Future[dict[str, Any]]] = deque()

        def send(number: int, body: bytes) -> dict[str, Any]:
            with self._faults(name, StorageUnavailable):
                sent = self.client.upload_part(**at, PartNumber=number, **_body(body))
                return {"PartNumber": number, "ETag": sent["ETag"]}

        chunks = itertools.chain([first], iter(lambda: content.read(len(first)), b""))
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3-part") as pool:
            for number, chunk in enumerate(chunks, 1):
                total += len(chunk)
                if len(waiting) == AT_ONCE:
                    parts.append(waiting.popleft().result())
                waiting.append(pool.submit(send, number, chunk))
            parts.extend(each.result() for each in waiting)
        return total, parts

    def _settle(
        self, name: str, size: int, only_new: bool, act: Callable[[dict[str, str]], Any]
    ) -> bool:
        """Do what makes the object visible, and answer whether it was this that did. Where somebody
        else made the same one visible, or an answer was lost and its second try comes too late, the
        object is there and all is well."""
        with self._faults(name, StorageUnavailable):
            try:
                act({"IfNoneMatch": "*"} if only_new else {})
            except ClientError as error:
                if _status(error) not in {409, 412} and _code(error) != "NoSuchUpload":
                    raise
                if not self._comes(name, size):
                    raise
                return False
            return True

    def _comes(self, name: str, size: int) -> bool:
        """Whether the object is there; whoever is writing it just now gets a little time."""
        for pause in (0.0, 0.2, 0.5, 1.0, 2.0):
            time.sleep(pause)
            with suppress(FileNotFoundError):
                if self.size(name) == size:
                    return True
        return False

    def is_conditional(self) -> bool:
        """Whether the server honours `If-None-Match: *`. Tried once, on an object of no bytes."""
        if self._conditional is None:
            at = self._at(f"probe-{uuid.uuid4().hex}")
            self.client.put_object(**at, Body=b"")
            try:
                self.client.put_object(**at, Body=b"", IfNoneMatch="*")
                self._conditional = False
            except ClientError as error:
                if _status(error) not in {400, 412, 501}:
                    raise
                self._conditional = _status(error) == 412
            finally:
                # Who may write need not be allowed to delete.
                with suppress(ClientError, *NETWORK):
                    self.client.delete_object(**at)
        return self._conditional

    def delete(self, name: str) -> None:
        with self._faults(name, StorageSilent), suppress(FileNotFoundError):
            self.client.delete_object(**self._at(name))

    def abort_stale_uploads(self, older: timedelta = DAY) -> int:
        """Abort what a process that died has begun to write here; how many uploads that were."""
        cutoff = timezone.now() - older
        aborted = 0
        with self._faults(OURS, StorageSilent):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket_name, Prefix=self._key(OURS)
            )
            stale = [
                upload
                for page in pages
                for upload in page.get("Uploads", ())
                if upload["Initiated"] < cutoff
            ]
            for upload in stale:
                self.client.abort_multipart_upload(
                    Bucket=self.bucket_name, Key=upload["Key"], UploadId=upload["UploadId"]
                )
                aborted += 1
        return aborted

    # ---- Reading -------------------------------------------------------------------------------
    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        head = self._head(name)
        reader = _Ranged(self, name, head["ContentLength"], head["ETag"])
        return File(io.BufferedReader(reader, FIRST_WINDOW), name=name)

    def exists(self, name: str) -> bool:
        try:
            self._head(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self._head(name)["ContentLength"])

    def get_modified_time(self, name: str) -> datetime:
        modified: datetime = self._head(name)["LastModified"]
        return modified

    def _head(self, name: str) -> dict[str, Any]:
        with self._faults(name, StorageSilent):
            head: dict[str, Any] = self.client.head_object(**self._at(name))
            return head

    def listed(self, below: str) -> Iterator[Stored]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket_name, Prefix=self._key(below)
        )
        before = len(self._key("x")) - 1
        with self._faults(below, StorageSilent):
            for page in pages:
                for each in page.get("Contents", ()):
                    yield Stored(each["Key"][before:], each["Size"], each["LastModified"])

    def signed_url(self, name: str, seconds: int, filename: str) -> str:
        """An address from which anybody can download the object as `filename` for so long."""
        wanted = {
            **self._at(name),
            "ResponseContentType": "application/octet-stream",
            "ResponseContentDisposition": content_disposition_header(True, filename),
        }
        with self._faults(name, StorageSilent):
            url: str = self.client.generate_presigned_url("get_object", wanted, ExpiresIn=seconds)
            return url

    def check(self) -> None:
        with self._faults("", StorageSilent):
            self.client.list_objects_v2(Bucket=self.bucket_name, Prefix=self._key(OURS), MaxKeys=1)

    # ---- Names and faults ----------------------------------------------------------------------
    def _key(self, name: str) -> str:
        key: str = self._normalize_name(clean_name(name))
        return f"{key}/" if name.endswith("/") and not key.endswith("/") else key

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._key(name)}

    @contextmanager
    def _faults(self, name: str, fault: type[StorageUnavailable]) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except ClientError as error:
            if _code(error) in {"404", "NoSuchKey", "NotFound"}:
                raise FileNotFoundError(f"There is no {name} in {self.bucket_name}.") from error
            said = f"it answered {_code(error)}"
            raise fault(self._sentence(said, fault)) from error
        except NETWORK as error:
            raise fault(self._sentence(_said_by(error), fault)) from error

    def _sentence(self, said: str, fault: type[StorageUnavailable]) -> str:
        why = said[:300].rstrip(".")
        where = f"The bucket {self.bucket_name} did not do what it was asked: {why}."
        if issubclass(fault, StorageSilent):
            return f"{where} Nothing was changed; try again, or have an operator look at it."
        return f"{where} Nothing was kept; have an operator look at it, then send it again."


class _Ranged(io.RawIOBase):
    """An object as a file that can be read anywhere.

    What is read one after the other comes out of ever longer answers; a jump begins with a short
    one, because more of it might not be wanted. An answer that breaks off is asked for anew from
    where it broke.
    """

    def __init__(self, storage: DurableS3Storage, name: str, size: int, tag: str) -> None:
        self._storage = storage
        self._name = name
        self._size = size
        self._tag = tag
        self._position = 0
        self._body: Any = None
        self._left = 0
        self._window = FIRST_WINDOW

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("There is nothing before the beginning.")
        if start + offset != self._position:
            self._drop()
            self._window = FIRST_WINDOW
            self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        chunk = self._read(wanted)
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        self._left -= len(chunk)
        if not self._left:
            self._drop()
        return len(chunk)

    def _read(self, wanted: int) -> bytes:
        for left in reversed(range(TRIES)):
            try:
                with self._storage._faults(self._name, StorageSilent):
                    if self._body is None:
                        self._ask()
                    chunk: bytes = self._body.read(min(wanted, self._left))
                    if chunk:
                        return chunk
            except StorageSilent:
                self._drop()
                if not left:
                    raise
            self._drop()
        raise OSError(f"{self._name} ended before its end.")

    def _ask(self) -> None:
        last = min(self._position + self._window, self._size) - 1
        answer = self._storage.client.get_object(
            **self._storage._at(self._name),
            Range=f"bytes={self._position}-{last}",
            IfMatch=self._tag,
        )
        self._body, self._left = answer["Body"], last + 1 - self._position
        if answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            # A server without ranges would begin anew at the first byte.
            raise OSError("The storage does not answer with ranges.")
        self._window = min(self._window * 2, LAST_WINDOW)

    def _drop(self) -> None:
        if self._body is not None:
            with suppress(*NETWORK):
                self._body.close()
        self._body, self._left = None, 0

    def close(self) -> None:
        self._drop()
        super().close()


def part_size(size: int) -> int:
    """How large each part must be so that so many bytes fit into the parts that S3 takes."""
    least = -(-size // MOST_PARTS)
    return max(PART, -(-least // 1024**2) * 1024**2)


def _body(data: bytes) -> dict[str, Any]:
    """Bytes with the digest that even those servers compare that do not look at the signature's."""
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Body": data, "ContentMD5": base64.b64encode(md5).decode()}


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said_by(error: Exception) -> str:
    # Why buckets.py did not let the client call out is a sentence of its own.
    if isinstance(error, HTTPClientError) and (said := error.kwargs.get("error")):
        return str(said)
    return f"{type(error).__name__}: {error}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", _status(error)))
