"""Go through what was left undone: the rows are the to-do list, the verbs of runs decide."""

from datetime import timedelta
from functools import cache

from django.conf import settings
from django.utils import timezone

from pipelines import receiving, runners, runs
from pipelines.models import ExecutionState, Job, Run, Runner, Trigger
from pipelines.queue import nudge

S = ExecutionState
#: A nudge is repeated after 1, 2, 4, 8… sweeps, and then once in so many.
LONGEST_PAUSE = 60


def sweep() -> None:
    """Repeat every nudge that may have been lost, and take over from workers that died."""
    now = timezone.now()
    for job in Job.objects.filter(state=S.RUNNING, lease_until__lt=now):
        runs.take_over(job)
    late = now - settings.SWEEP_EVERY
    # Who has just begun to listen has heard nothing yet.
    is_new_here = Runner.objects.filter(started_at__gt=now - 4 * settings.SWEEP_EVERY).exists()
    dispatched = Job.objects.filter(
        state=S.QUEUED, dispatched_at__lt=late, run__state__in=[S.RUNNING, S.WAITING]
    )
    queue_for = cache(runners.queue_for)
    for pk, group, since in dispatched.values_list("pk", "group", "dispatched_at"):
        assert since is not None, "only jobs that were sent off"
        if is_new_here or _is_due(now - since):
            nudge(runs.EXECUTE, pk, queue=queue_for(group))
    unfinished = Run.objects.open().filter(created_at__lt=late).exclude(trigger=Trigger.EXTERNAL)
    for pk, state, since in unfinished.values_list("pk", "state", "created_at"):
        if is_new_here or state == S.QUEUED or _is_due(now - since):
            nudge(runs.BEGIN if state == S.QUEUED else runs.ADVANCE, pk)
    idle = unfinished.filter(state=S.RUNNING).exclude(pk__in=_at_work())
    for pk in idle.values_list("pk", flat=True):
        nudge(runs.ADVANCE, pk)
    following = Run.objects.filter(is_to_follow=True, finished_at__lt=late)
    for pk in following.values_list("pk", flat=True):
        nudge(runs.FOLLOW, pk)
    receiving.expire_overdue()
    receiving.release_ended()
    runners.forget_silent()


def _at_work() -> list[int]:
    """Runs of which a job is at work or was sent off: their end moves them on."""
    busy = Job.objects.filter(state=S.RUNNING) | Job.objects.filter(
        state=S.QUEUED, dispatched_at__isnull=False
    )
    return list(busy.values_list("run_id", flat=True).distinct())


def _is_due(waited: timedelta) -> bool:
    """Whether to repeat a nudge now: ever more seldom, or the broker would fill with repeats."""
    sweeps = waited // settings.SWEEP_EVERY
    return sweeps & (sweeps - 1) == 0 or sweeps % LONGEST_PAUSE == 0
