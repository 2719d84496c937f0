"""What a new definition would do to those who refer to it, and saving one in that light."""

from dataclasses import asdict, dataclass

from django.db.models import QuerySet

from accounts.models import User
from pipelines import definitions
from pipelines.definitions import catalog, current_definition
from pipelines.errors import WouldBreak
from pipelines.flow.check import Report
from pipelines.flow.check import check as check_document
from pipelines.flow.document import Definition, Problem, as_text
from pipelines.flow.order import job_references
from pipelines.flow.parser import parse
from pipelines.models import Pipeline, Revision


@dataclass(frozen=True, slots=True)
class Broken:
    """A pipeline, and the errors that it does not have now but would have."""

    pipeline: Pipeline
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Referrer:
    """A pipeline that takes input from another, and how many of its references lead there."""

    pipeline: Pipeline
    references: int


def revise(
    pipeline: Pipeline,
    yaml: str,
    *,
    by: User,
    expected: int | None = None,
    accept_broken: bool = False,
) -> Revision:
    """definitions.revise, refused where it would break other pipelines and nobody accepted it."""

    def object_to() -> None:
        breaks = [] if accept_broken else broken_by(pipeline.slug, yaml)
        if breaks:
            slugs = ", ".join(each.pipeline.slug for each in breaks[:10])
            more = f" and {len(breaks) - 10} more" if len(breaks) > 10 else ""
            raise WouldBreak(
                f"Saving this would break {slugs}{more}. Mend the references there or here, "
                "or save it all the same.",
                breaks=[
                    {
                        "pipeline": each.pipeline.slug,
                        "problems": [asdict(problem) for problem in each.problems],
                    }
                    for each in breaks
                ],
            )

    return definitions.revise(pipeline, yaml, by=by, expected=expected, object_to=object_to)


def referrers(slug: str) -> "QuerySet[Pipeline]":
    """The other pipelines whose current revision takes input from the pipeline `slug`."""
    return (
        Pipeline.objects.filter(upstreams__slug=slug)
        .exclude(slug=slug)
        .select_related("revision")
        .distinct()
    )


def counted_referrers(slug: str, most: int) -> list[Referrer]:
    """The first of them by name, with how often each refers to the pipeline `slug`."""
    return [Referrer(each, _references_to(slug, each)) for each in referrers(slug)[:most]]


def _references_to(slug: str, pipeline: Pipeline) -> int:
    assert pipeline.revision is not None, "a pipeline is created with its first revision"
    definition = parse(pipeline.revision.yaml).definition
    if definition is None:
        return 0
    sources = {
        source.id
        for source in definition.sources.values()
        if source.type == "flowPipeline" and as_text(source.fields.get("flowPipeline")) == slug
    }
    return sum(
        reference.source in sources
        for stage in definition.stages
        for job in stage.jobs
        for reference in job_references(job)
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
        after = _errors(_check(pipeline, text, slug, planned))
        if not after:
            continue
        before = {(each.path, each.code) for each in _errors(_check(pipeline, text, slug, None))}
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
