"""The one HTTP client with which Sluice calls out.

    answer = outbound.request("GET", "https://registry.example.com/v2/", most=64 * 1024)

    with outbound.open("PUT", url, body=pieces, length=size) as streamed:   # bytes in, bytes out
        for chunk in streamed.chunks(): ...

A host is looked up once, through pipelines/destinations.py, and the connection goes to that very
address: a name that leads elsewhere a moment later changes nothing. TLS still asks for and checks
the host's name. Redirects are answers like any other and never followed. Time, size and headers
are bounded however the other side dribbles; what is streamed is bounded by how long nothing may
move, by a least pace, and by a generous time for the whole. Proxies, netrc files and cookies are
not looked at.

It stands on httpcore, the part below httpx, because only there can the address be chosen apart
from the name, and every single read be held to one deadline for the whole call.
"""

import base64
import json
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore
from django.conf import settings

from pipelines import destinations
from pipelines.errors import BadRequest, Unreachable

MOST = 1024 * 1024
SECONDS = 30.0
# A stream of gigabytes takes its time; it is over when nothing moves any more, or after this.
STREAM_SECONDS = 6 * 3600.0
WRITE = 64 * 1024
#: In each so many seconds of waiting for the other side as many bytes must move as settings say
#: (SLUICE_LEAST_PACE). Longer than any call may be silent, so that no single wait is taken for it.
PACE_WINDOW = 60.0
URL = re.compile(r"^https?://[\x21-\x7e]{1,4000}\Z", re.I)
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are in small letters; the body is as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, or Unreachable when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Unreachable(
                f"The answer (HTTP {self.status}) is not JSON: {self.body[:80]!r}. "
                "Check that the address is right and that no proxy answers in its place."
            ) from error


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials, and the origin that they are for: to no other are they ever sent."""

    origin: str
    header: str = field(repr=False)


def basic(url: str, username: str, password: str) -> Auth:
    """User and password for the origin of `url`."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return Auth(origin_of(url), f"Basic {pair}")


def bearer(url: str, token: str) -> Auth:
    """A token for the origin of `url`."""
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise BadRequest("The token has a character that no header can carry. Enter it anew.")
    return Auth(origin_of(url), f"Bearer {token}")


def origin_of(url: str) -> str:
    """Scheme, host and port of a web address, in one form for all ways to write it."""
    parts = _parts(url)
    return f"{parts.scheme}://{_shown(parts)}:{parts.port or PORTS[parts.scheme]}"


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    auth: Auth | None = None,
    body: bytes = b"",
    most: int = MOST,
    seconds: float = SECONDS,
) -> Answer:
    """Call `url` and answer what came back, whatever its status.

    At most `most` bytes are taken and `seconds` waited in all. Raises DestinationForbidden where
    the address leads inward, BadRequest where it is none, Unreachable where no answer came.
    """
    streaming = open(
        method, url, headers=headers, auth=auth, body=body, seconds=seconds, silence=seconds
    )
    with streaming as streamed:
        return Answer(streamed.status, streamed.headers, streamed.read(most))


