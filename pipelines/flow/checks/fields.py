"""Sources, steps and components against their declarations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pipelines.flow.checks.context import Context
from pipelines.flow.document import Job, Position, Source, Step, Value, as_text
from pipelines.flow.nodes import join, shorten
from pipelines.flow.references import (
    DEFAULT_ARTIFACT,
    PROPERTIES,
    ReferenceError_,
    find_references,
    find_variables,
    parse_reference,
    whole_reference,
)
from pipelines.flow.schema import TYPE_WORDS, Field, SourceSchema, StepSchema, is_open

PATTERN_LENGTH: Final = 1000


def check_sources(context: Context) -> None:
    for source in context.definition.sources.values():
        path = f"sources.{source.id}"
        if not source.type:
            continue  # the reader has said that it is missing
        schema = context.catalog.sources.get(source.type)
        if schema is None:
            context.report(
                "unknown_source_type",
                f"there is no source type `{shorten(source.type)}`"
                + context.did_you_mean(source.type, context.catalog.sources),
                f"{path}.type",
            )
            continue
        if not schema.available:
            context.report(
                "not_available",
                f"sources of type `{source.type}` cannot be fetched by this installation",
                f"{path}.type",
                severity="warning",
            )
        _check_fields(context, schema, source.fields, path, source.at)
        if schema.kind == "pipeline":
            _check_pipeline(context, source, path)


def check_work(context: Context) -> None:
    """Every step and component of every job."""
    for stage in context.definition.stages:
        for job in stage.jobs:
            path = f"stages.{stage.id}.jobs.{job.id}"
            if job.component is not None:
                _check_component(context, job, job.component, path)
            for step in job.steps:
                _check_step(context, step, f"{path}.steps.{step.id}")


def _check_pipeline(context: Context, source: Source, path: str) -> None:
    other = as_text(source.fields.get("flowPipeline"))
    if other and not is_open(other) and context.other(other) is None:
        context.report(
            "unknown_pipeline",
            f"there is no pipeline `{shorten(other)}` with a readable definition; "
            "check the id, or save that pipeline first",
            f"{path}.flowPipeline",
        )


def _check_component(context: Context, job: Job, name: str, path: str) -> None:
    schema = context.catalog.component(name)
    if schema is None:
        remedy = context.did_you_mean(
            name, (each.name for each in context.catalog.steps.values() if each.kind != "step")
        )
        if context.catalog.step(name) is not None:
            remedy = f"; `{name}` is a step: write it under `steps`"
        context.report(
            "unknown_component",
            f"there is no component `{shorten(name)}`{remedy}",
            f"{path}.component",
        )
        return
    _check_available(context, schema, f"{path}.component")
    _check_fields(context, schema, job.with_, f"{path}.with", job.at)


def _check_step(context: Context, step: Step, path: str) -> None:
    if not step.step:
        return  # the reader has said that it is missing
    schema = context.schema(step)
    if schema is None:
        remedy = context.did_you_mean(
            step.step, (each.name for each in context.catalog.steps.values() if each.kind == "step")
        )
        if context.catalog.component(step.step) is not None:
            remedy = f"; `{step.step}` is a component: write `component` in the job, not `steps`"
        context.report(
            "unknown_step", f"there is no step `{shorten(step.step)}`{remedy}", f"{path}.step"
        )
        return
    _check_available(context, schema, f"{path}.step")
    _check_fields(context, schema, step.with_, f"{path}.with", step.at)
    name = schema.artifact_name(step.with_)
    if name is not None and not _can_be_referred_to(name):
        context.report(
            "artifact_name",
            f"the artifact name `{shorten(name)}` cannot stand in a reference; rename it, or "
            f"refer to it as `{DEFAULT_ARTIFACT}`",
            f"{path}.with.{schema.artifact_field}",
            severity="warning",
        )


def _can_be_referred_to(name: str) -> bool:
    if name.rpartition(".")[2] in PROPERTIES and "." in name:
        return False
    try:
        return parse_reference(f"$[jobs.a.b.artifacts.{name}]").artifact == name
    except ReferenceError_:
        return False


def _check_available(context: Context, schema: StepSchema, path: str) -> None:
    if not schema.available:
        context.report(
            "not_available",
            f"the {schema.kind} `{schema.name}` cannot be run by this installation",
            path,
            severity="warning",
        )


def _check_fields(
    context: Context,
    schema: StepSchema | SourceSchema,
    written: Mapping[str, Value],
    path: str,
    at: Position,
) -> None:
    name = schema.name if isinstance(schema, StepSchema) else schema.type
    given: set[str] = set()
    for key, value in written.items():
        here = join(path, key)
        field = schema.field(key)
        if field is None:
            context.report(
                "unknown_field",
                f"`{name}` has no field `{shorten(key)}`; it is ignored"
                + context.did_you_mean(key, schema.field_names()),
                here,
                at=context.positions.of_key(here),
                severity="warning",
            )
        elif value is not None:
            given.add(field.name)
            _check_value(context, field, value, here)
    for field in schema.fields:
        if field.required and field.name not in given:
            context.report(
                "missing_field",
                f"`{name}` needs the field `{field.name}`: {field.help[:1].lower()}"
                f"{field.help[1:].rstrip('.')}",
                join(path, field.name),
                at=at,
            )


def _check_value(context: Context, field: Field, value: Value, path: str) -> None:
    if not field.accepts(value) or (field.type == "artifact" and not _is_artifact(value)):
        context.report("wrong_field_type", f"`{field.name}` must be {TYPE_WORDS[field.type]}", path)
        return
    if field.choices:
        several = isinstance(value, list)
        for index, each in enumerate(value if isinstance(value, list) else [value]):
            text = as_text(each)
            if text not in field.choices and not is_open(text):
                allowed = ", ".join(f"`{choice}`" for choice in field.choices)
                context.report(
                    "bad_choice",
                    f"`{shorten(text)}` is none of {allowed}"
                    + context.did_you_mean(text, field.choices),
                    f"{path}[{index}]" if several else path,
                )
    if field.pattern:
        _check_pattern(context, as_text(value), path)


def _is_artifact(value: Value) -> bool:
    """Whether a value will be a whole artifact. A malformed reference is reported elsewhere."""
    reference = whole_reference(value)
    if reference is not None:
        return reference.property is None
    text = as_text(value)
    found = find_references(text)
    return any(each.error is not None for each in found) or (
        not found and bool(find_variables(text))
    )


def _check_pattern(context: Context, pattern: str, path: str) -> None:
    if is_open(pattern):
        return
    why = ""
    if len(pattern) > PATTERN_LENGTH:
        why = f"it is longer than {PATTERN_LENGTH} characters"
    else:
        try:
            re.compile(pattern)
        except re.error as error:
            why = str(error)
        except (OverflowError, RecursionError):
            why = "it is too large"
    if why:
        context.report("bad_pattern", f"this regular expression cannot be read: {why}", path)
