"""Overrides: who broke the glass, over which gates, and the reviews that are owed for it."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Count, F

from pipelines.seals import Sealed
from promotion.models.promotion import Promotion


class OverrideQuerySet(models.QuerySet["Override"]):
    def owing(self) -> Self:
        """Those whose reviews have not all been given."""
        counted = self.annotate(given=Count("reviews"))
        return counted.filter(given__lt=F("reviews_required"))

    def overdue(self, now: datetime) -> Self:
        return self.owing().filter(review_due__lt=now)

    def with_names(self) -> Self:
        return self.select_related("promotion__environment", "by")


class Override(Sealed):
    """Somebody took it upon themselves that closed gates hold nothing back, for one plan."""

    promotion = models.OneToOneField(Promotion, on_delete=models.PROTECT, related_name="override")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    gates = models.JSONField(help_text="The names of the gates that it opens, and no others.")
    plan_digest = models.CharField(max_length=71)
    at = models.DateTimeField()
    reviews_required = models.PositiveIntegerField(help_text="How many others owe a review.")
    review_due = models.DateTimeField()

    objects = OverrideQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # Which reviews are overdue.
            models.Index(fields=["review_due"], name="overrides_by_due_date"),
        ]

    def __str__(self) -> str:
        return f"override of {self.promotion}"


class Verdict(models.TextChoices):
    APPROVE = "approve", "Would have done the same"
    OBJECT = "object", "Objected"


class Review(Sealed):
    """What one other person thinks of an override afterwards."""

    override = models.ForeignKey(Override, on_delete=models.PROTECT, related_name="reviews")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=10, choices=Verdict)
    comment = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["override", "by"], name="one_review_per_override_and_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.by}: {self.verdict} {self.override}"
