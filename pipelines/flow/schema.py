"""How steps, components and sources declare themselves.

One declaration serves the check before a run, the runner, the documentation and the editor. The
declarations of the language itself are in `catalog`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from pipelines.flow.document import Value, as_text
from pipelines.flow.references import find_references, find_variables

FieldType: TypeAlias = Literal[
    "string",
    "text",
    "integer",
    "number",
    "boolean",
    "list",
    "string_or_list",
    "mapping",
    "artifact",
    "any",
]
Makes: TypeAlias = Literal["flowPublic", "dockerImage", "packages"]

# What to call each type in a message to a person.
TYPE_WORDS: Final[Mapping[FieldType, str]] = {
    "string": "text",
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "string_or_list": "text or a list of texts",
    "mapping": "a mapping",
    "artifact": "a reference to an artifact, like `$[jobs.build.upload.artifacts.default]`",
    "any": "any value",
}

# The properties that a reference may ask of an artifact, besides the artifact itself.
ARTIFACT_PROPERTIES: Final[Mapping[Makes, tuple[str, ...]]] = {
    "flowPublic": ("downloadUrl", "md5", "sha256", "digest"),
    "dockerImage": ("dockerUrl", "dockerTag", "digest"),
    "packages": ("downloadUrl", "version", "md5", "sha256", "digest"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of `with`, or of a source. `aliases` are old spellings that are read too."""

    name: str
    type: FieldType
    required: bool = False
    default: Value = None
    help: str = ""
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    pattern: bool = False  # the text is a regular expression

    def accepts(self, value: Value) -> bool:
        """Whether a written value has the declared type.

        A text with a variable or reference in it may become anything, so it is accepted wherever
        a scalar is. An absent value (null) is never asked about.
        """
        match self.type:
            case "any":
                return True
            case "list":
                return isinstance(value, list) or is_open(value)
            case "mapping":
                return isinstance(value, dict) or is_open(value)
            case "string_or_list":
                return isinstance(value, str | int | float) or (
                    isinstance(value, list) and all(_is_scalar(each) for each in value)
                )
            case "boolean":
                return isinstance(self.coerce(value), bool) or is_open(value)
            case "integer":
                read = self.coerce(value)
                return (isinstance(read, int) and not isinstance(read, bool)) or is_open(value)
            case "number":
                read = self.coerce(value)
                number = isinstance(read, int | float) and not isinstance(read, bool)
                return number or is_open(value)
        return _is_scalar(value)

    def coerce(self, value: Value) -> Value:
        """The value in its declared type where that is beyond doubt, else as it is.

        A number or boolean where text is declared becomes the text that was written.
        """
        match self.type:
            case "string" | "text" | "artifact":
                return as_text(value) if _is_scalar(value) else value
            case "string_or_list":
                if isinstance(value, list):
                    return [as_text(each) for each in value]
                return [as_text(value)] if _is_scalar(value) else value
            case "boolean":
                lowered = value.strip().lower() if isinstance(value, str) else value
                return (
                    {"true": True, "false": False}.get(lowered, value)
                    if isinstance(lowered, str)
                    else value
                )
            case "integer" | "number":
                return _as_number(value, whole=self.type == "integer")
        return value


def is_open(value: Value) -> bool:
    """Whether a text holds a variable or reference, so that only a run knows what it will be."""
    if not isinstance(value, str) or "$" not in value:
        return False
    return bool(find_variables(value) or find_references(value))


def _is_scalar(value: Value) -> bool:
    return isinstance(value, str | int | float | bool)


def _as_number(value: Value, *, whole: bool) -> Value:
    if isinstance(value, str):
        try:
            return int(value) if whole else float(value)
        except ValueError:
            return value
    return value


def _argument(field: Field, written: Mapping[str, Value]) -> Value:
    for name in (field.name, *field.aliases):
        if written.get(name) is not None:
            return field.coerce(written[name])
    return field.default


class _WithFields:
    """What steps and sources share: looking fields up and reading what was written."""

    __slots__ = ()

    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of a name or of an old spelling of it."""
        return next((each for each in self.fields if name == each.name), None) or next(
            (each for each in self.fields if name in each.aliases), None
        )

    def field_names(self) -> Iterator[str]:
        return (each.name for each in self.fields)

    def arguments(self, written: Mapping[str, Value]) -> dict[str, Value]:
        """Every declared field by its present name: as written, else its default.

        Unknown fields are left out; values with variables in them are left for the run.
        """
        return {each.name: _argument(each, written) for each in self.fields}

    def argument(self, name: str, written: Mapping[str, Value]) -> Value:
        """The same for one field."""
        field = self.field(name)
        return _argument(field, written) if field is not None else None


@dataclass(frozen=True, slots=True)
class StepSchema(_WithFields):
    """A step or component. `makes` is the type of the artifact that it leaves behind, if any."""

    name: str
    kind: Literal["step", "component"]
    title: str
    help: str
    fields: tuple[Field, ...]
    makes: Makes | None = None
    artifact_field: str = "artifact"  # the field of `with` that names the artifact
    artifact_default: str | None = None  # its name where that field is absent
    makes_field: str | None = None  # the field that chooses another type than `makes`
    available: bool = True
    example: str = ""

    def made_type(self, written: Mapping[str, Value]) -> Makes | None:
        """The type of artifact made with these fields, or None where it makes none."""
        if self.makes is None or self.makes_field is None:
            return self.makes
        chosen = self.argument(self.makes_field, written)
        match chosen:
            case "flowPublic" | "dockerImage" | "packages":
                return chosen
        return self.makes

    def artifact_name(self, written: Mapping[str, Value]) -> str | None:
        """What the artifact is called, variables not yet replaced; None where it makes none."""
        if self.makes is None:
            return None
        return as_text(self.argument(self.artifact_field, written)) or self.artifact_default


@dataclass(frozen=True, slots=True)
class SourceSchema(_WithFields):
    """A type of source. `gives` is the type of artifact that `$[sources.<id>]` stands for."""

    type: str
    kind: Literal["code", "pipeline", "artifact"]
    title: str
    help: str
    fields: tuple[Field, ...]
    available: bool = True
    gives: Makes | None = None
    example: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that can be named in a definition."""

    steps: Mapping[str, StepSchema] = field(default_factory=dict)
    sources: Mapping[str, SourceSchema] = field(default_factory=dict)

    def step(self, name: str) -> StepSchema | None:
        found = self.steps.get(name)
        return found if found is not None and found.kind == "step" else None

    def component(self, name: str) -> StepSchema | None:
        found = self.steps.get(name)
        return found if found is not None and found.kind == "component" else None

    def with_available(
        self, *, steps: Collection[str] | None = None, sources: Collection[str] | None = None
    ) -> Catalog:
        """The same language where exactly these can be run; None leaves a half as it is."""
        for given, known in ((steps, self.steps), (sources, self.sources)):
            strangers = sorted(set(given or ()) - set(known))
            if strangers:
                raise KeyError(f"not declared in this catalog: {', '.join(strangers)}")
        return Catalog(
            steps={
                name: each if steps is None else replace(each, available=name in steps)
                for name, each in self.steps.items()
            },
            sources={
                name: each if sources is None else replace(each, available=name in sources)
                for name, each in self.sources.items()
            },
        )
