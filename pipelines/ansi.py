"""Terminal colours as a few styles, and every other code for terminals taken out.

Pure Python, and linear in the length of the text. Nothing here makes markup: a span is a text and
the names of its styles.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
COLOURS = (*NAMES, *(f"bright-{name}" for name in NAMES))
#: The sixteen colours as xterm shows them, to find the nearest of any other.
SHOWN = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0),
    (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0),
    (92, 92, 255), (255, 0, 255), (0, 255, 255), (255, 255, 255),
)  # fmt: skip
LEVELS = (0, 95, 135, 175, 215, 255)
MOST_PARAMETERS = 64

# A text sequence like a window's title ends with BEL or ESC \. One that never ends loses only its
# beginning, so that it cannot hide what a program wrote after it.
CODES = re.compile(
    r"\x1b\[(?P<parameters>[0-?]{0,256})[ -/]{0,16}(?P<end>[@-~]?)"
    r"|\x1b[\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)"
    r"|\x1b[ -/]{0,16}[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
LONGEST_CODE = 4200


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks. Colours are places in COLOURS; None is the colour of ordinary text."""

    colour: int | None = None
    ground: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        made = [name for name in FLAGS if getattr(self, name)]
        if self.ground is not None:
            made.append(f"on-{COLOURS[self.ground]}")
        if self.colour is not None:
            made.append(COLOURS[self.colour])
        return tuple(made)

    @property
    def code(self) -> int:
        """The style as one small number, for a reader's place in a log."""
        flags = sum(bool(getattr(self, name)) << nth for nth, name in enumerate(FLAGS))
        return (flags * 17 + _nth(self.ground)) * 17 + _nth(self.colour)

    @classmethod
    def of(cls, code: int) -> "Style":
        """The style of a code; of a number that is none, the ordinary one."""
        rest, colour = divmod(code, 17)
        flags, ground = divmod(rest, 17)
        if not 0 <= flags < 1 << len(FLAGS):
            return PLAIN
        return cls(
            colour - 1 if colour else None,
            ground - 1 if ground else None,
            **{name: bool(flags >> nth & 1) for nth, name in enumerate(FLAGS)},
        )


FLAGS = ("bold", "faint", "italic", "underline")
PLAIN = Style()


def _nth(colour: int | None) -> int:
    return 0 if colour is None else colour + 1


@dataclass(frozen=True, slots=True)
class Span:
    text: str
    style: Style


def spans(line: str, style: Style, most: int) -> tuple[list[Span], Style, int]:
    """A line as spans of at most `most` characters, the style after it, and how much is left out.

    A carriage return redraws a line in a terminal, so only what stood last is kept.
    """
    if line.isprintable() or not CODES.search(line):
        shown = line.rstrip("\r").rpartition("\r")[2]
        left_out = max(len(shown) - most, 0)
        return ([Span(shown[:most], style)] if shown else []), style, left_out
    made: list[Span] = []
    left, left_out, is_redrawn = most, 0, False
    for kind, text in _tokens(line):
        if kind == "style":
            style = _restyled(style, text)
        elif kind == "return":
            is_redrawn = True
        elif text:
            if is_redrawn:
                made, left, left_out, is_redrawn = [], most, 0, False
            if left:
                made.append(Span(text[:left], style))
            left_out += max(len(text) - left, 0)
            left = max(left - len(text), 0)
    return made, style, left_out


def _tokens(line: str) -> Iterator[tuple[str, str]]:
    """The texts of a line, its changes of style, and its returns to the beginning, in order."""
    at = 0
    for found in CODES.finditer(line):
        yield from _texts(line[at : found.start()])
        if found["end"] == "m":
            yield "style", found["parameters"]
        at = found.end()
    yield from _texts(line[at:])


def _texts(text: str) -> Iterator[tuple[str, str]]:
    first, *others = text.split("\r")
    yield "text", first
    for other in others:
        yield "return", ""
        yield "text", other


def _restyled(style: Style, parameters: str) -> Style:
    numbers = iter(_numbers(parameters))
    for number in numbers:
        if number in {38, 48}:
            colour = _wide_colour(numbers)
            if colour is not None:
                style = _coloured(style, number, colour)
        elif number == 0:
            style = PLAIN
        elif number in SIMPLE:
            style = replace(style, **SIMPLE[number])
        elif 30 <= number <= 37 or 40 <= number <= 47:
            style = _coloured(style, number, number % 10)
        elif 90 <= number <= 97 or 100 <= number <= 107:
            style = _coloured(style, 38 if number < 100 else 48, number % 10 + 8)
    return style


SIMPLE: dict[int, dict[str, Any]] = {
    1: {"bold": True},
    2: {"faint": True},
    3: {"italic": True},
    4: {"underline": True},
    22: {"bold": False, "faint": False},
    23: {"italic": False},
    24: {"underline": False},
    39: {"colour": None},
    49: {"ground": None},
}


def _numbers(parameters: str) -> list[int]:
    """The parameters of a change of style; an empty one is 0, and what is no number is dropped."""
    parts = parameters.replace(":", ";").split(";", MOST_PARAMETERS)[:MOST_PARAMETERS]
    return [int(part[:4] or 0) for part in parts if part == "" or part.isdecimal()]


def _coloured(style: Style, number: int, colour: int) -> Style:
    return replace(style, colour=colour) if number < 40 else replace(style, ground=colour)


def _wide_colour(numbers: Iterator[int]) -> int | None:
    """The colour that follows 38 or 48: `5;n` of 256, or `2;r;g;b`."""
    match next(numbers, None):
        case 5:
            number = next(numbers, 256)
            return _of_256(number) if number < 256 else None
        case 2:
            rgb = [next(numbers, 0) for _ in range(3)]
            return nearest(*(min(each, 255) for each in rgb))
        case _:
            return None


def _of_256(number: int) -> int:
    if number < 16:
        return number
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return nearest(grey, grey, grey)
    red, rest = divmod(number - 16, 36)
    green, blue = divmod(rest, 6)
    return nearest(LEVELS[red], LEVELS[green], LEVELS[blue])


@lru_cache(maxsize=4096)
def nearest(red: int, green: int, blue: int) -> int:
    """The place in COLOURS of the colour that is most like this one."""

    def distance(place: int) -> int:
        r, g, b = SHOWN[place]
        # The eye tells greens best and blues worst.
        return 3 * (r - red) ** 2 + 4 * (g - green) ** 2 + 2 * (b - blue) ** 2

    return min(range(16), key=distance)


def stripped(text: str) -> str:
    """The text without any code for terminals."""
    return text if text.isprintable() else CODES.sub("", text)


def stripped_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """The same for a text in pieces: a code may be cut between two of them."""
    held = ""
    for piece in pieces:
        text = held + piece
        # Whatever has begun since the last line began may go on in the next piece.
        begun = text.find("\x1b", max(text.rfind("\n") + 1, len(text) - LONGEST_CODE))
        end = begun if begun >= 0 else len(text)
        held = text[end:]
        yield stripped(text[:end])
    yield stripped(held)
