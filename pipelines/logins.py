"""Logins of a job at registries: the config.json that image tools read.

There are two copies. One is the job's, for the programs of its steps. Tools that Sluice runs as the
worker get the worker's own, which no step can write: such a file can name programs to be started.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from pipelines import registry
from pipelines.isolation import Place
from pipelines.plain import write_private
from pipelines.registry import Credentials

FILE = "config.json"
# How docker's own tools call the one registry that they do not call by its host.
HUB_KEY = "https://index.docker.io/v1/"


def add(place: Place, host: str, credentials: Credentials) -> None:
    """Let the steps of the job use `credentials` at `host`, and at no other."""
    pair = pair_of(credentials)
    auths = _read(place)
    for key in (host, HUB_KEY) if host == registry.HUB else (host,):
        auths[key] = {"auth": pair}
    _write(place, auths)


def pair_of(credentials: Credentials) -> str:
    """User and password in the form in which they are sent and kept."""
    return base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def find(place: Place, host: str) -> Credentials | None:
    """With what the job is logged in at `host`, or None."""
    found = _read(place).get(host)
    if found is None:
        return None
    username, _, password = base64.b64decode(found["auth"]).decode().partition(":")
    return Credentials(username, password)


def environment(place: Place, *, as_worker: bool = False) -> Mapping[str, str]:
    """Where image tools find the logins. Without any there is a file that says so: otherwise they
    would take those of the person who runs the worker."""
    if not _workers(place).exists():
        _write(place, {})
    file = _workers(place) if as_worker else _jobs(place)
    return {"DOCKER_CONFIG": str(file.parent), "REGISTRY_AUTH_FILE": str(file)}


def _jobs(place: Place) -> Path:
    return place.own / "docker" / FILE


def _workers(place: Place) -> Path:
    return place.own / "logins" / FILE


def _read(place: Place) -> dict[str, dict[str, str]]:
    file = _workers(place)
    if not file.exists():
        return {}
    auths: dict[str, dict[str, str]] = json.loads(file.read_bytes())["auths"]
    return auths


def _write(place: Place, auths: Mapping[str, Mapping[str, str]]) -> None:
    data = json.dumps({"auths": auths}).encode()
    for file, owner in ((_workers(place), None), (_jobs(place), place.user)):
        if not file.parent.exists():
            file.parent.mkdir(mode=0o700)
            if owner is not None:
                place.give(file.parent)
        write_private(file, data, owner=owner)
