"""Where a run waits for people: who may decide, and what their words amount to.

A job is a gate in three ways: `driven: manual` holds it before its work, the component
ManualValidate is nothing but a gate, and a deployment may pause between its batches.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from accounts.models import User
from pipelines.flow.document import Definition, Value, as_text
from pipelines.models import ExecutionState, Job
from pipelines.runs.ending import end_unrun
from pipelines.states import move

S = ExecutionState


@dataclass(frozen=True, slots=True)
class Validators:
    """Whose word counts at a ManualValidate, and whether all of them must pass it."""

    users: tuple[str, ...]
    needs_all: bool
    message: str = ""

    def missing(self, passed: Iterable[str]) -> tuple[str, ...]:
        """Who must still pass it, given who did; empty once that is enough."""
        done = set(passed) & set(self.users)
        if done and not self.needs_all:
            return ()
        return tuple(name for name in self.users if name not in done)


def validators_of(definition: Definition, job: Job) -> Validators:
    """What the definition says of a ManualValidate. A name that stands twice counts once."""
    declared = definition.job(job.stage, job.key)
    with_ = declared.with_ if declared else {}
    names = dict.fromkeys(_names(with_.get("validatorUsers")))
    return Validators(
        users=tuple(names),
        needs_all=as_text(with_.get("validateMethod")) == "and",
        message=as_text(with_.get("message"))[:1000],
    )


def _names(value: Value) -> list[str]:
    """A list, or one text in which commas or line breaks may part several names."""
    texts = [as_text(each) for each in value] if isinstance(value, list) else [as_text(value)]
    parts = [part.strip() for text in texts for part in text.replace(",", "\n").splitlines()]
    return [part for part in parts if part]


def open_gate(job: Job, definition: Definition) -> None:
    """Have a job wait. A ManualValidate that nobody could ever pass ends at once."""
    waits_for = "Somebody must pass it before it begins."
    if job.is_gate:
        validators = validators_of(definition, job)
        known = User.objects.filter(username__in=validators.users, is_active=True)
        unknown = sorted(set(validators.users) - set(known.values_list("username", flat=True)))
        if len(unknown) == len(validators.users) or (unknown and validators.needs_all):
            who = f"active user “{unknown[0][:64]}”" if unknown else "name in it"
            end_unrun(job, S.ERRORED, f"validatorUsers: there is no {who}.")
            return
        among = "all of" if validators.needs_all else "one of"
        waits_for = validators.message or f"It waits for {among}: {', '.join(validators.users)}."
    move(job, S.WAITING, gate=job.gate + 1, is_passed=False, waits_for=waits_for)
