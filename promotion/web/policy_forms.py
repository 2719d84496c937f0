"""A policy as a form: every key of the language has a field, and each entry of a list is a row.

The forms check nothing by themselves. What was sent becomes plain values, the language reads them
as it reads JSON and YAML, and its faults go back to the fields that they are about.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict

from pipelines.flow.document import Problem
from pipelines.web.forms import unix_lines
from promotion.gates import Rules
from promotion.gates.language import ENTRIES, PARTS
from promotion.gates.reading import MOST
from promotion.web.policy_fields import (
    FIELDSETS,
    GROUPS,
    ROWS,
    Fieldset,
    Lines,
    group_choices,
    name_of,
    upstream_choices,
)

NUMBER = re.compile(r"^-?[0-9]{1,9}\Z")
#: A fault's path: `freezes[0].ends`, `approvers.groups[1]` or `approvals`.
ENTRY = re.compile(r"^(\w+)\[(\d+)\](?:\.(\w+))?")
LIST = re.compile(r"\[\d+\]$")

Values = dict[str, Any]


class Told(forms.Form):
    """Fields with values, and what the language says of them."""

    use_required_attribute = False

    def __init__(
        self,
        made: Mapping[str, forms.Field],
        values: Mapping[str, Any],
        faults: Mapping[str, Sequence[str]],
        prefix: str | None = None,
    ) -> None:
        super().__init__(initial=dict(values), prefix=prefix)
        self.fields.update(made)
        self._faults = faults

    def full_clean(self) -> None:
        self.cleaned_data = {}
        self._errors = forms.utils.ErrorDict(renderer=self.renderer)
        for name, said in self._faults.items():
            for each in said:
                self.add_error(name if name in self.fields else None, each)


@dataclass(frozen=True, slots=True)
class ShownFieldset:
    fieldset: Fieldset
    fields: list[forms.BoundField]
    rows: list[Told]

    @property
    def may_add(self) -> bool:
        return len(self.rows) < MOST


class PolicyEditor:
    """One policy in its fields: from rules, or as it was sent."""

    def __init__(self, environment: str, values: Values, rows: dict[str, list[Values]]) -> None:
        self.environment = environment
        self.values = values
        self.rows = rows
        self._faults: dict[str, list[str]] = {}
        self._row_faults: dict[tuple[str, int], dict[str, list[str]]] = {}

    @classmethod
    def of_rules(cls, environment: str, rules: Rules) -> "PolicyEditor":
        values: Values = {}
        for path in shown_keys():
            value: Any = rules
            for key in path.split("."):
                value = getattr(value, key)
            values[name_of(path)] = _shown(value)
        rows = {
            key: [
                {each.name: _shown_in_row(each.name, getattr(entry, each.name)) for each in
                 fields(entry)}
                for entry in getattr(rules, key)
            ]
            for key in ENTRIES
        }  # fmt: skip
        return cls(environment, values, rows)

    @classmethod
    def of_post(cls, environment: str, data: QueryDict) -> "PolicyEditor":
        values = _sent(data, {name_of(path): field for path, field in _made().items()})
        rows = {
            key: [
                _sent(data, ROWS[key](), f"{key}-{number}") for number in range(_count(data, key))
            ]
            for key in ENTRIES
        }
        return cls(environment, values, rows)

    def change_rows(self, act: str) -> bool:
        """Do what a button says of rows, like `add-freezes` or `remove-freezes-2`."""
        verb, _, rest = act.partition("-")
        key, _, number = rest.partition("-")
        if key not in self.rows:
            return False
        if verb == "add" and len(self.rows[key]) < MOST:
            self.rows[key].append({})
        elif verb == "remove" and number in {str(each) for each in range(len(self.rows[key]))}:
            del self.rows[key][int(number)]
        return verb in {"add", "remove"}

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON would say it. What is no number stays a text, for the language to refuse."""
        said: dict[str, Any] = {}
        for path, field in _made().items():
            value = _plain(field, self.values[name_of(path)])
            part, _, key = path.rpartition(".")
            (said.setdefault(part, {}) if part else said)[key] = value
        said["upstream"] = said["upstream"] or None
        for key, rows in self.rows.items():
            made = ROWS[key]()
            said[key] = [
                {name: _plain(field, row.get(name, "")) for name, field in made.items()}
                for row in rows
            ]
        return said

    def tell(self, problems: Iterable[Problem]) -> None:
        """Put each fault beside its field."""
        for problem in problems:
            entry = ENTRY.match(problem.path)
            if entry and entry[1] in self.rows:
                faults = self._row_faults.setdefault((entry[1], int(entry[2])), {})
                faults.setdefault(entry[3] or "", []).append(problem.message)
            else:
                name = name_of(LIST.sub("", problem.path))
                self._faults.setdefault(name, []).append(problem.message)

    @property
    def fieldsets(self) -> Iterator[ShownFieldset]:
        made = {name_of(path): field for path, field in _made().items()}
        named = {each for name in GROUPS for each in self.values[name]}
        for name in GROUPS:
            field = made[name]
            assert isinstance(field, forms.MultipleChoiceField)
            field.choices = group_choices(named)
        upstream = made["upstream"]
        assert isinstance(upstream, forms.ChoiceField)
        upstream.choices = upstream_choices(self.environment)
        form = Told(made, self.values, self._faults)
        for each in FIELDSETS:
            bound = [form[name_of(path)] for path in each.fields]
            rows = [
                Told(
                    ROWS[each.rows](),
                    {"time_zone": "UTC", **row},
                    self._row_faults.get((each.rows, number), {}),
                    f"{each.rows}-{number}",
                )
                for number, row in enumerate(self.rows.get(each.rows, ()))
            ]
            yield ShownFieldset(each, bound, rows)


