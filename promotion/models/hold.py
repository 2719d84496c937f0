"""Holds: what keeps automation from placing a version somewhere."""

from typing import Self

from django.conf import settings
from django.db import models

from pipelines.seals import Sealed
from promotion.models.environment import Environment
from promotion.models.promotion import Promotion
from promotion.models.version import Version


class HoldQuerySet(models.QuerySet["Hold"]):
    def standing(self) -> Self:
        """Those that nobody has lifted."""
        return self.filter(lifted_at__isnull=True)

    def with_names(self) -> Self:
        return self.select_related(
            "environment", "version__package__repository", "by", "lifted_by", "promotion"
        )


class Hold(Sealed):
    """Machines and rules do not place this version in this environment until it is lifted."""

    unsealed = frozenset({"lifted_by", "lifted_at"})

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="holds")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="holds")
    reason = models.TextField()
    promotion = models.ForeignKey(
        Promotion,
        null=True,
        on_delete=models.PROTECT,
        related_name="holds",
        help_text="The rollback that took the version away, if one placed this hold.",
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "version"],
                condition=models.Q(lifted_at__isnull=True),
                name="one_standing_hold_per_environment_and_version",
            ),
            models.CheckConstraint(
                condition=models.Q(lifted_at__isnull=True, lifted_by__isnull=True)
                | models.Q(lifted_at__isnull=False, lifted_by__isnull=False),
                name="a_lifted_hold_says_by_whom",
            ),
        ]

    @property
    def form_id(self) -> str:
        """The id of what confirms its lifting, on a page with several holds."""
        return f"confirm-lift-{self.pk}"

    def __str__(self) -> str:
        return f"hold on {self.version} in {self.environment}"
