"""What may be written in a policy: read without ever failing, written as it was, and located."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical import canonical, digest
from promotion import documents, expressions
from promotion.documents import Unreadable
from promotion.gates import Facts, Reading, Requester, Rules, evaluate, lowered
from promotion.gates.freezes import STEPS
from promotion.gates.language import ENTRIES, PARTS, Custom
from promotion.gates.reading import CHECKS, MOST_FAULTS, OF_PARTS, RESULTS

# ---- Any value ---------------------------------------------------------------------------------
KEYS = sorted({*CHECKS, *PARTS, *ENTRIES, *(key for each in OF_PARTS.values() for key in each)})
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["", "24h", "2026-12-20T18:00", "UTC", "passed", "publisher", "weekly"])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(ANYTHING)
def test_any_value_is_read_or_has_faults(value: Any) -> None:
    reading = Reading(value)
    assert (reading.rules is None) == bool(reading.faults)
    if reading.rules is not None:
        assert Reading(reading.rules.as_json()).rules == reading.rules


# ---- Any policy --------------------------------------------------------------------------------
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12
)
TEXTS = st.lists(NAMES, max_size=3, unique=True)
LENGTHS = st.builds("{}{}".format, st.integers(1, 300), st.sampled_from("mhd"))
MAYBE = st.just("") | LENGTHS
LOCAL = st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2990-01-01"))


@st.composite
def freezes(draw: Any) -> dict[str, Any]:
    starts = draw(LOCAL)
    ends = starts + timedelta(minutes=draw(st.integers(1, 60 * 23)))
    return {
        "name": draw(NAMES),
        "starts": starts.isoformat(timespec="minutes"),
        "ends": ends.isoformat(timespec="seconds"),
        "time_zone": draw(st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"])),
        "repeats": draw(st.sampled_from(["", *STEPS])),
    }


def part(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


# At least as many approvals as there are groups of which each must give one.
POLICIES = part(
    self_approval=st.booleans(),
    upstream=st.none() | NAMES,
    expires_after_days=st.integers(1, 365),
    approvers=part(groups=TEXTS, one_from_each=TEXTS),
    not_by=st.lists(st.sampled_from(["publisher", "run_starter"]), unique=True),
    second_factor=st.booleans(),
    approvals_expire_after=MAYBE,
    evidence=st.lists(
        st.fixed_dictionaries(
            {"type": NAMES}, optional={"result": st.sampled_from(RESULTS), "signed_by": TEXTS}
        ),
        max_size=3,
    ),
    run=part(branches=TEXTS, pipelines=TEXTS, no_manual_override=st.booleans()),
    versions=part(range=st.just("") | NAMES, pre_releases=st.booleans()),
    freezes=st.lists(freezes(), max_size=3, unique_by=lambda each: each["name"]),
    may_request=TEXTS,
    may_roll_back=TEXTS,
    machines=part(request=st.booleans(), approve=st.booleans(), open_requests=st.integers(0, 9)),
    rollback=part(
        approvals=st.none() | st.integers(0, 20), evidence=st.booleans(), freezes=st.booleans()
    ),
    override=part(groups=TEXTS, reviews=st.integers(0, 20), review_within=LENGTHS),
    custom=st.lists(
        st.fixed_dictionaries(
            {"name": NAMES, "expression": st.just("true &&\n  1 < 2\n") | NAMES},
            optional={"message": NAMES, "waits": st.booleans()},
        ),
        max_size=3,
        unique_by=lambda each: each["name"],
    ),
).map(lambda written: {"approvals": 3, **written})


@settings(deadline=None)
@given(POLICIES)
def test_a_policy_is_written_as_it_was_read(written: dict[str, Any]) -> None:
    reading = Reading(written)
    assert reading.faults == []
    assert reading.rules is not None
    said = reading.rules.as_json()
    assert Rules.read(said) == reading.rules
    assert Rules.read(json.loads(canonical(said))) == reading.rules
    assert canonical(Rules.read(said).as_json()) == canonical(said)
    as_yaml = documents.write_mapping(said)
    assert documents.read_mapping(as_yaml, what="a policy") == said


@settings(deadline=None)
@given(POLICIES, LOCAL)
def test_every_policy_answers_at_any_time(written: dict[str, Any], moment: datetime) -> None:
    rules = Reading(written).rules
    assert rules is not None
    at = moment.replace(tzinfo=UTC)
    known = Facts("production", at, Requester("ada"), "sha256:1", approvals=(), items=())
    for gate in evaluate(rules, known):
        assert gate.reason
        assert gate.open or gate.opens_at is None or gate.opens_at > at
    assert lowered(rules, rules) == ()


#: What revisions said before the language grew, and the digests that plans and the ledger have.
OLD = {
    '{"approvals":1,"expires_after_days":14,"self_approval":false,"upstream":null}':
        "sha256:dcfccdc39dc024d8a478b6dbfb03a19d225cc52bb0b95f6d0b4789ca5a07b057",
    '{"approvals":2,"expires_after_days":7,"self_approval":true,"upstream":"staging"}':
        "sha256:0eb0124e3a06c60134ccf05506fc76e3b5d121a485bca3a66796229cf496fd5e",
}  # fmt: skip


@pytest.mark.parametrize("text", OLD)
def test_old_revisions_keep_their_digests(text: str) -> None:
    again = canonical(Rules.read(json.loads(text)).as_json())
    assert again.decode() == text
    assert digest(again) == OLD[text]


# ---- Faults ------------------------------------------------------------------------------------
WINDOW = {"name": "Fair", "starts": "2026-12-20T18:00", "ends": "2026-12-21T06:00"}


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ({"approvals": 21}, "approvals"),
        ({"approvals": True}, "approvals"),
        ({"approvals": 10**400}, "approvals"),
        ({"soak": "24h"}, "soak"),
        ({"upstream": "staging", "soak": "24"}, "soak"),
        ({"upstream": "staging", "soak": "366d"}, "soak"),
        ({"upstream": "staging", "soak": "٣h"}, "soak"),
        ({"upstream": "staging", "soak": "1h\n"}, "soak"),
        ({"automatic": True, "approvals": 0}, "automatic"),
        ({"automatic": True, "upstream": "staging"}, "automatic"),
        (
            {
                "automatic": True,
                "approvals": 0,
                "upstream": "staging",
                "machines": {"request": False},
            },
            "automatic",
        ),
        ({"not_by": ["requester"]}, "not_by[0]"),
        ({"approvers": {"one_from_each": ["a", "b"]}}, "approvers.one_from_each"),
        ({"approvers": {"groups": ["a", "a"]}}, "approvers.groups[1]"),
        ({"approvers": {"groups": [["a"]]}}, "approvers.groups[0]"),
        ({"approvers": []}, "approvers"),
        ({"override": {"review_within": ""}}, "override.review_within"),
        ({"evidence": [{"result": "passed"}]}, "evidence[0].type"),
        ({"evidence": [{"type": "x", "result": "good"}]}, "evidence[0].result"),
        ({"evidence": {"type": "x"}}, "evidence"),
        ({"evidence": ["x"]}, "evidence[0]"),
        ({"freezes": [WINDOW, WINDOW]}, "freezes[1].name"),
        ({"freezes": [WINDOW | {"ends": WINDOW["starts"]}]}, "freezes[0].ends"),
        ({"freezes": [WINDOW | {"ends": "2026-12-22T18:00", "repeats": "daily"}]},
         "freezes[0].ends"),
        ({"freezes": [WINDOW | {"starts": "0001-01-01T00:00"}]}, "freezes[0].starts"),
        ({"freezes": [WINDOW | {"ends": "9999-12-31T23:59"}]}, "freezes[0].ends"),
        ({"freezes": [WINDOW | {"ends": "2026-12-21T06:00+01:00"}]}, "freezes[0].ends"),
        ({"freezes": [WINDOW | {"ends": "2026-02-30"}]}, "freezes[0].ends"),
        ({"freezes": [WINDOW | {"time_zone": "../../etc/passwd"}]}, "freezes[0].time_zone"),
        ({"freezes": [WINDOW | {"time_zone": "Europe"}]}, "freezes[0].time_zone"),
        ({"freezes": [WINDOW | {"time_zone": ""}]}, "freezes[0].time_zone"),
        ({"custom": [{"name": "x", "expression": "a\x00"}]}, "custom[0].expression"),
        ({"custom": [{"name": "x", "expression": 5}]}, "custom[0].expression"),
        ({"custom": [{"name": "x", "expression": "a" * 1001}]}, "custom[0].expression"),
        ({"custom": [{"name": "x\ny", "expression": "true"}]}, "custom[0].name"),
        ({"run": {"branch": "main"}}, "run.branch"),
    ],
)  # fmt: skip
def test_a_fault_has_its_place(written: dict[str, Any], path: str) -> None:
    assert [each.path for each in Reading(written).faults] == [path]


def test_faults_are_bounded() -> None:
    many = {f"key{number}": 1 for number in range(100_000)}
    assert len(Reading(many).faults) == MOST_FAULTS
    (fault,) = Reading({"x" * 1_000_000: 1}).faults
    assert len(fault.path) + len(fault.message) < 1000


YAML = """\
# Who may say so
approvals: 2
approvers:
  groups: [release, "no such"]
