"""What a caller asks of a run, checked before anything is started."""

from collections.abc import Mapping
from typing import Any

from pipelines.definitions import catalog, definition_of
from pipelines.errors import Invalid
from pipelines.flow.check import check as check_document
from pipelines.flow.document import Definition, as_text
from pipelines.models import Revision, Run


def checked_variables(variables: Mapping[str, str]) -> dict[str, str]:
    for key, value in variables.items():
        if not key.isidentifier() or not key.isascii():
            raise Invalid(f"“{key[:64]}” cannot name a variable: use letters, digits and _.")
        if not isinstance(value, str) or "\x00" in value:
            raise Invalid(f"The variable {key} needs a text value.")
    return dict(variables)


def checked_sources(
    definition: Definition, asked: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    known = {"run": int, "version": str, "branch": str, "commit": str}
    for source_id, wish in asked.items():
        if source_id not in definition.sources:
            has = ", ".join(definition.sources) or "none"
            raise Invalid(f"The pipeline has no source “{source_id[:64]}”. It has: {has}.")
        if not isinstance(wish, Mapping):
            raise Invalid(f"sources.{source_id} is an object like {{'version': '1.4.2'}}.")
        for key, value in wish.items():
            if not isinstance(value, known.get(key, ())) or isinstance(value, bool):
                raise Invalid(
                    f"sources.{source_id}.{key[:20]} is not understood: give run (a number), "
                    "version, branch or commit (texts)."
                )
    return {source_id: dict(wish) for source_id, wish in asked.items()}


def check_references(run: Run, definition: Definition) -> None:
    """Refuse a run whose references lead nowhere in the very runs that its sources are pinned to.

    The check on saving looked at the other pipelines as they were then.
    """
    pinned = {
        as_text(source.fields.get("flowPipeline")): int(run.sources[source.id]["run"])
        for source in definition.sources.values()
        if source.type == "flowPipeline"
    }

    def as_pinned(slug: str) -> Definition | None:
        if slug not in pinned:
            return None
        of_run = Revision.objects.filter(runs__pipeline__slug=slug, runs__number=pinned[slug])
        revision = of_run.first()
        return definition_of(revision) if revision else None

    if pinned:
        report = check_document(run.revision.yaml, catalog(), as_pinned, run.pipeline.slug)
        errors = [problem for problem in report.problems if problem.severity == "error"]
        if errors:
            raise Invalid(
                "The definition does not fit the runs that it would take its input from. "
                "Name other runs, or mend the references.",
                problems=errors,
            )
