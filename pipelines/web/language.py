"""The language reference as a page: the declarations that docs/language.md is printed from."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from pipelines import definitions
from pipelines.flow import manual
from pipelines.flow.conditions import FUNCTIONS
from pipelines.flow.document import BUILT_IN_VARIABLES
from pipelines.flow.problems import CODES
from pipelines.flow.schema import ARTIFACT_PROPERTIES, SourceSchema, StepSchema
from pipelines.web.doors import PageRequest, page


@page("GET")
def language(request: PageRequest) -> HttpResponse:
    catalog = definitions.catalog()
    steps = sorted(catalog.steps.values(), key=lambda each: each.name)
    context = {
        "about": manual.ABOUT,
        "example": manual.EXAMPLE,
        "references": manual.REFERENCES,
        "on_references": manual.ON_REFERENCES,
        "on_variables": manual.ON_VARIABLES,
        "on_conditions": manual.ON_CONDITIONS,
        "properties": ARTIFACT_PROPERTIES,
        "kinds": [
            ("steps", "Steps", _entries(each for each in steps if each.kind == "step")),
            (
                "components",
                "Components",
                _entries(each for each in steps if each.kind == "component"),
            ),
            ("sources", "Sources", _entries(catalog.sources.values())),
        ],
        "variables": BUILT_IN_VARIABLES,
        "functions": [said.partition(": ")[::2] for said in FUNCTIONS.values()],
        "codes": CODES,
    }
    return render(request, "pipelines/language.html", context)


def _entries(schemas: Iterable[StepSchema | SourceSchema]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.type if isinstance(each, SourceSchema) else each.name,
            "schema": each,
            "makes": each.makes if isinstance(each, StepSchema) else each.gives,
            "fields": [(field, manual.field_texts(field)) for field in each.fields],
        }
        for each in schemas
    ]
