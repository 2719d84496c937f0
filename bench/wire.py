"""HTTP on bare sockets, so that what is measured is the server and not the client.

Each connection is a process of its own, stays open, and sends requests that were made beforehand.
"""

import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

CHUNK = 1024 * 1024

#: Makes the requests of one connection, which is given its number.
Requests = Callable[[int], Iterator[bytes]]


def head(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def same(request: bytes) -> Requests:
    """The same request for ever."""

    def forever(_: int) -> Iterator[bytes]:
        while True:
            yield request

    return forever


class Wire:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def ask(self, request: bytes) -> int:
        """Send a request and read the whole answer; the number of bytes of its body."""
        self._socket.sendall(request)
        while b"\r\n\r\n" not in self._left:
            self._more()
        top, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in
                   (line.partition(":") for line in lines)}  # fmt: skip
        status = int(first.split()[1])
        if headers.get("transfer-encoding") == "chunked":
            size = self._chunked()
        else:
            size = int(headers.get("content-length", "0"))
            self._drop(size)
        if status not in {200, 201, 204}:
            raise RuntimeError(f"HTTP {status}: {first}")
        return size

    def _chunked(self) -> int:
        size = 0
        while True:
            while b"\r\n" not in self._left:
                self._more()
            line, _, self._left = self._left.partition(b"\r\n")
            length = int(line.split(b";")[0], 16)
            self._drop(length + 2)
            if not length:
                return size
            size += length

    def _drop(self, size: int) -> None:
        while len(self._left) < size:
            size -= len(self._left)
            self._left = b""
            self._more()
        self._left = self._left[size:]

    def _more(self) -> None:
        data = self._socket.recv(CHUNK)
        if not data:
            raise RuntimeError("The server hung up.")
        self._left += data


def _connection(url: str, requests: Requests, number: int, seconds: float, told: Any) -> None:
    try:
        wire, made = Wire(url), requests(number)
        wire.ask(next(made))
        count, begin = 0, time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            wire.ask(next(made))
            count += 1
        told.put((count / (now - begin), ""))
    except Exception as error:
        told.put((0.0, f"{type(error).__name__}: {error}"))


def rate(url: str, requests: Requests, connections: int, seconds: float = 3.0) -> float:
    """Requests a second that so many connections get answered together."""
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    processes = [
        context.Process(target=_connection, args=(url, requests, number, seconds, told))
        for number in range(connections)
    ]
    for process in processes:
        process.start()
    found = [told.get() for _ in processes]
    for process in processes:
        process.join()
    if wrong := [error for _, error in found if error]:
        raise RuntimeError(wrong[0])
    return float(sum(each for each, _ in found))
