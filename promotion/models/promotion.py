"""Promotions and the approvals they gather."""

from typing import Self

from django.conf import settings
from django.db import models

from accounts.models import User
from pipelines.seals import Sealed
from pipelines.states import State, Stateful
from promotion.models.environment import Environment
from promotion.models.policy import PolicyRevision
from promotion.models.repository import Package
from promotion.models.version import Version


class PromotionState(State):
    """The machine of promotions.

        requested ──▶ approved ──▶ executing ──▶ completed
            │            │            │  ▲
            │            │            ▼  │ retried
            │            │        failed | errored | stale
            ├──▶ rejected | withdrawn | expired | stale
            └ approved ──▶ withdrawn | expired | stale

    `stale`: what was approved is no longer what would happen. `failed`: something that was checked
    said no; `errored`: the machinery broke. Both may be retried, and neither has moved anything.
    """

    REQUESTED = "requested"
    APPROVED = "approved"
    EXECUTING = "executing"
    COMPLETED = "completed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    STALE = "stale"
    FAILED = "failed"
    ERRORED = "errored"

    @classmethod
    def edges(cls) -> "dict[PromotionState, frozenset[PromotionState]]":
        left = frozenset({cls.WITHDRAWN, cls.EXPIRED, cls.STALE})
        return {
            cls.REQUESTED: left | {cls.APPROVED, cls.REJECTED},
            cls.APPROVED: left | {cls.EXECUTING},
            cls.EXECUTING: frozenset(
                {cls.COMPLETED, cls.FAILED, cls.ERRORED, cls.STALE, cls.APPROVED}
            ),
            cls.FAILED: frozenset({cls.APPROVED}),
            cls.ERRORED: frozenset({cls.APPROVED}),
        }


class PromotionKind(models.TextChoices):
    PROMOTION = "promotion", "Promotion"
    ROLLBACK = "rollback", "Rollback"


class PromotionQuerySet(models.QuerySet["Promotion"]):
    def open(self) -> Self:
        return self.filter(
            state__in=[PromotionState.REQUESTED, PromotionState.APPROVED, PromotionState.EXECUTING]
        )

    def awaiting(self, user: User) -> Self:
        """Requests on which `user` may decide by role and has not: one's own only where the policy,
        whose rules are canonical text, lets the requester approve. deciders.py knows the rest."""
        own = models.Q(requested_by=user)
        allowed = models.Q(policy__rules__contains='"self_approval":true')
        return (
            self.filter(state=PromotionState.REQUESTED)
            .exclude(own & ~allowed)
            .exclude(approvals__by=user)
        )

    def telling_deciders_apart(self) -> Self:
        """Those whose policy names whose approval counts, or whose does not."""
        names_groups = models.Q(policy__rules__contains='"approvers":')
        return self.filter(names_groups | models.Q(policy__rules__contains='"not_by":'))

    def locked(self) -> Self:
        """With a lock on each row until the commit, and what decisions need beside it."""
        return self.select_for_update(of=("self",)).select_related(
            "environment", "policy", "requested_by"
        )

    def with_names(self) -> Self:
        return self.select_related("environment", "requested_by", "policy").prefetch_related(
            "items__package__repository", "items__version", "items__replaces"
        )


class Promotion(Stateful, Sealed):
    """A request to place versions in one environment, all or none."""

    unsealed = frozenset(
        {
            "state",
            "gates",
            "reason",
            "lease_until",
            "attempt",
            "progress",
            "decided_at",
            "finished_at",
        }
    )

    # What was asked for. Never changes (a trigger sees to it).
    environment = models.ForeignKey(
        Environment, on_delete=models.PROTECT, related_name="promotions"
    )
    kind = models.CharField(max_length=10, choices=PromotionKind, default=PromotionKind.PROMOTION)
    policy = models.ForeignKey(PolicyRevision, on_delete=models.PROTECT, related_name="+")
    plan = models.TextField(help_text="Canonical JSON: what will happen, exactly.")
    plan_digest = models.CharField(max_length=71, help_text="sha256:… of the plan.")
    comment = models.TextField(blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    # What has happened. Written only by promoting.py and executing.py.
    state = models.CharField(
        max_length=10, choices=PromotionState, default=PromotionState.REQUESTED
    )
    gates = models.JSONField(default=list, help_text="The gates as last computed and kept.")
    reason = models.TextField(blank=True, help_text="Why it was refused, went stale or failed.")
    lease_until = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    progress = models.JSONField(
        null=True, help_text="How far its bytes were carried: what, done and total."
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = PromotionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=PromotionState.values), name="promotion_state_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=PromotionKind.values), name="promotion_kind_is_known"
            ),
        ]
        indexes = [
            # What waits for a decision, and what the sweeper re-drives.
            models.Index(fields=["state", "-id"], name="promotions_by_state"),
            models.Index(fields=["environment", "-id"], name="promotions_of_environment"),
        ]

    def __str__(self) -> str:
        return f"promotion {self.pk} to {self.environment}"


class PromotionItem(Sealed):
    """One version that a promotion places, and what it replaces."""

    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, related_name="items")
    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="promotion_items")
    replaces = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["promotion", "package"], name="one_item_per_promotion_and_package"
            )
        ]

    def __str__(self) -> str:
        return f"{self.promotion}: {self.version}"


class Decision(models.TextChoices):
    APPROVE = "approve", "Approved"
    REJECT = "reject", "Rejected"


class Approval(Sealed):
    """One person's decision on one plan digest."""

    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, related_name="approvals")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    decision = models.CharField(max_length=10, choices=Decision)
    plan_digest = models.CharField(max_length=71)
    comment = models.TextField(blank=True)
    at = models.DateTimeField()
    second_factor = models.JSONField(
        null=True,
        help_text="The passkey's signature of this approval (assertions.py), if one was given.",
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["promotion", "by"], name="one_decision_per_promotion_and_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.by}: {self.decision} {self.promotion}"
