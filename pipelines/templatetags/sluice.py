"""Words and shapes that every screen shares: states, digests, times, sizes, people.

Nothing here reads the database, so a template may call these for every row of a
table. Everything returns plain text, which Django escapes; only `icon` returns
markup, and that markup comes from the constants below, never from data.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from django import template
from django.template import Context
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

SHORT_DIGEST_LENGTH = 12


# --- States -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """How one state is shown. The icon's shape and the label both tell it apart,
    so colour (the tone) is never the only signal."""

    label: str
    tone: str
    icon: str


LOOKS: dict[str, Look] = {
    # Runs, jobs and steps. `failed`: the work said no; `errored`: the machinery broke.
    "queued": Look("Queued", "neutral", "circle-dashed"),
    "running": Look("Running", "info", "spinner"),
    "waiting": Look("Waiting", "warning", "pause"),
    "succeeded": Look("Succeeded", "success", "check-circle"),
    "failed": Look("Failed", "danger", "x-circle"),
    "errored": Look("Errored", "danger", "triangle"),
    "cancelled": Look("Cancelled", "neutral", "slash"),
    "skipped": Look("Skipped", "neutral", "skip"),
    # Versions.
    "published": Look("Published", "success", "box"),
    "recalled": Look("Recalled", "danger", "octagon"),
    # Promotions. `completed`, `failed` and `errored` share their look with runs.
    "requested": Look("Requested", "warning", "clock"),
    "approved": Look("Approved", "info", "check"),
    "executing": Look("Executing", "info", "spinner"),
    "completed": Look("Completed", "success", "check-circle"),
    "rejected": Look("Rejected", "danger", "x-circle"),
    "withdrawn": Look("Withdrawn", "neutral", "undo"),
    "expired": Look("Expired", "neutral", "hourglass"),
    "stale": Look("Stale", "warning", "refresh"),
    # Gates.
    "open": Look("Open", "success", "gate-open"),
    "closed": Look("Closed", "danger", "gate-closed"),
    # Evidence.
    "verified": Look("Verified", "success", "shield"),
    "claimed": Look("Claimed", "warning", "quote"),
    "missing": Look("Missing", "neutral", "circle-minus"),
    # What a promotion does to one package.
    "new": Look("New", "info", "plus"),
    "upgrade": Look("Upgrade", "success", "arrow-up"),
    "rollback": Look("Rollback", "warning", "undo"),
    "unchanged": Look("Unchanged", "neutral", "equal"),
    # What it does to one file.
    "added": Look("Added", "success", "plus"),
    "removed": Look("Removed", "danger", "circle-minus"),
    "changed": Look("Changed", "info", "refresh"),
    # Problem severities and the levels of Django's messages.
    "error": Look("Error", "danger", "x-circle"),
    "warning": Look("Warning", "warning", "triangle"),
    "hint": Look("Hint", "info", "info"),
    "info": Look("Information", "info", "info"),
    "success": Look("Done", "success", "check-circle"),
    "debug": Look("Debug", "neutral", "info"),
}

STATE_GROUPS: dict[str, tuple[str, ...]] = {
    "Runs, jobs and steps": (
        "queued",
        "running",
        "waiting",
        "succeeded",
        "failed",
        "errored",
        "cancelled",
        "skipped",
    ),
    "Versions": ("published", "recalled"),
    "Promotions": (
        "requested",
        "approved",
        "executing",
        "completed",
        "rejected",
        "withdrawn",
        "expired",
        "stale",
        "failed",
        "errored",
    ),
    "Gates": ("open", "closed"),
    "Evidence": ("verified", "claimed", "missing"),
    "Changes": ("new", "upgrade", "rollback", "unchanged"),
    "Files": ("added", "changed", "removed"),
}


def look(state: object) -> Look:
    """The look of a state, of a gate's `open` flag (a bool), or of an unknown word.

    An unknown word is shown as itself rather than hidden: a state that a later
    release adds must not make an older page lie or break.
    """
    if isinstance(state, bool):
        return LOOKS["open" if state else "closed"]
    word = str(getattr(state, "value", state) or "").strip()
    known = LOOKS.get(word.lower())
    if known is not None:
        return known
    return Look(word.replace("_", " ").capitalize() or "Unknown", "neutral", "dot")


@register.filter
def state_label(state: object) -> str:
    return look(state).label


@register.filter
def state_tone(state: object) -> str:
    """neutral, info, success, warning or danger: the suffix of a `tone-…` class."""
    return look(state).tone


@register.filter
def state_icon(state: object) -> str:
    """A name that the `icon` tag draws."""
    return look(state).icon


@register.simple_tag
def state_groups() -> dict[str, tuple[str, ...]]:
    """Every state of the domain by group, for the style guide."""
    return STATE_GROUPS


# --- Digests, sizes, people ---------------------------------------------------


def _split_digest(value: object) -> tuple[str, str]:
    text = str(value or "").strip()
    algorithm, separator, rest = text.partition(":")
    return (algorithm, rest) if separator else ("sha256", text)


@register.filter
def short_digest(value: object) -> str:
    """`sha256:9f86d081884c…` and bare hex both give `9f86d081884c`; nothing gives ""."""
    return _split_digest(value)[1][:SHORT_DIGEST_LENGTH]


@register.filter
def full_digest(value: object) -> str:
    """The digest with its algorithm in front, as the API writes it."""
    algorithm, hexadecimal = _split_digest(value)
    return f"{algorithm}:{hexadecimal}" if hexadecimal else ""


@register.filter
def file_size(value: object) -> str:
    """Bytes in binary units, at most one decimal: `512 B`, `1.4 MiB`."""
    try:
        size = float(str(value))
    except ValueError:
        return ""
    if size < 1024:
        return f"{int(size)} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        # 1023.96 would round up to a clumsy "1024.0", so it moves on a unit early.
        if size < 1023.95 or unit == "TiB":
            break
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


@register.filter
def person(value: object) -> str:
    """A username, from a user or from the name that the ledger kept.

    No actor means that Sluice itself acted, for instance the sweeper.
    """
    if value is None or value == "":
        return "sluice"
    name = getattr(value, "get_username", None)
    return str(name()) if callable(name) else str(value)


@register.filter
def initial(value: object) -> str:
    return person(value)[:1].upper()


# --- Times --------------------------------------------------------------------


def moment(value: object) -> dt.datetime | None:
    """A datetime in UTC, from a datetime or from RFC 3339 text as the ledger keeps it."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, dt.datetime):
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC)


