"""The forms of the pages about pipelines. They read text into values; verbs decide."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.urls import reverse_lazy

from pipelines.artifacts import Place
from pipelines.flow.document import Definition, Source
from pipelines.models.pipeline import SLUG_HELP


class Editor(forms.Textarea):
    """A definition, checked as one types where scripts run and when it is sent anyhow.

    An answer that comes after the text has changed again is dropped: `hx-sync` ends its request.
    """

    def __init__(self) -> None:
        super().__init__(
            attrs={
                "rows": 28,
                "wrap": "off",
                "spellcheck": "false",
                "autocapitalize": "off",
                "autocomplete": "off",
                "data-editor-text": "",
                "hx-post": reverse_lazy("pipelines:definition_check"),
                "hx-trigger": "input changed delay:400ms",
                "hx-target": "#check",
                "hx-swap": "innerHTML",
                "hx-sync": "this:replace",
                # As a form it would be three times as long where it is not English.
                "hx-encoding": "multipart/form-data",
            }
        )


class DefinitionForm(forms.Form):
    """A new text for a pipeline. `expected` is the revision that the writer saw."""

    yaml = forms.CharField(label="Definition", strip=False, widget=Editor)
    expected = forms.IntegerField(widget=forms.HiddenInput)

    def clean_yaml(self) -> str:
        return unix_lines(self.cleaned_data["yaml"])


class NewPipelineForm(forms.Form):
    slug = forms.CharField(label="Id", max_length=64, help_text=SLUG_HELP)
    name = forms.CharField(
        max_length=200, required=False, help_text="Empty: the definition's own name, or the id."
    )
    yaml = forms.CharField(
        label="Definition",
        strip=False,
        widget=Editor,
        help_text="Flow YAML: sources, stages, jobs and steps.",
    )

    def clean_yaml(self) -> str:
        return unix_lines(self.cleaned_data["yaml"])


def unix_lines(text: str) -> str:
    """Browsers send CRLF whatever was written; a definition's digest is of what was written."""
    return text.replace("\r\n", "\n")


class StartRunForm(forms.Form):
    """One optional wish for each source of the definition, variables, and a comment."""

    variables = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, as KEY=VALUE. They win over those of the definition.",
    )
    comment = forms.CharField(
        max_length=500, required=False, help_text="Why this run; people see it beside the run."
    )

    def __init__(self, definition: Definition, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.wishes: dict[str, tuple[str, str]] = {}
        for source in definition.sources.values():
            wish, field = _wish(source)
            name = f"source-{source.id}"
            self.wishes[name] = (source.id, wish)
            self.fields[name] = field
        self.order_fields([*self.wishes, "variables", "comment"])

    def clean_variables(self) -> dict[str, str]:
        variables = {}
        for number, line in enumerate(self.cleaned_data["variables"].splitlines(), start=1):
            if not line.strip():
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise forms.ValidationError(f"Line {number} has no “=”. Write it as KEY=VALUE.")
            variables[key.strip()] = value
        return variables

    @property
    def asked(self) -> dict[str, dict[str, Any]]:
        """What the person asks of each source, as runs.start takes it."""
        return {
            source_id: {wish: value}
            for name, (source_id, wish) in self.wishes.items()
            if (value := self.cleaned_data.get(name))
        }


def _wish(source: Source) -> tuple[str, forms.Field]:
    """What may be asked of a source of this type, and the field for it."""
    label = f"{source.name} ({source.type})"
    if source.type == "packages":
        package = f"{source.fields.get('repo', '')}/{source.fields.get('artifact', '')}"
        written = source.fields.get("version") or source.fields.get("range")
        environment = source.fields.get("environment")
        rule = f"what {environment} has" if environment else written or "nothing: name a version"
        return "version", forms.CharField(
            label=label,
            required=False,
            max_length=128,
            help_text=f"A version of {package}. Empty: {rule}.",
        )
    if source.type == "flowPipeline":
        return "run", forms.IntegerField(
            label=label,
            required=False,
            min_value=1,
            help_text=f"A run number of {source.fields.get('flowPipeline', '')}. "
            "Empty: its last successful run.",
        )
    return "branch", forms.CharField(
        label=label,
        required=False,
        max_length=255,
        help_text=f"A branch or tag. Empty: {source.fields.get('branch') or 'as defined'}.",
    )


class ReportRunForm(forms.Form):
    """A run that was executed elsewhere."""

    comment = forms.CharField(
        max_length=500, required=False, help_text="What was built; people see it beside the run."
    )
    commit = forms.CharField(
        max_length=64, required=False, help_text="The commit that it was built from."
    )
    url = forms.CharField(
        label="Address",
        max_length=200,
        required=False,
        help_text="Where it can be looked at: https://…",
    )


class ArtifactForm(forms.Form):
    """What an artifact is called and where in the run it was made; its files are beside it."""

    name = forms.CharField(
        max_length=128, help_text="Without spaces and slashes. References find it by this name."
    )
    stage = forms.CharField(max_length=64, initial="build")
    job = forms.CharField(max_length=64, initial="build")
    step = forms.CharField(max_length=64, initial="upload")

    @property
    def place(self) -> Place:
        return Place(*(self.cleaned_data[noun] for noun in ("stage", "job", "step")))

    @property
    def place_fields(self) -> list[forms.BoundField]:
        return [self[noun] for noun in ("stage", "job", "step")]