def _made() -> dict[str, forms.Field]:
    """Fresh fields by the path of the key that they are for."""
    return {path: make() for each in FIELDSETS for path, make in each.fields.items()}


def shown_keys() -> Iterator[str]:
    """The paths of the keys that have a field."""
    return (path for each in FIELDSETS for path in each.fields)


def every_key() -> set[str]:
    """The paths of all keys of the language that are no lists of entries."""
    return {
        f"{each.name}.{inner.name}" if each.name in PARTS else each.name
        for each in fields(Rules)
        if each.name not in ENTRIES
        for inner in (fields(PARTS[each.name]) if each.name in PARTS else (each,))
    }


# ---- Values ------------------------------------------------------------------------------------
def _shown(value: Any) -> Any:
    """A value as its widget takes it."""
    return list(value) if isinstance(value, tuple) else "" if value is None else value


def _shown_in_row(name: str, value: Any) -> Any:
    if name in {"starts", "ends"}:
        # However it was written, browsers take one form.
        at = datetime.fromisoformat(value)
        return at.isoformat(timespec="auto" if at.second or at.microsecond else "minutes")
    return _shown(value)


def _sent(data: QueryDict, made: Mapping[str, forms.Field], prefix: str = "") -> Values:
    return {
        name: _tidy(
            field, field.widget.value_from_datadict(data, {}, f"{prefix}-{name}".strip("-"))
        )
        for name, field in made.items()
    }


def _tidy(field: forms.Field, value: Any) -> Any:
    if isinstance(value, str):
        value = unix_lines(value).strip()
        return (
            [line.strip() for line in value.split("\n") if line.strip()]
            if isinstance(field, Lines)
            else value
        )
    return value if value is not None else [] if isinstance(field, Lines) else ""


def _plain(field: forms.Field, value: Any) -> Any:
    if isinstance(field, forms.BooleanField):
        return bool(value)
    if isinstance(field, forms.MultipleChoiceField | Lines):
        return list(value or ())
    if isinstance(field, forms.IntegerField):
        if value == "" and not field.required:
            return None
        return int(value) if NUMBER.match(str(value)) else value
    return value


def _count(data: QueryDict, key: str) -> int:
    told = data.get(f"{key}-count", "0")
    return min(int(told), MOST) if NUMBER.match(told) and int(told) > 0 else 0
