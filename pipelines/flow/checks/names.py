"""Names that must exist: workspaces, the sources of jobs, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipelines.flow.checks.context import Context
from pipelines.flow.document import BUILT_IN_VARIABLES, Job, as_text, walk_strings
from pipelines.flow.nodes import shorten
from pipelines.flow.order import job_texts
from pipelines.flow.references import find_references, find_variables
from pipelines.flow.schema import StepSchema, is_open

# From the beginning of a word only: a long one would else be tried from each of its letters.
_OUTPUT: Final = re.compile(r"(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*)=")


def check_workspaces(context: Context) -> None:
    definition = context.definition
    code = [
        each
        for each in definition.sources.values()
        if (schema := context.catalog.sources.get(each.type)) is not None and schema.kind == "code"
    ]
    if definition.default_workspace is not None:
        _check_source(context, definition.default_workspace, "defaultWorkspace")
    elif len(code) > 1:
        context.report(
            "missing_default_workspace",
            f"{len(code)} sources hold code; say with `defaultWorkspace` in which of them steps "
            f"work, for example `defaultWorkspace: {code[0].id}`",
            f"sources.{code[1].id}",
            at=code[1].at,
        )
    for stage in definition.stages:
        for job in stage.jobs:
            path = f"stages.{stage.id}.jobs.{job.id}"
            for index, source in enumerate(job.source_option or ()):
                _check_source(context, source, f"{path}.sourceOption[{index}]")
            for step in job.steps:
                if step.workspace is not None:
                    _check_source(context, step.workspace, f"{path}.steps.{step.id}.workspace")


def _check_source(context: Context, source: str, path: str) -> None:
    if source not in context.definition.sources and not is_open(source):
        context.report(
            "unknown_source",
            f"there is no source `{shorten(source)}`"
            + context.did_you_mean(source, context.definition.sources),
            path,
        )


def check_variables(context: Context) -> None:
    seen: dict[str, int] = {}
    for variable in context.definition.variables:
        path = f"{variable.path}.key"
        if variable.key in seen:
            context.report(
                "duplicate_variable",
                f"`{variable.key}` is already set in line {seen[variable.key]}; remove one",
                path,
            )
        elif variable.key in BUILT_IN_VARIABLES:
            context.report(
                "reserved_variable",
                f"`{variable.key}` is built in and is {BUILT_IN_VARIABLES[variable.key]}; "
                "this value is never seen: choose another name",
                path,
                severity="warning",
            )
        seen.setdefault(variable.key, variable.at.line)
    _check_unknown(context)


def _check_unknown(context: Context) -> None:
    if context.definition.variable_groups:
        return  # what a group holds is only known to a run
    # A mapping for its order, so that remedies do not depend on hashes.
    known = dict.fromkeys(each.key for each in context.definition.variables)
    known |= dict.fromkeys(BUILT_IN_VARIABLES) | _outputs(context)
    for path, text in _texts(context):
        if "${" not in text:
            continue
        place = context.positions.walker(path)
        for found in find_variables(text):
            name = found.name
            at = place(text[found.start : found.end])
            if name not in known:
                context.report(
                    "unknown_variable",
                    f"nothing here sets `${{{shorten(name)}}}`; without a value given to the run "
                    "it stays as it is written" + context.did_you_mean(name, known),
                    path,
                    at=at,
                    severity="warning",
                )


def _texts(context: Context) -> Iterator[tuple[str, str]]:
    """Texts in which only variables that are known make sense; scripts have their own."""
    for source in context.definition.sources.values():
        for key, value in source.fields.items():
            yield from walk_strings(value, f"sources.{source.id}.{key}")
    for stage in context.definition.stages:
        for job in stage.jobs:
            path = f"stages.{stage.id}.jobs.{job.id}"
            if job.condition is not None:
                yield f"{path}.condition", job.condition
            scripts = script_paths(context, job, path)
            for here, text, _ in job_texts(job, path):
                if here not in scripts:
                    yield here, text


def script_paths(context: Context, job: Job, path: str) -> set[str]:
    """The paths of a job's scripts, which a shell reads with variables of its own."""
    scripts: set[str] = set()
    if job.component is not None:
        schema = context.catalog.component(job.component)
        scripts.update(f"{path}.with.{name}" for name in _script_fields(schema))
    for step in job.steps:
        fields = _script_fields(context.schema(step))
        scripts.update(f"{path}.steps.{step.id}.with.{name}" for name in fields)
    return scripts


def _script_fields(schema: StepSchema | None) -> list[str]:
    if schema is None:
        return ["run"]
    return [each.name for each in schema.fields if each.type == "text"]


def _outputs(context: Context) -> dict[str, None]:
    """Variables that a script may hand on through the file `$FLOW_ENV`."""
    names: dict[str, None] = {}
    for stage in context.definition.stages:
        for job in stage.jobs:
            for _, text, _ in job_texts(job):
                if "FLOW_ENV" in text:
                    names.update(dict.fromkeys(_OUTPUT.findall(text)))
    return names


def check_misplaced(context: Context) -> None:
    """References where nothing replaces them: they would reach their reader as written."""
    for variable in context.definition.variables:
        for path, text in walk_strings(variable.value, f"{variable.path}.value"):
            _refuse_references(context, path, text, "a variable")
    for source in context.definition.sources.values():
        for key, value in source.fields.items():
            for path, text in walk_strings(value, f"sources.{source.id}.{key}"):
                _refuse_references(context, path, text, "a source")
    for stage in context.definition.stages:
        for job in stage.jobs:
            if job.condition is not None:
                path = f"stages.{stage.id}.jobs.{job.id}.condition"
                _refuse_references(context, path, as_text(job.condition), "a condition")


def _refuse_references(context: Context, path: str, text: str, where: str) -> None:
    if "$[" not in text:
        return
    place = context.positions.walker(path)
    for found in find_references(text):
        context.report(
            "reference_out_of_place",
            f"{where} cannot refer to an artifact; write the reference in the `with` of the step "
            "or component that uses it",
            path,
            at=place(found.text),
        )
