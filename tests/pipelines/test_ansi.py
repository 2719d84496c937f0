"""Terminal codes: colours become a few styles, everything else is gone, nothing takes long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ansi import (
    COLOURS,
    PLAIN,
    SHOWN,
    Style,
    nearest,
    spans,
    stripped,
    stripped_pieces,
)

MOST = 10_000


def styled(line: str, style: Style = PLAIN) -> list[tuple[str, str]]:
    return [(" ".join(span.style.names), span.text) for span in spans(line, style, MOST)[0]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain", [("", "plain")]),
        ("", []),
        ("\x1b[31mred\x1b[0m not", [("red", "red"), ("", " not")]),
        ("\x1b[mplain", [("", "plain")]),
        ("\x1b[1;3;4;92;41mall", [("bold italic underline on-red bright-green", "all")]),
        ("\x1b[1m\x1b[2ma\x1b[22mb", [("bold faint", "a"), ("", "b")]),
        ("\x1b[34;44ma\x1b[39mb\x1b[49mc", [("on-blue blue", "a"), ("on-blue", "b"), ("", "c")]),
        ("\x1b[38;5;196mx", [("bright-red", "x")]),
        ("\x1b[38;5;1;1mx", [("bold red", "x")]),
        ("\x1b[48;5;232mx", [("on-black", "x")]),
        ("\x1b[38;2;0;200;10mx", [("green", "x")]),
        ("\x1b[38:2:0:200:10mx", [("green", "x")]),
        ("\x1b[38;5;999mx", [("", "x")]),
        ("\x1b[38mx\x1b[38;2mx", [("", "x"), ("black", "x")]),
        ("\x1b[5;7;53mx", [("", "x")]),
        ("a\x1b[2K\x1b[1Ab", [("", "a"), ("", "b")]),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", [("", "a"), ("", "b")]),
        ("\x1b]never ends", [("", "never ends")]),
        ("a\x1b", [("", "a")]),
        ("a\x1b[31", [("", "a")]),
        ("a\x08\x00\x7f\x9bb\tc", [("", "a"), ("", "b\tc")]),
        ("10%\r20%\r30%\r", [("", "30%")]),
        ("10%\r\x1b[32mdone", [("green", "done")]),
        ("100%\r\x1b[0m", [("", "100%")]),
    ],
)
def test_a_line_is_told_in_spans(line: str, expected: list[tuple[str, str]]) -> None:
    assert styled(line) == expected


def test_a_style_goes_on_in_the_next_line() -> None:
    _, style, _ = spans("\x1b[1;35mone", PLAIN, MOST)
    assert styled("two\x1b[22m three", style) == [("bold magenta", "two"), ("magenta", " three")]


def test_a_long_line_is_cut_and_its_last_style_still_counts() -> None:
    line = "\x1b[31m" + "x" * 8 + "\x1b[32m" + "y" * 8 + "\x1b[1m"
    made, style, left_out = spans(line, PLAIN, 10)
    assert [span.text for span in made] == ["x" * 8, "yy"]
    assert (left_out, style.names) == (6, ("bold", "green"))
    assert spans("z" * 12, PLAIN, 10)[2] == 2


CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
ANY = st.text(
    st.one_of(st.sampled_from("\x1b\x1b\x1b[]0123456789;:mK\\\x07\r\t\x00<&"), st.characters()),
    max_size=200,
)


@given(ANY, st.integers(0, 10_000))
def test_no_control_character_comes_through(line: str, code: int) -> None:
    line = line.replace("\n", "")
    made, style, _ = spans(line, Style.of(code), MOST)
    for text in [*(span.text for span in made), stripped(line).replace("\r", "")]:
        assert not CONTROL.search(text)
    assert Style.of(style.code) == style


@given(ANY, st.lists(st.integers(1, 50), max_size=9))
def test_a_text_in_pieces_is_freed_of_the_same_codes(text: str, sizes: list[int]) -> None:
    pieces, rest = [], text
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert "".join(stripped_pieces([*pieces, rest])) == stripped(text)


@given(st.integers())
def test_any_number_is_read_as_some_style(code: int) -> None:
    assert isinstance(Style.of(code).names, tuple)


@given(st.builds(Style, *(st.none() | st.integers(0, 15),) * 2, *(st.booleans(),) * 4))
def test_a_style_is_written_as_a_number_and_read_again(style: Style) -> None:
    assert Style.of(style.code) == style


def test_each_of_the_sixteen_colours_is_nearest_to_itself() -> None:
    assert [nearest(*rgb) for rgb in SHOWN] == list(range(len(COLOURS)))


@pytest.mark.parametrize("unit", ["\x1b", "\x1b[", "\x1b]", "\x1b]x", "\x1b[1;", "\r", "\x1b[m"])
def test_what_never_ends_takes_no_more_time_than_its_length(unit: str) -> None:
    # Quadratic time would not come to an end here: the suite's own time limit is the measure.
    line = unit * 400_000
    assert spans(line, PLAIN, MOST)[2] >= 0
    assert len("".join(stripped_pieces([line]))) <= len(line)
