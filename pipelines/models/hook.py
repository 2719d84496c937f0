"""Where code servers say that something was pushed."""

from django.conf import settings
from django.db import models

from pipelines.models.pipeline import Pipeline
from pipelines.models.run import Run


class PushHook(models.Model):
    """An address for one code source of a pipeline, and the secret that deliveries to it prove."""

    # What was asked for. Never changes.
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, related_name="push_hooks")
    source = models.CharField(max_length=64, help_text="The source's id in the definition.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by hooks.py.
    sealed = models.TextField(help_text="The secret, encrypted; shown once.")
    changed_at = models.DateTimeField(help_text="When the secret was made.")
    holder = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who was shown the secret. Runs are started in this name.",
    )
    last_at = models.DateTimeField(null=True, blank=True, help_text="The last genuine delivery.")
    last_delivery = models.CharField(
        max_length=120, blank=True, help_text="What the server calls it."
    )
    last_why = models.TextField(blank=True, help_text="What became of it.")
    last_run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["pipeline", "source"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "source"], name="one_push_hook_per_pipeline_and_source"
            )
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug}.{self.source}"
