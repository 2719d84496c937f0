"""Archives that are composed of files whenever they are read, with the same bytes each time.

A bundle is a tar.gz whose deflate blocks are stored, not compressed. So its bytes depend on no
compressor's version, its length is known beforehand, and any part of it can be read without what
comes before: nothing of it need be kept but its recipe. A zip is made in one go, from its first
byte to its last.
"""

import hashlib
import io
import json
import stat
import struct
import tarfile
import zipfile
import zlib
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import IO, Any, Protocol

#: RFC 1952: deflate, no name, no time, of no system in particular.
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
GZIP_TRAILER = struct.Struct("<LL")
#: RFC 1951, 3.2.4: whether it is the last block, its length, and the length's complement.
BLOCK_HEADER = struct.Struct("<BHH")
BLOCK = 65_535
CHUNK = 1024 * 1024

#: The earliest time that a zip can name.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
#: From this size on a file has the long fields of zip64. Half of what would do without, so that
#: this alone decides, and not how the library estimates.
ZIP64_FROM = 2**30
ZIP_LIMIT = 2**31 - 1
ZIP_MOST = 2**16 - 1


class Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def tell(self) -> int: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: a checked relative path, and which bytes."""

    path: str
    sha256: str
    size: int
    executable: bool = False

    @property
    def mode(self) -> int:
        return 0o755 if self.executable else 0o644


#: Opens the bytes of a member for reading and seeking.
Opener = Callable[[Member], Source]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What it takes to compose a bundle: its files, and the CRC-32 of the tar that they make."""

    members: tuple[Member, ...]
    crc32: int

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "tar.gz",
            "crc32": self.crc32,
            "files": [asdict(member) for member in self.members],
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Recipe":
        if document["kind"] != "tar.gz":
            raise ValueError(f"there is no recipe of the kind {document['kind']!r}")
        return cls(tuple(Member(**each) for each in document["files"]), document["crc32"])


def in_order(members: Sequence[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda each: each.path))


def tag(kind: str, members: Sequence[Member]) -> str:
    """A digest of what an archive of this kind is made of."""
    listed = [kind, *([m.path, m.sha256, m.size, m.executable] for m in in_order(members))]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


# ---- tar.gz ------------------------------------------------------------------------------------
class _Composed(io.RawIOBase):
    """Bytes of a known length that are made where they are read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if origin + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """As much as fits, always: less is the end."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self.size - self._at))
        done = 0
        while done < wanted:
            written = self._fill(view[done:wanted])
            self._at += written
            done += written
        return done

    @abstractmethod
    def _fill(self, view: memoryview) -> int:
        """Write at least one byte of what comes next, and answer how many."""


class Tar(_Composed):
    """A tar in GNU's format with fixed order, times and owners; its files are read when needed."""

    def __init__(self, members: Sequence[Member], opener: Opener) -> None:
        self._opener = opener
        self._parts: list[bytes | Member] = []
        self._starts: list[int] = []
        self._end = 0
        for member in in_order(members):
            self._add(_tar_header(member), None)
            if member.size:
                self._add(member, member.size)
                self._add(bytes(-member.size % tarfile.BLOCKSIZE), None)
        self._add(bytes(2 * tarfile.BLOCKSIZE), None)
        self._add(bytes(-self._end % tarfile.RECORDSIZE), None)
        super().__init__(self._end)
        self._open: tuple[int, Source] | None = None

    def _add(self, part: bytes | Member, length: int | None) -> None:
        length = len(part) if isinstance(part, bytes) else length
        if length:
            self._parts.append(part)
            self._starts.append(self._end)
            self._end += length

    def _fill(self, view: memoryview) -> int:
        index = bisect_right(self._starts, self._at) - 1
        part, inside = self._parts[index], self._at - self._starts[index]
        if isinstance(part, bytes):
            piece = part[inside : inside + len(view)]
            view[: len(piece)] = piece
            return len(piece)
        stream = self._stream(index, part)
        if stream.tell() != inside:
            stream.seek(inside)
        view = view[: part.size - inside]
        readinto = getattr(stream, "readinto", None)
        if readinto is not None:
            written = int(readinto(view))
        else:
            piece = stream.read(len(view))
            written = len(piece)
            view[:written] = piece
        if not written:
            raise OSError(f"the bytes {part.sha256} ended early")
        return written

    def _stream(self, index: int, member: Member) -> Source:
        if self._open is None or self._open[0] != index:
            self._close()
            self._open = index, self._opener(member)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def close(self) -> None:
        self._close()
        super().close()


