"""The published schema: valid, whole, and reachable. That every answer of this suite keeps to it,
in status, form and content, is checked with each call that the suite makes (contract.py)."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from pipelines.api.urls import urlpatterns as of_pipelines
from promotion.api.urls import urlpatterns as of_promotion
from tests.api.caller import problem
from tests.api.calls import PUBLIC
from tests.api.conftest import People, Things
from tests.api.contract import CONVERTER, document, operations


def test_the_schema_is_made_without_a_warning_and_is_valid() -> None:
    GENERATOR_STATS.reset()
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    assert not GENERATOR_STATS
    validate_schema(made)  # type: ignore[no-untyped-call]
    assert made["openapi"].startswith("3.1")


def test_the_schema_names_every_route_and_no_other() -> None:
    patterns: list[URLPattern] = [*of_pipelines, *of_promotion]
    routes = {"/api/v1/" + CONVERTER.sub(r"{\1}", str(each.pattern)) for each in patterns}
    assert set(document()["paths"]) == routes


def test_no_route_stands_without_an_operation() -> None:
    for path, item in document()["paths"].items():
        assert item, path


@pytest.mark.parametrize("key", sorted(set(operations()) - PUBLIC), ids=" ".join)
def test_an_operation_tells_what_it_does_takes_and_refuses(key: tuple[str, str]) -> None:
    path = key[1]
    operation = operations()[key]
    assert operation["summary"]
    assert operation["tags"]
    answers = operation["responses"]
    assert {"400", "401", "403"} <= set(answers)
    assert any(status < "300" for status in answers)
    named = re.findall(r"{(\w+)}", path)
    told = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    assert told == set(named)
    if named:
        assert "404" in answers
    if "requestBody" in operation:
        assert {"413", "415", "422"} <= set(answers)
    for status, answer in answers.items():
        assert answer["description"] or status < "300"
        if status >= "400":
            assert set(answer["content"]) == {"application/problem+json"}
    assert {"token": []} in operation["security"]


@pytest.mark.parametrize("key", sorted(PUBLIC), ids=" ".join)
def test_an_operation_that_is_open_to_everybody_says_so(key: tuple[str, str]) -> None:
    operation = operations()[key]
    assert "security" not in operation
    assert "security" not in document()
    assert {"202", "400", "401", "404", "413"} == set(operation["responses"])


def test_no_two_operations_have_the_same_id() -> None:
    ids = [operation["operationId"] for operation in operations().values()]
    assert len(set(ids)) == len(ids)


def test_nothing_is_nullable_the_old_way() -> None:
    assert "nullable" not in str(document())


def _nodes(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from _nodes(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _nodes(inner)


def test_every_reference_inside_the_schema_leads_somewhere() -> None:
    components = document()["components"]
    for node in _nodes(document()):
        if isinstance(node.get("$ref"), str):
            _, kind, name = node["$ref"].removeprefix("#/").split("/")
            assert name in components[kind]


# ---- Where it is served ------------------------------------------------------------------------
def test_the_schema_is_served_to_whoever_is_signed_in(people: People, things: Things) -> None:
    client = Client()
    problem(people.nobody.call("GET", "/api/schema/"), 401, "unauthenticated")
    answer = client.get("/api/schema/", headers={"Authorization": f"Bearer {people.ada.token}"})
    assert answer.status_code == 200
    assert b"openapi: 3.1" in answer.content
    client.force_login(things.site.cast.dora)
    as_json = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert as_json.json()["paths"].keys() == document()["paths"].keys()


def test_the_page_to_try_the_api_is_for_whoever_is_signed_in(things: Things) -> None:
    client = Client()
    answer = client.get("/api/")
    assert answer.status_code in {302, 401}
    client.force_login(things.site.cast.ada)
    answer = client.get("/api/")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert "<style" not in text
    assert not re.search(r"\son\w+\s*=", text)
    assert not re.search(r"\sstyle\s*=", text)
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for source in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert source.startswith(("/", "#")), f"{source} is not of this site"
        if source.startswith("/"):
            found: Any = client.get(source)
            assert found.status_code == 200, source
            assert found.content if not found.streaming else b"".join(found.streaming_content)
