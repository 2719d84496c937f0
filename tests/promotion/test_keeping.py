"""What keeps a version and what does not, decided without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from promotion.keeping import Facts, Rules, decide, doubts, in_words

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def facts(**other: Any) -> Facts:
    return Facts(**{"name": "1.0.0", "rank": 5, "published_at": ago(100), **other})


STRICT = Rules(newest=1)


@pytest.mark.parametrize(
    ("rules", "known", "why"),
    [
        (Rules(), facts(), "no rule is set"),
        (Rules(placed_days=0), facts(), "no rule is set"),
        (STRICT, facts(rank=1), "the newest"),
        (Rules(newest=10), facts(rank=10), "among the 10 newest"),
        (Rules(younger_days=101), facts(), "published 100 days ago"),
        (Rules(younger_days=1), facts(published_at=ago(-400)), "published today"),
        (Rules(used_days=4), facts(downloaded_at=ago(3)), "downloaded 3 days ago"),
        (Rules(used_days=2), facts(selected_at=ago(1.5)), "selected 1 day ago"),
        (Rules(used_days=2), facts(published_at=ago(0.5)), "published today"),
        (STRICT, facts(placed_in=("staging", "production")), "placed in staging, production"),
        (STRICT, facts(placed_until=ago(29)), "placed until 29 days ago"),
        (STRICT, facts(promotion=17), "in promotion 17"),
        (STRICT, facts(rank=None, promotion=17), "in promotion 17"),
    ],
)
def test_a_version_is_kept_and_the_reason_is_said(rules: Rules, known: Facts, why: str) -> None:
    decision = decide(rules, known, NOW)
    assert (decision.keeps, decision.why) == (True, why)


@pytest.mark.parametrize(
    ("rules", "known"),
    [
        (STRICT, facts(rank=2)),
        (Rules(newest=10), facts(rank=11)),
        (Rules(newest=10), facts(rank=None)),
        (Rules(younger_days=100), facts()),
        (Rules(used_days=3), facts(downloaded_at=ago(3), selected_at=ago(4))),
        (STRICT, facts(placed_until=ago(30))),
        (Rules(newest=1, placed_days=0), facts(placed_until=ago(0))),
    ],
)
def test_a_version_that_no_rule_keeps_is_pruned(rules: Rules, known: Facts) -> None:
    decision = decide(rules, known, NOW)
    assert not decision.keeps
    assert decision.why.startswith("no rule keeps it: ")


def test_the_reason_for_pruning_tells_what_was_looked_at() -> None:
    found = decide(STRICT, facts(rank=3, downloaded_at=ago(40), selected_at=ago(50)), NOW)
    assert found.why == (
        "no rule keeps it: 2 versions newer, published 100 days ago, last used 40 days ago."
    )
    found = decide(STRICT, facts(rank=None), NOW)
    assert found.why == (
        "no rule keeps it: recalled, published 100 days ago, not used since it was noted."
    )


def test_rules_are_said_in_words() -> None:
    assert in_words(Rules()) == ["Every version is kept for ever."]
    assert in_words(Rules(newest=1, younger_days=1, used_days=30)) == [
        "Of each package the newest version is kept.",
        "Versions younger than 1 day are kept.",
        "Versions downloaded, selected or published within 30 days are kept.",
        "Whatever is placed, was placed within 30 days, is in an open promotion or is taken by an "
        "unfinished run is kept in any case.",
        "Of every other version the bytes are removed, for ever.",
    ]


def test_rules_read_back_as_what_they_were() -> None:
    rules = Rules(newest=3, used_days=7)
    assert Rules.read(rules.as_json()) == rules
    assert Rules.read(None) == Rules()


def doubted(rules: Rules, *known: Facts) -> list[str]:
    return doubts(rules, [("app", each, decide(rules, each, NOW)) for each in known])


NEW = facts(name="3.0.0", rank=1)
OLD = facts(name="2.0.0", rank=2)


def test_what_goes_before_anything_newer_was_placed_is_a_doubt() -> None:
    (said,) = doubted(STRICT, NEW, OLD, facts(name="1.0.0", rank=3, placed_until=ago(300)))
    assert said.startswith("Of app 2.0.0, 1.0.0 would go, and nothing newer was ever placed")
    many = [facts(name=f"0.{n}", rank=n) for n in range(9, 1, -1)]
    assert "0.9, 0.8, 0.7, 0.6, 0.5 and 3 more would go" in doubted(STRICT, NEW, *many)[0]


@pytest.mark.parametrize(
    ("rules", "known"),
    [
        (STRICT, [facts(rank=1, placed_in=("staging",)), OLD]),
        (STRICT, [NEW, facts(rank=2, placed_in=("production",)), facts(rank=3)]),
        (STRICT, [facts(rank=1, placed_until=ago(100)), OLD]),
        (STRICT, [NEW, facts(rank=None)]),
        (STRICT, [NEW]),
        (Rules(newest=1, younger_days=1), [NEW, OLD]),
        (Rules(newest=1, used_days=1), [NEW, OLD]),
        (Rules(younger_days=1), [OLD]),
        (Rules(), [NEW, OLD]),
    ],
)
def test_otherwise_there_is_no_doubt(rules: Rules, known: list[Facts]) -> None:
    assert doubted(rules, *known) == []