@contextmanager
def open(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    auth: Auth | None = None,
    body: bytes | Iterable[bytes] = b"",
    length: int | None = None,
    seconds: float = STREAM_SECONDS,
    silence: float = SECONDS,
    is_paced: bool = True,
) -> "Iterator[Streamed]":
    """Call `url`, sending `body` piece by piece, and answer as soon as the answer's head is there.

    `length` is how many bytes an iterable body gives; without it the body is sent in chunks. The
    call ends when nothing moved for `silence` seconds, when what moves is less than the least pace
    for a minute (unless it is not `is_paced`), and after `seconds` in all. Raises what
    `request` raises, and whatever the body's own iterator raised.
    """
    given = {name.lower(): value for name, value in (headers or {}).items()}
    if given.keys() & {"authorization", "cookie", "host"}:
        raise ValueError("Credentials go into auth, which knows the host that they are for.")
    parts = _parts(url)
    port = parts.port or PORTS[parts.scheme]
    address = destinations.allowed_address(parts.hostname or "", port)
    if auth is not None:
        _require_safe(auth, url, address)
        given["authorization"] = auth.header
    host = _shown(parts) + ("" if port == PORTS[parts.scheme] else f":{port}")
    sent = {"host": host, "user-agent": "Sluice", "accept-encoding": "identity", **given}
    sent |= _framing(method, body, length)
    whom = f"{host} ({address})"
    clock = _Clock(time.monotonic() + seconds, seconds, silence, _Pace(whom if is_paced else ""))
    pieces = _Pieces(body)
    call = _Call(whom, clock, pieces)
    context = _tls() if parts.scheme == "https" else None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with ExitStack() as stack:
        with call.faults():
            pool = stack.enter_context(
                httpcore.ConnectionPool(
                    ssl_context=context, network_backend=_Pinned(address, clock)
                )
            )
            response = stack.enter_context(
                pool.stream(
                    method,
                    httpcore.URL(
                        scheme=parts.scheme.encode(),
                        host=(parts.hostname or "").encode(),
                        port=port,
                        target=target.encode(),
                    ),
                    headers=[(name.encode(), _value(name, value)) for name, value in sent.items()],
                    # An empty iterator would be announced as a body in chunks.
                    content=None if body == b"" else iter(pieces),
                )
            )
        yield Streamed(
            response.status,
            _joined(response.headers),
            _response=response if method != "HEAD" else None,
            _call=call,
        )


