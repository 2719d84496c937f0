"""Credentials that steps use and nobody is shown."""

from typing import Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models

from accounts.models import User
from pipelines.models.pipeline import check_slug


class ConnectionKind(models.TextChoices):
    GIT = "git", "Git server"
    REGISTRY = "registry", "Image registry"
    KUBERNETES = "kubernetes", "Kubernetes cluster"
    SSH = "ssh", "Machines over SSH"
    S3 = "s3", "S3 storage"


class ServiceConnectionQuerySet(models.QuerySet["ServiceConnection"]):
    def usable_by(self, user: User) -> Self:
        """Those of the user's own teams and those shared with one of them."""
        teams = user.groups.all()
        mine = models.Q(team__in=teams) | models.Q(shared_with__in=teams)
        return self.filter(mine | models.Q(is_shared_with_all=True)).distinct()

    def of_teams_of(self, user: User) -> Self:
        return self.filter(team__in=user.groups.all())


class ServiceConnection(models.Model):
    """A named secret and where it may be used. A team owns it, so that it outlives its maker."""

    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    kind = models.CharField(max_length=20, choices=ConnectionKind)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by connections.py.
    team = models.ForeignKey(Group, on_delete=models.PROTECT, related_name="connections")
    shared_with = models.ManyToManyField(Group, blank=True, related_name="shared_connections")
    is_shared_with_all = models.BooleanField(default=False)
    description = models.CharField(max_length=200, blank=True)
    host = models.CharField(
        max_length=255, blank=True, help_text="The only host, and port, that gets the secret."
    )
    settings = models.JSONField(default=dict, help_text="What is no secret, like a user name.")
    sealed = models.TextField(help_text="The secrets, encrypted; never shown.")
    changed_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ServiceConnectionQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=ConnectionKind.values), name="connection_kind_is_known"
            )
        ]

    def __str__(self) -> str:
        return self.name
