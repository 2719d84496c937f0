"""Machine groups: make, change, remove. Who may change a group may change its connection.

A machine is known by its host key. Whoever adds it gives the key, or has Sluice ask the machine for
it once, and compares the fingerprint: from then on no other key is accepted.
"""

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from accounts.models import User
from pipelines import connections, rules
from pipelines.errors import Forbidden, Invalid, NameTaken, Unreachable
from pipelines.models import ConnectionKind, Machine, MachineGroup, ServiceConnection
from pipelines.models.pipeline import check_slug

HOST = re.compile(r"^[A-Za-z0-9:][A-Za-z0-9._:-]{0,254}\Z")
MOST_MACHINES = 500


def create_group(
    name: str, connection: ServiceConnection, *, by: User, description: str = ""
) -> MachineGroup:
    _require_owner(by, connection)
    _check_name(name, "a machine group")
    if connection.kind != ConnectionKind.SSH:
        raise Invalid(
            f"The connection {connection.name} is a {connection.get_kind_display().lower()}; a "
            f"machine group needs one of kind {ConnectionKind.SSH}."
        )
    try:
        with transaction.atomic():
            return MachineGroup.objects.create(
                name=name,
                connection=connection,
                description=description.strip()[:200],
                created_by=by,
                created_at=timezone.now(),
            )
    except IntegrityError as error:
        raise NameTaken(f"There is a machine group “{name}” already. Choose another.") from error


def remove_group(group: MachineGroup, *, by: User) -> None:
    """Forget the group and its machines. Runs that name it from then on fail and say so."""
    _require_owner(by, group.connection)
    group.delete()


def add_machine(
    group: MachineGroup, name: str, host: str, *, by: User, port: int = 22, host_key: str = ""
) -> Machine:
    """Add a machine at the end of the group. Without `host_key` it is asked for it now."""
    _require_owner(by, group.connection)
    _check_name(name, "a machine")
    host = host.strip().lower()
    if not HOST.match(host):
        raise Invalid(f"“{host[:80]}” is no host. Give a name like web1.example.com or an address.")
    if not 0 < port < 65_536:
        raise Invalid("A port is a number from 1 to 65535.")
    _check_free(group, name, host, port)
    key = _read_host_key(host_key) if host_key.strip() else _ask_host_key(host, port)
    try:
        with transaction.atomic():
            # One after the other, so that each gets a position of its own.
            MachineGroup.objects.select_for_update().get(pk=group.pk)
            last = group.machines.aggregate(last=Max("position"))["last"] or 0
            return Machine.objects.create(
                group=group, name=name, host=host, port=port, host_key=key, position=last + 1
            )
    except IntegrityError as error:
        # Somebody else was quicker.
        _check_free(group, name, host, port)
        raise NameTaken(f"{group} could not take {name}. Try again.") from error


def remove_machine(machine: Machine, *, by: User) -> None:
    """Take a machine out of its group. What was deployed to it stays there."""
    _require_owner(by, machine.group.connection)
    machine.delete()


def may_change(user: User, group: MachineGroup) -> bool:
    return connections.may_change(user, group.connection)


def _require_owner(by: User, connection: ServiceConnection) -> None:
    rules.require(by, "connection.write")
    if not connections.may_change(by, connection):
        raise Forbidden(
            f"{by.username} is not in the team {connection.team.name}, whose connection "
            f"{connection.name} opens these machines."
        )


def _check_name(name: str, noun: str) -> None:
    try:
        check_slug(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name {noun}. {error.message}") from error


def _check_free(group: MachineGroup, name: str, host: str, port: int) -> None:
    machines = group.machines.all()
    if machines.filter(name=name).exists():
        raise NameTaken(f"{group} has a machine “{name}” already. Choose another name.")
    if other := machines.filter(host=host, port=port).first():
        raise NameTaken(f"{host}:{port} is in {group} already, as {other.name}.")
    if machines.count() >= MOST_MACHINES:
        raise Invalid(f"A machine group has at most {MOST_MACHINES} machines.")


def _read_host_key(text: str) -> str:
    """An OpenSSH public key without its comment."""
    parts = text.split()
    try:
        line = " ".join(parts[:2])
        load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(
            "That is no host key. Give a line of the machine's own /etc/ssh/ssh_host_*_key.pub, "
            "which begins like “ssh-ed25519 AAAA”."
        ) from error
    return line


def _ask_host_key(host: str, port: int) -> str:
    # SSH takes a second to import, which most who import this module never need.
    from pipelines import ssh

    try:
        return ssh.ask_host_key(host, port)
    except ssh.MachineFailed as failure:
        raise Unreachable(failure.message) from failure
