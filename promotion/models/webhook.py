"""Where other systems hear of what happens, and what is on its way to them."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Webhook(models.Model):
    """An address that is told of events, and the secret that proves who tells."""

    # What was asked for.
    name = models.CharField(max_length=64, unique=True)
    url = models.CharField(max_length=1000)
    types = models.JSONField(default=list, help_text="Types of events; none: all of them.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    sealed = models.TextField(help_text="The secret, encrypted; shown once.")

    # What has happened. Written only by webhooks.py.
    failing_since = models.DateTimeField(null=True, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"


class Delivery(models.Model):
    """One event on its way to one webhook. `body` holds the very bytes that are sent."""

    # What is told. Never changes.
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=80, help_text="The event's id, the same on each try.")
    type = models.CharField(max_length=64)
    line = models.CharField(max_length=200, help_text="Those of one line are sent in order.")
    body = models.TextField(help_text="The CloudEvent, as canonical JSON.")
    created_at = models.DateTimeField()

    # What has happened. Written only by webhooks.py.
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(help_text="When it is tried next; also the lease of a try.")
    status = models.PositiveSmallIntegerField(null=True, help_text="What was answered last.")
    error = models.CharField(max_length=300, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "event"], name="one_delivery_per_webhook_and_event"
            ),
            models.CheckConstraint(
                condition=Q(state__in=DeliveryState.values), name="delivery_state_is_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(state=DeliveryState.WAITING),
                name="deliveries_that_are_due",
            ),
            # Whether an earlier one of the same line still waits.
            models.Index(
                fields=["webhook", "line", "id"],
                condition=Q(state=DeliveryState.WAITING),
                name="deliveries_waiting_in_line",
            ),
            models.Index(fields=["webhook", "-id"], name="deliveries_of_webhook"),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.webhook}"
