"""A team, service connections that its pipelines may use, and machines that they open."""

from collections.abc import Mapping

from django.contrib.auth.models import Group

from pipelines import connections, machines
from pipelines.models import MachineGroup, ServiceConnection
from tests.cast import Site
from tests.pipelines.teams import KEY

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGaVeLL6jGCx5LIIvs1ZHRkZ6sHSKl/r2Srb1WIIm0+F"


def connect(
    site: Site, name: str, kind: str, secrets: Mapping[str, str], *, host: str = "", **shown: str
) -> ServiceConnection:
    """A connection of ada's team, made by ada."""
    team, _ = Group.objects.get_or_create(name="team-ada")
    site.cast.ada.groups.add(team)
    return connections.create(
        name, kind, by=site.cast.ada, team=team, secrets=secrets, settings=shown, host=host
    )


def make_group(site: Site, name: str = "web", *, private_key: str = KEY) -> MachineGroup:
    """An empty machine group of ada's, whose machines let `deploy` in."""
    secrets = {"private_key": private_key}
    connection = connect(site, f"{name}-key", "ssh", secrets, username="deploy")
    return machines.create_group(name, connection, by=site.cast.ada)


def make_known_group(site: Site, name: str = "web") -> MachineGroup:
    """A group of one machine, which is not there."""
    group = make_group(site, name)
    machines.add_machine(
        group, f"{name}1", f"{name}1.example.com", by=site.cast.ada, host_key=HOST_KEY
    )
    return group
