"""What a file is, told by its first bytes and never by its name."""

from dataclasses import dataclass

from pipelines.archives.tars import is_header

#: So many bytes from the beginning tell it.
HEAD = 512
#: A program or script may stand before a zip, which is found from its end.
BEFORE_ZIP = (b"#!", b"MZ", b"\x7fELF")


@dataclass(frozen=True, slots=True)
class Kind:
    """`form` is tar, zip, a compression or "" for none; `why_not` says what cannot be read."""

    form: str
    why_not: str = ""


NONE = Kind("")
MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"PK\x03\x04", Kind("zip")),
    (b"PK\x05\x06", Kind("zip")),
    (b"PK\x07\x08", Kind("zip")),
    (b"\x1f\x8b", Kind("gz")),
    (b"\xfd7zXZ\x00", Kind("xz")),
    (b"\x28\xb5\x2f\xfd", Kind("", "a Zstandard archive")),
    (b"7z\xbc\xaf\x27\x1c", Kind("", "a 7z archive")),
    (b"Rar!\x1a\x07", Kind("", "a RAR archive")),
    (b"!<arch>\n", Kind("", "an ar archive, as Debian packages are")),
    (b"\xed\xab\xee\xdb", Kind("", "an RPM package")),
    (b"LZIP", Kind("", "an lzip archive")),
    (b"\x04\x22\x4d\x18", Kind("", "an LZ4 archive")),
)


def kind_of(head: bytes) -> Kind:
    """What the first bytes of a file say, of which there are HEAD where it is so long."""
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"BZh") and head[3:4] in b"123456789" and len(head) > 4:
        return Kind("bz2") if head[4:10] in {b"1AY&SY", b"\x17rE8P\x90"} else NONE
    return Kind("tar") if is_header(head) else NONE


def may_end_in_zip(head: bytes) -> bool:
    return head.startswith(BEFORE_ZIP)
