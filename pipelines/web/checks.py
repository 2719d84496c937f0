"""What the pages show of a check: problems, what each reference leads to, the graph."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines import definitions, impact
from pipelines.flow.check import CheckedReference, Report
from pipelines.flow.document import Problem
from pipelines.flow.graph import Graph, draw, is_too_large
from pipelines.flow.parser import parse
from pipelines.impact import Broken
from pipelines.models import Pipeline

#: A person reads no further, and a page of more only gets slow.
SHOWN_PROBLEMS = 200
SHOWN_REFERENCES = 200
#: Without scripts the text is shown with line numbers below its problems; a longer one is not.
SHOWN_TEXT = 200_000


@dataclass(frozen=True, slots=True)
class ShownReference:
    found: CheckedReference
    waits: bool  # only a run knows where it leads


@dataclass(frozen=True, slots=True)
class Shown:
    """A check as the editor shows it. `known` holds those of the named pipelines that exist."""

    text: str
    valid: bool
    summary: str
    problems: tuple[Problem, ...]
    more_problems: int
    references: tuple[ShownReference, ...]
    more_references: int
    graph: Graph | None
    known: frozenset[str]
    breaks: tuple[Broken, ...]

    @property
    def listing(self) -> str:
        return self.text if self.problems and len(self.text) <= SHOWN_TEXT else ""


@dataclass(frozen=True, slots=True)
class ShownGraph:
    graph: Graph
    known: frozenset[str]
    report: Report | None


def look(text: str, slug: str | None = None) -> Shown:
    """Check a text; `slug` is the pipeline that it is meant for, which need not exist yet."""
    report = definitions.check(text, pipeline=slug)
    later = {
        (each.line, each.column) for each in report.problems if each.code == "dynamic_reference"
    }
    references = tuple(
        ShownReference(each, (each.line, each.column) in later)
        for each in report.references[:SHOWN_REFERENCES]
    )
    graph = None
    if report.definition is not None:
        graph = draw(report.definition, report.references, definitions.catalog())
    return Shown(
        text=text,
        valid=report.valid,
        summary=_summary(report.problems),
        problems=report.problems[:SHOWN_PROBLEMS],
        more_problems=max(len(report.problems) - SHOWN_PROBLEMS, 0),
        references=references,
        more_references=max(len(report.references) - SHOWN_REFERENCES, 0),
        graph=graph,
        known=known_pipelines(graph),
        breaks=tuple(impact.broken_by(slug, text)) if slug else (),
    )


def look_at_graph(text: str, slug: str) -> ShownGraph | None:
    """The graph of a saved text. One that is not drawn is not checked for it either."""
    definition = parse(text).definition
    if definition is None:
        return None
    if is_too_large(definition):
        return ShownGraph(draw(definition, (), definitions.catalog()), frozenset(), None)
    report = definitions.check(text, pipeline=slug)
    graph = draw(definition, report.references, definitions.catalog())
    return ShownGraph(graph, known_pipelines(graph), report)


def known_pipelines(graph: Graph | None) -> frozenset[str]:
    named = {node.pipeline[:64] for node in graph.nodes if node.pipeline} if graph else set()
    return existing(named)


def existing(slugs: Iterable[str]) -> frozenset[str]:
    """Those of the slugs that are pipelines of this site."""
    asked = [each for each in slugs if "\x00" not in each]
    if not asked:
        return frozenset()
    return frozenset(Pipeline.objects.filter(slug__in=asked).values_list("slug", flat=True))


def _summary(problems: tuple[Problem, ...]) -> str:
    counts = Counter(each.severity for each in problems if each.code != "too_many_problems")
    said = [
        f"{counts[severity]} {severity}" + ("s" if counts[severity] != 1 else "")
        for severity in ("error", "warning", "hint")
        if counts[severity]
    ]
    return ", ".join(said) or "No problems"
