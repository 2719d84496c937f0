"""What the API answers of where runs work and what they may use there: connections, runners."""

from typing import TypedDict

from django.urls import reverse

from pipelines import links
from pipelines.api.shapes import timestamp
from pipelines.models import Runner, ServiceConnection


class ConnectionAnswer(TypedDict):
    name: str
    kind: str
    team: str
    host: str
    settings: dict[str, str]
    description: str
    shared_with: list[str]
    shared_with_all: bool
    created_by: str
    created_at: str | None
    changed_at: str | None
    last_used_at: str | None
    url: str


def connection_answer(connection: ServiceConnection) -> ConnectionAnswer:
    return {
        "name": connection.name,
        "kind": connection.kind,
        "team": connection.team.name,
        "host": connection.host,
        "settings": connection.settings,
        "description": connection.description,
        "shared_with": sorted(team.name for team in connection.shared_with.all()),
        "shared_with_all": connection.is_shared_with_all,
        "created_by": connection.created_by.username,
        "created_at": timestamp(connection.created_at),
        "changed_at": timestamp(connection.changed_at),
        "last_used_at": timestamp(connection.last_used_at),
        "url": links.absolute(reverse("pipelines:connection", args=[connection.name])),
    }


class RunnerAnswer(TypedDict):
    """`groups` is empty for a runner that serves every group."""

    name: str
    groups: list[str]
    builder: str
    engine: str
    isolating: bool
    alive: bool
    started_at: str | None
    seen_at: str | None


def runner_answer(runner: Runner) -> RunnerAnswer:
    return {
        "name": runner.name,
        "groups": runner.groups,
        "builder": runner.builder,
        "engine": runner.engine,
        "isolating": runner.is_isolating,
        "alive": runner.is_alive,
        "started_at": timestamp(runner.started_at),
        "seen_at": timestamp(runner.seen_at),
    }
