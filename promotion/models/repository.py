"""Repositories and the packages in them."""

from django.conf import settings
from django.db import models

from pipelines.models.pipeline import check_slug


class RepositoryKind(models.TextChoices):
    GENERIC = "generic", "Files"
    DOCKER = "docker", "Container images"


class Repository(models.Model):
    """A named place of packages of one kind."""

    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    kind = models.CharField(max_length=10, choices=RepositoryKind, default=RepositoryKind.GENERIC)
    description = models.CharField(max_length=500, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "repositories"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=RepositoryKind.values), name="repository_kind_is_known"
            )
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
