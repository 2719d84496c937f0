"""Repositories and the packages in them."""

from django.conf import settings
from django.db import models

from pipelines.models import ServiceConnection
from pipelines.models.pipeline import check_slug


class RepositoryKind(models.TextChoices):
    GENERIC = "generic", "Files"
    DOCKER = "docker", "Container images"


class Repository(models.Model):
    """A named place of packages of one kind."""

    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    kind = models.CharField(max_length=10, choices=RepositoryKind, default=RepositoryKind.GENERIC)
    description = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by registries.py.
    registry = models.CharField(
        max_length=255,
        blank=True,
        # For the release that still makes repositories while this one comes.
        db_default="",
        help_text="Where its images lie: a registry, with a path or not.",
    )
    connection = models.ForeignKey(
        ServiceConnection,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="repositories",
        help_text="With what the registry is asked.",
    )
    bound_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who set the registry, and must be allowed to use the connection to this day.",
    )

    # What has happened. Written only by retention.py.
    retention = models.JSONField(
        null=True, blank=True, help_text="Which versions are kept (keeping.py); null: all of them."
    )

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "repositories"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=RepositoryKind.values), name="repository_kind_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(kind=RepositoryKind.DOCKER) | models.Q(registry=""),
                name="only_images_lie_in_a_registry",
            ),
            models.CheckConstraint(
                condition=models.Q(connection__isnull=True)
                | (~models.Q(registry="") & models.Q(bound_by__isnull=False)),
                name="a_connection_is_for_a_registry_and_bound_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Package(models.Model):
    """A named thing in a repository: what Flow's `packages` source calls `artifact`."""

    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="packages")
    name = models.CharField(max_length=64, validators=[check_slug])
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["repository__name", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["repository", "name"], name="one_package_per_repository_and_name"
            )
        ]

    def __str__(self) -> str:
        return f"{self.repository.name}/{self.name}"
