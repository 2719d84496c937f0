"""What people and other systems decide: finish, cancel, pass, refuse, retry."""

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from accounts.models import User
from pipelines import rules, sources
from pipelines.definitions import definition_of
from pipelines.errors import AlreadyDecided, Forbidden, Invalid, WrongState
from pipelines.models import ExecutionState, GateDecision, Job, Pipeline, Run
from pipelines.queue import nudge
from pipelines.runs.ending import ADVANCE, BEGIN, close_steps, end_run
from pipelines.runs.gates import Validators, validators_of
from pipelines.runs.starting import make_room
from pipelines.runs.working import begin_steps_anew
from pipelines.states import move, reopen

S = ExecutionState
WAITS = {"state": S.WAITING}


def finish(run: Run, state: ExecutionState, *, by: User) -> Run:
    """End a run that another CI system executed."""
    rules.require(by, "run.report")
    if not run.is_external:
        raise WrongState(f"{run} runs inside Sluice, which ends it itself.", current=run.state)
    if not state.is_final:
        raise Invalid(f"A run is not finished while it is {state}.")
    with transaction.atomic():
        end_run(run, state, "")
    return run


def cancel(run: Run, *, by: User) -> Run:
    """Stop a run. Its worker notices within seconds and kills what is running."""
    rules.require(by, "run.cancel")
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        end_run(locked, S.CANCELLED, f"Cancelled by {by.username}.")
    run.refresh_from_db()
    return run


# ---- Gates -------------------------------------------------------------------------------------
def may_decide(user: User, job: Job) -> bool:
    """Whether the user's word counts where this job waits."""
    validators = validators_of(definition_of(job.run.revision), job) if job.is_gate else None
    return _why_not(user, validators) == ""


def pass_job(job: Job, *, by: User, comment: str = "") -> Job:
    """Say yes where a job waits. It goes on once everybody has whose word it takes."""
    with transaction.atomic():
        validators = _decide(job, by=by, passed=True, comment=comment)
        missing = _still_missing(job, validators)
        if missing:
            waits_for = f"It still waits for {', '.join(missing)}."
            Job.objects.filter(pk=job.pk).update(waits_for=waits_for)
            job.refresh_from_db()
            return job
        if job.is_gate:
            end = {"finished_at": timezone.now(), "waits_for": ""}
            move(job, S.SUCCEEDED, only=WAITS, is_passed=True, **end)
            job.steps.update(state=S.SUCCEEDED, finished_at=end["finished_at"])
        else:
            # Advancing the run lets it go, as it does with every job that may.
            move(
                job,
                S.QUEUED,
                only=WAITS,
                is_passed=True,
                deaths=0,
                dispatched_at=None,
                waits_for="",
            )
        nudge(ADVANCE, job.run_id)
    return job


def refuse_job(job: Job, *, by: User, comment: str = "") -> Job:
    """Say no where a job waits: it failed, and so did its run."""
    with transaction.atomic():
        _decide(job, by=by, passed=False, comment=comment)
        why = f"Refused by {by.username}" + (f": {comment.strip()}" if comment.strip() else ".")
        move(job, S.FAILED, only=WAITS, finished_at=timezone.now(), error=why, waits_for="")
        close_steps(job, S.CANCELLED)
        nudge(ADVANCE, job.run_id)
    return job


def _decide(job: Job, *, by: User, passed: bool, comment: str) -> Validators | None:
    """Write down one person's word, once it is known to count and the job does wait."""
    run = Run.objects.select_for_update(of=("self",)).with_names().get(pk=job.run_id)
    job.refresh_from_db()
    validators = validators_of(definition_of(run.revision), job) if job.is_gate else None
    if why_not := _why_not(by, validators):
        raise Forbidden(why_not)
    if job.state != S.WAITING:
        raise WrongState(
            f"This job is {job.state}; only one that is waiting can be passed or refused.",
            current=job.state,
        )
    try:
        with transaction.atomic():
            GateDecision.objects.create(
                job=job,
                gate=job.gate,
                by=by,
                passed=passed,
                comment=comment.strip()[:500],
                at=timezone.now(),
            )
    except IntegrityError as error:
        raise AlreadyDecided(f"{by.username} has decided on this already.") from error
    return validators


def _why_not(user: User, validators: Validators | None) -> str:
    """Why a person's word does not count, or empty. A ManualValidate names those whose does."""
    try:
        rules.require(user, "run.decide" if validators is None else "view")
    except Forbidden as refusal:
        return refusal.detail
    if validators is not None and user.username not in validators.users:
        return f"Only {', '.join(validators.users)} may decide here (validatorUsers)."
    return ""


def _still_missing(job: Job, validators: Validators | None) -> tuple[str, ...]:
    if validators is None:
        return ()
    said = job.decisions.filter(gate=job.gate, passed=True)
    return validators.missing(said.values_list("by__username", flat=True))


# ---- Retry -------------------------------------------------------------------------------------
def retry(run: Run, *, by: User) -> Run:
    """Have what did not succeed begun anew, on the same inputs; what succeeded is kept."""
    rules.require(by, "run.start")
    if run.is_external:
        raise WrongState(
            f"{run} was executed by another CI system, which can retry it.", current=run.state
        )
    if run.state == S.SUCCEEDED:
        raise WrongState(f"{run} succeeded: run it again instead.", current=run.state)
    if not run.jobs.exists():
        # Nothing would be left to fail: it would succeed without having done anything.
        raise WrongState(
            f"{run} could not be started, so nothing of it can be retried. Start a new run.",
            current=run.state,
        )
    with transaction.atomic():
        Pipeline.objects.select_for_update().get(pk=run.pipeline_id)
        locked = Run.objects.select_for_update(of=("self",)).with_names().get(pk=run.pk)
        definition = definition_of(locked.revision)
        sources.recheck(definition, locked.sources)
        make_room(locked, definition)
        has_begun = locked.started_at is not None
        reopen(locked, S.RUNNING if has_begun else S.QUEUED, finished_at=None, error="")
        for job in jobs_to_retry(list(locked.jobs.all())):
            reopen(
                job,
                S.QUEUED,
                dispatched_at=None,
                started_at=None,
                finished_at=None,
                error="",
                is_passed=False,
                deaths=0,
                log_since=F("attempt") + 1,
            )
            begin_steps_anew(job)
        nudge(ADVANCE if has_begun else BEGIN, run.pk)
    run.refresh_from_db()
    return run


def jobs_to_retry(jobs: list[Job]) -> list[Job]:
    """What did not succeed, and the skipped ones whose condition may come out otherwise now."""
    bad = {job.pk for job in jobs if job.state in {S.FAILED, S.ERRORED, S.CANCELLED}}
    first = min((job.stage_position for job in jobs if job.pk in bad), default=0)
    again = set(bad)
    grew = True
    while grew:
        anew = {(job.stage, job.key) for job in jobs if job.pk in again}
        late = {
            job.pk
            for job in jobs
            if job.state == S.SKIPPED
            and (job.stage_position > first or any((job.stage, need) in anew for need in job.needs))
        }
        grew = not late <= again
        again |= late
    return [job for job in jobs if job.pk in again]
