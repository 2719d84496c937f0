"""Bytes read forwards in small pieces: as they are stored, or decompressed on the way."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from pipelines.archives.nouns import Budget, Damaged
from pipelines.errors import Invalid

#: How much is read, and how much is decompressed, between two looks at the budget.
PIECE = 256 * 1024
#: xz -9 needs 65 MiB; what asks for more asks for our memory.
XZ_MEMORY = 100 * 1024**2


class File(Protocol):
    """What a storage opens: it lies far away perhaps, so it is read in large pieces."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Source(Protocol):
    def more(self) -> bytes:
        """The next piece; b"" at the end."""

    def leap(self, size: int) -> int:
        """Pass over up to `size` bytes without reading them; how many were passed over."""


class Engine(Protocol):
    """A decompressor that gives out no more than it is asked for."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


class Stored:
    """A part of a file as it is stored."""

    def __init__(self, file: File, start: int, size: int, budget: Budget) -> None:
        self._file = file
        self._left = size
        self._at = start
        self._budget = budget
        # Where the file itself stands is noted once: others may have read in it meanwhile.
        self._is_there = False

    def more(self) -> bytes:
        self._budget.spend_time()
        if not self._is_there:
            self._file.seek(self._at)
            self._is_there = True
        piece = self._file.read(min(PIECE, self._left))
        self._left -= len(piece)
        self._at += len(piece)
        return piece

    def leap(self, size: int) -> int:
        size = min(size, self._left)
        self._left -= size
        self._at += size
        self._is_there = False
        return size


class Inflate:
    """zlib with the manners of its siblings in bz2 and lzma."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        made = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.unconsumed_tail and len(made) < max_length
        return made


ENGINES: dict[str, Callable[[], Engine]] = {
    "gz": lambda: Inflate(zlib.MAX_WBITS | 16),
    "deflate": lambda: Inflate(-zlib.MAX_WBITS),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class Unpacked:
    """What a compressed stream unpacks to. Several streams in a row are one, as for gzip and xz."""

    def __init__(self, packed: Source, form: str, budget: Budget) -> None:
        self._packed = packed
        self._make = ENGINES[form]
        self._budget = budget
        self._engine = self._make()
        self._is_first = True

    def more(self) -> bytes:
        while True:
            self._budget.spend_time()
            data = b""
            if self._engine.eof:
                data = self._engine.unused_data or self._packed.more()
                if not data.strip(b"\0"):
                    # Some tools fill up their last block with zeros.
                    if not data:
                        return b""
                    data = self._packed.more()
                    if not data:
                        return b""
                self._engine = self._make()
                self._is_first = False
            elif self._engine.needs_input:
                data = self._packed.more()
                if not data:
                    raise Damaged("The compressed data ends before its end")
            made = self._decompressed(data)
            if made is None:
                return b""
            if made:
                self._budget.spend(len(made))
                return made

    def _decompressed(self, data: bytes) -> bytes | None:
        """The next bytes; None where what follows a whole stream is no stream."""
        try:
            return self._engine.decompress(data, max_length=PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            if "emory usage" in str(error):
                raise Invalid(
                    f"To unpack this archive takes more than {XZ_MEMORY // 1024**2} MiB of memory, "
                    "which no usual setting of xz does. It is not looked into."
                ) from error
            if not self._is_first:
                return None
            raise Damaged("The compressed data is damaged") from error
        except MemoryError as error:
            raise Invalid("To unpack this archive takes more memory than there is.") from error

    def leap(self, size: int) -> int:
        return 0


class Forward:
    """Reads a source forwards by any number of bytes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._piece = b""
        self._used = 0
        self.position = 0

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer where the source ends."""
        found = []
        while size:
            if self._used == len(self._piece):
                self._piece, self._used = self._source.more(), 0
                if not self._piece:
                    break
            part = self._piece[self._used : self._used + size]
            self._used += len(part)
            self.position += len(part)
            size -= len(part)
            found.append(part)
        return found[0] if len(found) == 1 else b"".join(found)

    def skip(self, size: int) -> bool:
        """Pass over `size` bytes; whether there were so many."""
        while size:
            step = min(size, len(self._piece) - self._used)
            self._used += step
            if not step:
                step = self._source.leap(size)
            if not step:
                self._piece, self._used = self._source.more(), 0
                if not self._piece:
                    return False
            self.position += step
            size -= step
        return True
