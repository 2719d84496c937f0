"""Remind those who may still decide before a request expires, once."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from promotion import deciders, news, notices
from promotion.models import Notice, Promotion, PromotionState

REMINDER = "promotion.reminder"
BEFORE = timedelta(hours=24)


def remind() -> int:
    """Tell of each request that is about to expire; of how many it was told now.

    A request that lives for less than four days is reminded of when a quarter of its time is left.
    """
    now = timezone.now()
    soon = (
        Promotion.objects.filter(
            state=PromotionState.REQUESTED, expires_at__gt=now, expires_at__lte=now + BEFORE
        )
        .select_related("environment", "policy", "requested_by")
        .order_by("expires_at")
    )
    keys = [_key(promotion) for promotion in soon]
    reminded = set(Notice.objects.filter(key__in=keys).values_list("key", flat=True))
    count = 0
    for promotion in soon:
        if _key(promotion) not in reminded and now >= promotion.expires_at - _notice_period(
            promotion
        ):
            count += _remind(promotion)
    return count


def _key(promotion: Promotion) -> str:
    return f"{REMINDER}:{promotion.pk}"


def _notice_period(promotion: Promotion) -> timedelta:
    return min(BEFORE, (promotion.expires_at - promotion.requested_at) / 4)


@transaction.atomic
def _remind(promotion: Promotion) -> int:
    # As it is now: somebody may have decided since the list was read.
    promotion.refresh_from_db(fields=["state"])
    left = promotion.expires_at.strftime("%d %b %H:%M UTC")
    told = notices.write(
        deciders.deciders_of(promotion),
        key=_key(promotion),
        type=REMINDER,
        subject=f"Expires on {left} without a decision: {news.what(promotion)}",
        path=news.page_of(promotion),
        topic=news.topic_of(promotion),
        asks=True,
    )
    return 1 if told else 0
