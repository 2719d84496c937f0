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
from django.db.models import ProtectedError, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts.models import User
from pipelines import rules, sealing
from pipelines.credentials import WITH_HOST, checked_secrets, checked_settings
from pipelines.errors import Forbidden, Invalid, NameTaken, NotFound, WrongState
from pipelines.hosts import host_of, is_same_host
from pipelines.models import ConnectionKind, Run, ServiceConnection
from pipelines.models.pipeline import check_slug


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
@sensitive_variables()
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
    now = timezone.now()
    try:
        with transaction.atomic():
            return ServiceConnection.objects.create(
                name=name,
                kind=kind,
                team=team,
                description=description.strip()[:200],
                host=_checked_host(kind, host),
                settings=checked_settings(kind, settings or {}),
                sealed=sealing.seal(checked_secrets(kind, secrets)),
                created_by=by,
                created_at=now,
                changed_at=now,
            )
    except IntegrityError as error:
        raise NameTaken(f"There is a connection “{name}” already. Choose another name.") from error


def _checked_host(kind: str, host: str) -> str:
    if kind not in WITH_HOST:
        if host.strip():
            raise Invalid(f"A {kind} connection is for no one host: leave it empty.")
        return ""
    if not host.strip():
        raise Invalid("Name the host that the secret is for: it is sent to no other.")
    return host_of(host)


@sensitive_variables()
def replace_secrets(
    connection: ServiceConnection, secrets: Mapping[str, str], *, by: User
) -> ServiceConnection:
    """Put new secrets in the place of the old ones; runs use them from their next step on."""
    with transaction.atomic():
        locked = _locked(connection)
        _require_owner(by, locked)
        locked.sealed = sealing.seal(checked_secrets(locked.kind, secrets))
        locked.changed_at = timezone.now()
        locked.save(update_fields=["sealed", "changed_at"])
    return locked


def share(
    connection: ServiceConnection, teams: Iterable[Group], *, by: User, with_all: bool = False
) -> ServiceConnection:
    """Say which teams' pipelines may use it, besides its own team's. Those not named lose it."""
    with transaction.atomic():
        locked = _locked(connection)
        _require_owner(by, locked)
        locked.shared_with.set(team for team in teams if team.pk != locked.team_id)
        locked.is_shared_with_all = with_all
        locked.changed_at = timezone.now()
        locked.save(update_fields=["is_shared_with_all", "changed_at"])
    return locked


def remove(connection: ServiceConnection, *, by: User) -> None:
    """Forget the secret for ever. Runs that name it from then on fail and say so."""
    with transaction.atomic():
        locked = _locked(connection)
        _require_owner(by, locked)
        try:
            locked.delete()
        except ProtectedError as error:
            users = sorted(f"{each._meta.verbose_name} {each}" for each in error.protected_objects)
            raise WrongState(
                f"{locked.name} is still used by {', '.join(users[:10])}. Give them another "
                "connection first.",
                current=users,
            ) from error


def _locked(connection: ServiceConnection) -> ServiceConnection:
    """The row as it is now; nobody opens or changes it until the transaction ends."""
    rows = ServiceConnection.objects.select_for_update(of=("self",)).select_related("team")
    row = rows.filter(pk=connection.pk).first()
    if row is None:
        raise NotFound(f"The connection {connection.name} has been removed.")
    return row


# ---- Who may -----------------------------------------------------------------------------------
def visible_to(user: User) -> "QuerySet[ServiceConnection]":
    """What a person may know of: what they may use, and everything for an operator of the site."""
    rows = ServiceConnection.objects.defer("sealed").select_related("team", "created_by")
    if user.is_superuser and user.is_active:
        return rows
    return rows.filter(pk__in=ServiceConnection.objects.usable_by(user).values("pk"))


def teams_of(user: User) -> "QuerySet[Group]":
    """The teams for which a person may make connections."""
    return (Group.objects.all() if user.is_superuser else user.groups.all()).order_by("name")


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