freezes:
  - name: Fair
    starts: 2026-12-20T18:00
    ends: never
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("approvals", (2, 1)),
        ("approvers.groups[1]", (4, 21)),
        ("freezes[0].ends", (8, 5)),
        # What was not written stands where it is missing.
        ("freezes[0].time_zone", (6, 5)),
        ("soak", (2, 1)),
    ],
)
def test_places_are_those_of_the_text(path: str, place: tuple[int, int]) -> None:
    assert documents.places(YAML)(path) == place


def test_places_of_a_hostile_text_take_bounded_memory() -> None:
    """Each path would be as long as all the keys above it."""
    long = f"? {'k' * 400_000}\n: [{'1, ' * 50_000}]\n"
    tracemalloc.start()
    place = documents.places(long)
    assert place("k" * 400_000 + "[7]")[0] == 1
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200 * 1024 * 1024


@pytest.mark.parametrize("text", ["", "  \n", "# nothing yet\n", "---\n"])
def test_an_empty_text_is_an_empty_policy(text: str) -> None:
    assert documents.read_mapping(text, what="a policy") == {}


LAUGHS = "".join(
    f"k{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 10) if depth else 'ha'}]\n"
    for depth in range(10)
)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("approvals: 1\napprovals: 2\n", "duplicate_key", 2),
        ("approvals: !!python/object:os.system 1\n", "tag", 1),
        ("- approvals\n", "wrong_type", 1),
        ("null\n", "wrong_type", 1),
        ("approvals: [\n", "yaml_syntax", 2),
        ("upstream: a\n---\nupstream: b\n", "multiple_documents", 2),
        ("a: &a [*a]\n", "recursive_alias", 1),
        pytest.param(LAUGHS, "alias_limit", 5, id="a billion laughs"),
        pytest.param(f"a: {'[' * 100}{']' * 100}", "too_deep", 1, id="deep"),
        pytest.param("a: " + "x" * 10_000_000, "too_large", 1, id="10 MB"),
    ],
)
def test_a_text_that_is_no_policy_says_where(text: str, code: str, line: int) -> None:
    with pytest.raises(Unreadable) as caught:
        documents.read_mapping(text, what="a policy")
    assert (code, line) in [(each.code, each.line) for each in caught.value.problems]


