"""From bytes to characters, and from a parser's complaint to a sentence for the writer."""

from __future__ import annotations

import re
from typing import Final

import yaml

from pipelines.flow.problems import Problems

SIZE_LIMIT: Final = 1024 * 1024  # bytes

# What YAML calls printable, less the exotic line breaks: editors do not count those as lines, so
# every place after one would be reported wrongly.
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_text(source: str | bytes, problems: Problems) -> str | None:
    """Decode and look over the characters. None, with a problem recorded, where that fails."""
    size = len(source) if isinstance(source, bytes) else _utf8_length(source)
    if size > SIZE_LIMIT:
        head = source[:SIZE_LIMIT]
        shown = head.decode("utf-8", "replace") if isinstance(head, bytes) else head
        line, column = _place(shown, len(shown))
        problems.add(
            "too_large",
            f"the document is larger than {SIZE_LIMIT} bytes; split it into several pipelines",
            line=line,
            column=column,
        )
        return None
    if isinstance(source, bytes):
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = _place(*_decoded_before(source, error.start))
            problems.add(
                "not_utf8",
                f"the byte 0x{source[error.start]:02x} is not UTF-8; save the file as UTF-8",
                line=line,
                column=column,
            )
            return None
    else:
        text = source
    if text.startswith("\ufeff"):
        text = text[1:]
        problems.add(
            "byte_order_mark",
            "the text begins with a byte order mark; save it as UTF-8 without one",
            line=1,
            column=1,
            severity="warning",
        )
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line, column = _place(text, forbidden.start())
        problems.add(
            "bad_character",
            f"the character U+{ord(forbidden[0]):04X} is not allowed here; remove it",
            line=line,
            column=column,
        )
        return None
    return text


def _utf8_length(text: str) -> int:
    # Encoding a huge text only to measure it would cost what the limit is there to save.
    if len(text) > SIZE_LIMIT:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def _decoded_before(source: bytes, offset: int) -> tuple[str, int]:
    before = source[:offset].decode("utf-8")
    return before, len(before)


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


# What libyaml and PyYAML say, and what that means to the person who wrote the file.
_EXPLANATIONS: Final = (
    ("mapping values are not allowed", "a `:` where no key can stand; quote text that holds `: `"),
    ("could not find expected ':'", "a key without its `:`, or text that should be indented"),
    ("did not find expected key", "this line does not fit the indentation of those above"),
    ("expected <block end>", "this line does not fit the indentation of those above"),
    ("block collections", "a list item cannot begin here; put it on its own line"),
    ("block sequence entries", "a list item cannot begin here; put it on its own line"),
    ("unexpected end of stream", "a quote or bracket is opened and never closed"),
    ("',' or ']'", "a `[` list lacks a `,` or its closing `]`"),
    ("',' or '}'", "a `{` mapping lacks a `,` or its closing `}`"),
    ("cannot start any token", "this character begins no value; quote the text"),
    ("unknown escape", "an unknown escape inside double quotes; use single quotes or `\\\\`"),
    ("tab", "a tab stands where spaces are expected"),
)


def report_syntax(text: str, error: yaml.MarkedYAMLError, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    said = str(error.problem or error.context or "it cannot be read")
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    indentation = written[: len(written) - len(written.lstrip())]
    if "\t" in indentation and column <= len(indentation) + 1:
        problems.add(
            "tab",
            "a tab indents this line; YAML allows spaces only",
            line=line,
            column=indentation.index("\t") + 1,
        )
        return
    because = next((ours for theirs, ours in _EXPLANATIONS if theirs in said), said)
    opened = error.context_mark
    if opened is not None and opened.line + 1 < line:
        because += f" (what began in line {opened.line + 1})"
    problems.add("yaml_syntax", f"this is not YAML: {because}", line=line, column=column)
