"""Who may do what with versions and promotions: the one home of permission, closed by default."""

from collections.abc import Mapping

from accounts.models import Role, User
from pipelines.rules import ANY_ROLE, refuse_unless

ALLOWED: Mapping[str, frozenset[Role]] = {
    "view": ANY_ROLE,
    "history.view": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.AUDITOR, Role.OPERATOR}),
    "repository.create": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "repository.bind": frozenset({Role.RELEASE_MANAGER, Role.OPERATOR}),
    "image.look": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "version.publish": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER}),
    "version.recall": frozenset({Role.RELEASE_MANAGER, Role.OPERATOR}),
    "recall.acknowledge": ANY_ROLE,
    "recall.acknowledge_for_another": frozenset({Role.RELEASE_MANAGER, Role.OPERATOR}),
    "evidence.add": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER}),
    "evidence_key.manage": frozenset({Role.OPERATOR}),
    "environment.manage": frozenset({Role.OPERATOR}),
    "webhook.manage": frozenset({Role.OPERATOR}),
    "promotion.request": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER}),
    "promotion.decide": frozenset({Role.RELEASE_MANAGER}),
    "promotion.withdraw": frozenset({Role.RELEASE_MANAGER}),
    "promotion.retry": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "promotion.override": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "override.review": frozenset({Role.RELEASE_MANAGER, Role.AUDITOR, Role.OPERATOR}),
    "hold.place": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "hold.lift": frozenset({Role.RELEASE_MANAGER, Role.OPERATOR}),
    "retention.preview": frozenset({Role.RELEASE_MANAGER, Role.OPERATOR}),
    "retention.manage": frozenset({Role.OPERATOR}),
    "selection.make": frozenset(
        {Role.DEVELOPER, Role.RELEASE_MANAGER, Role.DEPLOYER, Role.OPERATOR}
    ),
}

SAID = {
    "view": "look at this",
    "history.view": "read the history",
    "repository.create": "create repositories and set their registry",
    "repository.bind": "change the registry that somebody else set",
    "image.look": "look an image up in its registry",
    "version.publish": "publish versions",
    "version.recall": "recall versions",
    "recall.acknowledge": "acknowledge recalls",
    "recall.acknowledge_for_another": "acknowledge a recall on somebody else's behalf",
    "evidence.add": "add evidence",
    "evidence_key.manage": "manage the keys that evidence is checked with",
    "environment.manage": "manage environments and their policies",
    "webhook.manage": "manage webhooks",
    "promotion.request": "request promotions",
    "promotion.decide": "approve or reject promotions",
    "promotion.withdraw": "withdraw somebody else's request",
    "promotion.retry": "retry promotions",
    "promotion.override": "override gates",
    "override.review": "review overrides",
    "hold.place": "hold versions back",
    "hold.lift": "lift holds",
    "retention.preview": "try out retention rules",
    "retention.manage": "set retention rules",
    "selection.make": "select versions",
}


def may(user: User, act: str) -> bool:
    return user.holds(ALLOWED[act])


def require(user: User, act: str) -> None:
    """Raise Forbidden unless `user` may do `act`, saying which roles may."""
    refuse_unless(user, ALLOWED[act], SAID[act])
