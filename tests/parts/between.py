"""A web server on loopback that stands between a client and another server, and may meddle."""

import contextlib
from collections.abc import Callable, Iterator

import httpx

from tests.parts.web import Asked, Handler, Served, answer, serve

#: Answers a request itself and says so, or leaves it to the server behind.
Meddle = Callable[[Handler, Asked], bool]


@contextlib.contextmanager
def between(address: str, meddle: Meddle = lambda handler, asked: False) -> Iterator[Served]:
    with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=60) as client:

        def respond(handler: Handler, asked: Asked) -> None:
            if not meddle(handler, asked):
                forward(handler, asked, client)

        with serve(respond) as served:
            yield served


def forward(handler: Handler, asked: Asked, client: httpx.Client) -> None:
    """With the client's own Host, so that the server behind names this one in its answers."""
    dropped = {"content-length", "connection", "transfer-encoding"}
    headers = {name: value for name, value in asked.headers.items() if name not in dropped}
    got = client.request(asked.method, asked.path, content=asked.body, headers=headers)
    kept = {
        name.replace("-", "_"): value
        for name, value in got.headers.items()
        if name.lower() not in {*dropped, "date", "server"}
    }
    if asked.method == "HEAD":
        handler.send_response(got.status_code)
        for name, value in got.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
    else:
        answer(handler, got.status_code, got.content, **kept)