# ---- A policy's own expressions, asked of the real process -------------------------------------
FACTS = {"items": [{"version": "1.0.0"}], "requester": {"groups": []}, "environment": "production"}
TEN = "[0,1,2,3,4,5,6,7,8,9]"


def nested(depth: int) -> str:
    """10 to the power of `depth` steps."""
    text = "true"
    for number in range(depth):
        text = f"{TEN}.all(x{number}, {text})"
    return text


def told(expression: str) -> str:
    """Why the expression came to nothing; empty where it came to an answer."""
    entries = [Custom("Other", "environment == 'production'"), Custom("Own", expression)]
    answers = expressions.answers(entries, FACTS)
    if answers["Own"].fault != expressions.TOO_MUCH:
        # What is wrong with one is not wrong with another.
        assert answers["Other"].holds
    return answers["Own"].fault


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("items.size() == 1", ""),
        ("items.size()", "it answers int"),
        ("'production'", "it answers str"),
        ("null", "it answers NoneType"),
        ("itmes.size() == 1", "itmes"),
        ("items[7].version == ''", "it looks for what is not there"),
        ("requester.name == ''", "it looks for what is not there"),
        ("items == 7 / 0", "zero"),
        ("'a'.matches('(')", "regex"),
        ("open('/etc/passwd') == ''", "open"),
        ("items.all(", "arse"),
    ],
)
def test_an_expression_answers_true_or_false_or_says_why_not(expression: str, fault: str) -> None:
    assert fault in told(expression)
    assert bool(told(expression)) == bool(fault)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(nested(12), id="time"),
        pytest.param("[1].map(x, " * 5 + f"{TEN}.map(a, {TEN}.map(b, {TEN}.map(c, {TEN}.map(d, "
                     f"{TEN}.map(e, {TEN}.map(f, {TEN}.map(g, {TEN}.map(h, 'x'))))))))"
                     + ")" * 5 + ".size() > 0", id="memory"),
    ],
)  # fmt: skip
def test_an_expression_that_takes_too_much_is_ended(expression: str) -> None:
    assert told(expression) == expressions.TOO_MUCH


@pytest.mark.parametrize("text", ["(" * 400 + "true" + ")" * 400, "!" * 999 + "true", "-" * 1000])
def test_a_deeply_nested_expression_harms_nobody_else(text: str) -> None:
    faults = expressions.faults([Custom("Own", text), Custom("Other", "true")])
    assert set(faults) <= {"Own", "Other"}
    assert "Other" not in faults or faults["Other"] == expressions.TOO_MUCH


def test_one_process_is_asked_about_many_facts() -> None:
    facts = [{"number": number} for number in range(60)]
    entries = [Custom("Even", "number % 2 == 0"), Custom("Typo", "numer == 0")]
    answers = expressions.answers_each(entries, facts)
    assert [each and each["Even"].holds for each in answers] == [True, False] * 30
    assert all(each and "numer" in each["Typo"].fault for each in answers)
