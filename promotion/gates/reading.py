"""Plain values to rules, with every fault of a policy at once. Pure.

Each fault has the path of the key at fault, like `freezes[0].ends`; whoever has the text knows the
line. What only the database knows, like whether there is such a group, policies.py asks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from promotion.gates import language
from promotion.gates.freezes import SHORTEST, STEPS
from promotion.gates.language import DURATION, ENTRIES, PARTS, Rules

#: How many entries a list may have.
MOST = 50
LONGEST = 200
LONGEST_EXPRESSION = 1000
#: Past this many faults a person reads no further, and an answer only grows.
MOST_FAULTS = 100
LONGEST_PATH = 200
NOT_BY = ("publisher", "run_starter")
RESULTS = ("passed", "failed")

Check = Callable[["Reading", str, Any], None]


@dataclass(frozen=True, slots=True)
class Fault:
    path: str
    code: str
    message: str


class Reading:
    """One reading of one policy, and what was wrong with it."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.faults: list[Fault] = []
        self.rules: Rules | None = None
        self._mapping("", value, Rules, CHECKS)
        if not self.faults:
            read = Rules.read(value)
            self._together(read)
            if not self.faults:
                self.rules = read

    def fault(self, path: str, message: str, code: str = "bad_value") -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(path[:LONGEST_PATH], code, message))

    def _mapping(self, path: str, value: Any, kind: type[Any], checks: Mapping[str, Check]) -> None:
        if not isinstance(value, Mapping):
            self.fault(path, "Give a mapping of keys to values.")
            return
        known = [each.name for each in fields(kind)]
        what = f"“{path}”" if path else "A policy"
        for key in value:
            if len(self.faults) >= MOST_FAULTS:
                return
            here = f"{path}.{key}" if path else str(key)
            if key not in known:
                said = f"{what} has no “{str(key)[:80]}”. It has: {', '.join(known)}."
                self.fault(here, said, "unknown_key")
            elif key in PARTS and kind is Rules:
                self._mapping(here, value[key], PARTS[key], checks_of(PARTS[key]))
            elif key in ENTRIES and kind is Rules:
                self._entries(here, value[key], ENTRIES[key])
            else:
                checks[key](self, here, value[key])

    def _entries(self, path: str, value: Any, kind: type[Any]) -> None:
        if not isinstance(value, list) or len(value) > MOST:
            self.fault(path, f"Give a list of at most {MOST} entries.")
            return
        for number, each in enumerate(value):
            here = f"{path}[{number}]"
            self._mapping(here, each, kind, checks_of(kind))
            for needed in NEEDED[kind]:
                if isinstance(each, Mapping) and each.get(needed) in (None, ""):
                    self.fault(f"{here}.{needed}", f"“{needed}” is missing.", "missing_key")

    def _together(self, read: Rules) -> None:
        """What is right by itself and wrong beside the rest."""
        if read.soak and not read.upstream:
            self.fault("soak", "Name the upstream environment in which versions are to soak.")
        if read.automatic and not read.upstream:
            self.fault("automatic", "Name the upstream environment from which versions come.")
        if read.automatic and read.approvals:
            why = "Set approvals to 0: what people must approve is not promoted by itself."
            self.fault("automatic", why)
        if read.automatic and not (read.machines.request and read.machines.open_requests):
            why = "Let machines request: Sluice is one, and could not promote by itself."
            self.fault("automatic", why)
        if len(read.approvers.one_from_each) > read.approvals:
            why = f"{read.approvals} approvals cannot come from each of these groups."
            self.fault("approvers.one_from_each", why)
        if not read.override.review_within:
            why = "Say until when a review is owed, like 3d."
            self.fault("override.review_within", why)
        for number, freeze in enumerate(read.freezes):
            self._window(f"freezes[{number}]", freeze)
        for key, entries in (("freezes", read.freezes), ("custom", read.custom)):
            names = [entry.name for entry in entries]
            for number, name in enumerate(names):
                if name in names[:number]:
                    self.fault(f"{key}[{number}].name", f"“{name}” is there already.")

    def _window(self, path: str, freeze: language.Freeze) -> None:
        starts, ends = (datetime.fromisoformat(text) for text in (freeze.starts, freeze.ends))
        if ends <= starts:
            self.fault(f"{path}.ends", "The end must come after the start.")
        elif freeze.repeats and ends - starts >= SHORTEST[freeze.repeats]:
            why = f"What repeats {freeze.repeats} must be over before it begins again."
            self.fault(f"{path}.ends", why)


