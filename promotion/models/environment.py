"""Environments: ordered places to promote to."""

from typing import Self

from django.conf import settings
from django.db import models

from pipelines.models import ServiceConnection
from pipelines.models.pipeline import check_slug


class EnvironmentQuerySet(models.QuerySet["Environment"]):
    def with_names(self) -> Self:
        return self.select_related(
            "policy", "registry_connection", "storage_connection", "bound_by"
        )

    def locked(self) -> Self:
        """With a lock on each row until the commit. It lets others refer to the row meanwhile: a
        selection does, which has the ledger's lock that the holder of this one may wait for."""
        return self.select_for_update(no_key=True, of=("self",))


class Environment(models.Model):
    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    rank = models.PositiveIntegerField(help_text="Lower comes first on the way to production.")
    description = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by policies.py.
    policy = models.ForeignKey(
        "PolicyRevision", null=True, on_delete=models.PROTECT, related_name="current_of"
    )

    # Where its bytes live, if not with ours. Written only by environments.py; read by targets.py.
    registry = models.CharField(
        max_length=255,
        blank=True,
        db_default="",
        help_text="Under which name images are copied: host/path.",
    )
    registry_connection = models.ForeignKey(
        ServiceConnection, null=True, on_delete=models.PROTECT, related_name="+"
    )
    storage_connection = models.ForeignKey(
        ServiceConnection, null=True, on_delete=models.PROTECT, related_name="+"
    )
    storage_prefix = models.CharField(max_length=200, blank=True, db_default="")
    bound_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Whose right to use the connections counts, to this day.",
    )
    target_set_at = models.DateTimeField(null=True)

    objects = EnvironmentQuerySet.as_manager()

    class Meta:
        ordering = ["rank", "name"]

    def __str__(self) -> str:
        return self.name
