"""Where an environment's bytes live: say it, and take it back. Writes that alone."""

import re

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines import connections
from pipelines.errors import Forbidden, Invalid, NotFound
from pipelines.models import ConnectionKind, ServiceConnection
from pipelines.registry import host_of
from promotion import rules, targets
from promotion.ledger.append import About, append
from promotion.models import Environment

PART = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")
MAX_REGISTRY = 255
MAX_PREFIX = 200


def set_target(
    environment: Environment,
    *,
    by: User,
    registry: str = "",
    registry_connection: ServiceConnection | None = None,
    storage_connection: ServiceConnection | None = None,
    storage_prefix: str = "",
) -> Environment:
    """Have what is placed in `environment` carried to this registry and this storage first.

    What is left out is no longer named. Open requests go stale when the target is another one. The
    connections are used in the name of `by` from now on.
    """
    rules.require(by, "environment.manage")
    name = _checked_registry(registry, registry_connection, by)
    prefix = _checked_prefix(storage_prefix, storage_connection, by)
    wanted = [each for each in (registry_connection, storage_connection) if each is not None]
    with transaction.atomic():
        _hold(wanted)
        locked = Environment.objects.locked().get(pk=environment.pk)
        if name or wanted:
            _require_no_silent_loss(locked, wanted, by)
        before = targets.of(locked), locked.bound_by_id
        locked.registry = name
        locked.registry_connection = registry_connection
        locked.storage_connection = storage_connection
        locked.storage_prefix = prefix
        target = targets.of(locked)
        locked.bound_by = by if target.as_json() else None
        if (target, locked.bound_by_id) != before:
            now = timezone.now()
            locked.target_set_at = now
            locked.save(
                update_fields=[
                    "registry",
                    "registry_connection",
                    "storage_connection",
                    "storage_prefix",
                    "bound_by",
                    "target_set_at",
                ]
            )
            append(
                "environment.target_set",
                by=by,
                at=now,
                about=About(environment=locked.name),
                data={"environment": locked.name, "target": target.as_json()},
            )
    environment.refresh_from_db()
    return environment


def _require_no_silent_loss(
    environment: Environment, wanted: list[ServiceConnection], by: User
) -> None:
    """Refuse to drop a connection that `by` cannot even choose: a form would do it unasked. Naming
    nothing at all remains open, so that a target whose people are gone can be cleared."""
    for bound in (environment.registry_connection, environment.storage_connection):
        if bound is not None and bound not in wanted and not connections.may_use(by, bound):
            raise Forbidden(
                f"{environment.name} uses the service connection {bound.name}, which {by.username} "
                f"may not use, and this would take it away. Somebody of the team {bound.team.name} "
                "can share it or make the change; or clear the whole target first."
            )


def _checked_registry(name: str, connection: ServiceConnection | None, by: User) -> str:
    if not name.strip():
        if connection is not None:
            raise Invalid(
                f"The connection {connection.name} is for a registry, and none is named. Name the "
                "registry that images are to be copied to."
            )
        return ""
    if len(name) > MAX_REGISTRY:
        raise Invalid(f"The registry's name has more than {MAX_REGISTRY} characters.")
    prefix = targets.check_registry(name)
    if connection is not None:
        connections.require_usable(connection, ConnectionKind.REGISTRY, by=by)
        connections.require_host(connection, host_of(prefix))
    return prefix


def _checked_prefix(text: str, connection: ServiceConnection | None, by: User) -> str:
    prefix = text.strip().strip("/")
    if connection is None:
        if prefix:
            raise Invalid("A folder is named, and no storage that it is in. Choose a connection.")
        return ""
    connections.require_usable(connection, ConnectionKind.S3, by=by)
    if not connection.settings.get("bucket"):
        raise Invalid(
            f"The connection {connection.name} names no bucket. Make one that does: what is "
            "carried there must not go anywhere else the keys would let it."
        )
    parts = prefix.split("/") if prefix else []
    if len(prefix) > MAX_PREFIX or not all(PART.match(part) for part in parts):
        raise Invalid(
            f"“{text[:80]}” cannot name a folder of a bucket. Use letters, digits, . _ - and "
            f"slashes between, at most {MAX_PREFIX} characters."
        )
    return prefix


def _hold(wanted: list[ServiceConnection]) -> None:
    """Keep the connections from being removed until they are bound."""
    keys = {each.pk for each in wanted}
    rows = ServiceConnection.objects.select_for_update(of=("self",)).filter(pk__in=keys)
    there = set(rows.order_by("pk").values_list("pk", flat=True))
    for each in wanted:
        if each.pk not in there:
            raise NotFound(f"The connection {each.name} has been removed.")