def describe_age(when: dt.datetime, now: dt.datetime) -> str:
    """`just now`, `5 min ago`, `in 3 h`, `2 days ago`, then a date.

    static/js/sluice.js keeps these texts fresh and must use the same words.
    """
    seconds = (now - when).total_seconds()
    distance = abs(seconds)
    if distance < 45:
        return "just now"
    if distance >= 30 * 86400:
        return f"{when.day} {when:%b %Y}"
    if distance < 3600:
        text = f"{max(1, int(distance // 60))} min"
    elif distance < 86400:
        text = f"{int(distance // 3600)} h"
    else:
        days = int(distance // 86400)
        text = "1 day" if days == 1 else f"{days} days"
    return f"{text} ago" if seconds > 0 else f"in {text}"


@register.filter
def relative_time(value: object) -> str:
    when = moment(value)
    return describe_age(when, dt.datetime.now(dt.UTC)) if when else ""


@register.filter
def exact_time(value: object) -> str:
    """For people: `2025-03-04 15:06:07 UTC`. Everyone in an audit reads one clock."""
    when = moment(value)
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else ""


@register.filter
def iso_time(value: object) -> str:
    """For machines: `2025-03-04T15:06:07Z`, the value of a `datetime` attribute."""
    when = moment(value)
    return f"{when:%Y-%m-%dT%H:%M:%S}Z" if when else ""


def describe_seconds(seconds: float) -> str:
    # Two clocks may disagree by a little; a negative time would only confuse.
    seconds = max(seconds, 0)
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(shown[:2]) or "0 s"


@register.filter
def duration(value: object) -> str:
    """A timedelta or a number of seconds: `340 ms`, `4.2 s`, `1 min 32 s`, `2 h 5 min`."""
    if isinstance(value, dt.timedelta):
        return describe_seconds(value.total_seconds())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return describe_seconds(float(value))
    return ""


@register.simple_tag
def elapsed(started: object, finished: object = None) -> str:
    """How long something took, or has taken so far when it is not finished."""
    begin = moment(started)
    if begin is None:
        return ""
    end = moment(finished) or dt.datetime.now(dt.UTC)
    return describe_seconds((end - begin).total_seconds())


# --- Icons --------------------------------------------------------------------

_RING = '<circle cx="8" cy="8" r="6.25"/>'

# Drawn for a 16 × 16 box in the current colour. Different states get different
# outlines, so that they stay apart in print and for people who see few colours.
ICONS: dict[str, str] = {
    "arrow-right": '<path d="M2.75 8h10.5M9 3.75 13.25 8 9 12.25"/>',
    "arrow-up": '<path d="M8 13.25V2.75M3.75 7 8 2.75 12.25 7"/>',
    "board": '<path d="M2.25 2.25h4.5v4.5h-4.5zM9.25 2.25h4.5v4.5h-4.5zM2.25 9.25h4.5v4.5h-4.5z'
    'M9.25 9.25h4.5v4.5h-4.5z"/>',
    "box": '<path d="M8 1.75 13.5 4.75v6.5L8 14.25l-5.5-3v-6.5zM2.5 4.75 8 7.75l5.5-3'
    'M8 7.75v6.5"/>',
    "check": '<path d="M2.75 8.5 6.25 12l7-7.75"/>',
    "check-circle": _RING + '<path d="M5.25 8.25 7.25 10.25 11 6"/>',
    "chevron-down": '<path d="M4 6.25 8 10.25l4-4"/>',
    "chevron-left": '<path d="M9.75 4 5.75 8l4 4"/>',
    "chevron-right": '<path d="M6.25 4l4 4-4 4"/>',
    "circle-dashed": '<circle cx="8" cy="8" r="6.25" stroke-dasharray="2.6 2.3"/>',
    "circle-minus": _RING + '<path d="M5.25 8h5.5"/>',
    "clock": _RING + '<path d="M8 4.5V8l2.25 1.5"/>',
    "code": '<path d="M5.25 4.25 1.75 8l3.5 3.75M10.75 4.25 14.25 8l-3.5 3.75"/>',
    "copy": '<rect x="5.5" y="5.5" width="8.25" height="8.25" rx="1.5"/>'
    '<path d="M10.5 5.5V3.75c0-.8-.6-1.5-1.5-1.5H3.75c-.8 0-1.5.7-1.5 1.5V9'
    'c0 .9.7 1.5 1.5 1.5H5.5"/>',
    "dot": '<circle cx="8" cy="8" r="3"/>',
    "download": '<path d="M8 2.25v8M4.5 7 8 10.25 11.5 7M2.5 13.5h11"/>',
    "equal": '<path d="M3 6h10M3 10h10"/>',
    "file": '<path d="M3.5 1.75h5.25L12.5 5.5v8.75h-9zM8.75 1.75V5.5h3.75"/>',
    "gate-closed": '<path d="M3 2v12M13 2v12M3 3.25h10M8 3.25V7M5.25 7h5.5v6.75h-5.5z"/>',
    "gate-open": '<path d="M3 2v12M13 2v12M5.25 2h5.5v4.25h-5.5z'
    'M4.75 11.5c1.1-1.1 2.2-1.1 3.25 0s2.2 1.1 3.25 0"/>',
    "history": '<path d="M2.25 8a5.75 5.75 0 1 0 1.9-4.27L2.25 5.5M2.25 2.25V5.5H5.5M8 5v3.25'
    'l2.25 1.25"/>',
    "hourglass": '<path d="M4 1.75h8M4 14.25h8M5 1.75v2.5L8 8l3-3.75v-2.5M5 14.25v-2.5L8 8'
    'l3 3.75v2.5"/>',
    "inbox": '<path d="M1.75 9.25 4 2.75h8l2.25 6.5v4H1.75zM1.75 9.25H5.5l1 1.75h3l1-1.75h3.75"/>',
    "info": _RING + '<path d="M8 7.25V11M8 4.9V5"/>',
    "layers": '<path d="M8 1.75 14.25 5 8 8.25 1.75 5zM1.75 8 8 11.25 14.25 8'
    'M1.75 11 8 14.25 14.25 11"/>',
    "menu": '<path d="M2 4h12M2 8h12M2 12h12"/>',
    "octagon": '<path d="M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4zM8 4.75v3.75'
    'M8 11v.1"/>',
    "pause": _RING + '<path d="M6.4 5.75v4.5M9.6 5.75v4.5"/>',
    "pipeline": '<circle cx="3.5" cy="8" r="1.75"/><circle cx="12.5" cy="3.75" r="1.75"/>'
    '<circle cx="12.5" cy="12.25" r="1.75"/>'
    '<path d="M5.25 8h1.5c2.5 0 1.5-4.25 4-4.25M6.75 8c2.5 0 1.5 4.25 4 4.25"/>',
    "plus": '<path d="M8 2.75v10.5M2.75 8h10.5"/>',
    "quote": '<path d="M2.25 2.75h11.5v8H7.75l-3.25 3v-3H2.25zM5 5.75h6M5 8h3.5"/>',
    "refresh": '<path d="M13.5 7.5A5.6 5.6 0 1 0 12 11.9M13.75 3.75V7.5H10"/>',
    "search": '<circle cx="7" cy="7" r="4.75"/><path d="m10.5 10.5 3.5 3.5"/>',
    "settings": '<path d="M1.75 4.75h6M11.25 4.75h3M1.75 11.25h3M8.25 11.25h6"/>'
    '<circle cx="9.5" cy="4.75" r="1.75"/><circle cx="6.5" cy="11.25" r="1.75"/>',
    "shield": '<path d="M8 1.75 13.25 3.5v4.25c0 3.1-2 5.4-5.25 6.5-3.25-1.1-5.25-3.4-5.25-6.5V3.5z'
    'M5.5 8l1.75 1.75L10.5 6.25"/>',
    "skip": '<path d="M2.75 3.75 7 8l-4.25 4.25M8.25 3.75 12.5 8l-4.25 4.25"/>',
    "slash": _RING + '<path d="m3.75 12.25 8.5-8.5"/>',
    "spinner": '<circle cx="8" cy="8" r="6.25" opacity=".3"/>'
    '<path d="M8 1.75A6.25 6.25 0 0 1 14.25 8"/>',
    "triangle": '<path d="M8 2 14.5 13.5h-13zM8 6.5v3.25M8 11.5v.1"/>',
    "undo": '<path d="M5.25 2.75 2 6l3.25 3.25M2 6h7.5a3.75 3.75 0 0 1 0 7.5H6"/>',
    "user": '<circle cx="8" cy="5" r="3"/>'
    '<path d="M2.25 14c.6-3 2.9-4.5 5.75-4.5s5.15 1.5 5.75 4.5"/>',
    "x-circle": _RING + '<path d="m5.75 5.75 4.5 4.5M10.25 5.75l-4.5 4.5"/>',
}


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One icon as inline SVG. Decorative unless `label` gives it a name of its own."""
    # Safe: `ICONS` holds constants of this file, and an unknown name draws a dot.
    drawing = SafeString(ICONS.get(name, ICONS["dot"]))
    described = SafeString('aria-hidden="true"')
    if label:
        described = format_html('role="img" aria-label="{}"', label)
    return format_html(
        '<svg class="icon icon-{}" viewBox="0 0 16 16" width="16" height="16" fill="none" '
        'stroke="currentColor" stroke-width="1.5" stroke-linecap="round" '
        'stroke-linejoin="round" focusable="false" {}>{}</svg>',
        name,
        described,
        drawing,
    )


@register.simple_tag
def state_icon_tag(state: object) -> SafeString:
    """The icon of a state, without its word: only beside text that says it."""
    return icon(look(state).icon)


@register.simple_tag
def icon_names() -> list[str]:
    return list(ICONS)


# --- Logs and source text -----------------------------------------------------

# Colours and cursor movements that tools write for terminals, and control
# characters that would only confuse a page. Escaping is left to the template.
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[@-Z\\^_]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str


@register.filter
def numbered_lines(text: object, first: int = 1) -> list[Line]:
    """Text as numbered lines for log.html and source.html, freed of terminal codes.

    A carriage return redraws a line in a terminal, so only what stood last is kept.
    """
    plain = _TERMINAL.sub("", str(text or "").replace("\r\n", "\n"))
    lines = plain.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [
        Line(number, line.rstrip("\r").rpartition("\r")[2])
        for number, line in enumerate(lines, start=int(first))
    ]


@register.filter
def code_spans(text: object) -> SafeString:
    """Text in which backticks mark code, as messages of the checker and help texts have it."""
    parts = str(text or "").split("`")
    if len(parts) % 2 == 0:
        # One backtick stands for itself: what it would mark has no end.
        return format_html("{}", str(text))
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", each) if nth % 2 else each,)
            for nth, each in enumerate(parts)
        ),
    )


# --- Navigation ---------------------------------------------------------------

# The longest matching start of a URL name wins, so that "promotion_list" and
# "promotion_detail" light up one entry without every view having to say so.
_SECTIONS: dict[str, str] = {
    "promotion:board": "board",
    "promotion:inbox": "waiting",
    "promotion:repository": "repositories",
    "promotion:package": "repositories",
    "promotion:version": "repositories",
    "promotion:environment": "environments",
    "promotion:placement": "environments",
    "promotion:policy": "environments",
    "promotion:promotion": "promotions",
    "promotion:history": "history",
    "promotion:ledger": "history",
    "promotion:selection": "history",
    "pipelines:": "pipelines",
    "accounts:": "account",
    "schema": "api",
}


@register.simple_tag(takes_context=True)
def active_section(context: Context) -> str:
    """The part of the site a page belongs to: `section` of the context, else by URL name."""
    given = context.get("section")
    if given:
        return str(given)
    match: Any = getattr(context.get("request"), "resolver_match", None)
    name = str(getattr(match, "view_name", "") or "")
    fitting = [start for start in _SECTIONS if name.startswith(start)]
    return _SECTIONS[max(fitting, key=len)] if fitting else ""
