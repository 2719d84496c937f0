"""Versions: immutable releases of packages."""

from typing import Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from pipelines.models import Artifact, Blob
from pipelines.seals import Sealed
from pipelines.states import State, Stateful
from promotion.models.repository import Package

VERSION_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z"
VERSION_NAME_HELP = "Starts with a letter or digit, then also . _ + - and at most 128 characters."
check_version_name = RegexValidator(VERSION_NAME, VERSION_NAME_HELP, code="invalid_version")


class VersionState(State):
    """The machine of versions: published ──▶ recalled. There is no way back."""

    PUBLISHED = "published"
    RECALLED = "recalled"

    @classmethod
    def edges(cls) -> "dict[VersionState, frozenset[VersionState]]":
        return {cls.PUBLISHED: frozenset({cls.RECALLED})}


class VersionQuerySet(models.QuerySet["Version"]):
    def with_names(self) -> Self:
        return self.select_related("package__repository", "published_by")

    def available(self) -> Self:
        """Those that may still be promoted and selected."""
        return self.filter(state=VersionState.PUBLISHED).with_bytes()

    def with_bytes(self) -> Self:
        """Those that were not pruned."""
        return self.filter(pruned_at__isnull=True)


class Version(Stateful, Sealed):
    """A sealed release. Its manifest's digest is what approvals and selections are bound to."""

    unsealed = frozenset(
        {
            *("state", "recalled_by", "recalled_at", "recall_reason", "replacement"),
            *("pruned_at", "pruned_reason", "last_downloaded_at"),
        }
    )

    # What was asked for. Never changes.
    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="versions")
    name = models.CharField(max_length=128, validators=[check_version_name])
    manifest = models.TextField(help_text="Canonical JSON of the files or the image digest.")
    manifest_digest = models.CharField(max_length=71, help_text="sha256:… of the manifest.")
    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="versions")
    bundle = models.ForeignKey(Blob, null=True, on_delete=models.PROTECT, related_name="+")
    bundle_name = models.CharField(max_length=255, blank=True)
    image = models.CharField(max_length=500, blank=True)
    image_tag = models.CharField(max_length=128, blank=True)
    provenance = models.JSONField(default=dict, help_text="Pipeline, run, revision, commit.")
    notes = models.TextField(blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    published_at = models.DateTimeField()

    # What has happened. Written only by recalling.py and, below, by retention.py.
    state = models.CharField(max_length=10, choices=VersionState, default=VersionState.PUBLISHED)
    recalled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    recalled_at = models.DateTimeField(null=True, blank=True)
    recall_reason = models.TextField(blank=True)
    replacement = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    pruned_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when its bytes are no longer kept. Never again."
    )
    # A default of the database's own, for the release that still publishes while this one comes.
    pruned_reason = models.TextField(blank=True, default="", db_default="")
    last_downloaded_at = models.DateTimeField(
        null=True, blank=True, help_text="About when somebody last fetched its bytes."
    )

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["package", "name"], name="one_version_per_package_and_name"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=VersionState.values), name="version_state_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(bundle__isnull=False) | ~models.Q(image=""),
                name="version_holds_files_or_an_image",
            ),
            models.CheckConstraint(
                condition=models.Q(pruned_at__isnull=True, pruned_reason="")
                | (models.Q(pruned_at__isnull=False) & ~models.Q(pruned_reason="")),
                name="a_pruned_version_says_why",
            ),
        ]
        indexes = [
            # The newest versions of a package, page by page.
            models.Index(fields=["package", "-id"], name="versions_of_package_newest_1st"),
        ]

    def __str__(self) -> str:
        return f"{self.package} {self.name}"


class VersionFile(Sealed):
    """One file of a version. Held apart from the artifact's, which retention may remove one day."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="files")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")
    executable = models.BooleanField(default=False)

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "path"], name="one_file_per_version_and_path"
            )
        ]

    def __str__(self) -> str:
        return self.path
