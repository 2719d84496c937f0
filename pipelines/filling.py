"""Fill in what a definition leaves open until a run: variables, references, whole descriptors."""

from collections.abc import Mapping

from pipelines import artifacts, sources
from pipelines.errors import SluiceError
from pipelines.flow import document
from pipelines.flow.document import Value
from pipelines.flow.references import (
    Reference,
    expand_reference,
    expand_variables,
    substitute,
    whole_reference,
)
from pipelines.flow.schema import StepSchema
from pipelines.models import Run


class Filler:
    """Fills in values for a job of `stage`. `variables` may grow while the job's steps run."""

    def __init__(self, run: Run, stage: str, variables: dict[str, str]) -> None:
        # Not named `run`, which would read as a verb.
        self._of = run
        self._stage = stage
        self.variables = variables

    def arguments(self, schema: StepSchema, given: Mapping[str, Value]) -> dict[str, Value]:
        """What a step is given, by the names of its schema."""
        types = {field.name: field.type for field in schema.fields}
        filled: dict[str, Value] = {}
        for key, value in schema.arguments(given).items():
            if types.get(key) == "artifact":
                filled[key] = self._descriptor(value)
            elif types.get(key) == "text":
                # A script: the shell finds ${VAR} in its environment. Putting the value into the
                # text would make code of whatever a branch or a caller's variable holds.
                filled[key] = self._filled(value, {})
            else:
                filled[key] = self._filled(value, self.variables)
        return filled

    def _filled(self, value: Value, variables: Mapping[str, str]) -> Value:
        if isinstance(value, str):
            return substitute(value, self._text_of, variables)
        if isinstance(value, list):
            return [self._filled(each, variables) for each in value]
        if isinstance(value, dict):
            return {key: self._filled(each, variables) for key, each in value.items()}
        return value

    def _descriptor(self, value: Value) -> Value:
        reference = whole_reference(value)
        if reference is None:
            return self._filled(value, self.variables)
        return dict(self._properties(reference))

    def _text_of(self, reference: Reference) -> str:
        text = artifacts.as_text(self._properties(reference), reference.property)
        if text is None:
            raise SluiceError(
                f"{reference.text} has no {reference.property or 'image or download address'}."
            )
        return text

    def _properties(self, written: Reference) -> dict[str, str]:
        reference = expand_reference(written, self.variables)
        if reference.kind == "source":
            pinned = self._of.sources.get(reference.source or "")
            if pinned is None:
                raise SluiceError(f"{reference.text}: the run has no such source.")
            return sources.type_of(pinned["type"]).properties(pinned)
        artifact = artifacts.find(self._of, reference, stage=self._stage)
        return artifacts.properties(artifact)


def variables_of(run: Run, definition: document.Definition) -> dict[str, str]:
    """Variables of a run by precedence: the caller's over the definition's; built-ins stand."""
    started = run.started_at or run.created_at
    built_in = {
        "PIPELINE_ID": run.pipeline.slug,
        "PIPELINE_NAME": run.pipeline.name,
        "BUILD_NUMBER": str(run.number),
        "BUILD_REMARK": run.comment,
        "BUILD_EXECUTOR": run.started_by.username,
        "BUILD_MESSAGE": run.get_trigger_display(),
        "DATETIME": started.strftime("%Y-%m-%d-%H-%M-%S"),
        "TIMESTAMP": str(int(started.timestamp() * 1000)),
    }
    declared = {variable.key: document.as_text(variable.value) for variable in definition.variables}
    expanded = {
        key: expand_variables(value, {**declared, **run.variables, **built_in})
        for key, value in declared.items()
    }
    return {**expanded, **run.variables, **built_in}
