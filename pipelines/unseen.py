"""Characters that cannot be seen, or that make other text look like what it is not."""

import itertools
import re
import unicodedata
from dataclasses import dataclass

# Control characters, characters that turn the direction of writing, and those without any width.
# Joiners stay: whole scripts and pictures are written with them.
_UNSEEN = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
#: Line ends and tabs are for text to have; a name has none of them.
IN_TEXT = re.compile(f"[{_UNSEEN}]")
IN_NAMES = re.compile(rf"[\t\n\r{_UNSEEN}]")
#: So many are marked in one text: each mark is far longer than what it stands for. The codes of
#: those that follow stand in the text without one.
MOST_MARKED = 50
CONTROLS = {0x1B: "ESC", 0x00: "NUL", 0x08: "BS", 0x07: "BEL", 0x0C: "FF", 0x7F: "DEL"}


@dataclass(frozen=True, slots=True)
class Span:
    """Text as it is, or in place of one unseen character its code and what it is called."""

    text: str
    name: str = ""


def has_unseen(name: str) -> bool:
    return IN_NAMES.search(name) is not None


def spans(text: str, unseen: re.Pattern[str] = IN_NAMES) -> list[Span]:
    """`text` in pieces, each unseen character as a piece of its own that tells of it."""
    found, start = [], 0
    for match in itertools.islice(unseen.finditer(text), MOST_MARKED):
        if match.start() > start:
            found.append(Span(text[start : match.start()]))
        found.append(_told(match[0]))
        start = match.end()
    if start < len(text):
        found.append(Span(unseen.sub(lambda match: _told(match[0]).text, text[start:])))
    return found


def spelt(name: str) -> str:
    """The name with each unseen character as its code, for where nothing can be marked."""
    return "".join(span.text for span in spans(name))


def _told(character: str) -> Span:
    code = ord(character)
    name = unicodedata.name(character, "control character")
    return Span(CONTROLS.get(code, f"U+{code:04X}"), name)
