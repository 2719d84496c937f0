"""What every API view shares: strict input, entity tags, cursor pages and kept answers."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import parse_etags
from rest_framework import serializers
from rest_framework.exceptions import NotAcceptable, NotFound
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import caller
from pipelines import rules
from pipelines.errors import (
    BadRequest,
    IdempotencyKeyBusy,
    IdempotencyKeyReused,
    Invalid,
    PreconditionFailed,
    UnknownField,
)
from pipelines.models import IdempotencyKey

Model = TypeVar("Model", bound=models.Model)
Handler = Callable[..., Response]

#: After this long, a key whose request never answered may be used again: its process died.
KEY_LEASE = timedelta(minutes=10)


class StrictSerializer(serializers.Serializer[Any]):
    """Input whose unknown fields are refused, so that a misspelt one is never ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise UnknownField(
                    f"There is no field “{unknown[0][:64]}” here. Known: "
                    f"{', '.join(sorted(self.fields))}."
                )
        return super().to_internal_value(data)


class NoBody(StrictSerializer):
    """What a verb takes that needs nothing but its address."""


class AnyAccept(DefaultContentNegotiation):
    """Answers in the form there is when `Accept` names none of them, as HTTP allows.

    Logs and bytes are not rendered: whoever asks for text/plain or application/octet-stream gets
    them, and a refusal is a problem document whatever was asked for.
    """

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """A view that anyone with a role may read, unless it says otherwise."""

    reading = "view"
    content_negotiation_class = AnyAccept

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method in {"GET", "HEAD"} and self.reading:
            rules.require(caller(request), self.reading)
        if any("\x00" in str(value) for value in kwargs.values()):
            # PostgreSQL could not even look for it.
            raise Http404

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(final, Response) and request.method in {"GET", "HEAD"}:
            _tag(request, final)
        return final


def _tag(request: Request, response: Response) -> None:
    """Give a single object its entity tag, and answer 304 when the caller has it already."""
    if response.status_code != 200 or not isinstance(response.data, dict):
        return
    if "results" in response.data:
        return
    # A view that knows its tag beforehand has set it.
    tag = response.headers.get("ETag") or entity_tag(response.data)
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    if has_already(request, tag):
        response.status_code = 304
        response.data = None
        response.content_type = None


