"""Runs, their jobs and steps."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models

from pipelines.models.pipeline import Pipeline, Revision
from pipelines.states import State, Stateful


class ExecutionState(State):
    """The machine of runs, jobs and steps.

        queued ──▶ running ──▶ succeeded | failed | errored | cancelled
          │  ▲       │  ▲
          │  │       ▼  │
          │  └──── waiting ──▶ succeeded | failed | errored | cancelled
          └──▶ waiting | errored | cancelled | skipped

          failed | errored | cancelled | skipped ─ ─▶ queued | running   (when somebody retries)

    `failed` means that the work said no; `errored` that the machinery broke. A job goes back from
    waiting to queued when somebody passes it, and from running to queued when its worker died. A
    job that is nothing but a gate succeeds when it is passed; refused, it failed.
    """

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @classmethod
    def edges(cls) -> "dict[ExecutionState, frozenset[ExecutionState]]":
        return {
            cls.QUEUED: frozenset(
                {cls.RUNNING, cls.WAITING, cls.ERRORED, cls.CANCELLED, cls.SKIPPED}
            ),
            cls.RUNNING: frozenset(
                {cls.SUCCEEDED, cls.FAILED, cls.ERRORED, cls.CANCELLED, cls.WAITING, cls.QUEUED}
            ),
            cls.WAITING: frozenset(
                {
                    cls.QUEUED,
                    cls.RUNNING,
                    cls.SUCCEEDED,
                    cls.FAILED,
                    cls.ERRORED,
                    cls.CANCELLED,
                }
            ),
        }

    @classmethod
    def reopenings(cls) -> "dict[ExecutionState, frozenset[ExecutionState]]":
        anew = frozenset({cls.QUEUED, cls.RUNNING})
        return {
            cls.FAILED: anew,
            cls.ERRORED: anew,
            cls.CANCELLED: anew,
            # Its condition may come out otherwise when what it asks about is retried.
            cls.SKIPPED: frozenset({cls.QUEUED}),
        }


class Trigger(models.TextChoices):
    """What made a run start."""

    MANUAL = "manual", "Started by hand"
    API = "api", "Started over the API"
    EXTERNAL = "external", "Reported by another CI system"
    PIPELINE = "pipeline", "Another pipeline succeeded"
    PUSH = "push", "Something was pushed"
    AGAIN = "again", "Run again on the same inputs"


class RunQuerySet(models.QuerySet["Run"]):
    def open(self) -> Self:
        return self.filter(state__in=ExecutionState.open_states())

    def with_names(self) -> Self:
        return self.select_related("pipeline", "revision", "started_by")

    def for_work(self) -> Self:
        """With all that executing a job asks of it, and nothing that a runner may not read."""
        people = ("started_by", "revision__created_by")
        hidden = ("password", "email", "first_name", "last_name")
        return self.select_related("pipeline", *people).defer(
            *(f"{who}__{field}" for who in people for field in hidden)
        )


class Run(Stateful):
    """One execution of a revision, numbered 1, 2, 3… within its pipeline."""

    # What was asked for. Never changes.
    pipeline = models.ForeignKey(Pipeline, on_delete=models.PROTECT, related_name="runs")
    number = models.PositiveIntegerField()
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="runs")
    trigger = models.CharField(max_length=20, choices=Trigger)
    variables = models.JSONField(default=dict)
    asked_sources = models.JSONField(default=dict)
    comment = models.CharField(max_length=500, blank=True)
    # Checked when it is reported. A URLField would make a form field that guesses a scheme.
    url = models.CharField(
        max_length=200, blank=True, help_text="Where another CI system shows the run."
    )
    commit = models.CharField(max_length=64, blank=True)
    again_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="again"
    )
    once = models.CharField(
        max_length=200, blank=True, help_text="What may start one run of the pipeline and no more."
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs"
    )
    created_at = models.DateTimeField()

    # What has happened. Written only by runs/.
    state = models.CharField(max_length=10, choices=ExecutionState, default=ExecutionState.QUEUED)
    sources = models.JSONField(default=dict, help_text="What each source was pinned to, and why.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    lease_until = models.DateTimeField(
        null=True, blank=True, help_text="Until when a worker is pinning the sources."
    )
    is_to_follow = models.BooleanField(
        default=False, help_text="It succeeded, and what its success starts has not been started."
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["pipeline", "number"], name="one_run_per_pipeline_and_number"
            ),
            models.UniqueConstraint(
                fields=["pipeline", "once"],
                condition=~models.Q(once=""),
                name="one_run_per_pipeline_and_cause",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ExecutionState.values), name="run_state_is_known"
            ),
        ]
        indexes = [
            # lastSuccessfulBuild: the newest succeeded run of a pipeline.
            models.Index(fields=["pipeline", "state", "-number"], name="runs_of_pipeline_by_state"),
            # The sweeper: every run that is not final.
            models.Index(
                fields=["state"],
                condition=models.Q(state__in=["queued", "running", "waiting"]),
                name="open_runs",
            ),
            # The sweeper: successes whose followers have not been started.
            models.Index(
                fields=["id"], condition=models.Q(is_to_follow=True), name="runs_to_follow"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.slug} #{self.number}"

    @property
    def is_external(self) -> bool:
        return self.trigger == Trigger.EXTERNAL

    @property
    def duration(self) -> float | None:
        return _seconds(self.started_at, self.finished_at)


class JobQuerySet(models.QuerySet["Job"]):
    def open(self) -> Self:
        return self.filter(state__in=ExecutionState.open_states())


class Job(Stateful):
    """One job of a run: steps that share a workspace, or one component."""

    # What was asked for. Never changes.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="jobs")
    stage = models.CharField(max_length=64)
    stage_name = models.CharField(max_length=200)
    stage_position = models.PositiveIntegerField()
    key = models.CharField(max_length=64)
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    needs = models.JSONField(default=list, help_text="Job keys of the same stage.")
    condition = models.TextField(blank=True)
    is_manual = models.BooleanField(default=False, help_text="Starts when somebody passes it.")
    component = models.CharField(max_length=64, blank=True)
    group = models.CharField(
        max_length=200, blank=True, help_text="Which runners may take it; empty: any."
    )
    container = models.CharField(
        max_length=500, blank=True, help_text="The image in which its programs run."
    )
    timeout_minutes = models.PositiveIntegerField()

    # What has happened. Written only by runs/.
    state = models.CharField(max_length=10, choices=ExecutionState, default=ExecutionState.QUEUED)
    dispatched_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    deaths = models.PositiveIntegerField(
        default=0, help_text="How many workers died over it since somebody let it begin."
    )
    log_since = models.PositiveIntegerField(
        default=1, help_text="The first attempt whose log still counts."
    )
    runner = models.CharField(max_length=100, blank=True, help_text="Who took the last attempt.")
    waits_for = models.TextField(blank=True, help_text="Why it does not go on by itself.")
    gate = models.PositiveIntegerField(default=0, help_text="How often it has waited for people.")
    is_passed = models.BooleanField(default=False, help_text="Whether they passed its last gate.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["stage_position", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "stage", "key"], name="one_job_per_run_stage_and_key"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ExecutionState.values), name="job_state_is_known"
            ),
        ]
        indexes = [
            # The sweeper: running jobs whose lease has passed.
            models.Index(
                fields=["lease_until"],
                condition=models.Q(state="running"),
                name="running_jobs_by_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run} {self.stage}.{self.key}"

    @property
    def is_gate(self) -> bool:
        """Whether it is nothing but a gate, and no worker has anything to do for it."""
        return self.component == "ManualValidate"

    @property
    def duration(self) -> float | None:
        return _seconds(self.started_at, self.finished_at)


class Step(Stateful):
    """One step of a job."""

    # What was asked for. Never changes.
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    key = models.CharField(max_length=64)
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=64)

    # What has happened. Written only by runs/.
    state = models.CharField(max_length=10, choices=ExecutionState, default=ExecutionState.QUEUED)
    exit_code = models.IntegerField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["job", "key"], name="one_step_per_job_and_key"),
            models.CheckConstraint(
                condition=models.Q(state__in=ExecutionState.values), name="step_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job}.{self.key}"

    @property
    def duration(self) -> float | None:
        return _seconds(self.started_at, self.finished_at)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def stage_state(states: list[ExecutionState]) -> ExecutionState:
    """The state of a stage, which has no row of its own, out of its jobs' states."""
    for telling in (
        ExecutionState.RUNNING,
        ExecutionState.WAITING,
        ExecutionState.ERRORED,
        ExecutionState.FAILED,
    ):
        if telling in states:
            return telling
    if ExecutionState.QUEUED in states:
        begun = any(state.is_final for state in states)
        return ExecutionState.RUNNING if begun else ExecutionState.QUEUED
    if ExecutionState.CANCELLED in states:
        return ExecutionState.CANCELLED
    if ExecutionState.SUCCEEDED in states:
        return ExecutionState.SUCCEEDED
    return ExecutionState.SKIPPED
