"""What kind of evidence a text is, and what it says in short. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Invalid, TooLarge
from promotion.evidence import boms, dsse, reports, statements, strict
from promotion.evidence.statements import PROVENANCE, TEST_RESULT, Statement

MAX_BYTES = 4 * 1024**2

RESULT, STATEMENT, PROVENANCE_KIND = "result", "statement", "provenance"
JUNIT, SARIF, CYCLONEDX, SPDX = "junit", "sarif", "cyclonedx", "spdx"
#: By any of these an object says of which format it is.
OWN_FIELDS = frozenset({"_type", "payloadType", "signatures", "bomFormat", "spdxVersion"})
KINDS = (STATEMENT, RESULT, JUNIT, SARIF, CYCLONEDX, SPDX, PROVENANCE_KIND)


@dataclass(frozen=True, slots=True)
class Read:
    """`statement` and `envelope` where it is one and has one; `summary` is small, in numbers."""

    kind: str
    predicate_type: str
    result: str
    summary: Mapping[str, Any]
    statement: Statement | None = None
    envelope: dsse.Envelope | None = None


def is_known(value: Mapping[str, Any]) -> bool:
    """Whether a JSON object is of a format of its own, and no plain result."""
    return not OWN_FIELDS.isdisjoint(value) or {"runs", "version"} <= set(value)


def read(text: str) -> Read:
    """What `text` is: an envelope, a statement, a report or a bill of materials."""
    if len(text.encode()) > MAX_BYTES:
        raise TooLarge(f"Evidence may have at most {MAX_BYTES} bytes.")
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        return _of_report(JUNIT, TEST_RESULT, reports.junit(text))
    value = strict.load_object(text)
    statement, envelope = statements.opened(value)
    if statement is not None:
        return _of_statement(statement, envelope)
    if "bomFormat" in value or "spdxVersion" in value:
        kind = CYCLONEDX if "bomFormat" in value else SPDX
        type_ = boms.CYCLONEDX if kind == CYCLONEDX else boms.SPDX
        return Read(kind, type_, "", {"components": len(boms.listed(value))})
    if "runs" in value and "version" in value:
        return _of_report(SARIF, reports.SARIF, reports.sarif(value))
    raise Invalid(
        "The evidence is of no kind that is known: a DSSE envelope or in-toto Statement, a JUnit "
        "report, SARIF 2.1.0, CycloneDX or SPDX 2 in JSON."
    )


def _of_report(kind: str, predicate_type: str, report: reports.Report) -> Read:
    return Read(kind, predicate_type, report.result, dict(report.counts))


def _of_statement(statement: Statement, envelope: dsse.Envelope | None) -> Read:
    predicate, type_ = statement.predicate, statement.predicate_type
    kind, summary, result = STATEMENT, dict[str, Any](), statement.result
    if type_.startswith(PROVENANCE):
        kind, builder = PROVENANCE_KIND, _builder(predicate)
        summary = {"builder": builder} if builder else {}
    elif type_ == boms.CYCLONEDX or type_.startswith(f"{boms.CYCLONEDX}/"):
        kind, summary = CYCLONEDX, {"components": len(boms.listed(predicate))}
    elif type_ == boms.SPDX or type_.startswith(f"{boms.SPDX}/"):
        kind, summary = SPDX, {"components": len(boms.listed(predicate))}
    elif type_ == TEST_RESULT:
        summary = _test_counts(predicate)
    return Read(kind, type_, result, summary, statement, envelope)


def _builder(predicate: Mapping[str, Any]) -> str:
    """Who built it: where SLSA 1 says so, or where 0.2 does."""
    details = predicate.get("runDetails")
    holder = details if isinstance(details, dict) else predicate
    builder = holder.get("builder")
    name = builder.get("id") if isinstance(builder, dict) else None
    return name[:300] if isinstance(name, str) else ""


def _test_counts(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Ours says the numbers; others list the names of their tests."""
    counts = predicate.get("counts")
    if isinstance(counts, dict):
        keys = ("tests", "failed", "skipped")
        return {key: counts[key] for key in keys if type(counts.get(key)) is int}
    lists = {key: predicate.get(key) for key in ("passedTests", "warnedTests", "failedTests")}
    sizes = {key: len(each) for key, each in lists.items() if isinstance(each, list)}
    if not sizes:
        return {}
    return {"tests": sum(sizes.values()), "failed": sizes.get("failedTests", 0), "skipped": 0}


def in_words(summary: Mapping[str, Any]) -> str:
    """The summary as people read it: “214 tests, 2 failed”."""
    if "components" in summary:
        return _counted(summary["components"], "component")
    if "tests" in summary:
        parts = [_counted(summary["tests"], "test")]
        parts += [f"{summary[key]} {key}" for key in ("failed", "skipped") if summary.get(key)]
        return ", ".join(parts)
    if "errors" in summary:
        nouns = (("errors", "error"), ("warnings", "warning"), ("notes", "note"))
        parts = [_counted(summary[key], noun) for key, noun in nouns if summary.get(key)]
        if summary.get("suppressed"):
            parts.append(f"{summary['suppressed']} suppressed")
        return ", ".join(parts) or "nothing found"
    if "builder" in summary:
        return f"built by {summary['builder']}"
    return ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
