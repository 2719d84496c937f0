"""Who may decide on a promotion, and who may take it back. Reads only."""

from collections.abc import Iterable

from django.utils import timezone

from accounts.models import User
from pipelines.errors import AlreadyDecided, Forbidden, WrongState
from promotion import gates, rules
from promotion.errors import SelfApproval
from promotion.gates import Involved, Rules
from promotion.gathering import groups_of
from promotion.models import (
    PolicyRevision,
    Promotion,
    PromotionItem,
    PromotionQuerySet,
    PromotionState,
    Version,
)
from promotion.policies import rules_of

P = PromotionState


def require_decider(promotion: Promotion, *, by: User) -> None:
    """Raise the reason for which `by` may not decide on this promotion now, if there is one."""
    policy = rules_of(promotion.policy)
    # Said before anything about roles: nobody's role would make this right.
    if by.pk == promotion.requested_by_id and not policy.self_approval:
        raise SelfApproval(
            f"You requested promotion {promotion.pk} yourself. Somebody else must decide on it."
        )
    rules.require(by, "promotion.decide")
    if promotion.state != P.REQUESTED:
        raise WrongState(
            f"Promotion {promotion.pk} is {promotion.state}; it no longer waits for a decision.",
            current=promotion.state,
        )
    if promotion.expires_at <= timezone.now():
        raise WrongState(
            f"Promotion {promotion.pk} has expired. Request it again.", current=promotion.state
        )
    if promotion.approvals.filter(by=by).exists():
        raise AlreadyDecided(f"You have decided on promotion {promotion.pk} already.")
    if why := unfitness(promotion, policy, by):
        raise Forbidden(
            f"{by.username} {why}, and so may not decide on promotion {promotion.pk}: "
            f"the policy of {promotion.environment.name} asks for others."
        )


def require_overrider(policy: PolicyRevision, *, by: User) -> None:
    """Raise the reason for which `by` may not break the glass under this policy, if there is one:
    nobody may whom it does not name."""
    rules.require(by, "promotion.override")
    named = rules_of(policy).override.groups
    where = policy.environment.name
    if not named:
        raise Forbidden(
            f"The policy of {where} lets nobody override its gates: it names no group under "
            "override.groups."
        )
    if by.is_machine:
        raise Forbidden(f"{by.username} is a machine. Only a person overrides gates.")
    if groups_of(by).isdisjoint(named):
        raise Forbidden(
            f"{by.username} is in none of {', '.join(named)}, and so may not override the gates "
            f"of {where}."
        )


def may_override(policy: PolicyRevision, *, by: User) -> bool:
    try:
        require_overrider(policy, by=by)
    except Forbidden:
        return False
    return True


def unfitness(promotion: Promotion, policy: Rules, user: User) -> str:
    """Why the policy does not count this person's decision on this promotion, if it does not."""
    groups = groups_of(user) if policy.approvers.groups else frozenset[str]()
    return _unfitness(policy, _involved(promotion, policy), user, groups)


def _unfitness(policy: Rules, involved: Involved, user: User, groups: frozenset[str]) -> str:
    return gates.unfit(policy, involved, user.username, groups, user.is_machine)


def _involved(promotion: Promotion, policy: Rules) -> Involved:
    versions = _versions([promotion.pk]) if policy.not_by else {}
    return _hands(promotion, versions.get(promotion.pk, ()))


def _versions(promotions: Iterable[int]) -> dict[int, list[Version]]:
    """By promotion, its versions with who published each and who started its run."""
    items = PromotionItem.objects.filter(promotion__in=promotions).select_related(
        "version__package__repository",
        "version__published_by",
        "version__artifact__run__started_by",
    )
    found: dict[int, list[Version]] = {}
    for item in items:
        found.setdefault(item.promotion_id, []).append(item.version)
    return found


def _hands(promotion: Promotion, versions: Iterable[Version]) -> Involved:
    versions = list(versions)
    return Involved(
        promotion.requested_by.username,
        {version.published_by.username: str(version) for version in versions},
        {version.artifact.run.started_by.username: str(version) for version in versions},
    )


def awaiting(user: User) -> PromotionQuerySet:
    """Requests on which `user` may decide and has not."""
    found = Promotion.objects.awaiting(user)
    # Few policies tell people apart by more than who asked, and few requests are open at a time.
    told_apart = found.telling_deciders_apart() if not user.is_machine else found
    looked_at = [
        (each, rules_of(each.policy))
        for each in told_apart.select_related("policy", "requested_by")
    ]
    # Every page counts them, so they are asked about all at once.
    versions = _versions([each.pk for each, policy in looked_at if policy.not_by])
    groups = groups_of(user) if looked_at else frozenset[str]()
    unfit = [
        each.pk
        for each, policy in looked_at
        if _unfitness(policy, _hands(each, versions.get(each.pk, ())), user, groups)
    ]
    return found.exclude(pk__in=unfit) if unfit else found


def deciders_of(promotion: Promotion) -> list[User]:
    """Everybody who may still decide on this promotion, by name; nobody once it is decided.

    The set-wise twin of `require_decider`. Roles stand on each user's row in a form that no
    database can be asked for in the same way, so they are read here; there are few people.
    """
    if promotion.state != P.REQUESTED:
        return []
    people = User.objects.filter(is_active=True).exclude(pk__in=promotion.approvals.values("by"))
    policy = rules_of(promotion.policy)
    involved = _involved(promotion, policy)
    return [
        each
        for each in people.order_by("username").prefetch_related("groups")
        if rules.may(each, "promotion.decide")
        and not _unfitness(policy, involved, each, groups_of(each))
    ]


def may_withdraw(promotion: Promotion, *, by: User) -> bool:
    is_open = P.WITHDRAWN in P(promotion.state).targets
    return is_open and rules.may(by, act_of_withdrawing(promotion, by))


def act_of_withdrawing(promotion: Promotion, by: User) -> str:
    """Taking back one's own request is a part of requesting; another's is an act of its own."""
    own = by.pk == promotion.requested_by_id
    return "promotion.request" if own else "promotion.withdraw"
