"""Carrying out what was approved: claim, carry, place; give up, wait, take over.

Together with promoting.py the only writer of promotion state, and the only one of placements; both
move the state by `move` alone.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from pipelines.errors import SluiceError, WrongState
from pipelines.queue import nudge
from pipelines.states import move
from promotion import carrying, gates, gathering, holding, placing, plans, turns
from promotion.carrying import HERE, Carried
from promotion.errors import GateClosed, PlanChanged
from promotion.gates import GateResult
from promotion.ledger.append import append, lock
from promotion.models import Environment, Promotion, PromotionKind, PromotionState

log = logging.getLogger(__name__)

P = PromotionState
EXECUTE = "promotion.execute"
AUTOMATE = "promotion.automate"


def execute(promotion_id: int) -> None:
    """Carry out an approved promotion, if it is to be, it is its turn and nobody else does it. Safe
    to call twice."""
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
    except _Waits as wait:
        _wait(promotion, wait.why)
    except SluiceError as refusal:
        to = P.STALE if isinstance(refusal, PlanChanged) else P.FAILED
        _give_up(promotion, to, refusal.detail)
    except Exception as broken:
        # Whatever broke, it is said now and truthfully, not after three leases as a dead worker.
        log.exception("%s broke", promotion)
        _give_up(promotion, P.ERRORED, f"Sluice could not carry it out: {type(broken).__name__}.")


class _Waits(Exception):
    """What is closed opens again by itself: a freeze began after the approval. No refusal."""

    def __init__(self, closed: Iterable[GateResult]) -> None:
        self.why = " ".join(gate.reason for gate in closed)
        super().__init__(self.why)


def _claim(promotion_id: int) -> Promotion | None:
    promotion = Promotion.objects.filter(pk=promotion_id, state=P.APPROVED).first()
    if promotion is None or _has_to_wait(promotion):
        return None
    try:
        with transaction.atomic():
            # Claims of one environment take turns here: of two for one package one sees the other.
            Environment.objects.locked().get(pk=promotion.environment_id)
            if turns.waits_for(promotion) is not None:
                return None
            return move(
                promotion,
                P.EXECUTING,
                lease_until=timezone.now() + settings.LEASE,
                attempt=F("attempt") + 1,
                reason="",
            )
    except WrongState:
        return None


def _has_to_wait(promotion: Promotion) -> bool:
    """Whether a gate has closed that will open again; the promotion then says for what it waits."""
    try:
        _as_approved(promotion)
    except _Waits as wait:
        waiting = Promotion.objects.filter(pk=promotion.pk, state=P.APPROVED)
        waiting.exclude(reason=wait.why).update(reason=wait.why)
        return True
    except SluiceError:
        # Whoever has claimed it finds the same, and ends it.
        return False
    return False


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
        if _open_again(closed):
            raise _Waits(closed)
        raise GateClosed.by(closed)
    return planned, opened


def _open_again(closed: Iterable[GateResult]) -> bool:
    # Nobody decides on what is approved already, so an approval that no longer counts stays lost.
    return all(gate.waits and gate.name != gates.APPROVALS for gate in closed)


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
        if promotion.kind == PromotionKind.ROLLBACK:
            for _, replaced in planned.items:
                if replaced is not None:
                    holding.hold_after_rollback(promotion, replaced, at=now)
        _hand_on(promotion)
        for downstream in gathering.automatic_downstream(environment):
            nudge(AUTOMATE, downstream)


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
            _hand_on(promotion)
    except WrongState:
        return


def _wait(promotion: Promotion, why: str) -> None:
    """Let go of an execution during which a gate closed that opens again. It stays approved."""
    try:
        with transaction.atomic():
            # It was not a worker that died, so the attempt does not count.
            move(
                promotion,
                P.APPROVED,
                only={"attempt": promotion.attempt},
                reason=why,
                attempt=F("attempt") - 1,
                lease_until=None,
                progress=None,
            )
            _hand_on(promotion)
    except WrongState:
        return


def _hand_on(promotion: Promotion) -> None:
    """Have the next one begin that waited for this promotion to end."""
    following = turns.next_after(promotion)
    if following is not None:
        nudge(EXECUTE, following)


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
