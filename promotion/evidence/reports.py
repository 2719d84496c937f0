"""Reports of tests and scans: what came out, and how much of it. JUnit XML and SARIF. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat  # below, a document type is refused as it begins

from pipelines.errors import Invalid

SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0"
#: JUnit's XML nests suites; nobody nests them this deep.
DEEPEST = 64
MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class Report:
    """`result` is passed, failed, or empty where nothing was looked at: that is no pass."""

    result: str
    counts: Mapping[str, int]


# ---- JUnit -------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Tests:
    """Counts while the parser goes through; no tree is built."""

    path: list[str] = field(default_factory=list)
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    #: The most failures that one suite says to have: some writers leave out the cases.
    said: int = 0
    outcome: str = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.path and name not in {"testsuites", "testsuite"}:
            raise Invalid(f"A JUnit report begins with testsuites or testsuite, not {name[:64]}.")
        if len(self.path) >= DEEPEST:
            raise Invalid(f"The JUnit report is nested deeper than {DEEPEST} levels.")
        if name in {"testsuites", "testsuite"}:
            said = (_count(attributes.get(key, "")) for key in ("failures", "errors"))
            self.said = max(self.said, sum(said))
        elif name == "testcase":
            self.tests += 1
            self.outcome = ""
        elif self.path[-1] == "testcase" and name in {"failure", "error"}:
            self.outcome = "failed"
        elif self.path[-1] == "testcase" and name == "skipped":
            self.outcome = self.outcome or "skipped"
        self.path.append(name)

    def end(self, name: str) -> None:
        self.path.pop()
        if name == "testcase":
            self.failed += self.outcome == "failed"
            self.skipped += self.outcome == "skipped"


def _count(text: str) -> int:
    return min(int(text), MAX_COUNT) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def junit(text: str) -> Report:
    """What a JUnit XML report says. Read by a parser that knows no document types: neither
    entities that grow nor files of ours that they could name."""
    tests = _Tests()
    parser = expat.ParserCreate("utf-8")

    def refuse_type(*_: object) -> None:
        raise Invalid("The XML has a document type (DOCTYPE). Reports need none: leave it out.")

    parser.StartDoctypeDeclHandler = refuse_type
    parser.EntityDeclHandler = refuse_type
    parser.StartElementHandler = tests.start
    parser.EndElementHandler = tests.end
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise Invalid(f"The report is not XML: {error}.") from error
    failed = max(tests.failed, tests.said)
    ran = tests.tests - tests.skipped
    result = "failed" if failed else "passed" if ran else ""
    counts = {"tests": tests.tests, "failed": failed, "skipped": tests.skipped}
    return Report(result, counts)


# ---- SARIF -------------------------------------------------------------------------------------
def sarif(log: Mapping[str, Any]) -> Report:
    """What a SARIF log says: failed where a tool broke off or found an error that nobody has
    suppressed. Warnings and notes are counted."""
    if log.get("version") != "2.1.0":
        raise Invalid("A SARIF log is of version 2.1.0.")
    runs = _objects(log.get("runs"), "runs")
    counts = {"errors": 0, "warnings": 0, "notes": 0, "suppressed": 0}
    broke_off = False
    for run in runs:
        invocations = _objects(run.get("invocations"), "invocations")
        broke_off |= any(each.get("executionSuccessful") is False for each in invocations)
        levels = _default_levels(run)
        for each in _objects(run.get("results"), "results"):
            if counted := _counted(each, levels):
                counts[counted] += 1
    result = "failed" if broke_off or counts["errors"] else "passed" if runs else ""
    return Report(result, counts)


def _counted(result: Mapping[str, Any], levels: Mapping[str, str]) -> str:
    if result.get("kind", "fail") != "fail":
        return ""
    suppressions = _objects(result.get("suppressions"), "suppressions")
    if any(each.get("status", "accepted") == "accepted" for each in suppressions):
        return "suppressed"
    level = result.get("level") or levels.get(_rule_of(result), "warning")
    return {"error": "errors", "warning": "warnings", "note": "notes"}.get(str(level), "")


def _rule_of(result: Mapping[str, Any]) -> str:
    rule = result.get("rule")
    return str(result.get("ruleId") or (rule.get("id") if isinstance(rule, dict) else "") or "")


def _default_levels(run: Mapping[str, Any]) -> dict[str, str]:
    """The level that each rule has where a result names none."""
    tool = run.get("tool")
    components = [tool.get("driver")] if isinstance(tool, dict) else []
    if isinstance(tool, dict):
        components += list(_objects(tool.get("extensions"), "extensions"))
    return dict(_levels(each) for part in components for each in _rules(part))


def _rules(component: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(component, dict):
        yield from _objects(component.get("rules"), "rules")


def _levels(rule: Mapping[str, Any]) -> tuple[str, str]:
    configuration = rule.get("defaultConfiguration")
    level = configuration.get("level") if isinstance(configuration, dict) else None
    return str(rule.get("id") or ""), str(level or "warning")


def _objects(value: Any, key: str) -> list[Mapping[str, Any]]:
    found = value or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Invalid(f"The {key} of a SARIF log are a list of objects.")
    return found
