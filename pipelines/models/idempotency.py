"""Answers kept for requests that may be sent twice."""

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """The first answer to a request that carried an `Idempotency-Key`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_digest = models.CharField(
        max_length=64, help_text="SHA-256 over method, path and body."
    )
    created_at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="HTTP status of the first answer; empty while it runs."
    )
    answer = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "key"], name="one_answer_per_user_and_idempotency_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.key}"