class SummedTar(Tar):
    """A tar that is read once, from its first byte to its last, to know its CRC-32."""

    crc32 = 0

    def readinto(self, buffer: Any, /) -> int:
        written = super().readinto(buffer)
        self.crc32 = zlib.crc32(memoryview(buffer)[:written], self.crc32)
        return written


def _tar_header(member: Member) -> bytes:
    info = tarfile.TarInfo(member.path)
    info.size = member.size
    info.mode = member.mode
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


class _StoredGzip(_Composed):
    """The gzip of a tar, in stored blocks."""

    def __init__(self, tar: Tar, checksum: Callable[[], int]) -> None:
        self._tar = tar
        self._checksum = checksum
        self._last = (tar.size - 1) // BLOCK
        self._trailer = len(GZIP_HEADER) + tar.size + BLOCK_HEADER.size * (self._last + 1)
        super().__init__(self._trailer + GZIP_TRAILER.size)

    def _fill(self, view: memoryview) -> int:
        if self._at < len(GZIP_HEADER):
            return _copy(GZIP_HEADER[self._at :], view)
        if self._at >= self._trailer:
            trailer = GZIP_TRAILER.pack(self._checksum(), self._tar.size & 0xFFFFFFFF)
            return _copy(trailer[self._at - self._trailer :], view)
        number, inside = divmod(self._at - len(GZIP_HEADER), BLOCK_HEADER.size + BLOCK)
        length = min(BLOCK, self._tar.size - number * BLOCK)
        if inside < BLOCK_HEADER.size:
            header = BLOCK_HEADER.pack(number == self._last, length, length ^ 0xFFFF)
            return _copy(header[inside:], view)
        inside -= BLOCK_HEADER.size
        self._tar.seek(number * BLOCK + inside)
        return self._tar.readinto(view[: length - inside])

    def close(self) -> None:
        self._tar.close()
        super().close()


def _copy(source: bytes, view: memoryview) -> int:
    length = min(len(source), len(view))
    view[:length] = source[:length]
    return length


def open_bundle(recipe: Recipe, opener: Opener) -> IO[bytes]:
    """The bundle's bytes, to be read from wherever one likes."""
    raw = _StoredGzip(Tar(recipe.members, opener), lambda: recipe.crc32)
    return io.BufferedReader(raw, CHUNK)


def compose_bundle(tar: SummedTar) -> Iterator[bytes]:
    """The bundle's bytes, once and in order; afterwards the tar knows its CRC-32."""
    with io.BufferedReader(_StoredGzip(tar, lambda: tar.crc32), CHUNK) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def bundle_size(members: Sequence[Member]) -> int:
    tar = Tar(members, _nothing)
    return _StoredGzip(tar, lambda: 0).size


def _nothing(member: Member) -> Source:
    raise AssertionError(f"nothing of {member.path} is read to know the length")


# ---- zip ---------------------------------------------------------------------------------------
class _Sink(io.RawIOBase):
    """Takes what the library writes, until it is asked for it. It cannot seek, so the library
    writes each file's length and CRC-32 behind the file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any, /) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from filter(None, pieces)


def zip_chunks(members: Sequence[Member], opener: Opener) -> Iterator[bytes]:
    """A zip of uncompressed files, from its first byte to its last."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for member in in_order(members):
            info = zipfile.ZipInfo(member.path, ZIP_TIME)
            info.create_system = 3  # Unix: what the mode is for.
            info.external_attr = (stat.S_IFREG | member.mode) << 16
            is_long = member.size >= ZIP64_FROM
            with (
                closing(opener(member)) as stream,
                archive.open(info, "w", force_zip64=is_long) as entry,
            ):
                while chunk := stream.read(CHUNK):
                    entry.write(chunk)
                    yield from sink.taken()
    yield from sink.taken()


def zip_size(members: Sequence[Member]) -> int:
    """The length of what `zip_chunks` gives, after the specification of the format."""
    at = directory = 0
    for member in in_order(members):
        name = len(member.path.encode())
        is_long = member.size >= ZIP64_FROM
        beyond = 2 * (member.size > ZIP_LIMIT) + (at > ZIP_LIMIT)
        directory += 46 + name + (4 + 8 * beyond if beyond else 0)
        at += 30 + name + member.size + (20 + 24 if is_long else 16)
    needs_zip64 = len(members) > ZIP_MOST or at > ZIP_LIMIT or directory > ZIP_LIMIT
    return at + directory + 22 + (56 + 20 if needs_zip64 else 0)
