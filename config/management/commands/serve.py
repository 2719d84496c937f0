"""Serve Sluice on this machine: web server and worker in one foreground process."""

import errno
import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User


def _require_free(host: str, port: int) -> None:
    """Refuse a port that somebody serves on: the web server would share it without a word, and each
    request would come to one of the two."""
    if not 0 < port < 65_536:
        raise CommandError(f"Sluice was not started: {port} is no port. Choose one with --port.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                # What has ended a moment ago is no reason to wait.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        why = f"cannot be listened on: {error.strerror or error}. Mend that"
        if error.errno == errno.EADDRINUSE:
            why = "is taken by another program, perhaps by another Sluice. Stop that one"
        raise CommandError(
            f"Sluice was not started: {host}, port {port}, {why}, or choose another with "
            "--host and --port (or PORT)."
        ) from error


class Command(BaseCommand):
    help = "Bring the database up to date, then run web server and worker until interrupted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on.")
        parser.add_argument("--only", choices=["web", "worker", "runner"], help="Run one of them.")
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["only"] == "runner":
            # Its own database role may neither migrate nor look at people.
            self._become_supervisor(options)
        if options["only"] != "worker":
            _require_free(options["host"], options["port"])
        call_command("migrate", verbosity=0, interactive=False)
        self.stdout.write(f"Sluice serves {settings.SITE_URL} (data in {settings.DATA_DIR}).")
        if not User.objects.filter(is_superuser=True).exists():
            self.stdout.write(
                "Nobody can sign in yet: run `.venv/bin/python manage.py createsuperuser`, "
                "or `make demo` for a site with people in it."
            )
        self._become_supervisor(options)

    def _become_supervisor(self, options: dict[str, Any]) -> NoReturn:
        self.stdout.flush()
        argv = [sys.executable, "-m", "config.supervisor"]
        argv += ["--host", options["host"], "--port", str(options["port"])]
        argv += ["--only", options["only"]] if options["only"] else []
        # This process has Django in its memory and no further use for it.
        os.chdir(settings.BASE_DIR)
        os.execv(argv[0], argv)  # noqa: S606  # a fixed program, no shell
