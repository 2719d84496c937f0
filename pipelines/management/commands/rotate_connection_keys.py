"""Encrypt every stored secret anew with the first of SLUICE_CONNECTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pipelines import connections, hooks, sealing
from pipelines.sealing import Unsealable

#: Whatever is sealed: how it is encrypted anew, and what one and several of it are called.
SEALED = (
    (connections.rotate_keys, "service connection", "service connections"),
    (hooks.rotate_keys, "push hook", "push hooks"),
)


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret anew with the first of SLUICE_CONNECTION_KEYS. To change the "
        "key: put the new one in front of the old on every host, restart them, run this, and then "
        "take the old one away."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        failures = []
        for rotate, one, several in (*SEALED, *sealing.others):
            try:
                count = rotate()
            except Unsealable as error:
                failures.append(error.detail)
            else:
                said = f"1 {one} was" if count == 1 else f"{count} {several} were"
                self.stdout.write(f"{said} encrypted anew with the first key.")
        if failures:
            raise CommandError(" ".join(failures))
        self.stdout.write("The keys behind the first may go.")
