"""Start Sluice, drive its main job on real input, and keep serving."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from examples.demo import cast
from examples.demo.main_job import MainJob, Unexpected

READY_WITHIN = 60.0


class Command(BaseCommand):
    help = "Serve Sluice with a cast of people, drive the main job, and keep serving."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="End after the job.")

    def handle(self, *args: Any, **options: Any) -> None:
        url = f"http://127.0.0.1:{settings.PORT}"
        _require_free(settings.PORT)
        call_command("migrate", verbosity=0, interactive=False)
        file = Path(settings.DATA_DIR) / "demo.json"
        people = cast.gather(file, url)
        # Asked to end in whatever way, it ends what it has started.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        serving = subprocess.Popen([sys.executable, "manage.py", "serve"], cwd=settings.BASE_DIR)
        try:
            _wait_until_ready(url, serving)
            try:
                folders = Path(settings.DATA_DIR), Path(settings.WORKSPACES_DIR)
                MainJob(url, people, *folders).run()
            except Unexpected as error:
                raise CommandError(f"The demo did not come to what it must.\n{error}") from error
            self.stdout.write(self.style.SUCCESS("\nThe main job is done.\n"))
            if options["once"]:
                return
            self._introduce(url, file, people)
            serving.wait()
        except KeyboardInterrupt:
            self.stdout.write("\nStopping …")
        finally:
            serving.terminate()
            with contextlib.suppress(KeyboardInterrupt):
                serving.wait()

    def _introduce(self, url: str, file: Path, people: dict[str, cast.Member]) -> None:
        self.stdout.write(f"Sluice serves {url} until you press Ctrl+C. Sign in as:\n\n")
        for member in people.values():
            if member.password:
                roles = ", ".join(member.roles)
                self.stdout.write(f"  {member.username:<8} {member.password:<16} {roles}")
        self.stdout.write(f"\nPasswords and API tokens are in {file}.")
        self.stdout.flush()


def _require_free(port: int) -> None:
    """Otherwise the demo would talk to whatever else answers there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken. Stop what uses it, or choose another: make demo PORT=8001"
            ) from error


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).is_success
    except httpx.TransportError:
        return False


def _wait_until_ready(url: str, serving: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if serving.poll() is not None:
            raise CommandError("Sluice did not start; its messages stand above.")
        if _is_ready(url):
            return
        time.sleep(0.1)
    raise CommandError(f"Sluice was not ready within {READY_WITHIN:.0f} s.")
