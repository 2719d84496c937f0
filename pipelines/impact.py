"""What a new definition would do to the pipelines that refer to it."""

from dataclasses import dataclass

from django.db.models import QuerySet

from pipelines.definitions import catalog, current_definition
from pipelines.flow.check import Report
from pipelines.flow.check import check as check_document
from pipelines.flow.document import Definition, Problem
from pipelines.flow.parser import parse
from pipelines.models import Pipeline


@dataclass(frozen=True, slots=True)
class Broken:
    """A pipeline, and the errors that it does not have now but would have."""

    pipeline: Pipeline
    problems: tuple[Problem, ...]


def referrers(slug: str) -> "QuerySet[Pipeline]":
    """The other pipelines whose current revision takes input from the pipeline `slug`."""
    return (
        Pipeline.objects.filter(upstreams__slug=slug)
        .exclude(slug=slug)
        .select_related("revision")
        .distinct()
    )


def broken_by(slug: str, yaml: str) -> list[Broken]:
    """Which pipelines would have new errors if `yaml` became the definition of `slug`."""
    planned = parse(yaml).definition
    if planned is None:
        return []
    found = []
    for pipeline in referrers(slug):
        assert pipeline.revision is not None, "a pipeline is created with its first revision"
        text = pipeline.revision.yaml
        before = {(each.path, each.code) for each in _errors(_check(pipeline, text, slug, None))}
        after = _errors(_check(pipeline, text, slug, planned))
        new = tuple(each for each in after if (each.path, each.code) not in before)
        if new:
            found.append(Broken(pipeline, new))
    return found


def _check(pipeline: Pipeline, text: str, slug: str, planned: Definition | None) -> Report:
    def look_up(other: str) -> Definition | None:
        return planned if planned and other == slug else current_definition(other)

    return check_document(text, catalog(), look_up, pipeline.slug)


def _errors(report: Report) -> list[Problem]:
    return [each for each in report.problems if each.severity == "error"]
