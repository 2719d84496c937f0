"""The beginning of a text as numbered lines, with what cannot be seen in it told."""

import codecs
import re
from dataclasses import dataclass

from pipelines import unseen

#: So much is read to tell whether it is a text, and so much of it is shown.
READ = 1024**2
SHOWN_BYTES = 256 * 1024
SHOWN_LINES = 2_000
SHOWN_CHARACTERS = 1_000
#: Of characters that cannot be seen: a page of nothing else would be a hundred times its text.
SHOWN_MARKS = 5_000

#: A byte order mark says how what follows is encoded. UTF-32's begins like UTF-16's.
MARKS: tuple[tuple[bytes, str, str], ...] = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "", ""),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class TextLine:
    """`left_out`: so many characters more than are shown."""

    number: int
    spans: tuple[unseen.Span, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a text. `lines_in_all` is None where not all of it was read."""

    lines: tuple[TextLine, ...]
    encoding: str
    is_whole: bool
    shown_bytes: int
    lines_in_all: int | None


def preview(data: bytes, *, is_whole: bool) -> Preview | None:
    """The preview of a file that begins with `data`; None where it is no text.

    `is_whole` tells whether these are all its bytes.
    """
    found = _decoded(data, is_whole)
    if found is None:
        return None
    text, encoding = found
    lines = LINE_END.split(text)
    if lines[-1] == "":
        lines.pop()
    shown, used, marks = [], 0, 0
    for number, line in enumerate(lines[:SHOWN_LINES], start=1):
        if used >= SHOWN_BYTES or marks >= SHOWN_MARKS:
            break
        # The whole line counts: what is cut of it is not shown in place of other lines.
        used += len(line.encode()) + 1
        cut = line[:SHOWN_CHARACTERS]
        spans = tuple(unseen.spans(cut, unseen.IN_TEXT))
        marks += sum(bool(span.name) for span in spans)
        shown.append(TextLine(number, spans, len(line) - len(cut)))
    return Preview(
        lines=tuple(shown),
        encoding=encoding,
        is_whole=is_whole and len(shown) == len(lines),
        shown_bytes=min(used, len(data)),
        lines_in_all=len(lines) if is_whole else None,
    )


def _decoded(data: bytes, is_whole: bool) -> tuple[str, str] | None:
    codec, encoding, start = "utf-8", "UTF-8", 0
    for mark, its_codec, its_name in MARKS:
        if data.startswith(mark):
            codec, encoding, start = its_codec, its_name, len(mark)
            break
    if not codec:
        return None
    try:
        # Where there is more, the last character may be cut through.
        decoder = codecs.getincrementaldecoder(codec)()
        text = decoder.decode(data[start:], final=is_whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else (text, encoding)
