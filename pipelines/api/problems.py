"""Errors as RFC 9457 problem+json: the one table from what went wrong to how it is answered."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from pipelines import errors

CONTENT_TYPE = "application/problem+json"

#: Families of refusals, the more special before the more general.
STATUS: Mapping[type[errors.SluiceError], int] = {
    errors.IdempotencyKeyReused: 422,
    errors.NotGenuine: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.PreconditionFailed: 412,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.Invalid: 422,
    errors.Busy: 503,
    errors.StorageSilent: 503,
    errors.StorageUnavailable: 507,
    errors.Unavailable: 503,
    # Bad Gateway: the request was in order, and Sluice asked another machine on its behalf that
    # gave no answer of use. A 4xx would blame the caller, a 500 Sluice itself.
    errors.Unreachable: 502,
    errors.BadRequest: 400,
    errors.Damaged: 500,
    errors.SluiceError: 500,
}

#: What the framework raises by itself: code and title.
FRAMEWORK: Mapping[type[Exception], tuple[str, str]] = {
    exceptions.NotAuthenticated: ("unauthenticated", "Who are you?"),
    exceptions.AuthenticationFailed: ("unauthenticated", "The credentials are not valid"),
    exceptions.PermissionDenied: ("forbidden", "You may not do this"),
    exceptions.NotFound: ("not_found", "There is no such thing"),
    exceptions.MethodNotAllowed: ("method_not_allowed", "This cannot be done here"),
    exceptions.NotAcceptable: ("not_acceptable", "No such form can be answered"),
    exceptions.UnsupportedMediaType: ("unsupported_media_type", "This form cannot be read"),
    exceptions.Throttled: ("throttled", "Too many requests"),
    exceptions.ParseError: ("malformed", "The body cannot be read"),
    exceptions.ValidationError: ("invalid", "A value is not valid"),
}


def status_of(error: errors.SluiceError) -> int:
    return next(status for family, status in STATUS.items() if isinstance(error, family))


def body(error: errors.SluiceError) -> dict[str, Any]:
    """The problem document of a refusal."""
    document = _document(error.code, error.title, status_of(error), error.detail)
    if isinstance(error, errors.Invalid) and error.problems:
        document["problems"] = [
            {
                "line": problem.line,
                "column": problem.column,
                "path": problem.path,
                "code": problem.code,
                "severity": problem.severity,
                "message": problem.message,
            }
            for problem in error.problems
        ]
    return {**document, **error.extra}


def answer(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know goes on to be a 500 and a log entry."""
    response = _answer(error)
    request = context.get("request")
    if response is not None and request is not None:
        # Whatever form the view answers in, a refusal is JSON.
        request.accepted_renderer = JSONRenderer()
        request.accepted_media_type = JSONRenderer.media_type
    return response


def _answer(error: Exception) -> Response | None:
    if isinstance(error, errors.SluiceError):
        response = _response(body(error))
        if isinstance(error, errors.NotGenuine):
            # Whoever is answered 401 must be told how else to come.
            response["WWW-Authenticate"] = 'Signature realm="push hooks"'
        if isinstance(error, errors.Busy):
            response["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is no such thing, or you may not see it.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, RequestDataTooBig):
        return _response(body(errors.TooLarge("The request's body is larger than is read here.")))
    elif isinstance(error, SuspiciousOperation):
        return _response(body(errors.BadRequest(str(error))))
    if not isinstance(error, exceptions.APIException):
        return None
    code, title = next(
        (known for kind, known in FRAMEWORK.items() if isinstance(error, kind)),
        ("error", "The request was refused"),
    )
    if isinstance(error, exceptions.ValidationError):
        document = _document(code, title, 422, "Some fields are not valid.")
        document["problems"] = list(_field_problems(error.detail, ""))
    else:
        document = _document(code, title, error.status_code, str(error.detail))
    response = _response(document)
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(wait)
    return response


def _document(code: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:sluice:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


def _response(document: dict[str, Any]) -> Response:
    return Response(document, status=document["status"], content_type=CONTENT_TYPE)


def _field_problems(detail: Any, path: str) -> Any:
    """DRF's nested error details as a flat list with the path of each field."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            yield from _field_problems(value, f"{path}.{key}" if path else str(key))
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            inner = f"{path}[{index}]" if isinstance(value, Mapping) else path
            yield from _field_problems(value, inner)
    else:
        yield {
            "line": None,
            "column": None,
            "path": path,
            "code": getattr(detail, "code", "invalid"),
            "severity": "error",
            "message": str(detail),
        }
