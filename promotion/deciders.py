"""Who may decide on a promotion, and who may take it back. Reads only."""

from accounts.models import User
from pipelines.errors import AlreadyDecided, WrongState
from promotion import rules
from promotion.errors import SelfApproval
from promotion.models import Promotion, PromotionState
from promotion.policies import rules_of

P = PromotionState


def require_decider(promotion: Promotion, *, by: User) -> None:
    """Raise the reason for which `by` may not decide on this promotion now, if there is one."""
    # Said before anything about roles: nobody's role would make this right.
    if by.pk == promotion.requested_by_id and not rules_of(promotion.policy).self_approval:
        raise SelfApproval(
            f"You requested promotion {promotion.pk} yourself. Somebody else must decide on it."
        )
    rules.require(by, "promotion.decide")
    if promotion.state != P.REQUESTED:
        raise WrongState(
            f"Promotion {promotion.pk} is {promotion.state}; it no longer waits for a decision.",
            current=promotion.state,
        )
    if promotion.approvals.filter(by=by).exists():
        raise AlreadyDecided(f"You have decided on promotion {promotion.pk} already.")


def may_withdraw(promotion: Promotion, *, by: User) -> bool:
    is_open = P.WITHDRAWN in P(promotion.state).targets
    return is_open and rules.may(by, act_of_withdrawing(promotion, by))


def act_of_withdrawing(promotion: Promotion, by: User) -> str:
    """Taking back one's own request is a part of requesting; another's is an act of its own."""
    own = by.pk == promotion.requested_by_id
    return "promotion.request" if own else "promotion.withdraw"
