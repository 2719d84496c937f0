"""Runners make themselves known, and a job finds the queue that somebody listens to."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import close_old_connections, connection
from django.utils import timezone

from pipelines import builders, containers, isolation, queue
from pipelines.models import ExecutionState, Job, Runner

log = logging.getLogger(__name__)

WhyNobody = Callable[[str], str]

#: After this long a runner that fell silent is no longer shown.
FORGOTTEN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a worker found on its machine when it started."""

    builder: str = ""
    engine: str = ""
    is_isolating: bool = False


# ---- The worker's side -------------------------------------------------------------------------
def own_name() -> str:
    """The name of this worker process: its host, and what tells it from others there."""
    return f"{socket.gethostname()[:80]}-{os.getpid()}"


def own_queues() -> list[str]:
    """The queues of jobs that this worker listens to."""
    groups = settings.RUNNER_GROUPS
    return [queue.queue_of(group) for group in groups] or [queue.ANY_GROUP]


def look_around() -> Abilities:
    """What this worker's machine has. Asks programs, so it takes a while."""
    return Abilities(
        builder=str(builders.current() or ""),
        engine=str(containers.engine() or ""),
        is_isolating=isolation.is_isolating(),
    )


def make_known(found: Abilities) -> Runner:
    """Write down that this worker is there and what it can do."""
    now = timezone.now()
    facts = {
        "groups": list(settings.RUNNER_GROUPS),
        "builder": found.builder[:200],
        "engine": found.engine[:200],
        "is_isolating": found.is_isolating,
        "seen_at": now,
    }
    runner, _ = Runner.objects.update_or_create(
        name=own_name(), defaults=facts, create_defaults={**facts, "started_at": now}
    )
    return runner


def keep_known(found: Abilities, done: threading.Event) -> None:
    """Renew the row until `done` is set, then take it away. Runs in a thread of its own."""
    try:
        while not done.wait(settings.RUNNER_BEAT):
            close_old_connections()
            try:
                make_known(found)
            except Exception:
                # The database may be away for a while; so are the jobs then.
                log.warning("This runner could not make itself known", exc_info=True)
        Runner.objects.filter(name=own_name()).delete()
    finally:
        connection.close()


# ---- The site's side ---------------------------------------------------------------------------
def queue_for(group: str) -> str:
    """Where a job of `group` goes: to those who serve it by name, else to those who serve any."""
    if group and any(group in runner.groups for runner in Runner.objects.alive()):
        return queue.queue_of(group)
    return queue.ANY_GROUP


def why_nobody(group: str) -> str:
    """Why no runner takes a job of `group`, as a sentence; empty when one may."""
    alive = list(Runner.objects.alive())
    if any(not runner.groups or group in runner.groups for runner in alive):
        return ""
    if not alive:
        return "No runner is connected. Start a worker (docs/runners.md)."
    served = sorted({each for runner in alive for each in runner.groups})
    wanted = f"the group “{group}”" if group else "jobs without a group"
    return f"No connected runner serves {wanted}. They serve: {', '.join(served)}."


def why_held(job: Job, why_nobody: WhyNobody = why_nobody) -> str:
    """Why a job that has not ended does not go on, as a sentence; empty where nothing holds it."""
    if job.waits_for:
        return job.waits_for
    is_sent_off = job.state == ExecutionState.QUEUED and job.dispatched_at is not None
    return why_nobody(job.group) if is_sent_off else ""


def forget_silent() -> None:
    """Drop the rows of runners that were killed before they could take them away."""
    Runner.objects.filter(seen_at__lt=timezone.now() - FORGOTTEN).delete()
