"""Calls on push hooks, and the one address that anybody may call: where deliveries arrive."""

from typing import Any

from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines import hooks
from pipelines.api.base import ApiView, NoBody, StrictSerializer, page, query, read
from pipelines.api.parsers import whole_body
from pipelines.api.pipelines import find_pipeline
from pipelines.api.schema import operation, page_of, shape
from pipelines.api.shapes import (
    DeliveryAnswer,
    HookAnswer,
    SecretAnswer,
    hook_answer,
    secret_answer,
)
from pipelines.models import PushHook

TAG = "Push hooks"
LONGEST_DELIVERY = 1024 * 1024


class HookBody(StrictSerializer):
    # DRF's own fields mean something else by this word.
    source = serializers.CharField(max_length=64)  # type: ignore[assignment]


def find_hook(pipeline: str, source: str) -> PushHook:
    found = (
        PushHook.objects.select_related("pipeline", "created_by", "last_run")
        .filter(pipeline__slug=pipeline, source=source)
        .first()
    )
    if found is None:
        raise Http404
    return found


class HooksView(ApiView):
    @operation(
        "List the push hooks of a pipeline",
        {200: page_of(HookAnswer)},
        refusals=(404,),
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, pipeline: str) -> Response:
        query(request)
        rows = find_pipeline(pipeline).push_hooks.select_related(
            "pipeline", "created_by", "last_run"
        )
        return page(self, request, rows, hook_answer)

    # Takes no Idempotency-Key: the answer that would be kept has the secret in it.
    @operation(
        "Make the push hook of a source; its secret is in this answer only",
        {201: shape(SecretAnswer)},
        refusals=(404, 409, 415, 422),
        body=HookBody,
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str) -> Response:
        body = read(HookBody, request)
        hook, secret = hooks.make(find_pipeline(pipeline), body["source"], by=caller(request))
        return _once(secret_answer(hook, secret), status=201)


class HookRotateView(ApiView):
    @operation(
        "Give a push hook a new secret, which is in this answer only",
        {200: shape(SecretAnswer)},
        refusals=(404, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, source: str) -> Response:
        read(NoBody, request)
        hook = find_hook(pipeline, source)
        return _once(secret_answer(hook, hooks.rotate(hook, by=caller(request))), status=200)


class HookRemoveView(ApiView):
    @operation(
        "Remove a push hook, and answer with it as it was",
        {200: shape(HookAnswer)},
        refusals=(404, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, pipeline: str, source: str) -> Response:
        read(NoBody, request)
        hook = find_hook(pipeline, source)
        answer = hook_answer(hook)
        hooks.remove(hook, by=caller(request))
        return Response(answer)


def _once(answer: Any, *, status: int) -> Response:
    """An answer with a secret in it, which nobody on the way may keep."""
    response = Response(answer, status=status)
    response["Cache-Control"] = "no-store"
    return response


class DeliveryView(ApiView):
    """Open to everybody: a code server has no account here, and proves its secret instead."""

    reading = ""
    authentication_classes = []
    permission_classes = []

    @operation(
        "Deliver what was pushed: for GitHub, GitLab, Gitee and Codeup",
        {202: shape(DeliveryAnswer)},
        refusals=(400, 401, 404, 413),
        body={"application/json": dict[str, Any]},
        tag=TAG,
        is_public=True,
    )
    def post(self, request: Request, pipeline: str, source: str) -> Response:
        context = {"request": request}
        stream = request.stream
        body = whole_body(stream, context, LONGEST_DELIVERY) if stream is not None else b""
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = hooks.receive(pipeline, source, headers, body)
        answer: DeliveryAnswer = {
            "started": received.run.number if received.run else None,
            "why": received.why,
        }
        return Response(answer, status=202)
