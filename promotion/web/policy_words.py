"""A policy as sentences, one for each rule."""

from collections.abc import Iterator

from promotion.gates import Rules
from promotion.gates.deciding import in_words as length
from promotion.gates.language import Freeze, RequiredEvidence, duration


def in_words(rules: Rules) -> list[str]:
    return [
        *_approvals(rules),
        *_requests(rules),
        *_way(rules),
        *(_evidence(each) for each in rules.evidence),
        *(_freeze(each) for each in rules.freezes),
        *_besides(rules),
        "A recalled version is never placed.",
    ]


def _approvals(rules: Rules) -> Iterator[str]:
    if rules.approvals == 0:
        yield "Nobody needs to approve: a request is placed at once."
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


def _besides(rules: Rules) -> Iterator[str]:
    for each in rules.custom:
        yield f"“{each.name}” must hold."
    if rules.rollback.approvals is not None:
        yield f"A rollback takes {rules.rollback.approvals} approvals."
    if rules.may_roll_back:
        yield f"Only members of {_any(*rules.may_roll_back)} may roll back."
    if rules.override.groups:
        yield f"In an emergency {_any(*rules.override.groups)} may break the glass."
    if rules.automatic:
        yield "Sluice promotes by itself what passes every gate."


def _any(*names: str) -> str:
    return " or ".join(dict.fromkeys(names))


def _length(text: str) -> str:
    return length(duration(text))