def has_already(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names `tag`: weakly compared, as RFC 9110 has it for reading."""
    named = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in named or tag in {each.removeprefix("W/") for each in named}


def require_match(request: Request, tag: str, noun: str, *others: str) -> bool:
    """Refuse unless `If-Match` names `tag`; whether it was sent and names one exact state.

    `others` name the same state, as other answers show it.
    """
    sent = request.headers.get("If-Match", "").strip()
    if sent in {"", "*"}:
        return False
    if {tag, *others}.isdisjoint(parse_etags(sent)):
        raise PreconditionFailed(f"{noun} was changed since you read it.")
    return True


def entity_tag(data: Any) -> str:
    text = JSONRenderer().render(data)
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def read(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    """The request's body as `serializer` has it, or a refusal with the place of each fault."""
    if not isinstance(request.data, Mapping):
        raise BadRequest("The body must be a JSON object.")
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    data: dict[str, Any] = given.validated_data
    return data


PAGING = frozenset({"cursor", "page_size"})


def query(request: Request, *known: str, is_list: bool = True) -> dict[str, str]:
    """The query's known parameters that have a value; an unknown one is refused."""
    unknown = sorted(set(request.query_params) - {*known} - (PAGING if is_list else set()))
    if unknown:
        raise UnknownField(
            f"There is no parameter “{unknown[0][:64]}” here. Known: {', '.join(known) or 'none'}."
        )
    for key, value in request.query_params.items():
        if "\x00" in value:
            raise Invalid(f"{key} has NUL in it.")
    return {key: value for key in known if (value := request.query_params.get(key, "").strip())}


class Pages(CursorPagination):
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        wanted = request.query_params.get("page_size", "1")
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 9 or int(wanted) < 1:
            raise Invalid("page_size is a number from 1 to 200.")
        return super().get_page_size(request)

    def decode_cursor(self, request: Request) -> Any:
        cursor = NOT_A_CURSOR
        with suppress(NotFound):
            cursor = super().decode_cursor(request)
        if cursor is NOT_A_CURSOR or not _is_key(cursor):
            raise Invalid("cursor is not one of ours: follow `next` and `previous` as they are.")
        return cursor


NOT_A_CURSOR: Any = object()


def _is_key(cursor: Any) -> bool:
    """Whether the cursor's position is a number of the columns that pages are walked by."""
    position = cursor.position if cursor is not None else None
    return position is None or (position.isascii() and position.isdigit() and len(position) <= 19)


def page(
    view: APIView,
    request: Request,
    rows: "QuerySet[Model]",
    shape: Callable[[Model], Any],
    *,
    ordering: str | tuple[str, ...] = "-id",
) -> Response:
    """One page of `rows`, newest first, walked by key rather than by counting."""
    pages = Pages()
    pages.ordering = ordering
    found: Iterable[Model] = pages.paginate_queryset(rows, request, view=view) or ()
    return Response(
        {
            "results": [shape(row) for row in found],
            "next": pages.get_next_link(),
            "previous": pages.get_previous_link(),
        }
    )


def idempotent(handler: Handler) -> Handler:
    """Answer the same `Idempotency-Key` and body with the first answer, without doing it again."""

    @functools.wraps(handler)
    def wrapper(view: APIView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key", "")
        if not key:
            return handler(view, request, *args, **kwargs)
        kept = _begin(request, key)
        if kept.status is not None:
            return _again(kept)
        try:
            response = handler(view, request, *args, **kwargs)
        except Exception as error:
            try:
                response = view.handle_exception(error)
            except Exception:
                # What broke on our side may be tried again under the same key.
                kept.delete()
                raise
        if response.status_code >= 500:
            kept.delete()
        else:
            kept.status = response.status_code
            kept.answer = json.loads(JSONRenderer().render(response.data))
            kept.save(update_fields=["status", "answer"])
        return response

    return wrapper


def _begin(request: Request, key: str) -> IdempotencyKey:
    """Take the key for this request, or find what was answered under it before."""
    if len(key) > 255 or not key.isprintable():
        raise BadRequest("An Idempotency-Key has 1 to 255 printable characters.")
    digest = _fingerprint(request)
    user = caller(request)
    now = timezone.now()
    IdempotencyKey.objects.filter(
        user=user, key=key, status__isnull=True, created_at__lt=now - KEY_LEASE
    ).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user=user, key=key, request_digest=digest, created_at=now
            )
    except IntegrityError:
        kept = IdempotencyKey.objects.get(user=user, key=key)
    if kept.request_digest != digest:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request. Use a new key for each request."
        )
    if kept.status is None:
        raise IdempotencyKeyBusy(
            "The first request with this Idempotency-Key has not ended yet. Ask again shortly."
        )
    return kept


def _again(kept: IdempotencyKey) -> Response:
    assert kept.status is not None
    response = Response(kept.answer, status=kept.status)
    if kept.status >= 400:
        response.content_type = "application/problem+json"
    response["Idempotent-Replayed"] = "true"
    return response


def _fingerprint(request: Request) -> str:
    """What the request asks, told by its method, path and content, without giving them away.

    Keyed, because a body may hold a secret: from a plain digest in the database it could be
    guessed, one try after another.
    """
    content: dict[str, Any] = {"method": request.method, "path": request.get_full_path()}
    if request.FILES:
        content["fields"] = {key: request.POST.getlist(key) for key in request.POST}
        content["files"] = [
            [field, getattr(file, "sent_name", file.name), getattr(file, "sha256", "")]
            for field, files in request.FILES.lists()
            for file in files
        ]
    else:
        content["data"] = request.data
    text = json.dumps(content, sort_keys=True, default=str)
    return salted_hmac("pipelines.idempotency", text, algorithm="sha256").hexdigest()
