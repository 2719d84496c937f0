"""The workers that execute jobs, as they last made themselves known."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone


class RunnerQuerySet(models.QuerySet["Runner"]):
    def alive(self) -> Self:
        return self.filter(seen_at__gt=timezone.now() - alive_within())


def alive_within() -> timedelta:
    """How long a runner counts as alive after it was last heard of."""
    return 3 * timedelta(seconds=settings.RUNNER_BEAT)


class Runner(models.Model):
    """One worker process. Written only by runners.py, and only by the worker itself."""

    name = models.CharField(max_length=100, unique=True)
    groups = models.JSONField(default=list, help_text="What it serves; empty: every group.")
    builder = models.CharField(max_length=200, blank=True)
    engine = models.CharField(max_length=200, blank=True, help_text="What runs container jobs.")
    is_isolating = models.BooleanField(
        default=False, help_text="Whether each job gets an operating system user of its own."
    )
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    objects = RunnerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_alive(self) -> bool:
        return self.seen_at > timezone.now() - alive_within()
