"""Every refusal has its answer: the table covers each error, each formats, each code is its own."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from rest_framework import exceptions

import accounts
import config
import pipelines
import promotion
from pipelines.api import problems
from pipelines.api.schema import SAID
from pipelines.errors import Invalid, SluiceError
from pipelines.flow.document import Problem


def _import_everything() -> None:
    for package in (accounts, pipelines, promotion, config):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in found.name and not found.name.endswith("asgi"):
                importlib.import_module(found.name)


def _below(kind: type[SluiceError]) -> Iterator[type[SluiceError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _below(subclass)


_import_everything()
ERRORS = sorted({*_below(SluiceError)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_refusal_formats_as_a_problem_document(kind: type[SluiceError]) -> None:
    response = problems.answer(kind("What was wrong.", current=7), {})
    assert response is not None
    document = response.data
    assert 400 <= response.status_code < 600
    assert response.content_type == "application/problem+json"
    assert document["status"] == response.status_code
    assert document["detail"] == "What was wrong."
    assert document["code"] == kind.code
    assert document["type"].endswith(kind.code)
    assert document["title"] == kind.title
    assert document["current"] == 7


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_the_schema_has_words_for_every_status_that_a_refusal_has(
    kind: type[SluiceError],
) -> None:
    status = problems.status_of(kind("x"))
    assert status in SAID or kind.__module__ not in {"pipelines.errors", "promotion.errors"}


def test_every_refusal_has_a_family_of_its_own_status() -> None:
    """Falling through to the table's last line would answer 500 for a refusal."""
    unknown = {kind.__name__ for kind in ERRORS if problems.status_of(kind("x")) == 500}
    assert unknown <= INTERNAL


#: What is nobody's fault but Sluice's own.
INTERNAL = {"Damaged"}


def test_every_code_and_every_title_is_its_own() -> None:
    codes = [kind.code for kind in ERRORS]
    assert sorted(codes) == sorted(set(codes))
    titles = [kind.title for kind in ERRORS]
    assert sorted(titles) == sorted(set(titles))
    assert {code for code in codes if not code.replace("_", "").islower()} == set()
    framework = {code for code, _ in problems.FRAMEWORK.values()}
    assert framework & set(codes) <= {"forbidden", "not_found", "invalid"}


def test_located_problems_keep_their_place() -> None:
    problem = Problem(3, 7, "stages.a", "unknown_step", "error", "There is no such step.")
    response = problems.answer(Invalid("Wrong.", problems=[problem]), {})
    assert response is not None
    assert response.data["problems"] == [
        {
            "line": 3,
            "column": 7,
            "path": "stages.a",
            "code": "unknown_step",
            "severity": "error",
            "message": "There is no such step.",
        }
    ]


FOREIGN: list[tuple[Exception, int, str]] = [
    (Http404("x"), 404, "not_found"),
    (PermissionDenied("x"), 403, "forbidden"),
    (RequestDataTooBig("x"), 413, "too_large"),
    (SuspiciousOperation("x"), 400, "bad_request"),
    (exceptions.NotAuthenticated(), 401, "unauthenticated"),
    (exceptions.AuthenticationFailed(), 401, "unauthenticated"),
    (exceptions.PermissionDenied(), 403, "forbidden"),
    (exceptions.NotFound(), 404, "not_found"),
    (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
    (exceptions.NotAcceptable(), 406, "not_acceptable"),
    (exceptions.UnsupportedMediaType("x"), 415, "unsupported_media_type"),
    (exceptions.Throttled(wait=2.5), 429, "throttled"),
    (exceptions.ParseError(), 400, "malformed"),
    (exceptions.ValidationError({"a": {"b": ["wrong"]}}), 422, "invalid"),
    (exceptions.APIException(), 500, "error"),
]


@pytest.mark.parametrize(("error", "status", "code"), FOREIGN, ids=str)
def test_what_the_framework_raises_is_a_problem_document_too(
    error: Exception, status: int, code: str
) -> None:
    response = problems.answer(error, {})
    assert response is not None
    assert (response.status_code, response.data["code"]) == (status, code)
    assert {"type", "title", "status", "detail", "code"} <= response.data.keys()


def test_a_nested_field_at_fault_is_told_by_its_path() -> None:
    error = exceptions.ValidationError({"items": [{}, {"version": ["wrong"]}], "name": ["no"]})
    response = problems.answer(error, {})
    assert response is not None
    assert {each["path"] for each in response.data["problems"]} == {"items[1].version", "name"}


def test_whoever_asks_too_often_is_told_when_to_come_back() -> None:
    response = problems.answer(exceptions.Throttled(wait=2.5), {})
    assert response is not None
    assert response["Retry-After"] == "3"


def test_what_nobody_foresaw_is_no_refusal() -> None:
    """It goes on to be logged and answered 500, without telling its insides."""
    assert problems.answer(ZeroDivisionError("secret"), {}) is None
