"""Calls on environments: what is placed there, and where their bytes live."""

from django.db.models import Max
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    StrictSerializer,
    idempotent,
    page,
    query,
    read,
)
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from promotion import environments, policies
from promotion.api import lookups
from promotion.api.shapes import (
    EnvironmentAnswer,
    PlacementAnswer,
    TargetAnswer,
    environment_answer,
    placement_answer,
    target_answer,
)
from promotion.models import Environment, Placement
from promotion.rules import require

TAG = "Promotion"


class EnvironmentBody(StrictSerializer):
    name = serializers.CharField(max_length=64)
    rank = serializers.IntegerField(min_value=0, max_value=10_000, required=False)
    description = serializers.CharField(max_length=500, default="", allow_blank=True)
    policy = serializers.DictField(default=dict)


class TargetBody(StrictSerializer):
    """Connections by their names. An empty body has the environment keep no bytes of its own."""

    registry = serializers.CharField(
        max_length=255, default="", allow_blank=True, help_text="host[:port]/path"
    )
    registry_connection = serializers.CharField(max_length=64, default="", allow_blank=True)
    storage_connection = serializers.CharField(max_length=64, default="", allow_blank=True)
    storage_prefix = serializers.CharField(max_length=200, default="", allow_blank=True)


class EnvironmentsView(ApiView):
    @operation(
        "List environments in their order",
        {200: page_of(EnvironmentAnswer)},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        query(request)
        rows = Environment.objects.with_names().select_related(
            "policy__environment", "policy__created_by"
        )
        return page(self, request, rows, environment_answer, ordering=("rank", "id"))

    @operation(
        "Create an environment",
        {201: shape(EnvironmentAnswer)},
        refusals=(409, 415, 422),
        body=EnvironmentBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(EnvironmentBody, request)
        last = Environment.objects.aggregate(last=Max("rank"))["last"]
        body.setdefault("rank", 0 if last is None else last + 1)
        made = policies.create_environment(by=caller(request), **body)
        return Response(environment_answer(lookups.environment(made.name)), status=201)


class EnvironmentView(ApiView):
    @operation("One environment", {200: shape(EnvironmentAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, environment: str) -> Response:
        query(request, is_list=False)
        return Response(environment_answer(lookups.environment(environment)))


class PlacementsView(ApiView):
    @operation(
        "What is in an environment, now or at a time",
        {200: page_of(PlacementAnswer)},
        refusals=(404, 422),
        query={
            "as_of": "A time or a date; now when left out.",
            "known_at": "What was known of it at this time; as_of is the same when left out.",
        },
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, environment: str) -> Response:
        asked = {
            name: lookups.moment(text, name)
            for name, text in query(request, "as_of", "known_at").items()
            if name in {"as_of", "known_at"}
        }
        rows = Placement.objects.filter(environment=lookups.environment(environment))
        if known_at := asked.get("known_at"):
            rows = rows.at_as_known(asked.get("as_of", known_at), known_at)
        elif as_of := asked.get("as_of"):
            rows = rows.at(as_of)
        else:
            rows = rows.current()
        return page(self, request, rows.with_names(), placement_answer)


class TargetView(ApiView):
    @operation(
        "Say where the bytes of an environment live: what is left out is no longer named",
        {200: shape(TargetAnswer)},
        refusals=(404, 415, 422),
        body=TargetBody,
        tag=TAG,
    )
    def put(self, request: Request, environment: str) -> Response:
        body, by = read(TargetBody, request), caller(request)
        require(by, "environment.manage")
        found = environments.set_target(
            lookups.environment(environment),
            by=by,
            registry=body["registry"],
            registry_connection=lookups.usable_connection(body["registry_connection"], by),
            storage_connection=lookups.usable_connection(body["storage_connection"], by),
            storage_prefix=body["storage_prefix"],
        )
        return Response(target_answer(lookups.environment(found.name)))
