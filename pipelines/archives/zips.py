"""The directory at the end of a zip, read in pieces; jars, wheels and many others are zips.

Python's own zipfile takes the whole directory into memory, whatever its length. Here it is read as
it comes and no further than the bounds go.
"""

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.archives.nouns import Budget, Damaged, Danger, Member, MemberKind, Stopped
from pipelines.archives.streams import File, Forward, Stored, Unpacked
from pipelines.archives.tars import MAX_NAME, as_text
from pipelines.errors import Invalid

END = struct.Struct("<4s4H2LH")
LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
END_MAGIC, LOCATOR_MAGIC, END64_MAGIC = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
ENTRY_MAGIC, LOCAL_MAGIC = b"PK\x01\x02", b"PK\x03\x04"
LONGEST_COMMENT = 65_535
MAX_LINK = 4096
ENCRYPTED, UTF8 = 0x1, 0x800
FULL = 0xFFFF_FFFF
STORED, FORMS = 0, {8: "deflate", 12: "bz2"}
WRITTEN_ON_UNIX = (3, 19)


class _Entry(NamedTuple):
    """An entry of the directory as it is stored."""

    magic: bytes
    made_by: int
    needs: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    packed: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    external: int
    offset: int


class _End(NamedTuple):
    magic: bytes
    disk: int
    first_disk: int
    here: int
    entries: int
    size: int
    offset: int
    comment_length: int


@dataclass(frozen=True, slots=True)
class Where:
    """Where a member's bytes begin with their own header, and how they are packed."""

    name: bytes
    offset: int
    packed: int
    size: int
    method: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """`shift` is what stands before the zip, which its own offsets do not count."""

    start: int
    size: int
    count: int
    shift: int


def find_directory(file: File, size: int) -> Directory:
    """Where the directory is, from the record at the end. Raises Damaged where there is none."""
    length = min(size, END.size + LONGEST_COMMENT)
    file.seek(size - length)
    tail = file.read(length)
    at = tail.rfind(END_MAGIC, 0, len(tail) - END.size + len(END_MAGIC))
    while at >= 0:
        end = _End(*END.unpack_from(tail, at))
        if at + END.size + end.comment_length <= len(tail):
            break
        at = tail.rfind(END_MAGIC, 0, at)
    else:
        raise Damaged("The zip has no directory at its end")
    where = size - length + at
    count, length, start, record = end.entries, end.size, end.offset, 0
    if at >= LOCATOR.size and tail[at - LOCATOR.size :].startswith(LOCATOR_MAGIC):
        count, length, start, record = _end64(file, tail, at, where)
    shift = where - record - length - start
    if length < 0 or start < 0 or shift < 0:
        raise Damaged("The zip's directory is not where its end says")
    return Directory(start + shift, length, count, shift)


def _end64(file: File, tail: bytes, at: int, where: int) -> tuple[int, int, int, int]:
    """The same for a zip of more than 4 GiB or 65,535 members; last the length of its own record.

    It is looked for right before its locator: where that says it is means nothing when something
    stands before the zip.
    """
    record = END64.size + LOCATOR.size
    if where < record:
        raise Damaged("The zip's directory is not where its end says")
    file.seek(where - record)
    data = file.read(END64.size)
    if len(data) < END64.size or not data.startswith(END64_MAGIC):
        raise Damaged("The zip's large directory has no end")
    _, _, _, _, _, _, _, count, length, start = END64.unpack(data)
    return count, length, start, record


def entries(file: File, directory: Directory, budget: Budget) -> Iterator[tuple[Member, Where]]:
    """Each member as the directory has it. Links come without what they lead to."""
    reader = Forward(Stored(file, directory.start, directory.size, budget))
    while reader.position < directory.size:
        budget.spend_time()
        if reader.position > budget.bounds.directory:
            raise Stopped(f"Its directory has more than {budget.bounds.directory} bytes.")
        head = reader.read(ENTRY.size)
        if len(head) < ENTRY.size or not head.startswith(ENTRY_MAGIC):
            raise Damaged("The directory of the zip is damaged")
        entry = _Entry(*ENTRY.unpack(head))
        name = reader.read(entry.name_length)
        extra = reader.read(entry.extra_length)
        if len(name) + len(extra) < entry.name_length + entry.extra_length or not reader.skip(
            entry.comment_length
        ):
            raise Damaged("The directory of the zip is damaged")
        size, packed, offset = _large(entry, extra)
        where = Where(
            name=name,
            offset=offset + directory.shift,
            packed=packed,
            size=size,
            method=entry.method,
            is_encrypted=bool(entry.flags & ENCRYPTED),
        )
        yield _member(entry, name, where, budget), where


