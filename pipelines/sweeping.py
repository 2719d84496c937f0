"""Go through what was left undone: the rows are the to-do list, runs.py decides what becomes."""

from django.conf import settings
from django.utils import timezone

from pipelines import runners, runs
from pipelines.models import ExecutionState, Job, Run, Trigger
from pipelines.queue import nudge

S = ExecutionState


def sweep() -> None:
    """Repeat every nudge that may have been lost, and take over from workers that died."""
    now = timezone.now()
    for job in Job.objects.filter(state=S.RUNNING, lease_until__lt=now):
        runs.take_over(job)
    late = now - settings.SWEEP_EVERY
    dispatched = Job.objects.filter(
        state=S.QUEUED, dispatched_at__lt=late, run__state__in=[S.RUNNING, S.WAITING]
    )
    for pk, group in dispatched.values_list("pk", "group"):
        nudge(runs.EXECUTE, pk, queue=runners.queue_for(group))
    unfinished = Run.objects.open().filter(created_at__lt=late).exclude(trigger=Trigger.EXTERNAL)
    for pk, state in unfinished.values_list("pk", "state"):
        nudge(runs.BEGIN if state == S.QUEUED else runs.ADVANCE, pk)
    for pk in Run.objects.filter(is_to_follow=True, finished_at__lt=late).values_list(
        "pk", flat=True
    ):
        nudge(runs.FOLLOW, pk)
    runners.forget_silent()
