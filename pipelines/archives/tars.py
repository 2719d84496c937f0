"""Tar read forwards, header by header.

Python's own tarfile takes a header of any length into memory, follows chained headers by recursion
and keeps every member. Here each header has its bound, a chain is a loop, and nothing is kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipelines.archives.nouns import Budget, Damaged, Member, MemberKind
from pipelines.archives.streams import Forward
from pipelines.errors import Invalid

BLOCK = 512
ZEROS = bytes(BLOCK)
#: The longest extended header that is read; a name in it may be so long.
MAX_EXTENDED = 1024**2
MAX_NAME = 4096
HARD_LINK, SYMBOLIC_LINK, FOLDER, SPARSE = b"1", b"2", b"5", b"S"
KINDS = {
    HARD_LINK: MemberKind.HARDLINK,
    SYMBOLIC_LINK: MemberKind.SYMLINK,
    b"3": MemberKind.DEVICE,
    b"4": MemberKind.DEVICE,
    FOLDER: MemberKind.FOLDER,
    b"D": MemberKind.FOLDER,
    b"6": MemberKind.OTHER,
}
#: Their size is not followed by as many bytes, whatever it says.
WITHOUT_BYTES = frozenset({HARD_LINK, SYMBOLIC_LINK, b"3", b"4", b"6"})
#: A volume's label and where a file goes on: they are no members.
NOTES = frozenset({b"V", b"M", b"N"})
WANTED = frozenset(
    {"path", "linkpath", "size", "GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size"}
)


@dataclass(slots=True)
class Extended:
    """What extended headers said of the member that follows."""

    name: bytes | None = None
    link: bytes | None = None
    pax: dict[str, bytes] = field(default_factory=dict)


def is_header(block: bytes) -> bool:
    """Whether these are 512 bytes with the checksum of a tar header."""
    if len(block) < BLOCK or block.startswith(ZEROS[:1]):
        return False
    try:
        return _checksum_is_right(block[:BLOCK])
    except Damaged:
        return False


def entries(tar: Forward, budget: Budget) -> Iterator[tuple[Member, int]]:
    """Each member and how many bytes of it follow, which may be read before the next is asked for.

    Raises Damaged where the archive is broken, Stopped where the budget is spent.
    """
    known: dict[str, bytes] = {}
    extended = Extended()
    while True:
        budget.spend_time()
        block = tar.read(BLOCK)
        if not block or block == ZEROS:
            return
        if len(block) < BLOCK or not _checksum_is_right(block):
            raise Damaged("A header of the tar is damaged")
        kind = block[156:157]
        size = _number(block[124:136], "size")
        if kind in {b"L", b"K", b"x", b"X", b"g"}:
            _extend(extended, known, kind, _long(tar, size))
            continue
        member, size = _member(block, kind, size, {**known, **extended.pax}, extended)
        extended = Extended()
        if kind == SPARSE:
            _pass_sparse_map(tar, block, budget)
        end = tar.position + size + -size % BLOCK
        if kind not in NOTES:
            yield member, size
        if not tar.skip(end - tar.position):
            raise Damaged("The tar ends in the middle of a member")


def _member(
    block: bytes, kind: bytes, size: int, pax: Mapping[str, bytes], extended: Extended
) -> tuple[Member, int]:
    if "size" in pax:
        size = _decimal(pax["size"], "size")
    name = pax.get("GNU.sparse.name") or pax.get("path") or extended.name or _name(block)
    link = pax.get("linkpath") or extended.link or _text(block[157:257])
    told = KINDS.get(kind, MemberKind.FILE)
    if told == MemberKind.FILE and kind == b"\0" and name.endswith(b"/"):
        # Before there was a type for them.
        told = MemberKind.FOLDER
    shown = size
    if kind == SPARSE:
        shown = _number(block[483:495], "size of a sparse file")
    elif real := pax.get("GNU.sparse.realsize") or pax.get("GNU.sparse.size"):
        shown = _decimal(real, "size of a sparse file")
    if kind in WITHOUT_BYTES:
        size = shown = 0
    member = Member(
        path=as_text(name),
        size=shown if told == MemberKind.FILE else None,
        kind=told,
        link_target=as_text(link) if told in {MemberKind.SYMLINK, MemberKind.HARDLINK} else "",
        mode=_number(block[100:108], "mode") & 0o7777,
    )
    return member, size


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    # Only POSIX has a prefix there; GNU keeps other things in its place.
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name


def _text(field_: bytes) -> bytes:
    return field_.split(b"\0", 1)[0]


def as_text(name: bytes) -> str:
    """A name as text; bytes that are no UTF-8 are spelt out, and what is endless is cut."""
    cut = name[:MAX_NAME]
    return cut.decode("utf-8", "backslashreplace") + ("…" if len(name) > MAX_NAME else "")


def _checksum_is_right(block: bytes) -> bool:
    told = _number(block[148:156], "checksum")
    rest = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if told == rest:
        return True
    # Some old tools summed up signed bytes.
    return told == rest - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def _number(field_: bytes, what: str) -> int:
    """A number in octal digits, or in GNU's binary form."""
    if field_[0] & 0x80:
        if field_[0] & 0x40:
            raise Damaged(f"A {what} in the tar is negative")
        return int.from_bytes(bytes([field_[0] & 0x3F]) + field_[1:], "big")
    digits = field_.split(b"\0", 1)[0].strip()
    if digits.strip(b"01234567"):
        raise Damaged(f"A {what} in the tar is no number")
    return int(digits or b"0", 8)


def _decimal(digits: bytes, what: str) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise Damaged(f"A {what} in the tar is no number")
    return int(digits)


def _long(tar: Forward, size: int) -> bytes:
    """The bytes of an extended header."""
    if size > MAX_EXTENDED:
        raise Invalid(
            f"A name or header in this tar claims to have {size} bytes; more than {MAX_EXTENDED} "
            "are not read. It is not looked into."
        )
    data = tar.read(size)
    if len(data) < size or not tar.skip(-size % BLOCK):
        raise Damaged("The tar ends in the middle of a header")
    return data


def _extend(extended: Extended, known: dict[str, bytes], kind: bytes, data: bytes) -> None:
    if kind == b"L":
        extended.name = _text(data)
    elif kind == b"K":
        extended.link = _text(data)
    else:
        (known if kind == b"g" else extended.pax).update(_records(data))


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The records "length key=value\\n" of a pax header that say something of what is listed."""
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        space = data.find(b" ", at, at + 21)
        length = _decimal(data[at:space], "length") if space > at else 0
        end = at + length
        if end <= space or end > len(data) or data[end - 1 : end] != b"\n":
            raise Damaged("An extended header of the tar is damaged")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        name = key[:40].decode("ascii", "replace")
        if equals and name in WANTED:
            yield name, value
        at = end


def _pass_sparse_map(tar: Forward, block: bytes, budget: Budget) -> None:
    """The map of a sparse file goes on in further blocks as long as each says so."""
    goes_on = block[482]
    while goes_on:
        budget.spend_time()
        more = tar.read(BLOCK)
        if len(more) < BLOCK:
            raise Damaged("The tar ends in the middle of a header")
        goes_on = more[504]
