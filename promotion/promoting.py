"""Promotions: request, approve, reject, withdraw, retry, roll back.

Together with executing.py, which carries out what was approved, the only writer of promotion state;
both move it by `move` alone. Whatever is decided is decided on a plan digest: the plan is computed
anew before each decision and before execution, and if it is no longer the plan that people saw, the
promotion goes stale and nothing moves.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines.errors import WrongState
from pipelines.queue import nudge
from pipelines.states import move
from promotion import (
    deciders,
    gates,
    gathering,
    itself,
    plans,
    rules,
    second_factor,
)
from promotion.errors import AlreadyPlaced, GateClosed, PlanChanged
from promotion.executing import EXECUTE, execute, take_over
from promotion.gates import GateResult
from promotion.ledger.append import append, lock
from promotion.models import (
    Approval,
    Decision,
    Environment,
    Package,
    Promotion,
    PromotionItem,
    PromotionKind,
    PromotionState,
    Version,
)
from promotion.policies import current_policy, rules_of
from promotion.publishing import require_usable
from promotion.second_factor import Answer

__all__ = [
    "EXECUTE",
    "approve",
    "become_approved",
    "become_stale",
    "execute",
    "expire",
    "reconsider",
    "reject",
    "request",
    "retry",
    "roll_back",
    "take_over",
    "withdraw",
]

P = PromotionState


# ---- Request -----------------------------------------------------------------------------------
def request(
    environment: Environment,
    versions: Sequence[Version],
    *,
    by: User,
    comment: str = "",
    seen: str | None = None,
    kind: str = PromotionKind.PROMOTION,
    emergency: bool = False,
) -> Promotion:
    """Ask for `versions` to be placed in `environment`. `seen` is the plan digest shown to `by`.

    In an `emergency` whoever may break the glass asks for what closed gates would refuse, and then
    overrides them (overriding.py): the request alone opens nothing.
    """
    if not itself.is_sluice(by):
        # Sluice asks in the name of a policy's own rule; its gates hold for it all the same.
        rules.require(by, "promotion.request")
    with transaction.atomic():
        locked = Environment.objects.locked().get(pk=environment.pk)
        # Pruning, too, takes this lock and spares what is in an open promotion: one comes first.
        lock()
        planned = plans.plan(locked, plans.fresh(versions), kind=kind)
        if seen and seen != planned.digest:
            raise PlanChanged(
                "The plan has changed since you saw it. Look at it again.", current=planned.digest
            )
        for version, replaced in planned.items:
            require_usable(version)
            if replaced is not None and replaced.pk == version.pk:
                raise AlreadyPlaced(f"{version} is in {environment.name} already.")
        opened = gathering.preview_gates(planned, by=by)
        policy = current_policy(locked)
        if emergency:
            deciders.require_overrider(policy, by=by)
        if refused := gates.refused(opened):
            for_ever = [gate for gate in refused if gate.name in gates.UNBREAKABLE]
            if for_ever or not emergency:
                raise GateClosed.by(refused)
        now = timezone.now()
        promotion = Promotion.objects.create(
            environment=locked,
            kind=kind,
            policy=policy,
            plan=planned.text,
            plan_digest=planned.digest,
            comment=comment.strip(),
            requested_by=by,
            requested_at=now,
            expires_at=now + timedelta(days=rules_of(policy).expires_after_days),
            gates=[gate.as_json() for gate in opened],
        )
        PromotionItem.objects.bulk_create(
            PromotionItem(
                promotion=promotion, package=version.package, version=version, replaces=replaced
            )
            for version, replaced in planned.items
        )
        append(
            "promotion.requested",
            by=by,
            at=now,
            about=plans.about(planned),
            data={
                **plans.named_promotion(promotion),
                "kind": str(kind),
                "plan": planned.content,
                "comment": promotion.comment,
                # As they stood now: the row shows how they stand later.
                "gates": promotion.gates,
                **({"emergency": True} if emergency else {}),
            },
        )
        if not gates.closed(opened):
            # The policy asks nobody.
            become_approved(promotion, opened)
    return promotion


def roll_back(
    environment: Environment,
    package: Package,
    *,
    by: User,
    to: Version | None = None,
    comment: str = "",
    seen: str | None = None,
) -> Promotion:
    """Ask for an earlier placed version to be placed again: the one before, or `to`. `seen` is the
    plan digest shown to `by`."""
    rules.require(by, "promotion.request")
    target = plans.earlier_version(environment, package, to=to)
    return request(
        environment, [target], by=by, comment=comment, seen=seen, kind=PromotionKind.ROLLBACK
    )


# ---- Decide ------------------------------------------------------------------------------------
def approve(
    promotion: Promotion, *, by: User, plan: str, comment: str = "", assertion: Answer = None
) -> Approval:
    """Approve exactly the plan whose digest is `plan`; the last approval needed sends it off.

    `assertion`: what a passkey of `by`'s answered to second_factor.challenge.
    """
    return _decide(promotion, Decision.APPROVE, assertion, by=by, seen=plan, comment=comment)


def reject(promotion: Promotion, *, by: User, plan: str, comment: str = "") -> Approval:
    """Refuse the request. One rejection ends it."""
    # Stopping something is never made harder: no signature is asked.
    return _decide(promotion, Decision.REJECT, None, by=by, seen=plan, comment=comment)


def _decide(
    promotion: Promotion, decision: Decision, answer: Answer, *, by: User, seen: str, comment: str
) -> Approval:
    stale: PlanChanged | None = None
    with transaction.atomic():
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        deciders.require_decider(locked, by=by)
        if seen != locked.plan_digest:
            raise PlanChanged(
                "The digest you sent is not that of this promotion's plan. Look at it again.",
                current=locked.plan_digest,
            )
        planned = plans.replan(locked)
        if planned.digest != locked.plan_digest:
            stale = become_stale(locked, planned)
            approval = None
        else:
            approval = _record_decision(locked, decision, planned, answer, by=by, comment=comment)
    promotion.refresh_from_db()
    # The stale state must be kept, so the refusal is raised after the commit.
    if approval is None:
        assert stale is not None
        raise stale
    return approval


def _record_decision(
    promotion: Promotion,
    decision: Decision,
    planned: plans.Plan,
    answer: Answer,
    *,
    by: User,
    comment: str,
) -> Approval:
    approves = decision == Decision.APPROVE
    signed = second_factor.require(promotion, by=by, assertion=answer) if approves else None
    now = timezone.now()
    approval = Approval.objects.create(
        promotion=promotion,
        by=by,
        decision=decision,
        plan_digest=planned.digest,
        comment=comment.strip(),
        at=now,
        second_factor=signed,
    )
    opened = gathering.current_gates(promotion, planned)
    kept = [gate.as_json() for gate in opened]
    append(
        "promotion.approved" if approves else "promotion.rejected",
        by=by,
        at=now,
        about=plans.about(planned),
        data={
            **plans.named_promotion(promotion),
            "decision": str(decision),
            "comment": approval.comment,
            "gates": kept,
            **({"second_factor": signed} if signed else {}),
        },
    )
    if not approves:
        move(
            promotion,
            P.REJECTED,
            gates=kept,
            reason=approval.comment,
            decided_at=now,
            finished_at=now,
        )
    elif not gates.closed(opened):
        become_approved(promotion, opened)
    else:
        Promotion.objects.filter(pk=promotion.pk).update(gates=kept)
    return approval


def become_approved(promotion: Promotion, opened: Sequence[GateResult]) -> None:
    move(
        promotion,
        P.APPROVED,
        decided_at=timezone.now(),
        gates=[gate.as_json() for gate in opened],
        reason="",
    )
    nudge(EXECUTE, promotion.pk)


def withdraw(promotion: Promotion, *, by: User) -> Promotion:
    """Take a request back, before it is executed: one's own, or any as a release manager."""
    rules.require(by, deciders.act_of_withdrawing(promotion, by))
    with transaction.atomic():
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        now = timezone.now()
        move(locked, P.WITHDRAWN, reason=f"Withdrawn by {by.username}.", finished_at=now)
        append(
            "promotion.withdrawn",
            by=by,
            at=now,
            about=plans.about_promotion(locked),
            data=plans.named_promotion(locked),
        )
    promotion.refresh_from_db()
    return promotion


