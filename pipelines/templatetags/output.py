"""Output of programs as pages show it: numbered lines, their colours as classes."""

from collections.abc import Iterable
from dataclasses import dataclass

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pipelines import ansi

register = template.Library()

#: Of a longer line of output a page shows the beginning; the download has all of it.
SHOWN_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class Heading:
    """Stands before the first line of a step's output."""

    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class OutputLine:
    number: int
    spans: list[ansi.Span]
    #: Said by Sluice itself.
    is_own: bool
    #: So many characters more than a page shows.
    left_out: int
    heading: Heading | None = None


def output_line(number: int, text: str, style: ansi.Style) -> tuple[OutputLine, ansi.Style]:
    """A line of output for output_lines.html, and the style that goes on after it."""
    spans, after, left_out = ansi.spans(text, style, SHOWN_CHARACTERS)
    is_own = bool(spans) and spans[0].text.startswith("[sluice] ")
    return OutputLine(number, spans, is_own, left_out), after


@register.filter
def output_lines(text: object) -> list[OutputLine]:
    """Output of a program as numbered lines for log.html, its colours as styles."""
    made, style = [], ansi.PLAIN
    for number, line in enumerate(str(text or "").splitlines(), 1):
        shown, style = output_line(number, line, style)
        made.append(shown)
    return made


@register.filter
def styled(spans: Iterable[ansi.Span]) -> SafeString:
    """Spans of output with the classes of their styles; their text is escaped."""
    return format_html_join(
        "",
        "{}",
        (
            (
                format_html('<span class="{}">{}</span>', _classes(span.style), span.text)
                if span.style != ansi.PLAIN
                else span.text,
            )
            for span in spans
        ),
    )


def _classes(style: ansi.Style) -> str:
    return " ".join(f"ansi-{name}" for name in style.names)
