"""The OpenAPI schema: shapes are typed dictionaries, so what is answered and what is described are
checked against each other by the type checker."""

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import resolve_type_hint
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from pipelines.api.problems import CONTENT_TYPE

View = TypeVar("View", bound=Callable[..., Any])


class ProblemShape(TypedDict, total=False):
    """RFC 9457, with the further fields that some cases have."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[dict[str, Any]]
    closed_gates: list[dict[str, Any]]
    current: Any


SAID = {
    400: "The request cannot be understood.",
    401: "No valid token or session.",
    403: "Known, but not allowed.",
    404: "There is no such thing, or you may not see it.",
    405: "Not with this method.",
    409: "The present state does not allow it.",
    410: "It was recalled.",
    412: "It was changed since it was read.",
    413: "Larger than allowed.",
    415: "The body's form cannot be read.",
    416: "No such range of bytes.",
    422: "A value is not valid; `problems` says where.",
    507: "The storage is full or failing; nothing was kept.",
}


class SluiceSchema(AutoSchema):
    """Every operation is described by `operation` below; nothing is guessed from the code."""


def _schema_of(hint: Any) -> Any:
    return resolve_type_hint(hint)  # type: ignore[no-untyped-call]


def shape(hint: Any, said: str = "") -> OpenApiResponse:
    return OpenApiResponse(response=_schema_of(hint), description=said)


def page_of(hint: Any) -> OpenApiResponse:
    return OpenApiResponse(
        response={
            "type": "object",
            "properties": {
                "results": {"type": "array", "items": _schema_of(hint)},
                "next": {"type": ["string", "null"], "format": "uri"},
                "previous": {"type": ["string", "null"], "format": "uri"},
            },
            "required": ["results", "next", "previous"],
        },
        description="One page; follow `next` for more.",
    )


def operation(
    summary: str,
    answers: dict[int, Any],
    *,
    refusals: tuple[int, ...] = (),
    body: Any = None,
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    tag: str,
    is_list: bool = False,
    is_public: bool = False,
) -> Callable[[View], View]:
    """Describe one operation: what it answers, and every status with which it may refuse.

    `query` and `headers` map names to what they mean. 401 and 403 stand on every operation that
    is not public, 404 on every one whose path names something.
    """
    known = dict(answers)
    if not is_public:
        refusals = (400, 401, 403, *refusals)
    for status in sorted(set(refusals)):
        response = OpenApiResponse(_schema_of(ProblemShape), description=SAID[status])
        known[(status, CONTENT_TYPE)] = response  # type: ignore[index]
    parameters = [
        OpenApiParameter(name, str, OpenApiParameter.QUERY, description=said)
        for name, said in (query or {}).items()
    ]
    parameters += [
        OpenApiParameter(name, str, OpenApiParameter.HEADER, description=said)
        for name, said in (headers or {}).items()
    ]
    if is_list:
        parameters += [
            OpenApiParameter("cursor", str, description="Where the page begins, as `next` says."),
            OpenApiParameter("page_size", int, description="How many rows, at most 200."),
        ]
    described: Callable[[View], View] = extend_schema(
        summary=summary,
        request=body,
        responses=known,
        parameters=parameters,
        tags=[tag],
        auth=[] if is_public else None,
    )
    return described


IDEMPOTENCY = {"Idempotency-Key": "The same key and body again answer the first answer again."}
