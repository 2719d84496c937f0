"""What can be wrong with a definition: one problem, its stable codes, and a bounded list of them.

The codes are part of the public interface (the API answers with them and the documentation lists
them), so a code is added or retired, never renamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "hint"]

# Past this many of one severity a person reads no further and the work only grows.
PROBLEM_LIMIT: Final = 1000

# Looking for a near word costs time for each candidate, so both the number of candidates and the
# number of searches in one report are bounded.
SUGGESTION_CANDIDATES: Final = 3000
SUGGESTION_BUDGET: Final = 200
SUGGESTION_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault and its place. Lines and columns count from 1; `path` is like `stages.a.jobs.b`."""

    line: int
    column: int
    path: str
    code: str
    severity: Severity
    message: str


CODES: Final[dict[str, str]] = {
    # The text
    "too_large": "The document is larger than the limit.",
    "too_deep": "Values are nested more deeply than the limit.",
    "too_many_jobs": "The definition holds more jobs than the limit.",
    "too_many_values": "The document holds more values than the limit.",
    "alias_limit": "Aliases repeat more content than the limit allows.",
    "unknown_alias": "An alias names no anchor that stands before it.",
    "recursive_alias": "An alias stands inside the value that it names.",
    "not_utf8": "The bytes are not UTF-8 text.",
    "bad_character": "A control character or another character that YAML forbids.",
    "byte_order_mark": "The text begins with a byte order mark, which is skipped.",
    "tab": "A tab stands where YAML expects spaces.",
    "yaml_syntax": "The text is not YAML.",
    "multiple_documents": "More than one YAML document; a definition is exactly one.",
    "empty_document": "There is nothing in the document.",
    "tag": "A YAML tag; values are plain data and tags are refused.",
    "duplicate_key": "A key, and so an id, is written twice in one mapping.",
    "bad_key": "A mapping key is not a plain word.",
    "too_many_problems": "There are more problems than the report shows.",
    # The shape
    "wrong_type": "A value has another type than its key expects.",
    "missing_key": "A key that the language requires is absent.",
    "unknown_key": "The language has no such key here; it is ignored.",
    "conflicting_keys": "Two keys exclude one another.",
    "bad_id": "An id breaks the rule for ids: a letter, then letters, digits or `_`, not too long.",
    "bad_choice": "A value is none of the allowed ones.",
    "out_of_range": "A number is outside its range.",
    # Sources and variables
    "unknown_source_type": "There is no source type of that name.",
    "unknown_source": "No source has that id.",
    "unknown_pipeline": "No pipeline has that id, or it has no readable definition.",
    "missing_default_workspace": "Several code sources and no `defaultWorkspace`.",
    "bad_variable": "A variable has no usable key.",
    "duplicate_variable": "Two variables have the same key.",
    "reserved_variable": "A variable has the name of a built-in one, which wins.",
    "unknown_variable": "Nothing in the definition sets that variable.",
    "bad_pattern": "A regular expression cannot be read.",
    # Steps and components
    "unknown_step": "There is no step of that name.",
    "unknown_component": "There is no component of that name.",
    "not_available": "The language knows it, but no worker of this installation runs it.",
    "missing_field": "A field that the step, component or source requires is absent.",
    "unknown_field": "The step, component or source has no such field; it is ignored.",
    "wrong_field_type": "A field has a value of another type than declared.",
    "artifact_name": "An artifact's name cannot be written in a reference.",
    "unused_artifact": "Nothing in this pipeline refers to the artifact.",
    # Order
    "unknown_need": "`needs` names a job that its stage does not have.",
    "needs_cycle": "Jobs wait for one another in a circle.",
    "bad_condition": "A condition cannot be read.",
    "condition_order": "A condition asks for a job that is not waited for.",
    # References
    "bad_reference": "A reference cannot be read.",
    "reference_out_of_place": "A reference stands where none is replaced.",
    "dynamic_reference": "A reference depends on a variable that only a run knows.",
    "unknown_stage": "A reference names a stage that is not there.",
    "unknown_job": "A reference or a condition names a job that is not there.",
    "unknown_step_id": "A reference names a step that its job does not have.",
    "unknown_artifact": "A reference names an artifact that its step does not make.",
    "makes_no_artifact": "A reference names a step that makes no artifact.",
    "later_stage": "A reference names a stage that runs later.",
    "later_job": "A reference names a job that runs later.",
    "later_step": "A reference names the same step or a later one of the same job.",
    "wrong_source_type": "A reference is of a kind that its source does not serve.",
    "wrong_property": "The artifact has no such property.",
}


class Problems:
    """Collects problems while a definition is read; bounded, and sorted once at the end."""

    def __init__(self, earlier: Iterable[Problem] = (), left_out: int = 0) -> None:
        self._items = [each for each in earlier if each.code != "too_many_problems"]
        self._counts: Counter[str] = Counter(each.severity for each in self._items)
        self.left_out = left_out  # how many were not kept
        self._suggestions = 0

    def add(
        self,
        code: str,
        message: str,
        *,
        line: int,
        column: int,
        path: str = "",
        severity: Severity = "error",
    ) -> None:
        if code not in CODES:
            raise KeyError(code)
        if self._counts[severity] >= PROBLEM_LIMIT:
            self.left_out += 1
            return
        self._counts[severity] += 1
        self._items.append(Problem(line, column, path, code, severity, message))

    def did_you_mean(self, word: str, candidates: Iterable[str]) -> str:
        """The remedy to end a message with, or nothing where no candidate is near."""
        if self._suggestions >= SUGGESTION_BUDGET or len(word) > SUGGESTION_LENGTH:
            return ""
        self._suggestions += 1
        near = nearest(word, candidates)
        return f"; did you mean `{near}`?" if near is not None else ""

    def sorted(self) -> tuple[Problem, ...]:
        ordered = sorted(
            dict.fromkeys(self._items),
            key=lambda p: (p.line, p.column, p.path, p.code, p.message),
        )
        if self.left_out and ordered:
            last = ordered[-1]
            message = f"{self.left_out} more problems are not shown; mend these first"
            ordered.append(
                Problem(last.line, last.column, "", "too_many_problems", "hint", message)
            )
        return tuple(ordered)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, disregarding case, or None."""
    folded = word.casefold()
    near: dict[str, str] = {}
    for count, candidate in enumerate(candidates):
        if count >= SUGGESTION_CANDIDATES:
            break
        if abs(len(candidate) - len(word)) <= max(3, len(word) // 2):
            near.setdefault(candidate.casefold(), candidate)
    if folded in near:
        return near[folded]
    found = get_close_matches(folded, near, n=1, cutoff=0.6)
    return near[found[0]] if found else None
