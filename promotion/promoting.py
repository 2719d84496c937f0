"""Promotions: plan, request, approve, reject, withdraw, execute, roll back.

The only writer of promotion state and of placements. Whatever is decided is decided on a plan
digest: the plan is computed anew before each decision and before execution, and if it is no longer
the plan that people saw, the promotion goes stale and nothing moves.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from pipelines.errors import SluiceError, WrongState
from pipelines.queue import nudge
from pipelines.states import move
from promotion import carrying, deciders, gates, gathering, placing, plans, rules, second_factor
from promotion.carrying import HERE, Carried
from promotion.errors import AlreadyPlaced, GateClosed, PlanChanged
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

log = logging.getLogger(__name__)

P = PromotionState
EXECUTE = "promotion.execute"


# ---- Request -----------------------------------------------------------------------------------
def request(
    environment: Environment,
    versions: Sequence[Version],
    *,
    by: User,
    comment: str = "",
    seen: str | None = None,
    kind: str = PromotionKind.PROMOTION,
) -> Promotion:
    """Ask for `versions` to be placed in `environment`. `seen` is the plan digest shown to `by`."""
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
        if refused := gates.refused(opened):
            raise GateClosed.by(refused)
        now = timezone.now()
        policy = current_policy(locked)
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
            },
        )
        if not gates.closed(opened):
            # The policy asks nobody.
            _become_approved(promotion, opened)
    return promotion


def roll_back(
    environment: Environment,
    package: Package,
    *,
    by: User,
    to: Version | None = None,
    comment: str = "",
) -> Promotion:
    """Ask for an earlier placed version to be placed again: the one before, or `to`."""
    rules.require(by, "promotion.request")
    target = plans.earlier_version(environment, package, to=to)
    return request(environment, [target], by=by, comment=comment, kind=PromotionKind.ROLLBACK)


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
            stale = _become_stale(locked, planned)
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
    append(
        "promotion.approved" if approves else "promotion.rejected",
        by=by,
        at=now,
        about=plans.about(planned),
        data={
            **plans.named_promotion(promotion),
            "decision": str(decision),
            "comment": approval.comment,
            **({"second_factor": signed} if signed else {}),
        },
    )
    opened = gathering.current_gates(promotion, planned)
    kept = [gate.as_json() for gate in opened]
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
        _become_approved(promotion, opened)
    else:
        Promotion.objects.filter(pk=promotion.pk).update(gates=kept)
    return approval


def _become_approved(promotion: Promotion, opened: Sequence[GateResult]) -> None:
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


# ---- Execute -----------------------------------------------------------------------------------
def execute(promotion_id: int) -> None:
    """Carry out an approved promotion, if it is to be and nobody else does. Safe to call twice."""
    promotion = _claim(promotion_id)
    if promotion is None:
        return
    try:
        # Not one byte leaves for production before it is known that it still may.
        planned, _ = _as_approved(promotion)
        placing.read_back(promotion, alive=lambda: _renew(promotion))
        carried = carrying.carry(
            planned,
            say=lambda said: _renew(promotion, lease=settings.CARRY_LEASE, progress=said),
        )
        _place(promotion, carried)
    except WrongState:
        return  # Another worker took over after the lease had passed.
    except SluiceError as refusal:
        to = P.STALE if isinstance(refusal, PlanChanged) else P.FAILED
        _give_up(promotion, to, refusal.detail)
    except Exception as broken:
        # Whatever broke, it is said now and truthfully, not after three leases as a dead worker.
        log.exception("%s broke", promotion)
        _give_up(promotion, P.ERRORED, f"Sluice could not carry it out: {type(broken).__name__}.")


def _claim(promotion_id: int) -> Promotion | None:
    promotion = Promotion.objects.filter(pk=promotion_id).first()
    if promotion is None:
        return None
    try:
        return move(
            promotion,
            P.EXECUTING,
            lease_until=timezone.now() + settings.LEASE,
            attempt=F("attempt") + 1,
        )
    except WrongState:
        return None


def _renew(promotion: Promotion, *, lease: timedelta | None = None, **changes: Any) -> None:
    """Hold on to the promotion; WrongState once somebody else does."""
    ours = Promotion.objects.filter(pk=promotion.pk, state=P.EXECUTING, attempt=promotion.attempt)
    until = timezone.now() + (lease or settings.LEASE)
    if not ours.update(lease_until=until, **changes):
        raise WrongState(f"Another worker has taken over {promotion}.")


def _as_approved(promotion: Promotion) -> tuple[plans.Plan, tuple[GateResult, ...]]:
    """The plan and its open gates; refused when it is another plan now, or a gate has closed."""
    planned = plans.replan(promotion)
    if planned.digest != promotion.plan_digest:
        raise PlanChanged(plans.what_changed(promotion, planned), current=planned.digest)
    opened = gathering.current_gates(promotion, planned)
    if closed := gates.closed(opened):
        raise GateClosed.by(closed)
    return planned, opened


def _place(promotion: Promotion, carried: Mapping[int, Carried]) -> None:
    """Place all items and end the promotion, in one transaction."""
    with transaction.atomic():
        # Promotions to one environment take turns here, so each sees what the last one placed.
        environment = Environment.objects.locked().get(pk=promotion.environment_id)
        Promotion.objects.locked().get(pk=promotion.pk)
        # A recall or other evidence comes wholly before what is decided here, or wholly after it.
        lock()
        planned, opened = _as_approved(promotion)
        now = timezone.now()
        move(
            promotion,
            P.COMPLETED,
            only={"attempt": promotion.attempt},
            finished_at=now,
            lease_until=None,
            progress=None,
            gates=[gate.as_json() for gate in opened],
        )
        placed = [
            placing.place(environment, version, promotion, carried.get(version.pk, HERE))
            for version, _ in planned.items
        ]
        append(
            "promotion.completed",
            by=None,
            at=now,
            about=plans.about(planned),
            data={
                **plans.named_promotion(promotion),
                "placed": [placing.named_placement(each) for each in placed],
                "gates": [gate.as_json() for gate in opened],
            },
        )


def _give_up(promotion: Promotion, to: PromotionState, why: str) -> None:
    """End an execution that was refused. It has moved nothing."""
    try:
        with transaction.atomic():
            now = timezone.now()
            move(
                promotion,
                to,
                only={"attempt": promotion.attempt},
                reason=why,
                lease_until=None,
                finished_at=now,
            )
            append(
                f"promotion.{to.value}",
                by=None,
                at=now,
                about=plans.about_promotion(promotion),
                data={**plans.named_promotion(promotion), "reason": why},
            )
    except WrongState:
        return


# ---- Left undone -------------------------------------------------------------------------------
def expire(promotion: Promotion) -> None:
    """End a request, or an approval, that has waited past its time."""
    try:
        with transaction.atomic():
            now = timezone.now()
            move(promotion, P.EXPIRED, reason="Nobody decided in time.", finished_at=now)
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
            _become_stale(locked, planned)
        elif locked.state == P.REQUESTED:
            opened = gathering.current_gates(locked, planned)
            if not gates.closed(opened):
                _become_approved(locked, opened)


def take_over(promotion: Promotion) -> None:
    """Have an execution begun anew whose worker died, but not for ever."""
    if promotion.attempt >= settings.MAX_ATTEMPTS:
        _give_up(promotion, P.ERRORED, f"Its worker died {promotion.attempt} times.")
        return
    try:
        move(promotion, P.APPROVED, only={"attempt": promotion.attempt}, lease_until=None)
    except WrongState:
        return
    nudge(EXECUTE, promotion.pk)


def _become_stale(promotion: Promotion, planned: plans.Plan) -> PlanChanged:
    why = plans.what_changed(promotion, planned)
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
