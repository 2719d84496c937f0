"""What every page's frame needs to know of promotions."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import User
from promotion import deciders, rules


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
