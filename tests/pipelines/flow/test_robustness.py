"""Whatever the text, there is a definition or a located problem, and never an exception."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.flow import nodes
from pipelines.flow.catalog import LANGUAGE
from pipelines.flow.check import Report, check
from pipelines.flow.document import Position, walk_strings
from pipelines.flow.nodes import read_scalar
from pipelines.flow.parser import parse
from pipelines.flow.problems import CODES

from .documents import ACROSS_STAGES, SAME_STAGE, builder

KEYS = st.sampled_from(
    [
        *("name", "sources", "defaultWorkspace", "variables", "stages", "jobs", "steps", "with"),
        *("needs", "condition", "component", "step", "type", "runsOn", "key", "value", "<<", "a"),
        *("sourceOption", "timeoutMinutes", "plugins", "vm", "labels", "artifact", "run", "1", ""),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            *("git", "flowPipeline", "builder01", "ArtifactUpload", "VMDeploy", "${A}", "a"),
            *("$[jobs.a.a.artifacts.default]", "$[stages.a.a.a.artifacts.x]", "$[sources.a]"),
            *("succeed(a) && failed()", "$[jobs.", "$[sources.a.stages.a.a.a.artifacts.a.md5]"),
        ]
    )
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)
JOBS = st.dictionaries(
    st.sampled_from("ab1"),
    st.fixed_dictionaries(
        {},
        optional={
            "needs": st.lists(st.sampled_from("abc"), max_size=2) | SCALARS,
            "steps": st.dictionaries(
                st.sampled_from("abc"),
                st.fixed_dictionaries(
                    {"step": st.sampled_from(["Command", "ArtifactUpload", "X"])},
                    optional={"with": st.dictionaries(KEYS, SCALARS, max_size=3)},
                ),
                max_size=3,
            ),
            "component": st.sampled_from(["VMDeploy", "ManualValidate", "Command"]),
            "with": TREES,
            "condition": SCALARS,
            "runsOn": TREES,
        },
    ),
    max_size=3,
)
DOCUMENTS = st.fixed_dictionaries(
    {"stages": st.dictionaries(st.sampled_from("ab"), st.fixed_dictionaries({"jobs": JOBS}))},
    optional={"sources": TREES, "variables": TREES, "name": TREES},
)


def holds_together(text: str | bytes) -> Report:
    """What is true of every report."""
    report = check(text, LANGUAGE, builder, "own")
    length = len(text)
    places = [(p.line, p.column) for p in report.problems]
    assert places == sorted(places)
    for problem in report.problems:
        assert problem.code in CODES
        assert 1 <= problem.line <= length + 1
        assert 1 <= problem.column <= length + 1
        assert problem.message
    if report.definition is None:
        assert not report.valid
        assert report.problems
    else:
        for path in report.definition.positions:
            assert isinstance(report.definition.positions[path], Position)
    assert check(text, LANGUAGE, builder, "own") == report
    return report


@given(st.text())
def test_any_text_gives_a_report(text: str) -> None:
    holds_together(text)


@given(st.text(alphabet="ab:-[]{}&*#!|>'\"%@`,? \n\t"))
def test_any_text_of_yaml_signs_gives_a_report(text: str) -> None:
    holds_together(text)


@given(st.binary())
def test_any_bytes_give_a_report(source: bytes) -> None:
    holds_together(source)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TREES | DOCUMENTS)
def test_any_document_gives_a_report(tree: Any) -> None:
    holds_together(json.dumps(tree))
    holds_together(yaml.safe_dump(tree, allow_unicode=True))


@settings(deadline=None)
@given(st.sampled_from([SAME_STAGE, ACROSS_STAGES]), st.data())
def test_a_definition_being_typed_gives_a_report_at_every_moment(
    text: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    typed = data.draw(st.text(alphabet="ab:-[]{}&*'\"$. \n\t", max_size=3))
    holds_together(text[:at] + typed + text[at:])
    holds_together(text[:at])


NASTY: dict[str, str | bytes] = {
    "a nest of brackets": "[" * 500_000,
    "a nest of braces": "{a: " * 200_000,
    "a nest of dashes": "- " * 400_000,
    "a nest of questions": "? " * 400_000,
    "a nest of lines": "".join(" " * n + "a:\n" for n in range(1, 1000)),
    "a wide list": "a: [" + "x," * 500_000,
    "many quotes": "'" * 900_000,
    "many anchors": "".join(f"a{n}: &a{n} 1\n" for n in range(40_000)),
    "many colons": ":" * 900_000,
    "a long key": "k" * 900_000 + ": 1",
    "many tags": "!!a " * 200_000,
    "many openings": "a: " + "$[" * 400_000,
    "many documents": "---\n" * 200_000,
    "many directives": "%A\n" * 200_000,
    "a long comment": "#" * 1_000_000,
    "many keys that are the same": "a: 1\n" * 150_000,
    "a long number": "a: " + "9" * 900_000,
    "many line breaks": "\n" * 1_000_000,
    "many returns": "\r" * 1_000_000,
    "UTF-16": "name: x".encode("utf-16"),
    "a lone surrogate": "name: \ud800",
    "a zero byte": b"name: \x00",
    "half a character": b"name: \xc3",
    "more than the limit of bytes": b"\xff" * 5_000_000,
}


@pytest.mark.parametrize("name", NASTY)
def test_a_hostile_text_gives_a_located_problem(name: str) -> None:
    report = check(NASTY[name], LANGUAGE)
    assert not report.valid
    assert report.problems[0].line >= 1


def test_a_bomb_of_aliases_stays_small() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 45)
    )
    parsed = parse(text)
    assert parsed.definition is None
    assert parsed.problems[-1].code == "alias_limit"


def test_a_bomb_of_long_texts_stays_small() -> None:
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 5000)}]\n"
    assert parse(text).problems[-1].code == "alias_limit"


def test_aliases_cannot_nest_deeper_than_brackets_may() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))
    assert parse(text).problems[-1].code == "too_deep"


def test_a_mark_at_the_beginning_is_skipped_and_places_stay_right() -> None:
    plain = check("nmae: x\n" + SAME_STAGE, LANGUAGE)
    marked = check("\ufeffnmae: x\n" + SAME_STAGE, LANGUAGE)
    assert marked.definition == plain.definition
    assert [p for p in marked.problems if p.code != "byte_order_mark"] == list(plain.problems)


def test_anchors_and_merges_are_read() -> None:
    parsed = parse(
        """\
