"""Calls on environments, promotions and the history."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Max, QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    NoBody,
    StrictSerializer,
    entity_tag,
    idempotent,
    page,
    query,
    read,
    require_match,
)
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.errors import Invalid
from promotion import environments, plans, policies, promoting
from promotion.api import lookups
from promotion.api.shapes import (
    EnvironmentAnswer,
    HistoryAnswer,
    PlacementAnswer,
    PlanAnswer,
    PolicyAnswer,
    PromotionAnswer,
    TargetAnswer,
    environment_answer,
    history_answer,
    listed_promotion,
    placement_answer,
    policy_answer,
    promotion_answer,
    target_answer,
)
from promotion.ledger import history
from promotion.models import Environment, LedgerEntry, Placement, Promotion, PromotionState
from promotion.rules import may, require

TAG = "Promotion"
AUDIT = "Audit"


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


class ItemBody(StrictSerializer):
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    version = serializers.CharField(max_length=128)


class PlanBody(StrictSerializer):
    environment = serializers.CharField(max_length=64)
    items = ItemBody(many=True, allow_empty=False)


class RequestBody(PlanBody):
    plan_digest = serializers.CharField(max_length=71, required=False)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


class DecisionBody(StrictSerializer):
    plan_digest = serializers.CharField(max_length=71)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


class RollbackBody(StrictSerializer):
    environment = serializers.CharField(max_length=64)
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    to = serializers.CharField(max_length=128, required=False)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


# ---- Environments ------------------------------------------------------------------------------
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
        query={"as_of": "A time or a date; now when left out."},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, environment: str) -> Response:
        as_of = query(request, "as_of").get("as_of")
        rows = Placement.objects.filter(environment=lookups.environment(environment))
        rows = rows.at(lookups.moment(as_of, "as_of")) if as_of else rows.current()
        return page(self, request, rows.with_names(), placement_answer)


class PolicyView(ApiView):
    @operation(
        "Make a new revision of an environment's policy",
        {200: shape(PolicyAnswer)},
        refusals=(404, 412, 415, 422),
        body=dict[str, Any],
        headers={"If-Match": "The environment's ETag: refuse when it was changed since."},
        tag=TAG,
    )
    def put(self, request: Request, environment: str) -> Response:
        if not isinstance(request.data, dict):
            raise Invalid("A policy is a JSON object.")
        found = lookups.environment(environment)
        expected = None
        if require_match(request, entity_tag(environment_answer(found)), found.name):
            expected = found.policy.number if found.policy else None
        revision = policies.set_policy(found, request.data, by=caller(request), expected=expected)
        return Response(policy_answer(revision))


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


# ---- Promotions --------------------------------------------------------------------------------
class PlanView(ApiView):
    @operation(
        "What a promotion would do; nothing is changed",
        {200: shape(PlanAnswer)},
        refusals=(404, 415, 422),
        body=PlanBody,
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        require(caller(request), "view")
        body = read(PlanBody, request)
        planned = plans.plan(
            lookups.named_environment(body["environment"]),
            [lookups.named_version(item) for item in body["items"]],
        )
        gates = plans.preview_gates(planned, by=caller(request))
        return Response(
            {
                "plan": planned.content,
                "plan_digest": planned.digest,
                "gates": [gate.as_json() for gate in gates],
                "diff": plans.diff(planned),
            }
        )


class PromotionsView(ApiView):
    @operation(
        "List promotions, newest first",
        {200: page_of(PromotionAnswer)},
        refusals=(422,),
        query={
            "state": "Only in this state.",
            "environment": "Only to this environment.",
            "package": "Only with this package, as repository/package.",
            "awaiting": "`me`: only those that wait for the caller's decision.",
        },
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        wanted = query(request, "state", "environment", "package", "awaiting")
        rows: QuerySet[Promotion] = lookups.promotions()
        if state := wanted.get("state"):
            if state not in PromotionState.values:
                raise Invalid(f"state is one of: {', '.join(PromotionState.values)}.")
            rows = rows.filter(state=state)
        if environment := wanted.get("environment"):
            rows = rows.filter(environment__name=environment)
        if package := wanted.get("package"):
            repository, _, name = package.partition("/")
            rows = rows.filter(
                items__package__repository__name=repository, items__package__name=name
            )
        if awaiting := wanted.get("awaiting"):
            if awaiting != "me":
                raise Invalid("awaiting knows one value: me.")
            waiting = Promotion.objects.awaiting(caller(request))
            rows = rows.filter(pk__in=waiting.values("pk"))
            if not may(caller(request), "promotion.decide"):
                rows = rows.none()
        return page(self, request, rows, listed_promotion)

    @operation(
        "Request a promotion",
        {201: shape(PromotionAnswer)},
        refusals=(404, 409, 410, 415, 422),
        body=RequestBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(RequestBody, request)
        made = promoting.request(
            lookups.named_environment(body["environment"]),
            [lookups.named_version(item) for item in body["items"]],
            by=caller(request),
            comment=body["comment"],
            seen=body.get("plan_digest"),
        )
        return Response(promotion_answer(lookups.promotions().get(pk=made.pk)), status=201)


class RollbackView(ApiView):
    @operation(
        "Request a promotion of the version that was there before",
        {201: shape(PromotionAnswer)},
        refusals=(404, 409, 410, 415, 422),
        body=RollbackBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = read(RollbackBody, request)
        package = lookups.named_package(body["repository"], body["package"])
        to = lookups.named_version({**body, "version": body["to"]}) if "to" in body else None
        made = promoting.roll_back(
            lookups.named_environment(body["environment"]),
            package,
            by=caller(request),
            to=to,
            comment=body["comment"],
        )
        return Response(promotion_answer(lookups.promotions().get(pk=made.pk)), status=201)


class PromotionView(ApiView):
    @operation("One promotion", {200: shape(PromotionAnswer)}, refusals=(404,), tag=TAG)
    def get(self, request: Request, promotion: int) -> Response:
        query(request, is_list=False)
        return Response(promotion_answer(_promotion(promotion)))


class ApproveView(ApiView):
    @operation(
        "Approve exactly the plan of this digest",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 415, 422),
        body=DecisionBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, promotion: int) -> Response:
        body = read(DecisionBody, request)
        promoting.approve(
            _promotion(promotion),
            by=caller(request),
            plan=body["plan_digest"],
            comment=body["comment"],
        )
        return Response(promotion_answer(_promotion(promotion)))


class RejectView(ApiView):
    @operation(
        "Reject a request",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 415, 422),
        body=DecisionBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, promotion: int) -> Response:
        body = read(DecisionBody, request)
        promoting.reject(
            _promotion(promotion),
            by=caller(request),
            plan=body["plan_digest"],
            comment=body["comment"],
        )
        return Response(promotion_answer(_promotion(promotion)))


class WithdrawView(ApiView):
    @operation(
        "Take a request back",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, promotion: int) -> Response:
        read(NoBody, request)
        promoting.withdraw(_promotion(promotion), by=caller(request))
        return Response(promotion_answer(_promotion(promotion)))


class RetryView(ApiView):
    @operation(
        "Execute a failed promotion again",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, promotion: int) -> Response:
        read(NoBody, request)
        promoting.retry(_promotion(promotion), by=caller(request))
        return Response(promotion_answer(_promotion(promotion)))


def _promotion(pk: int) -> Promotion:
    return get_object_or_404(lookups.promotions(), pk=pk)


# ---- History -----------------------------------------------------------------------------------
class CsvRenderer(BaseRenderer):
    """Chosen by `Accept: text/csv`; the view streams by itself."""

    media_type = "text/csv"
    format = "csv"


class LinesRenderer(CsvRenderer):
    media_type = "application/x-ndjson"
    format = "ndjson"


class HistoryView(ApiView):
    reading = "history.view"
    renderer_classes = [JSONRenderer, CsvRenderer, LinesRenderer]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # This reading is promotion's own; the base class asks the rules of pipelines.
        self.reading, reading = "view", self.reading
        super().initial(request, *args, **kwargs)
        require(caller(request), reading)

    @operation(
        "The promotion history, newest first",
        {
            200: page_of(HistoryAnswer),
            (200, "text/csv"): str,
            (200, "application/x-ndjson"): str,
        },
        refusals=(422,),
        query={
            "actor": "Only what this user did.",
            "type": "Only entries of this type, like promotion.completed.",
            "repository": "Only on this repository.",
            "package": "Only on packages of this name.",
            "environment": "Only on this environment.",
            "since": "From this time or date on.",
            "until": "Before this time or date.",
        },
        tag=AUDIT,
        is_list=True,
    )
    def get(self, request: Request) -> HttpResponseBase:
        wanted = query(request, *history.FILTERS, "since", "until")
        since, until = wanted.pop("since", None), wanted.pop("until", None)
        rows = history.entries(
            since=lookups.moment(since, "since") if since else None,
            until=lookups.moment(until, "until") if until else None,
            **wanted,
        )
        chosen = request.accepted_renderer
        if isinstance(chosen, LinesRenderer):
            return StreamingHttpResponse(_lines(rows), content_type=chosen.media_type)
        if isinstance(chosen, CsvRenderer):
            return StreamingHttpResponse(_rows(rows), content_type="text/csv; charset=utf-8")
        return page(self, request, rows, history_answer, ordering="-sequence")


def _lines(rows: "QuerySet[LedgerEntry]") -> Iterator[bytes]:
    for entry in rows.iterator(chunk_size=500):
        yield json.dumps(history_answer(entry)).encode() + b"\n"


def _rows(rows: "QuerySet[LedgerEntry]") -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["sequence", "at", "type", "actor", "data", "leaf_hash"])
    for entry in rows.iterator(chunk_size=500):
        answer = history_answer(entry)
        data = json.dumps(answer["data"], sort_keys=True)
        fixed = [answer["sequence"], answer["at"], answer["type"], answer["actor"]]
        writer.writerow([*fixed, data, answer["leaf_hash"]])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()
