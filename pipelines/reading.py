"""Reading: bytes that are hashed on their way, beside whatever else is done with them."""

import hashlib
import io
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import IO

from pipelines import hashing
from pipelines.errors import Damaged

log = logging.getLogger(__name__)

#: Less is hashed where it is read: handing it to another thread would take longer.
LARGE = 4 * 1024 * 1024


class Verified:
    """A stream that is read once, and keeps its last bytes back unless all were those expected.

    So whoever passes on what it gives can never have passed on all of something else.
    """

    def __init__(
        self,
        stream: IO[bytes],
        sha256: str,
        size: int,
        *,
        on_damage: Callable[[str], None] = lambda sha256: None,
    ) -> None:
        self._stream = stream
        self._sha256 = sha256
        self._size = size
        self._on_damage = on_damage
        self._at = 0
        self._hasher = hashlib.sha256()
        self._hashed: Future[None] | None = None

    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self._at
        wanted = left if size < 0 else min(size, left)
        chunk = self._stream.read(wanted)
        while len(chunk) < wanted:
            more = self._stream.read(wanted - len(chunk))
            if not more:
                raise self._damaged("ended early")
            chunk += more
        self._at += wanted
        self._hash(chunk)
        if self._at == self._size:
            self._wait()
            if self._hasher.hexdigest() != self._sha256:
                raise self._damaged("read as other bytes")
        return chunk

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        raise io.UnsupportedOperation("what was passed over could not be verified")

    def close(self) -> None:
        self._stream.close()

    def _hash(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._size < LARGE:
            self._hasher.update(chunk)
            return
        self._wait()
        self._hashed = hashing.threads().submit(self._hasher.update, chunk)

    def _wait(self) -> None:
        if self._hashed is not None:
            self._hashed.result()

    def _damaged(self, how: str) -> Damaged:
        log.error("The stored bytes %s %s; they were not handed out whole", self._sha256, how)
        self._on_damage(self._sha256)
        return Damaged(
            f"The stored bytes of {self._sha256} are damaged; they were not handed out. "
            "Tell an operator."
        )
