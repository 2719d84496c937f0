"""Placements: what is and was where."""

from datetime import datetime
from typing import Self

from django.db import models

from pipelines.seals import Sealed
from promotion.models.environment import Environment
from promotion.models.promotion import Promotion
from promotion.models.repository import Package
from promotion.models.version import Version


class PlacementQuerySet(models.QuerySet["Placement"]):
    def current(self) -> Self:
        return self.filter(until__isnull=True)

    def at(self, moment: datetime) -> Self:
        """What was placed at `moment`."""
        return self.filter(since__lte=moment).filter(
            models.Q(until__isnull=True) | models.Q(until__gt=moment)
        )

    def at_as_known(self, moment: datetime, known_at: datetime) -> Self:
        """What was placed at `moment` by all that was recorded until `known_at`, each with when it
        `known_until` ended.

        Ends are written into a placement later than it was recorded. So what had ended one is told
        by the next that was recorded, which began as the other ended.
        """
        followers = Placement.objects.filter(
            environment=models.OuterRef("environment"),
            package=models.OuterRef("package"),
            pk__gt=models.OuterRef("pk"),
            recorded_at__lte=known_at,
        ).order_by("pk")
        return self.filter(
            ~models.Exists(followers.filter(since__lte=moment)),
            since__lte=moment,
            recorded_at__lte=known_at,
        ).annotate(known_until=models.Subquery(followers.values("since")[:1]))

    def with_names(self) -> Self:
        return self.select_related(
            "environment", "package__repository", "version__replacement", "promotion"
        )


class Placement(Sealed):
    """A version of a package in an environment, from when until when.

    A placement ends when another takes its place; only that end is ever written into it, once.
    That no two of them share a moment is guarded by the database (promotion/intervals.py).
    """

    unsealed = frozenset({"until"})

    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="placements")
    environment = models.ForeignKey(
        Environment, on_delete=models.PROTECT, related_name="placements"
    )
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="placements")
    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, related_name="placements")
    image = models.CharField(
        max_length=600,
        blank=True,
        db_default="",
        help_text="The image's pinned name in the environment's own registry, if it has one.",
    )
    storage = models.CharField(
        max_length=500,
        blank=True,
        db_default="",
        help_text="Where the files lie in the environment's own storage, if it has one.",
    )
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    recorded_at = models.DateTimeField()

    objects = PlacementQuerySet.as_manager()

    class Meta:
        ordering = ["-since", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["package", "environment"],
                condition=models.Q(until__isnull=True),
                name="one_current_placement_per_package_and_environment",
            ),
            models.CheckConstraint(
                condition=models.Q(until__isnull=True) | models.Q(until__gte=models.F("since")),
                name="placement_ends_after_it_begins",
            ),
        ]
        indexes = [
            # What was in an environment at a moment.
            models.Index(fields=["environment", "package", "-since"], name="placements_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.version} in {self.environment}"
