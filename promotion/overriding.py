"""Break-glass: override closed gates for one plan, loudly, and review that afterwards.

The only writer of overrides and reviews. An override counts as long as the plan is the one that it
was given for, like an approval.
"""

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import timestamp
from pipelines.errors import AlreadyDecided, Forbidden, Invalid, WrongState
from pipelines.queue import nudge
from promotion import deciders, gates, gathering, plans, promoting, rules
from promotion.errors import AlreadyOverridden, GateClosed, PlanChanged
from promotion.gates.language import duration
from promotion.ledger.append import append
from promotion.models import Override, Promotion, PromotionState, Review, Verdict
from promotion.policies import current_policy, rules_of

P = PromotionState


def override(
    promotion: Promotion,
    *,
    by: User,
    reason: str,
    scope: Sequence[str] = (),
    seen: str | None = None,
) -> Override:
    """Open the gates named in `scope`, or all that are closed now, for the plan of this promotion.

    `seen` is the plan digest that `by` was shown. Reviews are owed from now on.
    """
    stale: PlanChanged | None = None
    made: Override | None = None
    with transaction.atomic():
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        deciders.require_overrider(current_policy(locked.environment), by=by)
        why = reason.strip()
        if not why:
            raise Invalid("Say why the gates are overridden: others will have to review it.")
        _require_overridable(locked)
        if seen and seen != locked.plan_digest:
            raise PlanChanged(
                "The digest you sent is not that of this promotion's plan. Look at it again.",
                current=locked.plan_digest,
            )
        planned = plans.replan(locked)
        if planned.digest != locked.plan_digest:
            stale = promoting.become_stale(locked, planned)
        else:
            names = _scope(gathering.current_gates(locked, planned), scope)
            made = _break(locked, planned, names, by=by, reason=why)
    promotion.refresh_from_db()
    # The stale state must be kept, so the refusal is raised after the commit.
    if made is None:
        assert stale is not None
        raise stale
    return made


def _require_overridable(promotion: Promotion) -> None:
    if Override.objects.filter(promotion=promotion).exists():
        raise AlreadyOverridden(f"The gates of promotion {promotion.pk} were overridden already.")
    if promotion.state not in {P.REQUESTED, P.APPROVED}:
        raise WrongState(
            f"Promotion {promotion.pk} is {promotion.state}; only what waits can be overridden.",
            current=promotion.state,
        )


def _scope(opened: Sequence[gates.GateResult], wanted: Sequence[str]) -> list[str]:
    """The gates that are overridden, in the order in which people read them."""
    shut = gates.closed(opened)
    if for_ever := [gate for gate in shut if gate.name in gates.UNBREAKABLE]:
        raise GateClosed.by(for_ever)
    names = [gate.name for gate in shut]
    if not names:
        raise Invalid("No gate is closed: there is nothing to override.")
    if stray := [name for name in wanted if name not in names]:
        raise Invalid(
            f"The gate “{stray[0][:80]}” is not closed. Closed are: {', '.join(names)}.",
        )
    return [name for name in names if not wanted or name in wanted]


def _break(
    promotion: Promotion, planned: plans.Plan, names: list[str], *, by: User, reason: str
) -> Override:
    owed = rules_of(current_policy(planned.environment)).override
    now = timezone.now()
    made = Override.objects.create(
        promotion=promotion,
        by=by,
        reason=reason,
        gates=names,
        plan_digest=planned.digest,
        at=now,
        reviews_required=owed.reviews,
        review_due=now + duration(owed.review_within),
    )
    append(
        "promotion.overridden",
        by=by,
        at=now,
        about=plans.about(planned),
        data={
            **plans.named_promotion(promotion),
            "reason": reason,
            "gates": names,
            "reviews_required": made.reviews_required,
            "review_due": timestamp(made.review_due),
        },
    )
    opened = gathering.current_gates(promotion, planned)
    if promotion.state == P.APPROVED:
        # It waits for a gate that closed after the approval.
        nudge(promoting.EXECUTE, promotion.pk)
    elif gates.closed(opened):
        kept = [gate.as_json() for gate in opened]
        Promotion.objects.filter(pk=promotion.pk).update(gates=kept)
    else:
        promoting.become_approved(promotion, opened)
    return made


# ---- Reviews -----------------------------------------------------------------------------------
def review(promotion: Promotion, *, by: User, verdict: Verdict, comment: str = "") -> Review:
    """Say afterwards what one thinks of an override: as somebody who had no hand in it."""
    rules.require(by, "override.review")
    with transaction.atomic():
        # Reviews of one override take turns, so that one person gives one.
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        found = Override.objects.filter(promotion=locked).first()
        if found is None:
            raise WrongState(f"Nobody overrode a gate of promotion {locked.pk}.", current="none")
        if why := _partial(found, locked, by):
            raise Forbidden(f"{why} Somebody else must review it.")
        if found.reviews.filter(by=by).exists():
            raise AlreadyDecided(f"You have reviewed promotion {locked.pk} already.")
        if verdict == Verdict.OBJECT and not comment.strip():
            raise Invalid("Say what you object to.")
        now = timezone.now()
        made = Review.objects.create(
            override=found, by=by, verdict=verdict, comment=comment.strip(), at=now
        )
        append(
            "override.reviewed",
            by=by,
            at=now,
            about=plans.about_promotion(locked),
            data={
                **plans.named_promotion(locked),
                "verdict": str(verdict),
                "comment": made.comment,
            },
        )
    return made


def _partial(override: Override, promotion: Promotion, by: User) -> str:
    """Why this person's review would be no other's; empty where it is."""
    if by.is_machine:
        return f"{by.username} is a machine."
    if by.pk == override.by_id:
        return f"You overrode the gates of promotion {promotion.pk} yourself."
    if by.pk == promotion.requested_by_id:
        return f"You requested promotion {promotion.pk} yourself."
    return ""


def reviewers_of(override: Override) -> list[User]:
    """Everybody who may give a review that is still owed; nobody once they all are given."""
    given = {each.by_id for each in override.reviews.all()}
    if len(given) >= override.reviews_required:
        return []
    return [
        each
        for each in User.objects.filter(is_active=True).exclude(pk__in=given).order_by("username")
        if rules.may(each, "override.review") and not _partial(override, override.promotion, each)
    ]


def may_review(override: Override, *, by: User) -> bool:
    """Whether `by` may review this override and has not."""
    is_other = not _partial(override, override.promotion, by)
    has = any(each.by_id == by.pk for each in override.reviews.all())
    return rules.may(by, "override.review") and is_other and not has