stages:
  s:
    jobs:
      one: &base
        timeoutMinutes: 5
        steps: {c: {step: Command, with: {run: &script make}}}
      two:
        <<: *base
        timeoutMinutes: 7
      three:
        <<: [*base, {driven: manual}]
        steps: {d: {step: Command, with: {run: *script}}}
"""
    )
    assert parsed.problems == ()
    assert parsed.definition is not None
    one, two, three = parsed.definition.stages[0].jobs
    assert (one.timeout_minutes, two.timeout_minutes, three.timeout_minutes) == (5, 7, 5)
    assert two.steps == one.steps
    assert three.driven == "manual"
    assert three.steps[0].with_ == {"run": "make"}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        *((word, word) for word in ("on", "off", "yes", "no", "y", "True", "FALSE")),
        ("12", 12),
        ("-3", -3),
        ("1.8", 1.8),
        ("1.0", 1.0),
        *((text, text) for text in ("1.10", "007", "1e3", "0x1f", "1_000", "+5", "-0", "1.")),
        *((text, text) for text in ("1.16.4", ".5", ".inf", "12:30", "2020-01-01", "-", "9" * 30)),
    ],
)
def test_scalars_are_read_so_that_nothing_written_is_lost(written: str, value: object) -> None:
    read = read_scalar(written)
    assert read == value
    assert type(read) is type(value)


def test_quoted_scalars_stay_text() -> None:
    parsed = parse("cache: ['1', \"true\", '']")
    assert parsed.definition is not None
    assert parsed.definition.cache == ["1", "true", ""]


def test_a_number_where_text_is_wanted_is_the_text_that_was_written() -> None:
    parsed = parse("name: 1.10\ndefaultWorkspace: true\nvariableGroups: [007]\nstages: {}")
    assert parsed.definition is not None
    assert parsed.definition.name == "1.10"
    assert parsed.definition.default_workspace == "true"
    assert parsed.definition.variable_groups == ("007",)


def test_places_inside_block_and_quoted_texts_are_found() -> None:
    text = (
        "stages:\n  s:\n    jobs:\n      j:\n        steps:\n          c:\n"
        "            step: Command\n            with:\n              run: |\n"
        "                echo $[jobs.a.b.artifacts.c] $[jobs.a.b.artifacts.c]\n"
        "                echo $[jobs.a.b.artifacts.c]\n"
        '          d: {step: Command, with: {run: "é $[jobs.a.b.artifacts.c]"}}\n'
        '          e: {step: Command, with: {run: "\\u0024[jobs.a.b.artifacts.c]"}}\n'
    )
    found = [(r.line, r.column) for r in check(text, LANGUAGE).references]
    assert found == [(10, 22), (10, 46), (11, 22), (12, 45), (13, 42)]


def test_strings_are_walked_in_the_order_of_the_text() -> None:
    value: Any = {"a": ["x", {"b": "y"}, 1], "c": "z"}
    assert list(walk_strings(value, "p")) == [("p.a[0]", "x"), ("p.a[1].b", "y"), ("p.c", "z")]


@pytest.mark.parametrize("loader", [yaml.SafeLoader])
def test_the_slower_reader_gives_the_same(
    loader: type[yaml.SafeLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = check(ACROSS_STAGES, LANGUAGE)
    monkeypatch.setattr(nodes, "_LOADER", loader)
    assert check(ACROSS_STAGES, LANGUAGE) == fast
    assert check("a: b: c", LANGUAGE).problems[0].code == "yaml_syntax"