# ---- Checks of single values -------------------------------------------------------------------
def _number(least: int, most: int) -> Check:
    def check(reading: Reading, path: str, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            reading.fault(path, f"Give a whole number from {least} to {most}.")

    return check


def _number_or_nothing(least: int, most: int) -> Check:
    number = _number(least, most)

    def check(reading: Reading, path: str, value: Any) -> None:
        if value is not None:
            number(reading, path, value)

    return check


def _flag(reading: Reading, path: str, value: Any) -> None:
    if not isinstance(value, bool):
        reading.fault(path, "Give true or false.")


def _text(most: int = LONGEST) -> Check:
    def check(reading: Reading, path: str, value: Any) -> None:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            said = f"Give a text of one line and at most {most} characters that can be seen."
            reading.fault(path, said)

    return check


def _expression(reading: Reading, path: str, value: Any) -> None:
    """Expressions may have several lines, which YAML writes as a block."""
    lines = value.replace("\t", " ").split("\n") if isinstance(value, str) else [None]
    if all(each is not None and each.isprintable() for each in lines):
        if len(value) > LONGEST_EXPRESSION:
            reading.fault(path, f"Give at most {LONGEST_EXPRESSION} characters.")
    else:
        reading.fault(path, "Give a CEL expression as a text.")


def _text_or_nothing(reading: Reading, path: str, value: Any) -> None:
    if value is not None:
        _text()(reading, path, value)


def _texts(reading: Reading, path: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) > MOST:
        reading.fault(path, f"Give a list of at most {MOST} texts.")
        return
    for number, each in enumerate(value):
        _text()(reading, f"{path}[{number}]", each)
        if each == "":
            reading.fault(f"{path}[{number}]", "Give a text, not an empty one.")
        if isinstance(each, str) and each in value[:number]:
            reading.fault(f"{path}[{number}]", f"“{each[:80]}” is there already.")


def _choices(*allowed: str) -> Check:
    def check(reading: Reading, path: str, value: Any) -> None:
        _texts(reading, path, value)
        for number, each in enumerate(value if isinstance(value, list) else ()):
            if each not in allowed:
                reading.fault(f"{path}[{number}]", f"Choose from: {', '.join(allowed)}.")

    return check


def _choice(*allowed: str) -> Check:
    def check(reading: Reading, path: str, value: Any) -> None:
        if value != "" and (not isinstance(value, str) or value not in allowed):
            reading.fault(path, f"Choose from: {', '.join(allowed)}.")

    return check


def _duration(reading: Reading, path: str, value: Any) -> None:
    if value == "":
        return
    fits = isinstance(value, str) and DURATION.match(value)
    if not fits or language.duration(value).days > 365:
        reading.fault(path, "Give a length of time like 30m, 24h or 7d, of a year at most.")


def _moment(reading: Reading, path: str, value: Any) -> None:
    try:
        told = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        told = None
    if told is None or told.tzinfo is not None or not 1970 <= told.year <= 2999:
        said = "Give a date and time like 2026-12-20T18:00, in the window's own time zone."
        reading.fault(path, said)


def _zone(reading: Reading, path: str, value: Any) -> None:
    if not isinstance(value, str) or value not in zones():
        reading.fault(path, "Give a time zone like Europe/Berlin or UTC.")


@cache
def zones() -> frozenset[str]:
    """Every time zone by its name. Finding them reads some hundred files, so it is done once."""
    return frozenset(available_timezones())


CHECKS: Mapping[str, Check] = {
    "approvals": _number(0, 20),
    "self_approval": _flag,
    "upstream": _text_or_nothing,
    "expires_after_days": _number(1, 365),
    "not_by": _choices(*NOT_BY),
    "second_factor": _flag,
    "approvals_expire_after": _duration,
    "soak": _duration,
    "may_request": _texts,
    "may_roll_back": _texts,
    "automatic": _flag,
}

OF_PARTS: Mapping[type[Any], Mapping[str, Check]] = {
    language.Approvers: {"groups": _texts, "one_from_each": _texts},
    language.RunRule: {"branches": _texts, "pipelines": _texts, "no_manual_override": _flag},
    language.VersionRule: {"range": _text(), "pre_releases": _flag},
    language.Machines: {
        "request": _flag,
        "approve": _flag,
        "open_requests": _number(0, 1000),
    },
    language.RollbackRule: {
        "approvals": _number_or_nothing(0, 20),
        "evidence": _flag,
        "freezes": _flag,
    },
    language.OverrideRule: {
        "groups": _texts,
        "reviews": _number(0, 20),
        "review_within": _duration,
    },
    language.RequiredEvidence: {
        "type": _text(255),
        "result": _choice(*RESULTS),
        "signed_by": _texts,
    },
    language.Freeze: {
        "name": _text(),
        "starts": _moment,
        "ends": _moment,
        "time_zone": _zone,
        "repeats": _choice(*STEPS),
    },
    language.Custom: {
        "name": _text(),
        "expression": _expression,
        "message": _text(),
        "waits": _flag,
    },
}

NEEDED: Mapping[type[Any], tuple[str, ...]] = {
    language.RequiredEvidence: ("type",),
    language.Freeze: ("name", "starts", "ends"),
    language.Custom: ("name", "expression"),
}


def checks_of(kind: type[Any]) -> Mapping[str, Check]:
    return OF_PARTS[kind]
