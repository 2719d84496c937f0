"""The published schema, and the answers of this suite held against it."""

import functools
import re
from typing import Any

from django.http import HttpResponseBase
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")
#: Answers of the framework or a middleware to what no operation describes.
NO_OPERATION = {404, 405}


@functools.cache
def document() -> dict[str, Any]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    made: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation by its method and its path."""
    return {
        (method.upper(), path): operation
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    }


def path_of(url: str) -> str | None:
    """The schema's path of an address, or None where there is nothing."""
    try:
        route = resolve(url.partition("?")[0]).route
    except Resolver404:
        return None
    return "/" + CONVERTER.sub(r"{\1}", route)


def hold_against_schema(method: str, url: str, response: HttpResponseBase) -> None:
    """Fail unless the schema tells of this answer: its status, its form and its content."""
    path = path_of(url)
    told = operations().get(("GET" if method == "HEAD" else method, path or ""))
    if told is None:
        assert response.status_code in NO_OPERATION | {401, 403}, f"{method} {url} is not described"
        return
    answers = told["responses"]
    status = str(response.status_code)
    assert status in answers, f"{method} {path} answered {status}; described: {sorted(answers)}"
    content = answers[status].get("content", {})
    form = response.headers.get("Content-Type", "").partition(";")[0]
    if not content:
        assert not getattr(response, "content", b""), f"{method} {path} {status} has no body"
        return
    assert form in content, f"{method} {path} {status} is {form}; described: {sorted(content)}"
    if form in {"application/json", "application/problem+json"} and method != "HEAD":
        schema = {**content[form]["schema"], "components": document()["components"]}
        Draft202012Validator(schema).validate(response.json())  # type: ignore[attr-defined]
