"""Turns: promotions of the same package to the same environment are carried out one at a time.

Reads only. executing.py asks under the lock on the environment's row.
"""

from django.db.models import OuterRef, Subquery

from promotion.models import Promotion, PromotionItem, PromotionQuerySet, PromotionState

P = PromotionState


def waits_for(promotion: Promotion) -> int | None:
    """The promotion that an approved one waits for: the one being carried out before it."""
    if promotion.state != P.APPROVED:
        return None
    ahead = _besides(promotion).filter(state=P.EXECUTING).order_by("pk")
    return ahead.values_list("pk", flat=True).first()


def ahead() -> Subquery:
    """The same of each promotion of a list, by one statement; whatever its state."""
    own = PromotionItem.objects.filter(promotion=OuterRef(OuterRef("pk")))
    executing = PromotionItem.objects.filter(
        promotion__state=P.EXECUTING,
        promotion__environment=OuterRef("environment"),
        package__in=own.values("package"),
    ).exclude(promotion=OuterRef("pk"))
    return Subquery(executing.order_by("promotion").values("promotion")[:1])


def next_after(promotion: Promotion) -> int | None:
    """Whose turn it is once `promotion` has ended: who was approved first, and waits for nothing
    else. Whoever waits for a gate is tried again by the sweeper, and keeps nobody back."""
    waiting = _besides(promotion).filter(state=P.APPROVED, reason="")
    return waiting.order_by("decided_at", "pk").values_list("pk", flat=True).first()


def _besides(promotion: Promotion) -> PromotionQuerySet:
    packages = promotion.items.values("package")
    others = Promotion.objects.filter(
        environment=promotion.environment_id, items__package__in=packages
    )
    return others.exclude(pk=promotion.pk).distinct()
