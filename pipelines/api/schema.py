"""The OpenAPI schema: shapes are typed dictionaries, so what is answered and what is described are
checked against each other by the type checker."""

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
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
    breaks: list[dict[str, Any]]
    current: Any


SAID = {
    302: "The bytes are to be had at `Location`, for some minutes.",
    304: "The caller has it already: `If-None-Match` names its ETag.",
    400: "The request cannot be understood.",
    401: "No valid token or session.",
    403: "Known, but not allowed.",
    404: "There is no such thing, or you may not see it.",
    405: "Not with this method.",
    409: "The present state does not allow it.",
    410: "It was recalled, or its bytes are no longer kept.",
    412: "It was changed since it was read.",
    413: "Larger than allowed.",
    415: "The body's form cannot be read.",
    416: "No such range of bytes.",
    422: "A value is not valid; `problems` says where.",
    500: "The stored bytes are damaged; none of them were sent.",
    502: "Another machine did not answer as it should.",
    503: "The site cannot do it just now; `Retry-After`, if sent, says when to ask again.",
    507: "The storage is full or failing; nothing was kept.",
}


class SluiceSchema(AutoSchema):
    """Every operation is described by `operation` below; nothing is guessed from the code."""

    def get_operation_id(self) -> str:
        """A list is told from one of its objects by the end of its path."""
        name: str = super().get_operation_id()
        if self.method == "GET" and not self.path.rstrip("/").endswith("}"):
            name = name.replace("_retrieve", "_list")
        return name

    def get_description(self) -> str:  # type: ignore[override]  # the stubs are DRF's
        return ""

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        answers: Any = super()._get_response_bodies(direction)
        if self.method == "GET" and _has_entity_tag(answers["200"]["content"]):
            answers["304"] = {"description": SAID[304]}
        return dict(sorted(answers.items()))


def _has_entity_tag(content: Any) -> bool:
    """Single objects and bytes have one; pages and logs have none."""
    if "application/octet-stream" in content:
        return True
    schema = content.get("application/json", {}).get("schema", {})
    return "application/json" in content and "results" not in schema.get("properties", {})


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token of the account page."}


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def _schema_of(hint: Any) -> Any:
    return _as_3_1(resolve_type_hint(hint))  # type: ignore[no-untyped-call]


def _as_3_1(schema: Any) -> Any:
    """Nullable as OpenAPI 3.1 says it: the library does so for its own serializers alone."""
    if isinstance(schema, list):
        return [_as_3_1(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _as_3_1(value) for key, value in schema.items()}
    if schema.pop("nullable", False):
        schema["type"] = [schema["type"], "null"]
    return schema


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
    answers: dict[Any, Any],
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
    if body is not None:
        refusals = (413, *refusals)
    if headers and "Idempotency-Key" in headers:
        refusals = (409, 422, *refusals)
    if query or is_list:
        refusals = (422, *refusals)
    for status in sorted(set(refusals)):
        response = OpenApiResponse(_schema_of(ProblemShape), description=SAID[status])
        known[(status, CONTENT_TYPE)] = response
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


#: What every download answers, whole or in part.
BYTES: Any = {
    (200, "application/octet-stream"): bytes,
    (206, "application/octet-stream"): bytes,
    302: OpenApiResponse(description=SAID[302]),
}
#: What every download may refuse with.
NO_BYTES = (404, 410, 412, 416, 500, 503)
IDEMPOTENCY = {"Idempotency-Key": "The same key and body again answer the first answer again."}
#: How a download can be asked for.
SIGNATURE = {"signature": "Of a signed link; stands in for a token."}
FORMAT = {"format": "zip or tar.gz: all files as such an archive, which is not compressed."}
PARTS = {"Range": "bytes=first-last", "If-Range": "The ETag the range belongs to."}
