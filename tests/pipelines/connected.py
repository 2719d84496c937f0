"""A team, and service connections that its pipelines may use."""

from collections.abc import Mapping

from django.contrib.auth.models import Group

from pipelines import connections
from pipelines.models import ServiceConnection
from tests.cast import Site


def connect(
    site: Site, name: str, kind: str, secrets: Mapping[str, str], *, host: str = "", **shown: str
) -> ServiceConnection:
    """A connection of ada's team, made by ada."""
    team, _ = Group.objects.get_or_create(name="team-ada")
    site.cast.ada.groups.add(team)
    return connections.create(
        name, kind, by=site.cast.ada, team=team, secrets=secrets, settings=shown, host=host
    )
