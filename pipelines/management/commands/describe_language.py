"""Print the language reference, docs/language.md."""

from typing import Any

from django.core.management.base import BaseCommand

from pipelines import definitions
from pipelines.flow.manual import manual


class Command(BaseCommand):
    help = "Print the language reference as Markdown: docs/language.md is this command's output."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(manual(definitions.catalog()), ending="")
