"""Pipelines and their immutable revisions."""

import re

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from pipelines.seals import Sealed

# \Z and not $, which would let a last line feed pass.
SLUG = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
SLUG_HELP = "Starts with a-z or 0-9, then also . _ - and at most 64 characters."
check_slug = RegexValidator(SLUG, SLUG_HELP, code="invalid_slug")


def is_slug(text: str) -> bool:
    return re.match(SLUG, text) is not None


class Pipeline(models.Model):
    """A named Flow YAML definition. Its slug is the id that sources and references use."""

    # What was asked for. Never changes.
    slug = models.CharField(max_length=64, unique=True, validators=[check_slug])
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by definitions.py and runs/.
    name = models.CharField(max_length=200)
    revision = models.ForeignKey(
        "Revision", null=True, on_delete=models.PROTECT, related_name="current_of"
    )
    last_run_number = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Revision(Sealed):
    """One text of a pipeline's definition."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    yaml = models.TextField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the text, in hex.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "number"], name="one_revision_per_pipeline_and_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug} revision {self.number}"