@dataclass(frozen=True, slots=True)
class Streamed:
    """The head of an answer, and its body as it comes in. Only of use inside the block."""

    status: int
    headers: Mapping[str, str]
    _response: httpcore.Response | None = field(repr=False)
    _call: "_Call" = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """The body once, in pieces of up to 64 KiB. Raises Unreachable where it breaks off."""
        if self._response is None:
            return
        incoming = iter(self._response.iter_stream())
        while True:
            # What whoever takes the pieces does with them is none of this call's faults.
            with self._call.faults():
                chunk = next(incoming, None)
            if chunk is None:
                return
            yield chunk

    def read(self, most: int = MOST) -> bytes:
        """The whole body, or Unreachable when it has more than `most` bytes."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > most:
                raise Unreachable(
                    f"{self._call.whom} answered with more than {most} bytes, which is more than "
                    "is read here. Check that the address is right."
                )
        return bytes(body)


def _framing(method: str, body: bytes | Iterable[bytes], length: int | None) -> dict[str, str]:
    if isinstance(body, bytes):
        if body or method in {"POST", "PUT", "PATCH"}:
            return {"content-length": str(len(body))}
        return {}
    return {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}


class _Pieces:
    """A body on its way out, which remembers whether it was itself that failed."""

    def __init__(self, body: bytes | Iterable[bytes]) -> None:
        self._body = (body,) if isinstance(body, bytes) else body
        self.fault: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            # An empty piece would end a body that is sent in chunks.
            yield from (piece for piece in self._body if piece)
        except Exception as error:
            self.fault = error
            raise


@dataclass(frozen=True, slots=True)
class _Call:
    whom: str
    clock: "_Clock"
    pieces: _Pieces

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Say in words of our own what the network did."""
        try:
            yield
        except httpcore.TimeoutException as error:
            raise Unreachable(
                f"{self.whom} did not answer within {self.clock.passed():g} s. Check that it is "
                "up and that this machine can reach it."
            ) from error
        except httpcore.LocalProtocolError as error:
            raise BadRequest(f"The request to {self.whom} cannot be sent: {error}.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            if error is self.pieces.fault:
                raise
            raise Unreachable(
                f"{self.whom} cannot be talked to: {_reason(error)}. Check the address, the "
                "port and whether it is to be http or https."
            ) from error


def _parts(url: str) -> SplitResult:
    try:
        if not URL.match(url):
            raise ValueError("it must begin with http:// or https:// and hold no blanks")
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("it names no host or port")
    except ValueError as error:
        raise BadRequest(f"“{url[:120]}” is not an address to call: {error}.") from error
    if parts.username is not None or parts.password is not None:
        # The address itself is not shown: it has a password in it.
        raise BadRequest(
            f"The address on {parts.hostname} has a user name in it. Store credentials in a "
            "service connection, never in an address."
        )
    return parts


def _shown(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _value(name: str, value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadRequest(f"The header {name} has a character that HTTP cannot carry.") from error


def _require_safe(auth: Auth, url: str, address: str) -> None:
    """Credentials go to their own host alone, and unencrypted only where an operator said so."""
    asked = origin_of(url)
    if asked != auth.origin:
        raise destinations.DestinationForbidden(
            f"Credentials for {auth.origin} are not sent to {asked}."
        )
    if asked.startswith("http://") and not destinations.is_opened(address):
        raise destinations.DestinationForbidden(
            f"Credentials are not sent to {asked}, where anybody on the way could read them. Use "
            "https, or have an operator allow its network with SLUICE_ALLOWED_NETWORKS."
        )


@cache
def _tls() -> ssl.SSLContext:
    """The machine's own list of authorities, so that one's own authority is added in one place."""
    return ssl.create_default_context()


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _reason(error: BaseException) -> str:
    for inner in error.args:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({inner.verify_message})"
    return str(error) or type(error).__name__


class _Pace:
    """How fast bytes move, by the time that the other side is waited for: what is done with them
    meanwhile is none of its faults. Of nobody in particular (`whom` empty) no pace is asked."""

    def __init__(self, whom: str) -> None:
        self._whom = whom
        self._moved = 0
        self._waited = 0.0

    def note(self, moved: int, since: float) -> None:
        """So many bytes moved in the wait that began at `since`. Raises Unreachable once they have
        been too few for too long."""
        self._moved += moved
        self._waited += time.monotonic() - since
        if self._waited < PACE_WINDOW:
            return
        if self._whom and self._moved < settings.LEAST_PACE * self._waited:
            raise Unreachable(
                f"{self._whom} moved {self._moved} bytes in {self._waited:.0f} s, which is less "
                f"than {settings.LEAST_PACE} a second (SLUICE_LEAST_PACE). Try again when it or "
                "the way there is well."
            )
        self._moved, self._waited = 0, 0.0


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long a call may go on, and how long and how slow the other side may be in it."""

    deadline: float
    seconds: float
    silence: float
    pace: _Pace

    def left(self) -> float:
        """The seconds that the next wait may take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The deadline of the whole call has passed.")
        return min(left, self.silence)

    def passed(self) -> float:
        """Which of the two it was that passed."""
        return self.seconds if time.monotonic() >= self.deadline else self.silence


class _Pinned(httpcore.SyncBackend):
    """Connects to one address, whatever the host is called, and never past the deadline."""

    def __init__(self, address: str, clock: _Clock) -> None:
        self._address = address
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        # No connection takes longer than an answer may, however long the stream behind it.
        stream = super().connect_tcp(
            self._address, port, min(self._clock.left(), SECONDS), local_address, socket_options
        )
        return _Timed(stream, self._clock)


class _Timed(httpcore.NetworkStream):
    """A connection whose every wait ends at the deadline of the whole call: a server that sends a
    byte now and then would never run into the time limit of one read."""

    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream = stream
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        since = time.monotonic()
        data = self._stream.read(max_bytes, self._clock.left())
        self._clock.pace.note(len(data), since)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE):
            piece = buffer[start : start + WRITE]
            since = time.monotonic()
            self._stream.write(piece, self._clock.left())
            self._clock.pace.note(len(piece), since)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._clock.left())
        return _Timed(secured, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
