"""Who may do what with pipelines: the one home of permission, closed by default."""

from collections.abc import Mapping

from accounts.models import Role, User
from pipelines.errors import Forbidden

ANY_ROLE = frozenset(Role)

ALLOWED: Mapping[str, frozenset[Role]] = {
    "view": ANY_ROLE,
    "pipeline.write": frozenset({Role.DEVELOPER, Role.OPERATOR}),
    "run.start": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.DEPLOYER, Role.OPERATOR}),
    "run.cancel": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.DEPLOYER, Role.OPERATOR}),
    "run.decide": frozenset({Role.DEVELOPER, Role.RELEASE_MANAGER, Role.OPERATOR}),
    "run.report": frozenset({Role.DEVELOPER, Role.OPERATOR}),
    "connection.write": frozenset({Role.DEVELOPER, Role.OPERATOR}),
}

SAID = {
    "view": "look at this",
    "pipeline.write": "write pipelines",
    "run.start": "start runs",
    "run.cancel": "cancel runs",
    "run.decide": "pass or refuse manual jobs",
    "run.report": "report runs and artifacts",
    "connection.write": "write service connections",
}


def may(user: User, act: str) -> bool:
    return user.holds(ALLOWED[act])


def require(user: User, act: str) -> None:
    """Raise Forbidden unless `user` may do `act`, saying which roles may."""
    refuse_unless(user, ALLOWED[act], SAID[act])


def refuse_unless(user: User, roles: frozenset[Role], said: str) -> None:
    """The refusal that both apps' rules share."""
    if not user.holds(roles):
        able = ", ".join(sorted(role.label.lower() for role in roles))
        raise Forbidden(f"{user.username} may not {said}. It takes one of these roles: {able}.")
