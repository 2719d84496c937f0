"""The grammar of references and variables."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.flow.references import (
    EXPANSION_LIMIT,
    PROPERTIES,
    Reference,
    ReferenceError_,
    expand_reference,
    expand_variables,
    find_references,
    find_variables,
    format_reference,
    parse_reference,
    substitute,
    whole_reference,
)

IDS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)
PIECES = st.one_of(
    st.text(string.ascii_letters + string.digits + "_-/:@+", min_size=1, max_size=8),
    IDS.map(lambda name: f"${{V{name}}}"),
)
ARTIFACTS = st.lists(
    st.lists(PIECES, min_size=1, max_size=3).map("".join), min_size=1, max_size=3
).map(".".join)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    kind = draw(st.sampled_from(["job", "stage", "pipeline", "source"]))
    property_ = draw(st.sampled_from([None, *PROPERTIES]))
    source = draw(IDS) if kind in ("pipeline", "source") else None
    if kind == "source":
        assume(source is not None)
        return Reference("", "source", source, property=property_)
    artifact = draw(ARTIFACTS)
    head, _, last = artifact.rpartition(".")
    assume(not (head and last in PROPERTIES))
    return Reference(
        "",
        "job" if kind == "job" else "stage" if kind == "stage" else "pipeline",
        source,
        draw(IDS) if kind != "job" else None,
        draw(IDS),
        draw(IDS),
        artifact,
        property_,
    )


def parts(reference: Reference) -> tuple[object, ...]:
    return (
        reference.kind,
        reference.source,
        reference.stage,
        reference.job,
        reference.step,
        reference.artifact,
        reference.property,
    )


@given(references())
def test_reading_what_was_formatted_gives_the_same_reference(reference: Reference) -> None:
    text = format_reference(reference)
    read = parse_reference(text)
    assert parts(read) == parts(reference)
    assert format_reference(read) == text == read.text
    assert find_references(f"a {text} b")[0].text == text
    assert whole_reference(f"  {text}\n") == read


@given(st.text())
def test_any_text_is_a_reference_or_a_located_error(text: str) -> None:
    for candidate in (text, f"$[{text}]", f"$[jobs.{text}"):
        try:
            read = parse_reference(candidate)
        except ReferenceError_ as error:
            assert 0 <= error.offset <= len(candidate)
            assert error.message
        else:
            assert format_reference(read) == candidate


@given(st.text(alphabet="$[]{}.jobsartifc \nA_-1"))
def test_what_is_found_stands_where_it_says_and_nothing_overlaps(text: str) -> None:
    at = 0
    for found in find_references(text):
        assert at <= found.start < found.end
        assert text[found.start : found.end] == found.text
        assert (found.reference is None) != (found.error is None)
        at = found.end
    for variable in find_variables(text):
        assert text[variable.start : variable.end] == f"${{{variable.name}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$[jobs.a.b.artifacts.c]", ("job", None, None, "a", "b", "c", None)),
        ("$[jobs.a.b.artifacts.my-app.md5]", ("job", None, None, "a", "b", "my-app", "md5")),
        ("$[jobs.a.b.artifacts.app.1.0]", ("job", None, None, "a", "b", "app.1.0", None)),
        ("$[jobs.a.b.artifacts.version]", ("job", None, None, "a", "b", "version", None)),
        ("$[stages.s.a.b.artifacts.x-${Y}]", ("stage", None, "s", "a", "b", "x-${Y}", None)),
        (
            "$[sources.p.stages.s.a.b.artifacts.default.dockerUrl]",
            ("pipeline", "p", "s", "a", "b", "default", "dockerUrl"),
        ),
        ("$[sources.p]", ("source", "p", None, None, None, None, None)),
        ("$[sources.p.downloadUrl]", ("source", "p", None, None, None, None, "downloadUrl")),
    ],
)
def test_each_way_to_refer_is_read(text: str, expected: tuple[object, ...]) -> None:
    assert parts(parse_reference(text)) == expected


@pytest.mark.parametrize(
    ("text", "offset", "part"),
    [
        ("jobs.a", 0, "begins with"),
        ("$[jobs.a", 8, "never closed"),
        ("$[jobs.a.b.artifacts.c] x", 23, "after the closing"),
        ("$[job.a.b.artifacts.c]", 2, "did you mean `jobs`?"),
        ("$[jobs.a.b]", 11, "ends where `artifacts`"),
        ("$[jobs.a.b.artefacts.c]", 11, "not `artefacts`"),
        ("$[jobs.a.artifacts.c]", 19, "step's id is missing"),
        ("$[jobs.a.b.artifacts]", 21, "name is missing"),
        ("$[jobs.a.b.artifacts.]", 21, "name is missing"),
        ("$[jobs.a.b.artifacts.x..y]", 21, "cannot be the name"),
        ("$[jobs..b.artifacts.c]", 7, "missing between"),
        ("$[jobs.a b.c.artifacts.c]", 8, "no spaces"),
        ("$[jobs.ä.c.artifacts.c]", 7, "cannot be a job's id"),
        ("$[sources.a.stage.b]", 12, "did you mean `stages`?"),
        ("$[sources.a.md5.x]", 12, "neither"),
        ("$[jobs.$[x]]", 8, "close the reference"),
        ("$[jobs." + "a" * 700 + "]", 602, "characters long"),
        ("$[]", 2, "missing"),
    ],
)
def test_a_malformed_reference_says_where_and_why(text: str, offset: int, part: str) -> None:
    with pytest.raises(ReferenceError_) as caught:
        parse_reference(text)
    assert (caught.value.offset, part in caught.value.message) == (offset, True), caught.value


@pytest.mark.parametrize(
    "text", ["$[1 + 2]", "$[$x+1]", "$[x]", "${x[1]}", "$[", "a[b]", "$ [jobs.a]"]
)
def test_arithmetic_of_shells_is_left_alone(text: str) -> None:
    assert find_references(text) == ()
    assert substitute(text, lambda _: "no", {}) == text


def test_a_malformed_reference_among_others_is_found_beside_them() -> None:
    good = "$[sources.a]"
    found = find_references(f"{good} $[jobs.a.b] $[jobs.c {good}")
    assert [(each.text, each.reference is not None) for each in found] == [
        (good, True),
        ("$[jobs.a.b]", False),
        ("$[jobs.c", False),
        (good, True),
    ]


def test_variables_are_replaced_once_and_unknown_ones_stay() -> None:
    assert expand_variables("${A}-${B}-$A-${A-x}", {"A": "${B}", "X": "y"}) == "${B}-${B}-$A-${A-x}"


def test_substitution_replaces_variables_inside_a_reference_first() -> None:
    seen: list[Reference] = []

    def lookup(reference: Reference) -> str:
        seen.append(reference)
        return f"<{reference.artifact}>"

    text = "get $[jobs.${JOB}.keep.artifacts.app-${N}] to ${DIR}"
    variables = {"JOB": "make", "N": "7", "DIR": "/srv"}
    assert substitute(text, lookup, variables) == "get <app-7> to /srv"
    assert (seen[0].job, seen[0].start, seen[0].end) == ("make", 4, 42)


def test_a_value_never_becomes_a_reference_or_a_variable() -> None:
    title = "$[sources.secret] ${TOKEN}"
    text = substitute("${TITLE} $[sources.a]", lambda _: "${TOKEN}", {"TITLE": title, "TOKEN": "t"})
    assert text == "$[sources.secret] ${TOKEN} ${TOKEN}"


def test_substitution_refuses_what_is_malformed_once_replaced() -> None:
    with pytest.raises(ReferenceError_):
        substitute("$[jobs.${X}]", lambda _: "", {"X": "a]b"})
    with pytest.raises(ReferenceError_):
        substitute("$[jobs.a]", lambda _: "", {})


def test_replacement_stops_before_it_fills_the_memory() -> None:
    big = "x" * (EXPANSION_LIMIT // 10)
    with pytest.raises(ReferenceError_):
        expand_variables("${A}" * 20, {"A": big})


def test_a_reference_is_expanded_where_it_holds_variables() -> None:
    plain = parse_reference("$[sources.a]")
    assert expand_reference(plain, {"a": "b"}) is plain
    written = parse_reference("$[jobs.a.b.artifacts.x-${N}]")
    assert expand_reference(written, {"N": "1"}).artifact == "x-1"


@pytest.mark.parametrize("value", [None, 3, True, ["$[sources.a]"], "x $[sources.a]", "$[a.b]", ""])
def test_only_a_value_of_one_reference_is_a_whole_reference(value: object) -> None:
    assert whole_reference(value) is None
