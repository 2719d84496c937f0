"""Break-glass as pages show it: what one may override, what was, and which reviews are owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.models import User
from promotion import deciders, gates, overriding
from promotion.models import Environment, Override, Promotion, PromotionState
from promotion.policies import current_policy
from promotion.web import shapes

P = PromotionState


def glass(promotion: Promotion, opened: Sequence[gates.GateResult], user: User) -> dict[str, Any]:
    """The override of a promotion, or what this person may override now, for _glass.html."""
    made: Override | None = getattr(promotion, "override", None)
    shut = gates.closed(opened)
    may_break = (
        made is None
        and bool(shut)
        and P(promotion.state) in {P.REQUESTED, P.APPROVED}
        and not any(gate.name in gates.UNBREAKABLE for gate in shut)
        and deciders.may_override(current_policy(promotion.environment), by=user)
    )
    return {
        "override": owed(made, timezone.now()) if made is not None else None,
        "breakable": [(gate.name, shapes.gate_name(gate.name), gate.reason) for gate in shut]
        if may_break
        else [],
        "may_review": made is not None and overriding.may_review(made, by=user),
    }


def owed(override: Override, now: datetime) -> dict[str, Any]:
    """An override, and how its reviews stand."""
    reviews = list(override.reviews.all())
    missing = max(override.reviews_required - len(reviews), 0)
    return {
        "row": override,
        "names": ", ".join(shapes.gate_name(name) for name in override.gates),
        "reviews": reviews,
        "missing": missing,
        "is_overdue": bool(missing) and override.review_due < now,
    }


def owed_reviews(environment: Environment | None = None) -> list[dict[str, Any]]:
    """Overrides for which somebody still owes a review, everywhere or in one environment, the one
    that is due first above."""
    now = timezone.now()
    rows = Override.objects.owing().with_names().prefetch_related("reviews")
    if environment is not None:
        rows = rows.filter(promotion__environment=environment)
    return [owed(each, now) for each in rows.order_by("review_due", "pk")[:20]]
