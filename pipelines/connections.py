"""Service connections: make, change, share, remove; and open one for the step of a run.

A secret goes in and is never shown again. It is used by the steps of a run when both the person who
started the run and the author of its revision are in a team that the connection belongs to or is
shared with: a definition cannot borrow the rights of whoever happens to start it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from accounts.models import User
from pipelines import rules, sealing
from pipelines.errors import Conflict, Forbidden, Invalid, NameTaken
from pipelines.models import ConnectionKind, Run, ServiceConnection
from pipelines.models.pipeline import check_slug

K = ConnectionKind

#: What each kind holds: its secrets, and what of it is shown. The first secret of each is needed.
SECRETS: Mapping[str, tuple[str, ...]] = {
    K.GIT: ("password",),
    K.REGISTRY: ("password",),
    K.KUBERNETES: ("kubeconfig",),
    K.SSH: ("private_key", "passphrase"),
    K.S3: ("secret_key",),
}
SHOWN: Mapping[str, tuple[str, ...]] = {
    K.GIT: ("username",),
    K.REGISTRY: ("username",),
    K.KUBERNETES: (),
    K.SSH: ("username",),
    K.S3: ("access_key", "bucket", "region"),
}
#: Kinds whose secret goes to one host alone, which must be named.
WITH_HOST = frozenset({K.GIT, K.REGISTRY, K.S3})
LONGEST_SECRET = 64 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection as a step uses it. Printing it shows no secret."""

    name: str
    kind: str
    host: str
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, hash=False
    )


# ---- Make and change ---------------------------------------------------------------------------
def create(
    name: str,
    kind: str,
    *,
    by: User,
    team: Group,
    secrets: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
    host: str = "",
    description: str = "",
) -> ServiceConnection:
    rules.require(by, "connection.write")
    _require_member(by, team)
    try:
        check_slug(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name a connection. {error.message}") from error
    if kind not in ConnectionKind.values:
        raise Invalid(f"A connection's kind is one of: {', '.join(ConnectionKind.values)}.")
    if kind in WITH_HOST and not host.strip():
        raise Invalid("Name the host that the secret is for: it is sent to no other.")
    now = timezone.now()
    try:
        with transaction.atomic():
            return ServiceConnection.objects.create(
                name=name,
                kind=kind,
                team=team,
                description=description[:200],
                host=host.strip().lower(),
                settings=_checked(kind, SHOWN[kind], settings or {}, "setting"),
                sealed=sealing.seal(_checked_secrets(kind, secrets)),
                created_by=by,
                created_at=now,
                changed_at=now,
            )
    except IntegrityError as error:
        raise NameTaken(f"There is a connection “{name}” already. Choose another name.") from error


def replace_secrets(
    connection: ServiceConnection, secrets: Mapping[str, str], *, by: User
) -> ServiceConnection:
    """Put new secrets in the place of the old ones; runs use them from their next step on."""
    _require_owner(by, connection)
    connection.sealed = sealing.seal(_checked_secrets(connection.kind, secrets))
    connection.changed_at = timezone.now()
    connection.save(update_fields=["sealed", "changed_at"])
    return connection


def share(
    connection: ServiceConnection, teams: Iterable[Group], *, by: User, with_all: bool = False
) -> ServiceConnection:
    """Say which teams' pipelines may use it, besides its own team's. Those not named lose it."""
    _require_owner(by, connection)
    with transaction.atomic():
        connection.shared_with.set(teams)
        connection.is_shared_with_all = with_all
        connection.changed_at = timezone.now()
        connection.save(update_fields=["is_shared_with_all", "changed_at"])
    return connection


def remove(connection: ServiceConnection, *, by: User) -> None:
    """Forget the secret for ever. Runs that name it from then on fail and say so."""
    _require_owner(by, connection)
    try:
        connection.delete()
    except ProtectedError as error:
        names = ", ".join(sorted(str(each) for each in error.protected_objects))
        raise Conflict(
            f"{connection.name} opens the machines of {names}. Remove them first."
        ) from error


def may_change(user: User, connection: ServiceConnection) -> bool:
    return rules.may(user, "connection.write") and is_member(user, connection.team)


def is_member(user: User, team: Group) -> bool:
    return user.is_superuser or user.groups.filter(pk=team.pk).exists()


def _require_member(by: User, team: Group) -> None:
    if not is_member(by, team):
        raise Forbidden(f"{by.username} is not in the team {team.name}.")


def _require_owner(by: User, connection: ServiceConnection) -> None:
    rules.require(by, "connection.write")
    _require_member(by, connection.team)


def _checked_secrets(kind: str, secrets: Mapping[str, str]) -> dict[str, str]:
    checked = _checked(kind, SECRETS[kind], secrets, "secret")
    needed = SECRETS[kind][0]
    if not checked.get(needed):
        raise Invalid(f"A {kind} connection needs its {needed}.")
    return checked


def _checked(
    kind: str, known: tuple[str, ...], given: Mapping[str, str], noun: str
) -> dict[str, str]:
    for key, value in given.items():
        if key not in known:
            has = ", ".join(known) or "none"
            raise Invalid(f"A {kind} connection has no {noun} “{key[:40]}”. It has: {has}.")
        if not isinstance(value, str) or "\x00" in value or len(value) > LONGEST_SECRET:
            raise Invalid(f"The {noun} {key} is a text of at most {LONGEST_SECRET} characters.")
    return {key: value for key, value in given.items() if value}


# ---- Use ---------------------------------------------------------------------------------------
def open_for(run: Run, name: str, kind: str) -> Opened:
    """The connection `name` with its secrets, for a step of `run`; Forbidden or Invalid if not."""
    author, starter = run.revision.created_by, run.started_by
    connection = ServiceConnection.objects.select_related("team").filter(name=name).first()
    if connection is None:
        raise Invalid(
            f"There is no service connection “{name[:64]}”. Make one under Connections, or name "
            "another in the definition."
        )
    if connection.kind != kind:
        raise Invalid(
            f"The service connection {name} is a {connection.get_kind_display().lower()}; this "
            f"needs one of kind {kind}."
        )
    usable = ServiceConnection.objects.filter(pk=connection.pk)
    for person, what in ((author, "wrote the definition"), (starter, "started the run")):
        if not (person.is_active and usable.usable_by(person).exists()):
            raise Forbidden(
                f"{person.username}, who {what}, may not use the service connection {name}. "
                f"Somebody of the team {connection.team.name} can share it."
            )
    ServiceConnection.objects.filter(pk=connection.pk).update(last_used_at=timezone.now())
    return Opened(
        name=connection.name,
        kind=connection.kind,
        host=connection.host,
        settings=dict(connection.settings),
        secrets=sealing.unseal(connection.sealed),
    )


def rotate_keys() -> int:
    """Encrypt every connection anew with the first key; how many there were."""
    count = 0
    for pk in list(ServiceConnection.objects.values_list("pk", flat=True)):
        with transaction.atomic():
            row = ServiceConnection.objects.select_for_update().filter(pk=pk).first()
            if row is not None:
                row.sealed = sealing.reseal(row.sealed)
                row.save(update_fields=["sealed"])
                count += 1
    return count
