"""What every page's frame needs to know of promotions."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from promotion import deciders, notices, rules


def waiting(request: HttpRequest) -> dict[str, Any]:
    """`waiting_count`: how many promotions wait for this person, counted once a page shows it.

    `sees_storage`: whether the storage's page is for them.
    """

    def count() -> int:
        user = getattr(request, "user", None)
        if not isinstance(user, User) or not rules.may(user, "promotion.decide"):
            return 0
        return deciders.awaiting(user).count()

    def sees_storage() -> bool:
        user = getattr(request, "user", None)
        return isinstance(user, User) and rules.may(user, "retention.preview")

    return {"waiting_count": SimpleLazyObject(count), "sees_storage": sees_storage}


def noticed(request: HttpRequest) -> dict[str, Any]:
    """`notice_count`: how many notices this person has not read, counted once a page shows it.

    `sees_webhooks`: whether their page is for them.
    """

    def count() -> int:
        user = getattr(request, "user", None)
        return notices.unread_count(user) if isinstance(user, User) else 0

    def sees_webhooks() -> bool:
        user = getattr(request, "user", None)
        return isinstance(user, User) and rules.may(user, "webhook.manage")

    return {
        "notice_count": SimpleLazyObject(count),
        "sees_webhooks": SimpleLazyObject(sees_webhooks),
    }
