"""Where a job waits for people, as a page shows it: what for, who has decided, and who may."""

from dataclasses import dataclass

from django.http import HttpRequest

from accounts.models import User
from pipelines import runs
from pipelines.definitions import definition_of
from pipelines.errors import Invalid
from pipelines.models import GateDecision, Job
from pipelines.rules import ALLOWED

LONGEST_COMMENT = 500


@dataclass(frozen=True, slots=True)
class Gate:
    job: Job
    #: What the definition says to those who decide.
    message: str
    decisions: tuple[GateDecision, ...]
    may_decide: bool
    has_decided: bool
    #: Whose word counts, as a sentence.
    who: str


def gate_of(job: Job, user: User) -> Gate:
    """The gate at which the job waits. Its run comes with its revision."""
    decisions = tuple(job.decisions.select_related("by").filter(gate=job.gate))
    message, who = "", f"{_roles()} may pass or refuse it."
    if job.is_gate:
        validators = runs.validators_of(definition_of(job.run.revision), job)
        names = ", ".join(validators.users)
        message = validators.message
        who = f"Each of these must pass it: {names}." if validators.needs_all else ""
        who = who or f"One of these must pass it: {names}."
    return Gate(
        job=job,
        message=message,
        decisions=decisions,
        may_decide=runs.may_decide(user, job),
        has_decided=any(decision.by_id == user.pk for decision in decisions),
        who=who,
    )


def _roles() -> str:
    *first, last = sorted(f"{role.label.lower()}s" for role in ALLOWED["run.decide"])
    return f"{', '.join(first)} and {last}".capitalize()


def comment_of(request: HttpRequest) -> str:
    # A browser counts a line break as one character and sends two.
    comment = request.POST.get("comment", "").replace("\r\n", "\n").strip()
    if len(comment) > LONGEST_COMMENT:
        raise Invalid(f"A comment has at most {LONGEST_COMMENT} characters; this has more.")
    return comment
