"""Which versions of a repository are kept. Pure decisions: values in, values out.

`retention.py` gathers the facts, asks here, shows the answer as a dry run or acts on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

SHOWN_DOUBTS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps a version. One rule that does is enough; a rule that is None keeps nothing.

    newest: so many versions of each package, the last published ones; recalled ones do not count.
    younger_days: since its publication. used_days: since it was last downloaded, selected or
    published. placed_days: since it was last placed anywhere, which keeps beside any rules.
    """

    newest: int | None = None
    younger_days: int | None = None
    used_days: int | None = None
    placed_days: int = 30

    @classmethod
    def read(cls, value: Mapping[str, Any] | None) -> "Rules":
        return cls(**(value or {}))

    def as_json(self) -> dict[str, int | None]:
        return asdict(self)

    @property
    def keep_all(self) -> bool:
        """Where no rule says what is kept, nothing is ever removed."""
        return self.newest is None and self.younger_days is None and self.used_days is None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one version. `rank` counts from the newest, 1; a recalled one has none.
    `promotion` and `run` are of those that have not ended and need it."""

    name: str
    rank: int | None
    published_at: datetime
    placed_in: tuple[str, ...] = ()
    placed_until: datetime | None = None
    promotion: int | None = None
    run: str = ""
    downloaded_at: datetime | None = None
    selected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a version is kept, and the reason in words."""

    name: str
    keeps: bool
    why: str


def decide(rules: Rules, facts: Facts, now: datetime) -> Decision:
    kept = _never(rules, facts, now) or _by_rule(rules, facts, now)
    return Decision(facts.name, bool(kept), kept or _why_pruned(facts, now))


def in_words(rules: Rules) -> list[str]:
    """The rules as sentences."""
    if rules.keep_all:
        return ["Every version is kept for ever."]
    said = []
    if rules.newest is not None:
        said.append(
            "Of each package the newest version is kept."
            if rules.newest == 1
            else f"Of each package the {rules.newest} newest versions are kept."
        )
    if rules.younger_days is not None:
        said.append(f"Versions younger than {_many(rules.younger_days, 'day')} are kept.")
    if rules.used_days is not None:
        days = _many(rules.used_days, "day")
        said.append(f"Versions downloaded, selected or published within {days} are kept.")
    placed = f", was placed within {_many(rules.placed_days, 'day')}" if rules.placed_days else ""
    said.append(
        f"Whatever is placed{placed}, is in an open promotion or is taken by an unfinished run is "
        "kept in any case."
    )
    return [*said, "Of every other version the bytes are removed, for ever."]


def doubts(rules: Rules, decided: Iterable[tuple[str, Facts, Decision]]) -> list[str]:
    """What should make one think twice: versions, given by package with the newest first, that go
    by their number alone before anything newer was placed, so that nobody knows a better one."""
    if rules.newest is None or rules.younger_days is not None or rules.used_days is not None:
        return []
    proven: set[str] = set()
    going: dict[str, list[str]] = {}
    for package, facts, decision in decided:
        if not decision.keeps and facts.rank is not None and package not in proven:
            going.setdefault(package, []).append(facts.name)
        if facts.placed_in or facts.placed_until is not None:
            proven.add(package)
    return [
        f"Of {package} {_named(names)} would go, and nothing newer was ever placed: what is placed "
        "next may be among them. Keep versions by their age or use as well."
        for package, names in going.items()
    ]


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_DOUBTS])
    left = len(names) - SHOWN_DOUBTS
    return f"{shown} and {left} more" if left > 0 else shown


def _never(rules: Rules, facts: Facts, now: datetime) -> str:
    """Why a version is kept whatever the rules are; empty where it is not."""
    if facts.placed_in:
        return f"placed in {', '.join(facts.placed_in)}"
    if facts.promotion is not None:
        return f"in promotion {facts.promotion}"
    if facts.run:
        return f"taken by {facts.run}, which has not ended"
    if facts.placed_until is not None and _is_within(facts.placed_until, rules.placed_days, now):
        return f"placed until {_ago(facts.placed_until, now)}"
    return ""


def _by_rule(rules: Rules, facts: Facts, now: datetime) -> str:
    if rules.keep_all:
        return "no rule is set"
    if rules.newest is not None and facts.rank is not None and facts.rank <= rules.newest:
        return f"among the {rules.newest} newest" if rules.newest > 1 else "the newest"
    if _is_within(facts.published_at, rules.younger_days, now):
        return f"published {_ago(facts.published_at, now)}"
    used = {
        "downloaded": facts.downloaded_at,
        "selected": facts.selected_at,
        "published": facts.published_at,
    }
    for what, at in used.items():
        if at is not None and _is_within(at, rules.used_days, now):
            return f"{what} {_ago(at, now)}"
    return ""


def _why_pruned(facts: Facts, now: datetime) -> str:
    rank = "recalled" if facts.rank is None else f"{_many(facts.rank - 1, 'version')} newer"
    uses = [at for at in (facts.downloaded_at, facts.selected_at) if at is not None]
    used = f"last used {_ago(max(uses), now)}" if uses else "not used since it was noted"
    return f"no rule keeps it: {rank}, published {_ago(facts.published_at, now)}, {used}."


def _is_within(at: datetime, days: int | None, now: datetime) -> bool:
    """A time in the future, by a clock that was wrong, is within any number of days."""
    return days is not None and (now - at).total_seconds() < days * 86_400


def _ago(at: datetime, now: datetime) -> str:
    days = (now - at).days
    return "today" if days <= 0 else f"{_many(days, 'day')} ago"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
