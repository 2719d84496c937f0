"""The rows of a deployment to a group of machines: planned once, gone through batch by batch.

The plan is made when the job first runs and holds for all of its attempts, so that what people saw
when they let it go on is what goes on. A later attempt leaves alone what has succeeded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from pipelines.errors import WrongState
from pipelines.models import Job, Machine, MachineResult, MachineState
from pipelines.states import move, reopen

S = MachineState
GONE = "It is no longer in the group as it was when the job began."
STOPPED = "Something failed before its turn."


@dataclass(frozen=True, slots=True)
class Turn:
    """One machine that this attempt deploys to, and the row that tells of it."""

    result: MachineResult
    machine: Machine


@dataclass(frozen=True, slots=True)
class Rollout:
    """What one attempt of a job has to do: the turns of each batch in order, without those done."""

    job: Job
    batches: tuple[tuple[Turn, ...], ...]


def begin(job: Job, machines: Sequence[Machine], batches: int) -> Rollout:
    """Plan the job, or take up the plan that an earlier attempt of it left."""
    with transaction.atomic():
        if not job.machine_results.exists():
            _plan(job, machines, batches)
        there = {(each.name, each.host, each.port): each for each in machines}
        turns: dict[int, list[Turn]] = {}
        for result in job.machine_results.all():
            batch = turns.setdefault(result.batch, [])
            if result.state == S.SUCCEEDED:
                continue
            _queue(result, job.attempt)
            machine = there.get((result.machine, result.host, result.port))
            if machine is None:
                skip(result, GONE)
            else:
                batch.append(Turn(result, machine))
    return Rollout(job, tuple(tuple(turns[number]) for number in sorted(turns)))


def sizes(machines: int, batches: int) -> list[int]:
    """So many machines in so many batches, as evenly as can be; larger ones first, none empty."""
    batches = min(batches, machines)
    each, more = divmod(machines, batches)
    return [each + (number < more) for number in range(batches)]


def _plan(job: Job, machines: Sequence[Machine], batches: int) -> None:
    batch_of = [
        number
        for number, size in enumerate(sizes(len(machines), batches), start=1)
        for _ in range(size)
    ]
    MachineResult.objects.bulk_create(
        MachineResult(
            job=job,
            machine=machine.name,
            host=machine.host,
            port=machine.port,
            position=position,
            batch=batch,
            attempt=job.attempt,
        )
        for position, (machine, batch) in enumerate(zip(machines, batch_of, strict=True), start=1)
    )


def _queue(result: MachineResult, attempt: int) -> None:
    """Whatever an earlier attempt left of it, a dead worker's included."""
    anew: dict[str, Any] = {
        "attempt": attempt,
        "error": "",
        "started_at": None,
        "finished_at": None,
    }
    if S(result.state).is_final:
        reopen(result, S.QUEUED, **anew)
    elif result.state == S.RUNNING:
        move(result, S.QUEUED, **anew)
    else:
        MachineResult.objects.filter(pk=result.pk).update(attempt=attempt)
        result.attempt = attempt


# ---- What happens to a machine -----------------------------------------------------------------
def start(result: MachineResult) -> None:
    _move(result, S.RUNNING, started_at=timezone.now())


def end(result: MachineResult, error: str, gate: int) -> None:
    state = S.FAILED if error else S.SUCCEEDED
    _move(result, state, finished_at=timezone.now(), error=error, gate=gate)


def skip(result: MachineResult, why: str) -> None:
    _move(result, S.SKIPPED, finished_at=timezone.now(), error=why)


def _move(result: MachineResult, to: S, **changes: Any) -> None:
    """As long as no later attempt of the job has taken it over."""
    try:
        move(result, to, only={"attempt": result.attempt}, **changes)
    except WrongState:
        result.refresh_from_db()


def skip_rest(job: Job) -> None:
    for result in job.machine_results.filter(state=S.QUEUED, attempt=job.attempt):
        skip(result, STOPPED)


# ---- Pauses ------------------------------------------------------------------------------------
def is_passed(job: Job, batch: int) -> bool:
    """Whether people let the job go on after they could see how this batch had gone.

    Told by what they decided, not by what this attempt did: a worker may die between the end of a
    batch and the pause after it, and a refused job may be tried again.
    """
    gates = job.machine_results.filter(batch=batch).values_list("gate", flat=True)
    return job.decisions.filter(gate__gt=max(gates, default=0), passed=True).exists()
