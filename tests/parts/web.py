"""A web server on loopback that answers as a test tells it, and keeps what it was asked."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it came in; names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Served:
    host: str
    port: int
    scheme: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the server's `respond`, which writes the whole answer."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.served.asked.append(asked)
        # A client that has had enough hangs up while the answer is still being written.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.server.respond(self, asked)
            self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """The tests' output is not the place for a log of requests."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Handler, f"do_{_method}", Handler._respond)

Respond = Callable[[Handler, Asked], None]


def answer(handler: Handler, status: int, body: bytes = b"", **headers: str) -> None:
    """Write one plain answer. `content_type="…"` becomes the header Content-Type."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate or hangs up is what some tests are for."""


@contextlib.contextmanager
def serve(
    respond: Respond,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Served]:
    server: Any = _Server((host, port), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # The handshake belongs to the request's own thread: a client that never finishes it
        # must not keep the others waiting.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    served = Served(host, server.server_address[1], "https" if certificate else "http")
    server.served, server.respond = served, respond
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
