"""Calls on what people do beside deciding: hold, lift, override, review."""

from typing import TypedDict

from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import ApiView, NoBody, StrictSerializer, idempotent, page, query, read
from pipelines.api.schema import IDEMPOTENCY, operation, page_of, shape
from pipelines.api.shapes import timestamp
from pipelines.errors import Invalid
from promotion import holding, overriding
from promotion.api import lookups
from promotion.api.promotion_shapes import PromotionAnswer, promotion_answer
from promotion.models import Hold, Verdict

TAG = "Promotion"


# ---- Holds -------------------------------------------------------------------------------------
class HoldBody(StrictSerializer):
    repository = serializers.CharField(max_length=64)
    package = serializers.CharField(max_length=64)
    version = serializers.CharField(max_length=128)
    reason = serializers.CharField(max_length=5000)


class HoldAnswer(TypedDict):
    """`promotion`: the rollback that placed the hold, if one did."""

    id: int
    environment: str
    repository: str
    package: str
    version: str
    reason: str
    promotion: int | None
    by: str
    at: str | None
    lifted_by: str | None
    lifted_at: str | None


def hold_answer(hold: Hold) -> HoldAnswer:
    package = hold.version.package
    return {
        "id": hold.pk,
        "environment": hold.environment.name,
        "repository": package.repository.name,
        "package": package.name,
        "version": hold.version.name,
        "reason": hold.reason,
        "promotion": hold.promotion_id,
        "by": hold.by.username,
        "at": timestamp(hold.at),
        "lifted_by": hold.lifted_by.username if hold.lifted_by else None,
        "lifted_at": timestamp(hold.lifted_at),
    }


class HoldsView(ApiView):
    @operation(
        "What is held back in an environment, newest first",
        {200: page_of(HoldAnswer)},
        refusals=(404, 422),
        query={"state": "Only those that are `standing`, or `lifted`."},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request, environment: str) -> Response:
        state = query(request, "state").get("state")
        rows = Hold.objects.with_names().filter(environment=lookups.environment(environment))
        if state is not None:
            if state not in {"standing", "lifted"}:
                raise Invalid("state is one of: standing, lifted.")
            rows = rows.filter(lifted_at__isnull=state == "standing")
        return page(self, request, rows, hold_answer)

    @operation(
        "Keep machines and rules from placing a version in an environment",
        {201: shape(HoldAnswer)},
        refusals=(404, 409, 415, 422),
        body=HoldBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, environment: str) -> Response:
        found = lookups.environment(environment)
        body = read(HoldBody, request)
        version = lookups.named_version(body)
        made = holding.place_hold(found, version, by=caller(request), reason=body["reason"])
        return Response(hold_answer(lookups.hold(environment, made.pk)), status=201)


class LiftView(ApiView):
    @operation(
        "Lift a hold",
        {200: shape(HoldAnswer)},
        refusals=(404, 409, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, environment: str, hold: int) -> Response:
        read(NoBody, request)
        found = lookups.hold(environment, hold)
        return Response(hold_answer(holding.lift_hold(found, by=caller(request))))


# ---- Break-glass -------------------------------------------------------------------------------
class OverrideBody(StrictSerializer):
    reason = serializers.CharField(max_length=5000)
    gates = serializers.ListField(
        child=serializers.CharField(max_length=200),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="Only these; all that are closed now when left out.",
    )
    plan_digest = serializers.CharField(max_length=71, required=False)


class ReviewBody(StrictSerializer):
    verdict = serializers.ChoiceField(choices=Verdict.values)
    comment = serializers.CharField(max_length=5000, default="", allow_blank=True)


class OverrideView(ApiView):
    @operation(
        "Break the glass: override closed gates for this plan; others owe a review",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 415, 422),
        body=OverrideBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, promotion: int) -> Response:
        body = read(OverrideBody, request)
        overriding.override(
            get_object_or_404(lookups.promotions(), pk=promotion),
            by=caller(request),
            reason=body["reason"],
            scope=body.get("gates", ()),
            seen=body.get("plan_digest"),
        )
        return Response(promotion_answer(lookups.promotions().get(pk=promotion)))


class ReviewView(ApiView):
    @operation(
        "Review an override afterwards",
        {200: shape(PromotionAnswer)},
        refusals=(404, 409, 415, 422),
        body=ReviewBody,
        headers=IDEMPOTENCY,
        tag=TAG,
    )
    @idempotent
    def post(self, request: Request, promotion: int) -> Response:
        body = read(ReviewBody, request)
        overriding.review(
            get_object_or_404(lookups.promotions(), pk=promotion),
            by=caller(request),
            verdict=Verdict(body["verdict"]),
            comment=body["comment"],
        )
        return Response(promotion_answer(lookups.promotions().get(pk=promotion)))