def may_use(person: User, connection: ServiceConnection) -> bool:
    """Whoever has lost every role has lost the use of this, too, whatever teams they are in."""
    usable = ServiceConnection.objects.filter(pk=connection.pk).usable_by(person)
    return rules.may(person, "view") and usable.exists()


# ---- Use ---------------------------------------------------------------------------------------
@sensitive_variables()
def open_for(run: Run, name: str, kind: str) -> Opened:
    """The connection `name` with its secrets, for a step of `run`; Forbidden or Invalid if not.

    A run may last for hours, so who may use it is read anew, with the connection's row locked:
    once sharing has ended, nothing opens it any more.
    """
    author, starter = run.revision.created_by_id, run.started_by_id
    # A runner on another machine reads no more of people than this.
    known = User.objects.only("username", "roles", "is_active", "is_superuser")
    people = known.in_bulk({author, starter})
    with transaction.atomic():
        rows = ServiceConnection.objects.select_for_update(of=("self",)).select_related("team")
        connection = rows.filter(name=name).first()
        _require_use(connection, name, author=people[author], starter=people[starter])
        assert connection is not None, "nobody may use what does not exist"
        if connection.kind != kind:
            raise Invalid(
                f"The service connection {name} is of kind {connection.kind}; this needs one of "
                f"kind {kind}."
            )
        ServiceConnection.objects.filter(pk=connection.pk).update(last_used_at=timezone.now())
    return _opened(connection)


def require_usable(connection: ServiceConnection, kind: str, *, by: User) -> None:
    """Refuse to bind `connection` to something of the site where `by` may not use it."""
    if not may_use(by, connection):
        raise Forbidden(
            f"There is no service connection “{connection.name}” that {by.username} may use. Make "
            "one under Connections, or have its team share it."
        )
    if connection.kind != kind:
        raise Invalid(
            f"The service connection {connection.name} is of kind {connection.kind}; this needs "
            f"one of kind {kind}."
        )


@sensitive_variables()
def open_as(
    connection: ServiceConnection, kind: str, *, bound_by: User, noted: bool = True
) -> Opened:
    """The connection for what `bound_by` bound it to, who must be allowed to use it to this day.

    It is noted when it was last used, unless by a check that writes nothing at all.
    """
    require_usable(connection, kind, by=bound_by)
    if noted:
        ServiceConnection.objects.filter(pk=connection.pk).update(last_used_at=timezone.now())
    return _opened(connection)


@sensitive_variables()
def _opened(connection: ServiceConnection) -> Opened:
    return Opened(
        name=connection.name,
        kind=connection.kind,
        host=connection.host,
        settings=MappingProxyType(dict(connection.settings)),
        secrets=MappingProxyType(sealing.unseal(connection.sealed)),
    )


def _require_use(
    connection: ServiceConnection | None, name: str, *, author: User, starter: User
) -> None:
    """Refuse unless both may use the connection.

    A definition must not be a way to ask which connections there are: while its author may not
    use one, it is answered as if there were none.
    """
    if connection is None or not may_use(author, connection):
        raise Forbidden(
            f"There is no service connection “{name[:64]}” that {author.username}, who wrote the "
            "definition, may use. Make one under Connections, or have its team share it."
        )
    if not may_use(starter, connection):
        raise Forbidden(
            f"{starter.username}, who started the run, may not use the service connection {name}. "
            f"Somebody of the team {connection.team.name} can share it."
        )


def require_host(opened: Opened | ServiceConnection, address: str) -> None:
    """Refuse unless `address`, a URL or a host, is where the connection's secret may be sent."""
    try:
        fits = is_same_host(opened.host, address)
    except Invalid as error:
        raise Invalid(
            f"The service connection {opened.name} is for {opened.host}, and its secret is sent "
            f"to no other host. {error.detail}"
        ) from error
    if not fits:
        raise Invalid(
            f"The service connection {opened.name} is for {opened.host}, not for "
            f"{host_of(address)}. Its secret is sent to no other host."
        )


# ---- Keys --------------------------------------------------------------------------------------
def rotate_keys() -> int:
    """Encrypt every connection anew with the first key; how many there were."""
    return sealing.reseal_all(ServiceConnection.objects.order_by("name"))
