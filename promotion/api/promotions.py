"""Calls on promotions."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import (
    ApiView,
    NoBody,
    StrictSerializer,
    idempotent,
    page,
    query,
    read,
)
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.errors import Invalid
from promotion import deciders, diffs, gathering, plans, promoting, second_factor
from promotion.api import lookups
from promotion.api.diff_shapes import difference
from promotion.api.promotion_shapes import (
    ChallengeAnswer,
    PlanAnswer,
    PromotionAnswer,
    listed_promotion,
    promotion_answer,
)
from promotion.models import Promotion, PromotionState
from promotion.rules import may, require

TAG = "Promotion"


class ItemBody(StrictSerializer):
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    version = serializers.CharField(max_length=128)


class PlanBody(StrictSerializer):
    environment = serializers.CharField(max_length=64)
    items = serializers.ListField(child=ItemBody(), allow_empty=False, max_length=plans.MOST_ITEMS)


class RequestBody(PlanBody):
    plan_digest = serializers.CharField(max_length=71, required=False)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)
    emergency = serializers.BooleanField(
        default=False,
        help_text="Ask although gates are closed, to override them: only for whoever may.",
    )


class DecisionBody(StrictSerializer):
    plan_digest = serializers.CharField(max_length=71)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


class AssertionBody(StrictSerializer):
    """What a passkey answered to the challenge; bytes are base64url."""

    nonce = serializers.CharField(max_length=second_factor.ANSWERED["nonce"])
    credential_id = serializers.CharField(max_length=second_factor.ANSWERED["credential_id"])
    authenticator_data = serializers.CharField(
        max_length=second_factor.ANSWERED["authenticator_data"]
    )
    client_data = serializers.CharField(max_length=second_factor.ANSWERED["client_data"])
    signature = serializers.CharField(max_length=second_factor.ANSWERED["signature"])


class ApprovalBody(DecisionBody):
    assertion = AssertionBody(required=False)


class ChallengeBody(StrictSerializer):
    plan_digest = serializers.CharField(max_length=71)


class RollbackBody(StrictSerializer):
    environment = serializers.CharField(max_length=64)
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    to = serializers.CharField(max_length=128, required=False)
    plan_digest = serializers.CharField(max_length=71, required=False)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


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
            lookups.named_versions(body["items"]),
        )
        gates = gathering.preview_gates(planned, by=caller(request))
        return Response(
            {
                "plan": planned.content,
                "plan_digest": planned.digest,
                "gates": [gate.as_json() for gate in gates],
                "diff": [difference(each) for each in diffs.diff(planned)],
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
            waiting = deciders.awaiting(caller(request))
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
            lookups.named_versions(body["items"]),
            by=caller(request),
            comment=body["comment"],
            seen=body.get("plan_digest"),
            emergency=body["emergency"],
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
            seen=body.get("plan_digest"),
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
        body=ApprovalBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, promotion: int) -> Response:
        body = read(ApprovalBody, request)
        promoting.approve(
            _promotion(promotion),
            by=caller(request),
            plan=body["plan_digest"],
            comment=body["comment"],
            assertion=body.get("assertion"),
        )
        return Response(promotion_answer(_promotion(promotion)))


class ChallengeView(ApiView):
    @operation(
        "What a passkey of the caller's must sign to approve the plan of this digest",
        {200: shape(ChallengeAnswer)},
        refusals=(404, 409, 415, 422),
        body=ChallengeBody,
        tag=TAG,
    )
    def post(self, request: Request, promotion: int) -> Response:
        body = read(ChallengeBody, request)
        asked = second_factor.challenge(
            _promotion(promotion), by=caller(request), plan=body["plan_digest"]
        )
        return Response({"nonce": asked.nonce, "options": asked.options})


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
