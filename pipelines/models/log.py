"""Log output of jobs, appended while they run."""

from django.db import models

from pipelines.models.run import Job


class LogChunk(models.Model):
    """A piece of a job's output, as it came."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_chunks")
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    step = models.CharField(max_length=64, blank=True)
    text = models.TextField()
    written_at = models.DateTimeField()

    class Meta:
        ordering = ["attempt", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "attempt", "sequence"], name="one_chunk_per_job_attempt_and_sequence"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job} log {self.sequence}"