def _member(entry: _Entry, raw: bytes, where: Where, budget: Budget) -> Member:
    mode = entry.external >> 16 if entry.made_by >> 8 in WRITTEN_ON_UNIX else 0
    path = _path(raw, entry.flags)
    kind = MemberKind.FILE
    if path.endswith(("/", "\\")) or stat.S_ISDIR(mode):
        kind = MemberKind.FOLDER
    elif stat.S_ISLNK(mode):
        kind = MemberKind.SYMLINK
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        kind = MemberKind.DEVICE
    elif stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        kind = MemberKind.OTHER
    return Member(
        path=path,
        size=where.size if kind == MemberKind.FILE else None,
        kind=kind,
        mode=stat.S_IMODE(mode) if mode else None,
        danger=Danger.BOMB if budget.is_bomb(where.size, where.packed) else None,
    )


def _path(raw: bytes, flags: int) -> str:
    """Many tools write UTF-8 without saying so; what is none is the first PCs' code page."""
    if flags & UTF8:
        return as_text(raw)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw[:MAX_NAME].decode("cp437")
    return as_text(raw)


def _large(entry: _Entry, extra: bytes) -> tuple[int, int, int]:
    """Size, packed size and offset; those that are too large stand in an extra field."""
    numbers = [entry.size, entry.packed, entry.offset]
    at = 0
    while at + 4 <= len(extra) and FULL in numbers:
        tag, length = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            field = extra[at + 4 : at + 4 + length]
            for nth, number in enumerate(numbers):
                if number == FULL and len(field) >= 8:
                    (numbers[nth],) = struct.unpack_from("<Q", field)
                    field = field[8:]
            break
        at += 4 + length
    return numbers[0], numbers[1], numbers[2]


def open_member(file: File, size: int, where: Where, budget: Budget) -> Forward:
    """A member's bytes, unpacked as they are read. Raises Invalid where they cannot be."""
    if where.is_encrypted:
        raise Invalid("This member is encrypted.")
    if where.method != STORED and where.method not in FORMS:
        raise Invalid(f"This member is packed in a way ({where.method}) that is not read here.")
    file.seek(min(where.offset, size))
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size or not head.startswith(LOCAL_MAGIC):
        raise Damaged("A member of the zip is not where its directory says")
    *_, name_length, extra_length = LOCAL.unpack(head)
    if file.read(name_length) != where.name:
        raise Damaged("A member of the zip has another name in the directory than in its place")
    start = where.offset + LOCAL.size + name_length + extra_length
    packed = Stored(file, start, max(min(where.packed, size - start), 0), budget)
    if where.method == STORED:
        return Forward(packed)
    return Forward(Unpacked(packed, FORMS[where.method], budget))


def link_target(file: File, size: int, where: Where, budget: Budget) -> str:
    """Where a symbolic link leads: that is what it holds. "" where it cannot be read."""
    try:
        return as_text(open_member(file, size, where, budget).read(MAX_LINK))
    except (Damaged, Invalid):
        return ""


def overlap(places: list[tuple[int, int]]) -> bool:
    """Whether two members (offset, packed size) share bytes, as only a crafted archive has it."""
    end = 0
    for offset, packed in sorted(places):
        if packed and offset < end:
            return True
        end = max(end, offset + LOCAL.size + packed if packed else 0)
    return False


#: What a zip is, by a member that only it has.
VARIETIES: tuple[tuple[str, str], ...] = (
    ("WEB-INF/web.xml", "war"),
    ("AndroidManifest.xml", "apk"),
    ("META-INF/MANIFEST.MF", "jar"),
    ("EGG-INFO/PKG-INFO", "egg"),
)
ENDINGS: tuple[tuple[str, str], ...] = ((".dist-info/WHEEL", "wheel"), (".nuspec", "nupkg"))


def variety(paths: set[str]) -> str:
    """A more telling word than zip, where the members allow one."""
    for name, word in VARIETIES:
        if name in paths:
            return word
    for ending, word in ENDINGS:
        if any(path.endswith(ending) and path.count("/") <= 1 for path in paths):
            return word
    return "zip"
