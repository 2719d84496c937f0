"""What a policy may say, as typed values. A revision keeps the same as canonical JSON."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import timedelta
from typing import Any

#: Written in every revision, whatever their values: what revisions have said from the first.
ALWAYS = ("approvals", "self_approval", "upstream", "expires_after_days")

DURATION = re.compile(r"^([1-9][0-9]{0,4})(m|h|d)\Z")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """`30m`, `24h` or `7d` as a length of time."""
    match = DURATION.match(text)
    assert match is not None, "what a policy says was read by reading.py"
    return timedelta(**{UNITS[match[2]]: int(match[1])})


@dataclass(frozen=True, slots=True)
class Approvers:
    """Whose approvals count: members of `groups` (anybody who may decide where it names none), and
    at least one from each of `one_from_each`."""

    groups: tuple[str, ...] = ()
    one_from_each: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequiredEvidence:
    """A statement that every version must have: of a kind (`junit`) or predicate type, with a
    result, and verified by one of the keys `signed_by`. Without keys a claim is enough."""

    type: str
    result: str = ""
    signed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRule:
    """What must be true of the run that made each version: patterns like `release/*`."""

    branches: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    no_manual_override: bool = False


@dataclass(frozen=True, slots=True)
class VersionRule:
    range: str = ""
    pre_releases: bool = True


@dataclass(frozen=True, slots=True)
class Freeze:
    """A window in which nothing is placed, in the local time of `time_zone`, once or again and
    again. `starts` and `ends` are like 2026-12-20T00:00."""

    name: str
    starts: str
    ends: str
    time_zone: str = "UTC"
    repeats: str = ""


@dataclass(frozen=True, slots=True)
class Machines:
    """What machine users may do here, and how many requests one of them may have open."""

    request: bool = True
    approve: bool = False
    open_requests: int = 20


@dataclass(frozen=True, slots=True)
class RollbackRule:
    """What a rollback takes. It never asks for the way through upstream, soak, run or version
    rules: what is rolled back to was here before. `approvals` empty: as many as a promotion."""

    approvals: int | None = None
    evidence: bool = False
    freezes: bool = False


@dataclass(frozen=True, slots=True)
class OverrideRule:
    """Break-glass: who may, and the review that it opens: how many others owe it, and until when.
    Nobody may where it names no group."""

    groups: tuple[str, ...] = ()
    reviews: int = 1
    review_within: str = "3d"


@dataclass(frozen=True, slots=True)
class Custom:
    """A gate of one's own: a CEL expression over the promotion's facts that must be true.

    `waits`: it may become true while a request waits, like one about the time or the approvers;
    without it, nothing is requested for which it is false.
    """

    name: str
    expression: str
    message: str = ""
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy revision, read.

    approvals: how many people must approve. self_approval: whether the requester may be one of
    them. not_by: who else may not (`publisher`, `run_starter`). second_factor: whether an approval
    must be signed with a passkey. approvals_expire_after: how long an approval counts. upstream:
    the environment in which every version must be placed first, and `soak` for how long.
    expires_after_days: how long a request waits for its decision. may_request, may_roll_back:
    groups; anybody with the role where they name none. automatic: Sluice itself requests what is
    upstream as soon as every gate is open.
    """

    approvals: int = 1
    self_approval: bool = False
    upstream: str | None = None
    expires_after_days: int = 14
    approvers: Approvers = field(default_factory=Approvers)
    not_by: tuple[str, ...] = ()
    second_factor: bool = False
    approvals_expire_after: str = ""
    soak: str = ""
    evidence: tuple[RequiredEvidence, ...] = ()
    run: RunRule = field(default_factory=RunRule)
    versions: VersionRule = field(default_factory=VersionRule)
    freezes: tuple[Freeze, ...] = ()
    may_request: tuple[str, ...] = ()
    may_roll_back: tuple[str, ...] = ()
    machines: Machines = field(default_factory=Machines)
    rollback: RollbackRule = field(default_factory=RollbackRule)
    override: OverrideRule = field(default_factory=OverrideRule)
    automatic: bool = False
    custom: tuple[Custom, ...] = ()

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Rules":
        """Of a kept revision: `value` was checked when it was set."""
        made: Rules = _made(cls, value)
        return made

    def as_json(self) -> dict[str, Any]:
        """Without what it leaves as it is anyway, so that a revision says what somebody wrote."""
        return _written(self, ALWAYS)

    def approvals_for(self, *, rollback: bool) -> int:
        own = self.rollback.approvals
        return own if rollback and own is not None else self.approvals


#: The dataclass behind each key that has keys of its own, and behind each entry of a list.
PARTS: Mapping[str, type[Any]] = {
    "approvers": Approvers,
    "run": RunRule,
    "versions": VersionRule,
    "machines": Machines,
    "rollback": RollbackRule,
    "override": OverrideRule,
}
ENTRIES: Mapping[str, type[Any]] = {
    "evidence": RequiredEvidence,
    "freezes": Freeze,
    "custom": Custom,
}


def _made(kind: type[Any], value: Mapping[str, Any]) -> Any:
    given: dict[str, Any] = {}
    for key, each in value.items():
        if kind is Rules and key in PARTS:
            given[key] = _made(PARTS[key], each)
        elif kind is Rules and key in ENTRIES:
            given[key] = tuple(_made(ENTRIES[key], entry) for entry in each)
        else:
            given[key] = tuple(each) if isinstance(each, list) else each
    return kind(**given)


def _written(value: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for each in fields(value):
        found = getattr(value, each.name)
        if each.default is not MISSING:
            usual: Any = each.default
        else:
            usual = each.default_factory() if each.default_factory is not MISSING else MISSING
        if each.name in always or found != usual:
            written[each.name] = _plain(found)
    return written


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return _written(value) if is_dataclass(value) else value
