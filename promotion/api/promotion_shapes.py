"""What is answered of promotions and their plans."""

import json
from typing import Any, NotRequired, TypedDict

from django.urls import reverse

from pipelines import links
from pipelines.api.shapes import timestamp
from promotion import gathering
from promotion.api.diff_shapes import WholeChange
from promotion.models import Override, Promotion, PromotionState


class GateAnswer(TypedDict):
    """`waits`, `opens_at` and `overridden` stand only where a closed gate is that."""

    name: str
    open: bool
    reason: str
    inputs: dict[str, Any]
    waits: NotRequired[bool]
    opens_at: NotRequired[str]
    overridden: NotRequired[bool]


class PlanAnswer(TypedDict):
    plan: dict[str, Any]
    plan_digest: str
    gates: list[GateAnswer]
    diff: list[WholeChange]


class ItemAnswer(TypedDict):
    repository: str
    package: str
    version: str
    manifest_digest: str
    replaces: str | None


class ApprovalAnswer(TypedDict):
    by: str
    decision: str
    plan_digest: str
    comment: str
    second_factor: bool
    at: str | None


class ChallengeAnswer(TypedDict):
    """`options` are those of navigator.credentials.get, with bytes as base64url."""

    nonce: str
    options: dict[str, Any]


class Happened(TypedDict):
    at: str | None
    what: str
    by: str | None
    comment: str


class ProgressAnswer(TypedDict):
    """How far its bytes were carried to where the environment keeps its own."""

    what: str
    done: int
    total: int


class ReviewAnswer(TypedDict):
    by: str
    verdict: str
    comment: str
    at: str | None


class OverrideAnswer(TypedDict):
    """Who broke the glass over which gates, and the reviews that others owe for it."""

    by: str
    reason: str
    gates: list[str]
    plan_digest: str
    at: str | None
    reviews_required: int
    review_due: str | None
    reviews: list[ReviewAnswer]


class PromotionAnswer(TypedDict):
    """`waits_for`: the promotion of the same package that is carried out before this one."""

    id: int
    state: str
    waits_for: int | None
    progress: ProgressAnswer | None
    kind: str
    environment: str
    items: list[ItemAnswer]
    plan: dict[str, Any]
    plan_digest: str
    policy_revision: int
    gates: list[GateAnswer]
    approvals: list[ApprovalAnswer]
    override: OverrideAnswer | None
    requested_by: str
    requested_at: str | None
    expires_at: str | None
    finished_at: str | None
    comment: str
    reason: str
    timeline: list[Happened]
    url: str


def listed_promotion(promotion: Promotion) -> PromotionAnswer:
    """With the gates as last kept: a list does not compute each promotion's anew."""
    return promotion_answer(promotion, gates=promotion.gates)


def promotion_answer(promotion: Promotion, *, gates: Any = None) -> PromotionAnswer:
    gates = gathering.shown_gates(promotion) if gates is None else gates
    return {
        "id": promotion.pk,
        "state": promotion.state,
        "waits_for": _waits_for(promotion),
        "progress": promotion.progress,
        "kind": promotion.kind,
        "environment": promotion.environment.name,
        "items": [
            {
                "repository": item.package.repository.name,
                "package": item.package.name,
                "version": item.version.name,
                "manifest_digest": item.version.manifest_digest,
                "replaces": item.replaces.name if item.replaces else None,
            }
            for item in promotion.items.all()
        ],
        "plan": json.loads(promotion.plan),
        "plan_digest": promotion.plan_digest,
        "policy_revision": promotion.policy.number,
        "gates": gates,
        "approvals": [
            {
                "by": approval.by.username,
                "decision": approval.decision,
                "plan_digest": approval.plan_digest,
                "comment": approval.comment,
                "second_factor": approval.second_factor is not None,
                "at": timestamp(approval.at),
            }
            for approval in promotion.approvals.all()
        ],
        "override": override_answer(promotion),
        "requested_by": promotion.requested_by.username,
        "requested_at": timestamp(promotion.requested_at),
        "expires_at": timestamp(promotion.expires_at),
        "finished_at": timestamp(promotion.finished_at),
        "comment": promotion.comment,
        "reason": promotion.reason,
        "timeline": _timeline(promotion),
        "url": links.absolute(reverse("promotion:promotion", args=[promotion.pk])),
    }


def _waits_for(promotion: Promotion) -> int | None:
    """As lookups.py has asked for all of a list at once."""
    ahead: int | None = getattr(promotion, "ahead", None)
    return ahead if promotion.state == PromotionState.APPROVED else None


def override_answer(promotion: Promotion) -> OverrideAnswer | None:
    override: Override | None = getattr(promotion, "override", None)
    if override is None:
        return None
    return {
        "by": override.by.username,
        "reason": override.reason,
        "gates": override.gates,
        "plan_digest": override.plan_digest,
        "at": timestamp(override.at),
        "reviews_required": override.reviews_required,
        "review_due": timestamp(override.review_due),
        "reviews": [
            {
                "by": review.by.username,
                "verdict": review.verdict,
                "comment": review.comment,
                "at": timestamp(review.at),
            }
            for review in override.reviews.all()
        ],
    }


def _timeline(promotion: Promotion) -> list[Happened]:
    happened: list[Happened] = [
        {
            "at": timestamp(promotion.requested_at),
            "what": "requested",
            "by": promotion.requested_by.username,
            "comment": promotion.comment,
        }
    ]
    happened += [
        {
            "at": timestamp(approval.at),
            "what": approval.get_decision_display().lower(),
            "by": approval.by.username,
            "comment": approval.comment,
        }
        for approval in promotion.approvals.all()
    ]
    if override := override_answer(promotion):
        happened.append(
            {
                "at": override["at"],
                "what": "overridden",
                "by": override["by"],
                "comment": override["reason"],
            }
        )
        # In the order of time; what was decided after the glass was broken comes after it.
        happened.sort(key=lambda each: each["at"] or "")
    if promotion.finished_at:
        happened.append(
            {
                "at": timestamp(promotion.finished_at),
                "what": promotion.state,
                "by": None,
                "comment": promotion.reason,
            }
        )
    return happened
