"""What people are told, and how far the ledger has been told of. Written only by notices.py,
mailing.py and telling.py."""

from typing import Self

from django.conf import settings
from django.db import models

from accounts.models import User


class NoticeQuerySet(models.QuerySet["Notice"]):
    def unread_by(self, user: User) -> Self:
        return self.filter(recipient=user, read_at__isnull=True)


class Notice(models.Model):
    """One line in one person's inbox, which leads to the page that it is about."""

    # What is told. Never changes.
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    key = models.CharField(max_length=120, help_text="What it tells of: the same is told once.")
    type = models.CharField(max_length=64, help_text="The ledger entry's type, or our own.")
    topic = models.CharField(max_length=120, blank=True, help_text="Like promotion:12.")
    asks = models.BooleanField(default=False, help_text="Whether the recipient is to act.")
    subject = models.CharField(max_length=300)
    path = models.CharField(max_length=500, help_text="The page, without the site's address.")
    created_at = models.DateTimeField()

    # What has happened.
    read_at = models.DateTimeField(null=True, blank=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["recipient", "key"], name="one_notice_per_person_and_event"
            )
        ]
        indexes = [
            # The count on every page, and the list of what is unread.
            models.Index(
                fields=["recipient", "-id"],
                condition=models.Q(read_at__isnull=True),
                name="unread_notices_of_person",
            ),
            models.Index(fields=["recipient", "-id"], name="notices_of_person"),
            # What is settled once a decision has been made.
            models.Index(
                fields=["topic"],
                condition=models.Q(asks=True, read_at__isnull=True),
                name="open_questions_by_topic",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.recipient}: {self.subject}"


class LetterState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    SPARED = "spared", "Not needed any more"
    FAILED = "failed", "Given up"


class Letter(models.Model):
    """A notice on its way by e-mail. While it waits, the row is the to-do list."""

    notice = models.OneToOneField(Notice, on_delete=models.CASCADE, related_name="letter")
    state = models.CharField(max_length=10, choices=LetterState, default=LetterState.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(help_text="When it is tried next; also the lease of a try.")
    error = models.CharField(max_length=300, blank=True, help_text="Why the last try failed.")
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=LetterState.values), name="letter_state_is_known"
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(state=LetterState.WAITING),
                name="letters_that_are_due",
            )
        ]

    def __str__(self) -> str:
        return f"letter {self.pk}: {self.state}"


class Told(models.Model):
    """How far the ledger has been told of: one row, held by the worker that tells."""

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    position = models.PositiveBigIntegerField(
        default=0, help_text="The first sequence number that nobody was told of."
    )
    attempt = models.PositiveIntegerField(default=0, help_text="How often this one was tried.")
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "told"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_who_tells")
        ]

    def __str__(self) -> str:
        return f"told up to {self.position}"
