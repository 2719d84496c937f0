"""Buckets that people name in a service connection: S3, called by the rules for calling out.

Whoever may make a connection may name any endpoint. So none of its HTTP is botocore's own: each
request goes through pipelines/outbound.py, which connects to a checked address and no other, asks
no proxy and follows nothing. Neither keys nor settings of this machine take part.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import HTTPClientError
from django.core.files.storage import Storage

from pipelines import destinations, outbound
from pipelines.connections import Opened
from pipelines.errors import Invalid, Unreachable
from pipelines.models import ConnectionKind
from pipelines.s3 import READ_SECONDS, DurableS3Storage

#: Hosts that take the bucket's name in front of their own and not in the path.
VIRTUAL = (".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com", ".myqcloud.com")
# One more try each: somebody waits for the answer.
TRIES = 2
#: Bytes of an answer that is read as a whole: a page of a list or a refusal. Objects are streamed.
MOST_SAID = 8 * 1024 * 1024
#: How long such an answer may take in all: putting the parts of an object together takes minutes,
#: in which a server sends blanks. A body may take so long more, in bytes each second.
SAID_SECONDS = 600.0
SLOWEST = 64 * 1024


def bucket_of(opened: Opened, prefix: str = "") -> Storage:
    """The storage in the bucket that the connection names, below `prefix`."""
    if opened.kind != ConnectionKind.S3:
        raise Invalid(f"The service connection {opened.name} is not for a bucket of S3.")
    for name, value in {
        "bucket": opened.settings.get("bucket"),
        "access_key": opened.settings.get("access_key"),
        "secret_key": opened.secrets.get("secret_key"),
    }.items():
        if not value:
            raise Invalid(f"The service connection {opened.name} does not say its {name}.")
    storage = DurableS3Storage(
        bucket_name=opened.settings["bucket"],
        location=prefix.strip("/"),
        endpoint_url=f"{_scheme(opened.host)}://{opened.host}",
        # Servers that have no regions take the name of the first one there was.
        region_name=opened.settings.get("region") or "us-east-1",
        addressing_style="virtual" if _is_virtual(opened.host) else "path",
        access_key=opened.settings["access_key"],
        secret_key=opened.secrets["secret_key"],
        security_token=None,
        tries=TRIES,
    )
    storage.prepare = _call_out
    return storage


def _is_virtual(host: str) -> bool:
    return host.partition(":")[0].endswith(VIRTUAL)


def _scheme(host: str) -> str:
    """Plain HTTP only to an address that is written out, or localhost, in a network that an
    operator opened, so that no name server has a say in it."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    is_plain = destinations.is_opened("127.0.0.1" if name == "localhost" else name)
    return "http" if is_plain else "https"


def _call_out(client: Any) -> None:
    client.meta.events.register("before-send.s3.*", _answer)


def _answer(request: Any, event_name: str = "", **_: Any) -> AWSResponse:
    """Botocore's request, sent as every other call that Sluice makes."""
    headers = {name: _text(value) for name, value in request.headers.items()}
    signature = headers.pop("Authorization", None)
    # The server's answer comes soon enough without having been asked for beforehand.
    for name in ("Expect", "Content-Length", "Host"):
        headers.pop(name, None)
    body = _bytes(request.body)
    # An object alone may take hours.
    is_streamed = event_name.endswith(".GetObject")
    seconds = outbound.STREAM_SECONDS if is_streamed else SAID_SECONDS + len(body) / SLOWEST
    stack = ExitStack()
    try:
        streamed = stack.enter_context(
            outbound.open(
                request.method,
                request.url,
                headers=headers,
                auth=outbound.Auth(outbound.origin_of(request.url), signature)
                if signature
                else None,
                body=body,
                silence=READ_SECONDS,
                seconds=seconds,
                # The blanks that are sent while a server is at work are few.
                is_paced=is_streamed,
            )
        )
    except Unreachable as error:
        # In a form that botocore knows to try once more.
        raise HTTPClientError(error=error.detail) from error
    head: Any = dict(streamed.headers)
    return AWSResponse(request.url, streamed.status, head, _Raw(stack, streamed))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(body: Any) -> bytes:
    """Bodies are parts that are in memory as it is."""
    if body is None:
        return b""
    return bytes(body if isinstance(body, bytes | bytearray) else body.read())


class _Raw(io.RawIOBase):
    """The body of an answer as botocore reads it. At its end the connection is closed."""

    def __init__(self, stack: ExitStack, streamed: outbound.Streamed) -> None:
        self._stack = stack
        self._chunks = streamed.chunks()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(self.stream())
        if not self._rest:
            self._rest = self._next()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def stream(self, amount: int = 0, **_: Any) -> Iterator[bytes]:
        """All that comes, for those who put it together: whoever made the connection may have named
        a server that never comes to an end."""
        said = 0
        while chunk := self._rest or self._next():
            self._rest = b""
            said += len(chunk)
            if said > MOST_SAID:
                self.close()
                raise HTTPClientError(error=f"it answered with more than {MOST_SAID} bytes")
            yield chunk

    def _next(self) -> bytes:
        try:
            chunk = next(self._chunks, b"")
        except Unreachable as error:
            self.close()
            raise HTTPClientError(error=error.detail) from error
        if not chunk:
            self._stack.close()
        return chunk

    def close(self) -> None:
        self._stack.close()
        super().close()
