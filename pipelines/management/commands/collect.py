"""Remove bytes that nothing refers to. Exit status 0: done; 1: the storage let some not go."""

import argparse
import sys
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db.models import Count, QuerySet, Sum

from pipelines import collecting, forgetting
from pipelines.models import Blob, BlobState
from pipelines.models.blob import ROOM


class Command(BaseCommand):
    help = (
        "Forget artifacts that are older than the site keeps, and remove bytes that nothing has "
        "referred to for the time of grace. Exit status: 0 done, 1 some could not be removed."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would go, and change nothing."
        )
        parser.add_argument(
            "--grace-hours",
            type=_hours,
            help="Spare what somebody needed within so many hours (SLUICE_BLOB_GRACE_HOURS).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["grace_hours"]
        grace = settings.BLOB_GRACE if hours is None else timedelta(hours=hours)
        if options["dry_run"]:
            self._say_what_would_go(grace)
            return
        forgotten = forgetting.forget_outdated()
        done = collecting.run(grace=grace)
        self.stdout.write(f"forgot    {forgotten} artifacts that nothing needs any more")
        self.stdout.write(f"condemned {done.condemned} blobs")
        self.stdout.write(f"removed   {done.removed} blobs, {done.removed_bytes} bytes")
        if done.failed:
            self.stdout.write(f"FAILED    {done.failed} blobs could not be removed: see the log")
            sys.exit(1)

    def _say_what_would_go(self, grace: timedelta) -> None:
        days = settings.ARTIFACT_DAYS
        forgotten = forgetting.outdated(days=days).count() if days else 0
        self.stdout.write(f"would forget    {forgotten} artifacts that nothing needs any more")
        for said, blobs in (
            ("would condemn ", collecting.condemnable(grace=grace)),
            ("would remove  ", Blob.objects.filter(state=BlobState.CONDEMNED)),
        ):
            count, size = _sums(blobs)
            self.stdout.write(f"{said}  {count} blobs, {size} bytes")
        self.stdout.write("Nothing was changed. What is condemned is removed by the same run.")


def _sums(blobs: "QuerySet[Blob]") -> tuple[int, int]:
    found = blobs.order_by().aggregate(count=Count("pk"), size=Sum(ROOM))
    return found["count"], found["size"] or 0


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 87_600):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours from 0 to 87600")
    return int(text)