def retry(promotion: Promotion, *, by: User) -> Promotion:
    """Execute an approved promotion again that failed. Its approvals still hold its plan."""
    rules.require(by, "promotion.retry")
    with transaction.atomic():
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        if locked.state not in {P.FAILED, P.ERRORED}:
            why = f"Promotion {locked.pk} is {locked.state}; only a failed one is retried."
            raise WrongState(why, current=locked.state)
        now = timezone.now()
        if now >= locked.expires_at:
            raise WrongState(
                f"Promotion {locked.pk} was to be carried out by {locked.expires_at:%Y-%m-%d}. "
                "What was decided then counts no longer: request it again.",
                current=locked.state,
            )
        move(locked, P.APPROVED, reason="", attempt=0, progress=None, finished_at=None)
        append(
            "promotion.retried",
            by=by,
            at=now,
            about=plans.about_promotion(locked),
            data=plans.named_promotion(locked),
        )
        nudge(EXECUTE, locked.pk)
    promotion.refresh_from_db()
    return promotion


# ---- Left undone -------------------------------------------------------------------------------
def expire(promotion: Promotion) -> None:
    """End a request, or an approval, that has waited past its time."""
    why = "Nobody decided in time."
    if promotion.state == P.APPROVED:
        why = "It was approved, and could not be placed in time."
    try:
        with transaction.atomic():
            now = timezone.now()
            move(promotion, P.EXPIRED, reason=why, finished_at=now)
            append(
                "promotion.expired",
                by=None,
                at=now,
                about=plans.about_promotion(promotion),
                data=plans.named_promotion(promotion),
            )
    except WrongState:
        return


def reconsider(promotion: Promotion) -> None:
    """Look again at what waits: it may have gone stale, or its last gate may have opened."""
    with transaction.atomic():
        locked = Promotion.objects.locked().get(pk=promotion.pk)
        if locked.state not in {P.REQUESTED, P.APPROVED}:
            return
        planned = plans.replan(locked)
        if planned.digest != locked.plan_digest:
            become_stale(locked, planned)
            return
        opened = gathering.current_gates(locked, planned)
        if never := [gate for gate in gates.closed(opened) if gate.name in gates.UNBREAKABLE]:
            become_stale(locked, planned, why=" ".join(gate.reason for gate in never))
        elif locked.state == P.REQUESTED and not gates.closed(opened):
            become_approved(locked, opened)


def become_stale(promotion: Promotion, planned: plans.Plan, *, why: str = "") -> PlanChanged:
    why = why or plans.what_changed(promotion, planned)
    now = timezone.now()
    move(promotion, P.STALE, reason=why, finished_at=now)
    append(
        "promotion.stale",
        by=None,
        at=now,
        about=plans.about(planned),
        data={**plans.named_promotion(promotion), "reason": why},
    )
    return PlanChanged(why, current=planned.digest)
