"""Words and shapes that every screen shares: states, digests, times, sizes, people.

Nothing here reads the database, so a template may call these for every row of a
table. Everything returns plain text, which Django escapes; only `icon` returns
markup, and that markup comes from constants of icons.py, never from data.
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

from pipelines.icons import ICONS
from pipelines.looks import LOOKS, Look

register = template.Library()

SHORT_DIGEST_LENGTH = 12


# --- States -------------------------------------------------------------------

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
    "Runners": ("alive", "silent"),
    "Versions": ("published", "recalled", "pruned"),
    "Images": ("same", "moved", "untagged", "gone", "unknown"),
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
        "overridden",
        "held",
    ),
    "Gates": ("open", "closed"),
    "Evidence": ("verified", "claimed", "missing"),
    "Evidence keys": ("trusted", "revoked"),
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
    """static/js/sluice.js counts on in the same words."""
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
def elapsed_seconds(started: object) -> str:
    """How many seconds ago it began, for static/js/sluice.js to count on from; "" if it has not."""
    begin = moment(started)
    if begin is None:
        return ""
    return f"{max((dt.datetime.now(dt.UTC) - begin).total_seconds(), 0):.1f}"


@register.simple_tag
def elapsed(started: object, finished: object = None) -> str:
    """How long something took, or has taken so far when it is not finished."""
    begin = moment(started)
    if begin is None:
        return ""
    end = moment(finished) or dt.datetime.now(dt.UTC)
    return describe_seconds((end - begin).total_seconds())


# --- Icons --------------------------------------------------------------------


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """One icon as inline SVG. Decorative unless `label` gives it a name of its own."""
    # Safe: `ICONS` holds constants of ours, and an unknown name draws a dot.
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
    """Text as numbered lines for source.html, freed of terminal codes.

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
    "promotion:notice": "notices",
    "promotion:webhook": "webhooks",
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
    "promotion:evidence": "keys",
    "promotion:storage": "storage",
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
