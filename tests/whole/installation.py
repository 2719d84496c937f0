"""A Sluice of its own: data folder, port and processes, as somebody's machine has them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from tests.site import WORKSPACES

ROOT = Path(settings.BASE_DIR)
PATIENCE = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(ask: Callable[[], Any], *, said: str) -> Any:
    """The first true answer of `ask`."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{said}: not within {PATIENCE:.0f} s"
        time.sleep(0.1)
    return answer


class Installation:
    """Runs `manage.py` with settings of its own. Embedded, unless a database is named."""

    def __init__(self, data: Path, *, database: str | None = None, **variables: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("SLUICE_", "PG"))
        }
        self.environment = {
            **kept,
            "SLUICE_DATA": str(data),
            "SLUICE_WORKSPACES": str(WORKSPACES / data.name),
            "SLUICE_LOG_LEVEL": "WARNING",
            "PORT": str(self.port),
            **variables,
        }
        if database is not None:
            self.environment |= {
                "SLUICE_DATABASE_URL": database,
                "SLUICE_SECRET_KEY": "only for this test",
            }

    def manage(
        self, *arguments: str, changed: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**self.environment, **(changed or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """`manage.py serve` in the background, stopped in the end as Ctrl+C stops it."""
        with (self.data / f"serve{''.join(arguments)}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                yield process
                assert process.poll() is None, "serve ended by itself"
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def token(self, username: str, role: str) -> str:
        """Make a person with a token; the database is migrated already."""
        code = (
            "from accounts import tokens; from accounts.models import User; "
            f"user = User.objects.create_user({username!r}, roles=[{role!r}]); "
            "print(tokens.issue(user, name='test')[1])"
        )
        done = self.manage("shell", "--no-imports", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1]

    def caller(self, token: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )


def programs(serve: int, word: str) -> set[int]:
    """The ids of the programs that `serve` started itself and that still live; `word` is one of
    their arguments."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            command = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        # Each program leads a session of its own; what it forks stays in its group.
        leads = int(group) == int(folder.name)
        if int(parent) == serve and leads and state != "Z" and word in command:
            found.add(int(folder.name))
    return found


def demo_file(data: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((data / "demo.json").read_text(encoding="utf-8"))
    return made
