"""Who fetched a version, and whom its recall concerns."""

from typing import Self

from django.conf import settings
from django.db import models

from accounts.models import User
from pipelines.seals import Sealed
from promotion.models.version import Version


class Download(models.Model):
    """That somebody fetched the bytes of a version. Noted at most once an hour, so that reading
    does not write each time. Written only by recalling.py."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="downloads")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.PositiveIntegerField(
        default=1, help_text="In how many hours, about: not every request is counted."
    )

    class Meta:
        ordering = ["-last_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "by"], name="one_download_per_version_and_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.by} fetched {self.version}"


class AffectedQuerySet(models.QuerySet["Affected"]):
    def unacknowledged(self) -> Self:
        return self.filter(acknowledged_at__isnull=True)

    def of(self, owner: User) -> Self:
        return self.filter(owner=owner)

    def with_names(self) -> Self:
        return self.select_related(
            "owner",
            "acknowledged_by",
            "version__package__repository",
            "version__replacement",
        )


class Affected(Sealed):
    """Somebody who had used a version when it was recalled, and whether they know.

    `uses` is what was known at that moment and stays so; only the acknowledgement is added, once.
    """

    unsealed = frozenset({"acknowledged_by", "acknowledged_at", "note"})

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="affected")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="affected_by_recalls"
    )
    uses = models.TextField(help_text="Canonical JSON: how the owner used it, newest first.")
    listed_at = models.DateTimeField()

    # What has happened. Written only by recalling.py.
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, default="")

    objects = AffectedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "affected"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "owner"], name="one_notice_of_a_recall_per_owner"
            ),
            models.CheckConstraint(
                condition=models.Q(acknowledged_by__isnull=True, acknowledged_at__isnull=True)
                | models.Q(acknowledged_by__isnull=False, acknowledged_at__isnull=False),
                name="whoever_acknowledged_a_recall_did_it_at_a_time",
            ),
        ]
        indexes = [
            # The recalled versions that somebody used and has not acknowledged.
            models.Index(
                fields=["owner", "-id"],
                condition=models.Q(acknowledged_at__isnull=True),
                name="recalls_to_acknowledge",
            )
        ]

    def __str__(self) -> str:
        return f"{self.owner}, who used {self.version}"
