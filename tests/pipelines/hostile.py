"""Archives made to do harm, and plain ones, each as bytes."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable

Made = tuple[str, bytes, str]  # path, type, link


def tar(files: dict[str, bytes], mode: str = "w", format: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as made:  # type: ignore[call-overload]
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_of(entries: Iterable[Made]) -> bytes:
    """A tar of members without bytes: links, devices, folders."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for path, kind, link in entries:
            info = tarfile.TarInfo(path)
            info.type, info.linkname = kind, link
            made.addfile(info)
    return out.getvalue()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as made:
        for path, data in files.items():
            made.writestr(path, data)
    return out.getvalue()


def header(path: bytes, size: int, kind: bytes = b"0", size_field: bytes = b"") -> bytes:
    """One tar header with a right checksum, whatever it says."""
    block = bytearray(512)
    block[0 : len(path)] = path
    block[100:108] = b"0000644\0"
    block[124:136] = size_field or f"{size:011o}\0".encode()
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def gzip_of_zeros(size: int) -> bytes:
    engine = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1024**2)
    parts = [engine.compress(header(b"big", size))]
    parts += [engine.compress(zeros) for _ in range(size // len(zeros))]
    return b"".join([*parts, engine.flush()])


def xz_of_zeros(size: int, dictionary: int = 1024**2) -> bytes:
    engine = lzma.LZMACompressor(
        filters=[{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": dictionary}]
    )
    zeros = bytes(1024**2)
    parts = [engine.compress(header(b"big", size))]
    parts += [engine.compress(zeros) for _ in range(size // len(zeros))]
    return b"".join([*parts, engine.flush()])


def bzip2_of_zeros(size: int) -> bytes:
    engine = bz2.BZ2Compressor(9)
    zeros = bytes(1024**2)
    parts = [engine.compress(header(b"big", size))]
    parts += [engine.compress(zeros) for _ in range(size // len(zeros))]
    return b"".join([*parts, engine.flush()])


def gzip_of_members(count: int) -> bytes:
    return gzip.compress(header(b"one", 0) * count, 1)


def zip_of_members(count: int, claimed: int | None = None) -> bytes:
    """A directory of so many members with the same bytes behind all of them."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0
    )
    directory = (entry + b"a") * count
    end = struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, 0, (count if claimed is None else claimed) & 0xFFFF,
        len(directory), len(local), 0,
    )  # fmt: skip
    return local + directory + end


def overlapping_zip(members: int, size: int) -> bytes:
    """Many members over one run of compressed zeros: little stored, all of it many times over."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(bytes(size)) + engine.flush()
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(packed), size, 1, 0)
    entries = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(packed), size,
            2, 0, 0, 0, 0, 0, 0,
        ) + f"{nth % 100:02}".encode()
        for nth in range(members)
    )  # fmt: skip
    start = len(local) + 1 + len(packed)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, members, members, len(entries), start, 0)
    return local + b"a" + packed + entries + end


def nested_zip(depth: int) -> bytes:
    inner = zipped({"0.txt": b"0" * 1000})
    for _ in range(depth):
        inner = zipped({f"{nth:x}.zip": inner for nth in range(16)})
    return inner


#: What takes a careless reader's memory or time, by name. Made when asked for: some take a moment.
GREEDY: dict[str, Callable[[], bytes]] = {
    "a gzip of zeros": lambda: gzip_of_zeros(512 * 1024**2),
    "an xz of zeros": lambda: xz_of_zeros(512 * 1024**2),
    "a bzip2 of zeros": lambda: bzip2_of_zeros(300 * 1024**2),
    "an xz with a huge dictionary": lambda: _with_huge_dictionary(xz_of_zeros(1024**2)),
    "a tar of a million members": lambda: gzip_of_members(1_000_000),
    "a zip of a million members": lambda: zip_of_members(1_000_000),
    "a zip that says it has a million": lambda: zip_of_members(3, 60_000),
    "overlapping members": lambda: overlapping_zip(5000, 1024**2),
    "zips in zips": lambda: nested_zip(3),
    "a name of a gigabyte": lambda: header(b"././@LongLink", 1024**3, b"L") + bytes(10_000),
    "a pax header of a gigabyte": lambda: header(b"x", 1024**3, b"x") + bytes(10_000),
    "a chain of long names": lambda: (header(b"n", 5, b"L") + b"name\0".ljust(512, b"\0")) * 50_000,
    "global headers without end": lambda: (
        (header(b"g", 300_000, b"g") + b"".join(b"11 a%04d=b\n" % n for n in range(10_000)))
        .ljust(512 + 300_032, b"\0") * 20
    ),
    "gzip streams without end": lambda: gzip.compress(b"") * 200_000,
    "long names": lambda: tar({f"{n}/" + "n" * 60_000: b"" for n in range(200)}),
    "folders in folders": lambda: zipped({"a/" * 20_000 + "b": b""} ),
}  # fmt: skip


def _with_huge_dictionary(packed: bytes) -> bytes:
    """The xz stream with the dictionary size in its block header set to 4 GiB."""
    block = bytearray(packed)
    size = (block[12] + 1) * 4
    at = block.index(b"\x21\x01", 12) + 2
    block[at] = 40
    block[12 + size - 4 : 12 + size] = struct.pack("<L", zlib.crc32(block[12 : 12 + size - 4]))
    return bytes(block)
