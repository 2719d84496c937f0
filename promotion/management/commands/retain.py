"""Prune the versions that no retention rule keeps. Exit status 0: done."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from promotion import retention, usage
from promotion.models import Repository


class Command(BaseCommand):
    help = (
        "Prune the versions that no rule of their repository keeps. Their bytes are removed by "
        "`manage.py collect`. Exit status: 0 done, 1 there is no such repository."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would be pruned, and change nothing."
        )
        parser.add_argument("--repository", help="Only in this one.")

    def handle(self, *args: Any, **options: Any) -> None:
        repositories = Repository.objects.filter(retention__isnull=False).order_by("name")
        if name := options["repository"]:
            if not Repository.objects.filter(name=name).exists():
                raise CommandError(f"There is no repository “{name[:64]}”.")
            repositories = repositories.filter(name=name)
        if not repositories:
            self.stdout.write("No retention rule is set: nothing is pruned.")
        for repository in repositories:
            if options["dry_run"]:
                self._say_what_would_go(repository)
            else:
                pruned = retention.prune(repository)
                versions = "version" if pruned == 1 else "versions"
                self.stdout.write(f"{repository}: pruned {pruned} {versions}")
        if not options["dry_run"]:
            retention.forget_artifacts()

    def _say_what_would_go(self, repository: Repository) -> None:
        planned = retention.plan(repository, retention.rules_of(repository), timezone.now())
        doomed = [each.version for each in planned if not each.decision.keeps]
        for each in planned:
            word = "keep " if each.decision.keeps else "PRUNE"
            self.stdout.write(f"{word}  {each.version}: {each.decision.why}")
        for doubt in retention.doubts(retention.rules_of(repository), planned):
            self.stdout.write(f"NOTE   {doubt}")
        self.stdout.write(
            f"{repository}: would prune {len(doomed)} of {len(planned)} versions and free "
            f"{usage.bytes_freed(doomed)} bytes. Nothing was changed."
        )
