"""Machines that components deploy to, in groups, and how a deployment went on each of them."""

import base64
import hashlib

from django.conf import settings
from django.db import models

from pipelines.models.connection import ServiceConnection
from pipelines.models.pipeline import check_slug
from pipelines.models.run import Job
from pipelines.states import State, Stateful


class MachineGroup(models.Model):
    """Machines that one key opens and that are deployed to together."""

    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_slug])
    connection = models.ForeignKey(
        ServiceConnection, on_delete=models.PROTECT, related_name="machine_groups"
    )
    description = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Machine(models.Model):
    """One machine of a group. To change it, remove it and add it again."""

    # What was asked for. Never changes.
    group = models.ForeignKey(MachineGroup, on_delete=models.CASCADE, related_name="machines")
    name = models.CharField(max_length=64, validators=[check_slug])
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(default=22)
    host_key = models.TextField(help_text="The one key by which it is known, as OpenSSH writes it.")
    position = models.PositiveIntegerField(help_text="Where it stands in the order of batches.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "name"], name="one_machine_per_group_and_name"
            ),
            models.UniqueConstraint(
                fields=["group", "host", "port"], name="one_machine_per_group_host_and_port"
            ),
            models.UniqueConstraint(
                fields=["group", "position"], name="one_machine_per_group_and_position"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"

    @property
    def fingerprint(self) -> str:
        """The host key's SHA-256, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.host_key.split()[1])).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


class MachineState(State):
    """The machine of one machine's part in a deployment.

    queued ──▶ running ──▶ succeeded | failed
      │  ▲       │
      │  └───────┘           (its worker died)
      └──▶ skipped           (something failed before its turn)

      failed | skipped ─ ─▶ queued   (when the job is tried again)
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"

    @classmethod
    def edges(cls) -> "dict[MachineState, frozenset[MachineState]]":
        return {
            cls.QUEUED: frozenset({cls.RUNNING, cls.SKIPPED}),
            cls.RUNNING: frozenset({cls.SUCCEEDED, cls.FAILED, cls.QUEUED}),
        }

    @classmethod
    def reopenings(cls) -> "dict[MachineState, frozenset[MachineState]]":
        return {cls.FAILED: frozenset({cls.QUEUED}), cls.SKIPPED: frozenset({cls.QUEUED})}


class MachineResult(Stateful):
    """How one job went on one machine: planned when the job begins, for all of its attempts."""

    # What was asked for. Never changes; copied, because a machine may be removed.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="machine_results")
    machine = models.CharField(max_length=64)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    batch = models.PositiveIntegerField(help_text="From 1.")

    # What has happened. Written only by rollouts.py.
    state = models.CharField(max_length=10, choices=MachineState, default=MachineState.QUEUED)
    attempt = models.PositiveIntegerField(help_text="The job's attempt that touched it last.")
    gate = models.PositiveIntegerField(
        default=0, help_text="How often its job had waited for people when it was done."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "machine"], name="one_result_per_job_and_machine"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=MachineState.values),
                name="machine_result_state_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} on {self.machine}"
