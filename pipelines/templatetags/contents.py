"""Names and texts that strangers wrote, with what cannot be seen in them made visible."""

from collections.abc import Iterable

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pipelines import unseen

register = template.Library()


@register.filter
def visible(name: object) -> SafeString:
    """A name with each unseen character as its code; all of it is escaped."""
    return told(unseen.spans(str(name or "")))


@register.filter
def spelt(name: object) -> str:
    """The same as plain text, for titles and labels."""
    return unseen.spelt(str(name or ""))


@register.filter
def told(spans: Iterable[unseen.Span]) -> SafeString:
    """Spans of text, those that stand for an unseen character marked as such."""
    return format_html_join(
        "",
        "{}",
        (
            (
                format_html('<mark class="unseen" title="{}">{}</mark>', span.name, span.text)
                if span.name
                else span.text,
            )
            for span in spans
        ),
    )
