"""Which pipelines take their input from which."""

from django.db import models

from pipelines.models.pipeline import Pipeline


class Upstream(models.Model):
    """A `flowPipeline` source of a pipeline's current revision. Written only by definitions.py.

    It follows from the revision's text; kept as a row, so that a pipeline can be asked who refers
    to it without reading every definition of the site.
    """

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="upstreams")
    source = models.CharField(max_length=64)
    slug = models.CharField(max_length=200, help_text="The pipeline referred to; it may not exist.")

    class Meta:
        ordering = ["pipeline", "source"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "source"], name="one_upstream_per_pipeline_and_source"
            )
        ]
        indexes = [
            # Who refers to a pipeline.
            models.Index(fields=["slug"], name="upstreams_by_slug"),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug} ← {self.slug}"
