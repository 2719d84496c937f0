"""What people said where a run waited for them."""

from django.conf import settings
from django.db import models

from pipelines.models.run import Job
from pipelines.seals import Sealed


class GateDecision(Sealed):
    """One person's word at one gate of a job. A job that pauses between batches has several."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="decisions")
    gate = models.PositiveIntegerField(help_text="Which of the job's gates, from 1.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    passed = models.BooleanField()
    comment = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "gate", "by"], name="one_decision_per_job_gate_and_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job} {'passed' if self.passed else 'refused'} by {self.by}"
