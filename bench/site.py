"""A Sluice of a benchmark's own, in a folder of its own, served as `manage.py serve` serves it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
MAKE = """
from accounts import tokens
from accounts.models import User
ada = User.objects.create_user("ada", password="ada's password", roles=["developer"])
print(tokens.issue(ada, name="bench")[1])
"""


@dataclass(frozen=True)
class Site:
    """`environment` is what its processes run with; `token` is a developer's."""

    url: str
    token: str
    data: Path
    environment: Mapping[str, str]

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"{self.url}/api/v1/", headers=headers, timeout=600)


def free_port() -> int:
    """A port of loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(argv: Sequence[str], ready: str) -> Iterator[None]:
    """Run a server that a measurement needs beside Sluice, from when it answers `ready`."""
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        _wait_until_ready(ready)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(address: str) -> None:
    for _ in range(900):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address, timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{address} does not answer.")


def prepare(data: Path, *, database: str = "", **variables: str) -> Site:
    """A migrated site with one developer, not yet served."""
    data.mkdir(parents=True)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment = {
        **kept,
        "SLUICE_DATA": str(data),
        "SLUICE_LOG_LEVEL": "WARNING",
        "PORT": str(port),
        **variables,
    }
    if database:
        environment |= {
            "SLUICE_DATABASE_URL": database,
            "SLUICE_SECRET_KEY": "only for this measurement",
            "SLUICE_CONNECTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        }
    _manage(environment, "migrate", "--verbosity", "0")
    token = _manage(environment, "shell", "--no-imports", "-c", MAKE).split()[-1]
    return Site(f"http://127.0.0.1:{port}", token, data, environment)


def _manage(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


@contextlib.contextmanager
def serving(site: Site) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(f"{site.url}/readyz")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
