"""The whole check of a definition: everything that can be known before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.flow.checks.artifacts import CheckedReference, check_references
from pipelines.flow.checks.context import Context
from pipelines.flow.checks.fields import check_sources, check_work
from pipelines.flow.checks.names import check_misplaced, check_variables, check_workspaces
from pipelines.flow.checks.waits import check_waits
from pipelines.flow.document import Definition
from pipelines.flow.order import effective_needs, implied_needs
from pipelines.flow.parser import Parsed, parse
from pipelines.flow.problems import Problem
from pipelines.flow.schema import Catalog

__all__ = ["CheckedReference", "Report", "check", "effective_needs", "implied_needs"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. `valid` means that nothing in it is an error."""

    definition: Definition | None
    problems: tuple[Problem, ...]
    references: tuple[CheckedReference, ...]

    @property
    def valid(self) -> bool:
        return self.definition is not None and not any(
            each.severity == "error" for each in self.problems
        )


def check(
    text_or_parsed: str | bytes | Parsed,
    catalog: Catalog,
    pipelines: Callable[[str], Definition | None] = lambda _id: None,
    pipeline_id: str | None = None,
) -> Report:
    """Check a definition against a catalog; never raises for what is written in it.

    `pipelines` gives the current definition of another pipeline by its id, or None. The same
    input always gives the same report, sorted by place.
    """
    parsed = text_or_parsed if isinstance(text_or_parsed, Parsed) else parse(text_or_parsed)
    definition = parsed.definition
    if definition is None:
        return Report(None, parsed.problems, ())
    context = Context(parsed, definition, catalog, pipelines, pipeline_id)
    check_sources(context)
    check_workspaces(context)
    check_variables(context)
    check_misplaced(context)
    check_work(context)
    backwards = check_waits(context)
    references = check_references(context, backwards)
    ordered = tuple(sorted(references, key=lambda each: (each.line, each.column, each.path)))
    return Report(definition, context.problems.sorted(), ordered)
