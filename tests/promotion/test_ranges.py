"""Ranges answer the same for plain names, which are looked up in groups, as one by one."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from univers.versions import SemverVersion

from promotion.ranges import Range, newest

NUMBER = st.integers(0, 3)
PLAIN = st.builds(lambda *parts: ".".join(map(str, parts)), NUMBER, NUMBER, NUMBER)
NAME = PLAIN | st.builds(
    lambda plain, end: plain + end,
    PLAIN,
    st.sampled_from(["-rc.1", "-rc.2", "+build", "-rc.1+build", ".4"]),
)
BOUND = PLAIN | st.builds(lambda plain: f"{plain}-rc.2", PLAIN)
CONSTRAINT = st.builds(
    lambda sign, bound: f"{sign}{bound}",
    st.sampled_from(["^", "~", ">", ">=", "<", "<=", ""]),
    BOUND,
)
RANGE = CONSTRAINT | st.builds(
    lambda low, high: f">={low} <{high}", BOUND, BOUND
) | st.builds(lambda one, other: f"{one} || {other}", CONSTRAINT, CONSTRAINT)  # fmt: skip

# How fast the machine is says nothing about ranges.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answers(text: str, names: list[str], *, one_by_one: bool) -> list[str]:
    """What a range says of each name, or of the whole why it is none."""
    try:
        wanted = Range(text)
        return [wanted._refusal(name) if one_by_one else wanted.refusal(name) for name in names]
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


@unhurried
@given(RANGE, st.lists(NAME, min_size=1, max_size=12))
def test_a_range_says_of_many_names_what_it_says_of_each(text: str, names: list[str]) -> None:
    assert answers(text, names, one_by_one=False) == answers(text, names, one_by_one=True)


@unhurried
@given(st.lists(NAME, min_size=1, max_size=12))
def test_the_newest_is_the_one_that_the_library_calls_highest(names: list[str]) -> None:
    assert newest(names) == max(names, key=SemverVersion)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^0.1", "0.1.9", "0.2.0"),
        (">=1.0.0-rc.1 <1.0.0", "1.0.0-rc.2", "1.0.0"),
        ("vers:npm/>=1.0.0|<2.0.0", "1.999.0", "2.0.0"),
        ("^1 || ^3", "3.0.0", "2.5.0"),
        ("*", "7.0.0", "latest"),
    ],
)
def test_what_is_inside_and_what_is_not(text: str, inside: str, outside: str) -> None:
    wanted = Range(text)
    for _ in range(2):
        assert wanted.refusal(inside) == ""
        assert wanted.refusal(outside) != ""
