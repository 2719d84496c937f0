"""Remind people once: of a request before it expires, of an owed review before it is overdue."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from promotion import deciders, news, notices, overriding
from promotion.models import Notice, Override, Promotion, PromotionState

REMINDER = "promotion.reminder"
REVIEW_REMINDER = "override.reminder"
BEFORE = timedelta(hours=24)


def remind() -> int:
    """Remind of all that is nearly too late; of how many things people were told now."""
    return _remind_of_requests() + _remind_of_reviews()


def _remind_of_reviews() -> int:
    """An owed review that will be overdue, or is, closes the environment: whoever may give it is
    told a day before."""
    soon = Override.objects.owing().filter(review_due__lte=timezone.now() + BEFORE)
    owed = list(soon.with_names().prefetch_related("reviews"))
    keys = {f"{REVIEW_REMINDER}:{each.pk}": each for each in owed}
    told = set(Notice.objects.filter(key__in=keys).values_list("key", flat=True))
    return sum(_remind_of_review(key, each) for key, each in keys.items() if key not in told)


@transaction.atomic
def _remind_of_review(key: str, override: Override) -> int:
    promotion = override.promotion
    due = override.review_due.strftime("%d %b %H:%M UTC")
    told = notices.write(
        overriding.reviewers_of(override),
        key=key,
        type=REVIEW_REMINDER,
        subject=f"A review is owed until {due}: {news.what(promotion)}",
        path=news.page_of(promotion),
        topic=news.review_topic(promotion),
        asks=True,
    )
    return 1 if told else 0


def _remind_of_requests() -> int:
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
