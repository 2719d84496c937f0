"""A policy as sentences, one for each rule."""

from collections.abc import Iterator

from promotion.gates import Rules
from promotion.gates.deciding import in_words as length
from promotion.gates.language import (
    Freeze,
    Machines,
    RequiredEvidence,
    RunRule,
    VersionRule,
    duration,
)


def in_words(rules: Rules) -> list[str]:
    return [
        *_approvals(rules),
        *_requests(rules),
        *_way(rules),
        *(_evidence(each) for each in rules.evidence),
        *(_freeze(each) for each in rules.freezes),
        *(f"“{each.name}” must hold." for each in rules.custom),
        *_rollback(rules),
        *_override(rules),
        *_automatic(rules),
        "A recalled version is never placed.",
    ]


def _approvals(rules: Rules) -> Iterator[str]:
    if rules.approvals == 0:
        yield "Nobody needs to approve: a request is placed once every other gate is open."
    else:
        people = "1 person" if rules.approvals == 1 else f"{rules.approvals} people"
        among = "may be one of them" if rules.self_approval else "may not be one of them"
        yield f"{people} must approve the exact plan; the requester {among}."
    each_of = rules.approvers.one_from_each
    if rules.approvers.groups:
        yield f"Only approvals from {_any(*rules.approvers.groups, *each_of)} count."
    if each_of:
        yield f"At least one must come from each of {', '.join(each_of)}."
    who = {"publisher": "published a version", "run_starter": "started the run that made it"}
    if rules.not_by:
        yield f"Whoever {' or '.join(who[each] for each in rules.not_by)} may not approve it."
    if rules.second_factor:
        yield "Each approval is signed with a passkey."
    if rules.approvals_expire_after:
        yield f"An approval counts for {_length(rules.approvals_expire_after)}."


def _requests(rules: Rules) -> Iterator[str]:
    if rules.may_request:
        yield f"Only members of {_any(*rules.may_request)} may request."
    if not rules.machines.request:
        yield "Machines may not request."
    elif rules.machines.open_requests != Machines().open_requests:
        limit = _count(rules.machines.open_requests, "open request")
        yield f"A machine may have {limit} at a time."
    if rules.machines.approve:
        yield "Machines may approve."
    days = "1 day" if rules.expires_after_days == 1 else f"{rules.expires_after_days} days"
    yield f"A request expires after {days}."


def _way(rules: Rules) -> Iterator[str]:
    if rules.upstream:
        soak = f" for {_length(rules.soak)}" if rules.soak else ""
        yield f"Every version must be in {rules.upstream}{soak} first. Rollbacks need not."
    else:
        yield "Versions may come here from anywhere."
    if rules.run.branches:
        yield f"Versions are made from {_any(*rules.run.branches)}."
    if rules.run.pipelines:
        yield f"Versions are made by {_any(*rules.run.pipelines)}."
    if rules.run.no_manual_override:
        yield "Nobody may have given their run variables by hand."
    if rules.versions.range:
        yield f"Versions are in {rules.versions.range}."
    if not rules.versions.pre_releases:
        yield "Pre-releases may not come here."


def _evidence(required: RequiredEvidence) -> str:
    result = f" that says {required.result}" if required.result else ""
    signed = f", signed by {_any(*required.signed_by)}" if required.signed_by else ""
    return f"Every version has {required.type}{result}{signed}."


def _freeze(freeze: Freeze) -> str:
    starts, ends = (text.replace("T", " ") for text in (freeze.starts, freeze.ends))
    again = f", {freeze.repeats}" if freeze.repeats else ""
    return f"Nothing is placed in “{freeze.name}”: {starts} to {ends} {freeze.time_zone}{again}."


def _rollback(rules: Rules) -> Iterator[str]:
    """What is different for a version that was here before, where anything is."""
    if rules.may_roll_back:
        yield f"Only members of {_any(*rules.may_roll_back)} may roll back."
    if rules.rollback.approvals is not None:
        yield f"A rollback takes {_count(rules.rollback.approvals, 'approval')}."
    if each_of := rules.approvers.one_from_each:
        yield f"A rollback need not have one from each of {', '.join(each_of)}."
    held = [
        what
        for what, is_there, holds in (
            ("evidence", rules.evidence, rules.rollback.evidence),
            ("freezes", rules.freezes, rules.rollback.freezes),
        )
        if is_there and not holds
    ]
    if held:
        yield f"Rollbacks are not held back by {' or '.join(held)}."
    if rules.run != RunRule() or rules.versions != VersionRule() or rules.custom:
        yield "What was here before is not asked again for its run, its name or own gates."


def _override(rules: Rules) -> Iterator[str]:
    if not rules.override.groups:
        yield "Nobody may break the glass."
        return
    owed = rules.override.reviews
    review = "nobody owes a review"
    if owed:
        others = "1 other owes" if owed == 1 else f"{owed} others owe"
        review = f"{others} a review within {_length(rules.override.review_within)}"
    yield f"In an emergency {_any(*rules.override.groups)} may break the glass; {review}."


def _automatic(rules: Rules) -> Iterator[str]:
    if rules.automatic:
        yield f"Sluice itself requests what is in {rules.upstream} once every gate is open."


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _any(*names: str) -> str:
    return " or ".join(dict.fromkeys(names))


def _length(text: str) -> str:
    return length(duration(text))
