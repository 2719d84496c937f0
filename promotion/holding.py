"""Holds: keep automation from placing a version in an environment, until somebody lifts that.

The only writer of holds. People who know of a hold may still promote what is held.
"""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines.errors import Forbidden, Invalid, WrongState
from promotion import rules
from promotion.errors import AlreadyHeld
from promotion.ledger.append import About, append
from promotion.models import Environment, Hold, Promotion, Version
from promotion.naming import named


def place_hold(environment: Environment, version: Version, *, by: User, reason: str) -> Hold:
    """Hold `version` back in `environment`, whether it is there or not."""
    rules.require(by, "hold.place")
    why = reason.strip()
    if not why:
        raise Invalid("Say why it is held: whoever may lift the hold must know.")
    with transaction.atomic():
        # Whoever requests by a rule has this lock too: the hold comes wholly before, or after.
        locked = Environment.objects.locked().get(pk=environment.pk)
        if Hold.objects.standing().filter(environment=locked, version=version).exists():
            raise AlreadyHeld(f"{version} is held in {locked.name} already.")
        return _place(locked, version, reason=why, by=by, at=timezone.now())


def hold_after_rollback(promotion: Promotion, version: Version, *, at: datetime) -> None:
    """Hold back what a rollback took away, in its requester's name and its own transaction.

    Not when it is requested: whoever rejects a rollback must not leave a hold behind, and what is
    in an environment is not brought there by automation anyway.
    """
    environment = promotion.environment
    if Hold.objects.standing().filter(environment=environment, version=version).exists():
        return
    said = promotion.comment or "it was rolled back"
    reason = f"Taken away by promotion {promotion.pk}: {said}"
    by = promotion.requested_by
    _place(environment, version, reason=reason, by=by, at=at, promotion=promotion)


def _place(
    environment: Environment,
    version: Version,
    *,
    reason: str,
    by: User,
    at: datetime,
    promotion: Promotion | None = None,
) -> Hold:
    hold = Hold.objects.create(
        environment=environment,
        version=version,
        reason=reason,
        promotion=promotion,
        by=by,
        at=at,
    )
    rollback = {"promotion": promotion.pk} if promotion is not None else {}
    data = {**_named(hold), "reason": reason, **rollback}
    append("hold.placed", by=by, at=at, about=_about(hold), data=data)
    return hold


def lift_hold(hold: Hold, *, by: User) -> Hold:
    """Let automation place the version again."""
    rules.require(by, "hold.lift")
    if by.is_machine:
        raise Forbidden(f"{by.username} is a machine. Only a person lifts holds.")
    with transaction.atomic():
        Environment.objects.locked().get(pk=hold.environment_id)
        now = timezone.now()
        standing = Hold.objects.standing().filter(pk=hold.pk)
        if not standing.update(lifted_by=by, lifted_at=now):
            raise WrongState(f"Hold {hold.pk} was lifted already.", current="lifted")
        lifted = Hold.objects.with_names().get(pk=hold.pk)
        append("hold.lifted", by=by, at=now, about=_about(lifted), data=_named(lifted))
    return lifted


def _named(hold: Hold) -> dict[str, object]:
    return {"hold": hold.pk, "environment": hold.environment.name, **named(hold.version)}


def _about(hold: Hold) -> About:
    package = hold.version.package
    return About(package.repository.name, package.name, hold.environment.name)
