"""Artifacts: what the steps of a run produced."""

from typing import Self

from django.conf import settings
from django.db import models

from pipelines.models.blob import Blob
from pipelines.models.run import Job, Run
from pipelines.seals import Sealed


class ArtifactType(models.TextChoices):
    """The types of Flow's descriptors, spelt as Flow spells them."""

    FLOW_PUBLIC = "flowPublic", "Files"
    DOCKER_IMAGE = "dockerImage", "Container image"
    PACKAGES = "packages", "Files for a repository"


class ArtifactQuerySet(models.QuerySet["Artifact"]):
    def of_last_attempts(self) -> Self:
        """Without what an attempt left behind after which its job was begun anew."""
        later = Job.objects.filter(
            run=models.OuterRef("run"),
            stage=models.OuterRef("stage"),
            key=models.OuterRef("job"),
            attempt__gt=models.OuterRef("attempt"),
        )
        return self.filter(~models.Exists(later))

    def with_bytes(self) -> Self:
        """Those whose bytes are kept for their own sake."""
        return self.filter(pruned_at__isnull=True)


class Artifact(Sealed):
    """Files or an image that one step of one run produced. Never changes.

    `bundle` is what `downloadUrl` serves: the file itself where there is one, a tar.gz of all
    where there are more. `digest` is the identity: of the manifest of files, or of the image.
    """

    unsealed = frozenset({"pruned_at"})

    # What was made. Never changes.
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="artifacts")
    stage = models.CharField(max_length=64)
    job = models.CharField(max_length=64)
    step = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField(default=1, help_text="Of the job that made it.")
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=20, choices=ArtifactType)
    digest = models.CharField(max_length=71, help_text="sha256:… of the manifest or the image.")
    bundle = models.ForeignKey(Blob, null=True, on_delete=models.PROTECT, related_name="+")
    bundle_name = models.CharField(max_length=255, blank=True)
    image = models.CharField(max_length=500, blank=True, help_text="dockerUrl of an image.")
    image_tag = models.CharField(max_length=128, blank=True)
    repository = models.CharField(
        max_length=64, blank=True, help_text="Where it is published once its run has succeeded."
    )
    version = models.CharField(max_length=128, blank=True, help_text="As which version.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by forgetting.py.
    pruned_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when its bytes are no longer kept for its sake."
    )

    objects = ArtifactQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The sweeper: files that wait to be published.
            models.Index(
                fields=["run"],
                condition=models.Q(type="packages"),
                name="artifacts_for_repositories",
            ),
            # What keeping files for a time looks at, the oldest first.
            models.Index(
                fields=["created_at"],
                condition=models.Q(pruned_at__isnull=True),
                name="artifacts_with_bytes_by_age",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "stage", "job", "step", "attempt", "name"],
                name="one_artifact_per_step_attempt_and_name",
            ),
            models.CheckConstraint(
                condition=models.Q(type__in=["flowPublic", "packages"], bundle__isnull=False)
                | (models.Q(type="dockerImage", bundle__isnull=True) & ~models.Q(image="")),
                name="artifact_is_files_or_an_image",
            ),
            models.CheckConstraint(
                condition=(models.Q(type="packages") & ~models.Q(repository="", version=""))
                | models.Q(repository="", version=""),
                name="only_files_for_a_repository_name_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run} {self.name}"

    @property
    def reference(self) -> str:
        """How a later stage of the same pipeline refers to this artifact."""
        return f"$[stages.{self.stage}.{self.job}.{self.step}.artifacts.{self.name}]"

    @property
    def size(self) -> int | None:
        return self.bundle.size if self.bundle else None


class ArtifactFile(Sealed):
    """One file of an artifact."""

    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="files")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    executable = models.BooleanField(default=False)

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(
                fields=["artifact", "path"], name="one_file_per_artifact_and_path"
            )
        ]

    def __str__(self) -> str:
        return self.path
