"""Conditions: what they mean, and what they refuse."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flow.conditions import ConditionError, evaluate, parse_condition


def holds(
    text: str, variables: dict[str, str] | None = None, outcomes: dict[str, str] | None = None
) -> bool:
    return evaluate(parse_condition(text), variables or {}, outcomes or {})


@pytest.mark.parametrize(("a", "b", "c"), list(itertools.product(["true", "false"], repeat=3)))
def test_the_truth_tables_of_the_operators(a: str, b: str, c: str) -> None:
    variables = {"A": a, "B": b, "C": c}
    x, y, z = a == "true", b == "true", c == "true"
    assert holds("${A} && ${B}", variables) is (x and y)
    assert holds("${A} || ${B}", variables) is (x or y)
    assert holds("!${A}", variables) is (not x)
    assert holds("${A} || ${B} && ${C}", variables) is (x or (y and z))
    assert holds("(${A} || ${B}) && ${C}", variables) is ((x or y) and z)
    assert holds("!${A} && ${B}", variables) is ((not x) and y)
    assert holds("${A} == ${B} && ${C} != 'true'", variables) is (x == y and not z)
    assert holds("!(${A} == ${B})", variables) is (x != y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"a" == "a"', True),
        ("'a' == \"a\"", True),
        ('"a" == "A"', False),
        ('"${X}" == "one"', True),
        ("${X} == one", True),
        ("${X} != ${Y}", True),
        ("'v${X}' == 'vone'", True),
        ("1.10 == '1.10'", True),
        ("1.10 == 1.1", False),
        ("${NONE} == ''", False),
        (r"'it\'s' == " + '"it\'s"', True),
        ("startsWith(${X}, 'on')", True),
        ("startsWith(${X}, 'ne')", False),
        ("endsWith('release/1', \"/1\")", True),
        ("contains(${X}, n)", True),
        ("contains(${X}, 'z')", False),
        ("always()", True),
        ("true", True),
        ("TRUE", True),
        ("false", False),
        ("yes", False),
        ("!!true", True),
        ("  always()\n  && true ", True),
    ],
)
def test_texts_compare_as_texts(text: str, expected: bool) -> None:
    assert holds(text, {"X": "one", "Y": "two"}) is expected


OUTCOMES = {
    "good": "succeeded",
    "bad": "failed",
    "broken": "errored",
    "left": "skipped",
    "stopped": "cancelled",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("succeed(good)", True),
        ("succeed('good')", True),
        ("succeed(good, bad)", False),
        ("succeed(bad)", False),
        ("succeed(left)", False),
        ("succeed(unknown)", False),
        ("succeed()", False),
        ("failed(bad)", True),
        ("failed(broken)", True),
        ("failed(good, bad)", True),
        ("failed(good)", False),
        ("failed(left)", False),
        ("failed(stopped)", False),
        ("failed(unknown)", False),
        ("failed()", True),
        ("succeed(${WHICH})", True),
    ],
)
def test_jobs_are_asked_how_they_ended(text: str, expected: bool) -> None:
    assert holds(text, {"WHICH": "good"}, OUTCOMES) is expected


def test_without_any_job_before_it_all_succeeded_and_none_failed() -> None:
    assert holds("succeed()") is True
    assert holds("failed()") is False


@pytest.mark.parametrize(
    ("text", "offset", "part"),
    [
        ("", 0, "ends where"),
        ("a = b", 2, "`==`"),
        ("a & b", 2, "`&&`"),
        ("a | b", 2, "`||`"),
        ("$A == b", 0, "${NAME}"),
        ('a == "b', 5, "close the text"),
        ("(a == b", 7, "`)` is expected"),
        ("a == b)", 6, "not expected"),
        ("a == b c", 7, "join parts"),
        ("a ==", 4, "ends where"),
        ("&& a", 0, "stands where"),
        ("always", 0, "write always()"),
        ("always(a)", 0, "given 1"),
        ("startsWith(a)", 0, "given 1"),
        ("contains(a, b, c)", 0, "given 3"),
        ("suceed(a)", 0, "did you mean `succeed`?"),
        ("xyzzy(a)", 0, "no function"),
        ("succeed(a,)", 10, "expected here"),
        ("succeed(a b)", 10, "`)` is expected"),
        ("succeed(a) == true", 11, "compares two texts"),
        ("a == b == c", 7, "not expected"),
        ("(" * 100 + "a" + ")" * 100, 40, "nested"),
        ("!" * 100 + "a", 40, "nested"),
        ("__import__('os')", 0, "no function"),
        ("a; b", 1, "means nothing"),
        ("'x' " * 2000, 4000, "long"),
    ],
)
def test_a_malformed_condition_says_where_and_why(text: str, offset: int, part: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert (caught.value.offset, part in caught.value.message) == (offset, True), caught.value


def test_what_a_variable_holds_is_never_read_as_a_condition() -> None:
    assert holds("${A} == 'x'", {"A": "x' || 'a' == 'a"}) is False
    assert holds("'${A}' == 'x'", {"A": "' == '' || '"}) is False


def test_the_jobs_of_a_condition_are_known_with_their_places() -> None:
    condition = parse_condition("succeed(a, b) && !failed('c') || contains(d, e)")
    assert [(job.value, job.offset) for job in condition.jobs] == [("a", 8), ("b", 11), ("c", 25)]


@given(st.text() | st.text(alphabet="ab()!&|=',\"${} \\"))
def test_any_text_is_a_condition_or_a_located_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConditionError as error:
        assert 0 <= error.offset <= len(text)
        assert error.message
    else:
        assert evaluate(condition, {}, {}) in (True, False)
