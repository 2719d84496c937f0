"""Each gate: one rule of a policy, evaluated for one promotion. Values in, values out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from promotion.gates.facts import Facts, GivenApproval, KnownEvidence
from promotion.gates.freezes import frozen_until
from promotion.gates.language import RequiredEvidence, Rules, duration

APPROVALS = "approvals"
#: What no break-glass opens: such a version must never be anywhere.
UNBREAKABLE = frozenset({"not_recalled", "not_pruned"})
#: How many freeze windows are followed that end within the next. Some never end together.
FOLLOWED = 100


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a gate is open, and a sentence that says why to a person.

    `waits`: it is closed, and may open while the request waits, by time or by what somebody does.
    `opens_at`: when time alone opens it. `overridden`: it is closed, and somebody broke the glass.
    """

    name: str
    open: bool
    reason: str
    inputs: Mapping[str, Any]
    waits: bool = False
    opens_at: datetime | None = None
    overridden: bool = False

    def as_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "name": self.name,
            "open": self.open,
            "reason": self.reason,
            "inputs": dict(self.inputs),
        }
        if self.waits and not self.open:
            said["waits"] = True
        if self.opens_at is not None:
            said["opens_at"] = self.opens_at.isoformat()
        if self.overridden:
            said["overridden"] = True
        return said


def evaluate(rules: Rules, facts: Facts) -> tuple[GateResult, ...]:
    """Every gate of the policy, in the order in which people read them."""
    return tuple(_gates(rules, facts))


def closed(gates: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """The gates that keep a promotion from being carried out."""
    return tuple(gate for gate in gates if not gate.open and not gate.overridden)


def refused(gates: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """The gates for which nothing is even requested: waiting would not open them."""
    return tuple(gate for gate in closed(gates) if not gate.waits)


def overriding(gates: Iterable[GateResult], names: frozenset[str]) -> tuple[GateResult, ...]:
    """The same gates after somebody broke the glass over those called `names`."""
    return tuple(_broken(gate) if _is_broken(gate, names) else gate for gate in gates)


def _is_broken(gate: GateResult, names: frozenset[str]) -> bool:
    return not gate.open and gate.name in names and gate.name not in UNBREAKABLE


def _broken(gate: GateResult) -> GateResult:
    return GateResult(
        gate.name, False, gate.reason, gate.inputs, gate.waits, gate.opens_at, overridden=True
    )


def _gates(rules: Rules, facts: Facts) -> Iterator[GateResult]:
    normal = not facts.is_rollback
    yield _not_recalled(facts)
    if pruned := [item.name for item in facts.items if item.is_pruned]:
        yield _not_pruned(pruned)
    yield from _requester(rules, facts)
    yield from _holds(facts)
    if facts.overdue_reviews and normal:
        yield _reviews(facts)
    # What is rolled back to was in this environment before: its way there is not walked again.
    if rules.upstream and normal:
        yield _upstream(rules.upstream, facts)
        if rules.soak:
            yield _soak(rules.upstream, rules.soak, facts)
    if normal and (rules.versions.range or not rules.versions.pre_releases):
        yield _versions(rules, facts)
    if normal:
        yield from _run(rules, facts)
    if normal or rules.rollback.evidence:
        yield from _all_evidence(rules, facts)
    if rules.freezes and (normal or rules.rollback.freezes):
        yield _freezes(rules, facts)
    if normal:
        yield from _custom(rules, facts)
    yield _approvals(rules, facts)


# ---- The versions ------------------------------------------------------------------------------
def _not_recalled(facts: Facts) -> GateResult:
    recalled = [item.name for item in facts.items if item.is_recalled]
    reason = f"{_names(recalled)} recalled." if recalled else "No version has been recalled."
    return GateResult("not_recalled", not recalled, reason, {"recalled": recalled})


def _not_pruned(pruned: list[str]) -> GateResult:
    """Only ever closed: what can be requested has its bytes, and an open request keeps them."""
    reason = f"{_names(pruned)} pruned: the bytes are no longer kept."
    return GateResult("not_pruned", False, reason, {"pruned": pruned})


def _versions(rules: Rules, facts: Facts) -> GateResult:
    wrong: dict[str, str] = {}
    for item in facts.items:
        if item.is_pre_release and not rules.versions.pre_releases:
            wrong[item.name] = "it is a pre-release"
        elif item.outside_range:
            wrong[item.name] = item.outside_range
    if wrong:
        reason = f"{_each(wrong)}."
    else:
        allowed = f"in {rules.versions.range}" if rules.versions.range else "a release"
        reason = f"Every version is {allowed}."
    allows = {"range": rules.versions.range, "pre_releases": rules.versions.pre_releases}
    return GateResult("versions", not wrong, reason, {**allows, "refused": wrong})


def _upstream(upstream: str, facts: Facts) -> GateResult:
    missing = [item.name for item in facts.items if item.upstream_since is None]
    if missing:
        verb, it = ("is", "it") if len(missing) == 1 else ("are", "them")
        reason = f"{', '.join(missing)} {verb} not in {upstream}. Promote {it} there first."
    else:
        reason = f"Every version is in {upstream}."
    since = {item.name: _iso(item.upstream_since) for item in facts.items}
    inputs = {"environment": upstream, "since": since}
    return GateResult("upstream", not missing, reason, inputs)


def _soak(upstream: str, wanted: str, facts: Facts) -> GateResult:
    needed = duration(wanted)
    since = {item.name: item.upstream_since for item in facts.items}
    inputs = {
        "environment": upstream,
        "soak": wanted,
        "since": {name: _iso(at) for name, at in since.items()},
    }
    there = [at for at in since.values() if at is not None]
    if len(there) < len(since):
        reason = f"What is not in {upstream} cannot soak there."
        return GateResult("soak", False, reason, inputs)
    youngest = max(there, default=facts.now)
    opens_at = youngest + needed
    soaked = max(facts.now - youngest, timedelta(0))
    if soaked >= needed:
        reason = f"Soaked in {upstream} for {in_words(soaked)} of {in_words(needed)}."
        return GateResult("soak", True, reason, inputs)
    reason = (
        f"Soaked in {upstream} for {in_words(soaked)} of {in_words(needed)}; "
        f"opens on {moment(opens_at)}."
    )
    return GateResult("soak", False, reason, inputs, waits=True, opens_at=opens_at)


def _run(rules: Rules, facts: Facts) -> Iterator[GateResult]:
    """One gate for each thing that a policy asks of the run that made a version."""
    asked = rules.run
    if asked.branches:
        wrong = {
            item.name: f"made from {' and '.join(item.branches) or 'no known branch'}"
            for item in facts.items
            if not item.branches or not all(_fits(each, asked.branches) for each in item.branches)
        }
        reason = f"{_each(wrong)}; allowed: {', '.join(asked.branches)}." if wrong else ""
        made = {item.name: list(item.branches) for item in facts.items}
        inputs: dict[str, Any] = {"allowed": list(asked.branches), "made_from": made}
        reason = reason or f"Made from {', '.join(asked.branches)}."
        yield GateResult("branch", not wrong, reason, inputs)
    if asked.pipelines:
        wrong = {
            item.name: f"made by {item.pipeline or 'no pipeline'}"
            for item in facts.items
            if not _fits(item.pipeline, asked.pipelines)
        }
        reason = f"{_each(wrong)}; allowed: {', '.join(asked.pipelines)}." if wrong else ""
        by = {item.name: item.pipeline for item in facts.items}
        inputs = {"allowed": list(asked.pipelines), "made_by": by}
        reason = reason or f"Made by {', '.join(sorted(set(by.values())))}."
        yield GateResult("pipeline", not wrong, reason, inputs)
    if asked.no_manual_override:
        wrong = {item.name: ", ".join(item.overrides) for item in facts.items if item.overrides}
        reason = f"{_each(wrong)}." if wrong else "Nobody changed a run by hand."
        yield GateResult("no_manual_override", not wrong, reason, {"overrides": wrong})


def _all_evidence(rules: Rules, facts: Facts) -> Iterator[GateResult]:
    """Each with a name of its own: who overrides one of two of a type overrides that one only."""
    asked: dict[str, int] = {}
    for each in rules.evidence:
        asked[each.type] = count = asked.get(each.type, 0) + 1
        yield _evidence(each, facts, f"{each.type} ({count})" if count > 1 else each.type)


def _evidence(required: RequiredEvidence, facts: Facts, name: str) -> GateResult:
    wrong: dict[str, str] = {}
    seen: dict[str, list[str]] = {}
    for item in facts.items:
        ours = [each for each in item.evidence if _is_of(each, required.type)]
        seen[item.name] = sorted(each.digest for each in ours)
        if fault := _lacking(required, ours):
            wrong[item.name] = fault
    said = required.type + (f" ({required.result})" if required.result else "")
    if required.signed_by:
        said += f" signed by {' or '.join(required.signed_by)}"
    reason = f"{_each(wrong)}." if wrong else f"Every version has {said}."
    inputs = {
        "type": required.type,
        "result": required.result,
        "signed_by": list(required.signed_by),
        "seen": seen,
        "lacking": wrong,
    }
    # Evidence changes the plan, so a request made without it could only go stale by it.
    return GateResult(f"evidence: {name}", not wrong, reason, inputs)


def _is_of(known: KnownEvidence, type_: str) -> bool:
    return type_ in {known.kind, known.predicate_type}


def _lacking(required: RequiredEvidence, ours: list[KnownEvidence]) -> str:
    """Why the statements are not enough; empty where they are."""
    if not ours:
        return f"{required.type} is missing"
    trusted = [
        each
        for each in ours
        if not required.signed_by or not set(each.keys).isdisjoint(required.signed_by)
    ]
    if not trusted:
        return f"{required.type} is there, but not signed by {' or '.join(required.signed_by)}"
    if required.result and not any(each.result == required.result for each in trusted):
        told = ", ".join(sorted({each.result or "nothing" for each in trusted}))
        return f"{required.type} says {told}, not {required.result}"
    if required.result == "passed" and any(each.result == "failed" for each in trusted):
        return f"{required.type} says passed and failed"
    return ""


# ---- People and time ---------------------------------------------------------------------------
def _requester(rules: Rules, facts: Facts) -> Iterator[GateResult]:
    """Whether whoever asked may still ask; where no policy narrows it, only when not."""
    who, groups = facts.requester, rules.may_roll_back if facts.is_rollback else rules.may_request
    inputs: dict[str, Any] = {"requester": who.username, "groups": list(groups)}
    if groups:
        inputs["in"] = sorted(who.groups.intersection(groups))
    fault = ""
    if not who.may_request:
        fault = f"{who.username} may no longer request promotions."
    elif groups and who.groups.isdisjoint(groups):
        fault = f"{who.username} is in none of {', '.join(groups)}."
    elif who.is_machine and not rules.machines.request:
        fault = f"{who.username} is a machine, and only people request promotions here."
    elif who.is_machine and who.open_requests >= rules.machines.open_requests:
        limit = rules.machines.open_requests
        fault = f"{who.username} has {who.open_requests} open requests here of at most {limit}."
    if fault:
        yield GateResult("requester", False, fault, inputs)
    elif groups:
        said = f"{who.username} is in {', '.join(inputs['in'])}."
        yield GateResult("requester", True, said, inputs)


def _holds(facts: Facts) -> Iterator[GateResult]:
    """A hold keeps machines and rules from bringing a version back, not people who know of it."""
    held = {item.name: item.hold for item in facts.items if item.hold}
    if held:
        is_machine = facts.requester.is_machine
        reason = f"{_each(held)}."
        if not is_machine:
            reason = f"Held for automation only: {reason}"
        yield GateResult("no_hold", not is_machine, reason, {"held": held})


def _reviews(facts: Facts) -> GateResult:
    overdue = list(facts.overdue_reviews)
    reason = f"Reviews are overdue: {'; '.join(overdue)}. Give them first."
    return GateResult("reviews", False, reason, {"overdue": overdue}, waits=True)


def _freezes(rules: Rules, facts: Facts) -> GateResult:
    inputs = {"at": facts.now.isoformat(), "windows": [each.name for each in rules.freezes]}
    names: list[str] = []
    ends: datetime | None = facts.now
    opens_at = facts.now
    # One window may end within another: the gate opens when the last of them has ended.
    for _ in range(FOLLOWED):
        ends = None
        for each in rules.freezes:
            if (until := frozen_until(each, opens_at)) is not None:
                names += [each.name] if each.name not in names else []
                ends = max(ends or until, until)
        if ends is None:
            break
        opens_at = ends
    if not names:
        return GateResult("freeze", True, "No freeze window is open.", inputs)
    if ends is not None:
        said = f"Frozen ({', '.join(names)}), and no end of it is in sight: the windows meet."
        return GateResult("freeze", False, said, inputs, waits=True)
    reason = f"Frozen ({', '.join(names)}); opens on {moment(opens_at)}."
    return GateResult("freeze", False, reason, inputs, waits=True, opens_at=opens_at)


def _custom(rules: Rules, facts: Facts) -> Iterator[GateResult]:
    for each in rules.custom:
        answer = facts.custom.get(each.name)
        inputs = {"expression": each.expression}
        name = f"custom: {each.name}"
        if answer is None or answer.fault:
            why = answer.fault if answer else "it was not asked"
            said = f"{each.name} could not be told: {why}."
            yield GateResult(name, False, said, inputs, waits=each.waits)
        elif answer.holds:
            yield GateResult(name, True, f"{each.name} holds.", inputs)
        else:
            said = each.message or f"{each.name} does not hold."
            yield GateResult(name, False, said, inputs, waits=each.waits)


def _approvals(rules: Rules, facts: Facts) -> GateResult:
    required = rules.approvals_for(rollback=facts.is_rollback)
    counted = {
        given.username: sorted(given.groups)
        for given in sorted(facts.approvals, key=lambda each: each.username)
        if counts(rules, facts, given)
    }
    each_of = () if facts.is_rollback else rules.approvers.one_from_each
    missing = [name for name in each_of if not any(name in groups for groups in counted.values())]
    said = f"{len(counted)} of {required} approvals"
    if rules.second_factor:
        said += " with a passkey"
    if counted:
        said += f" (by {', '.join(counted)})"
    if missing:
        said += f", and none from {', '.join(missing)}"
    inputs: dict[str, Any] = {
        "required": required,
        "counted": list(counted),
        "plan_digest": facts.plan_digest,
    }
    if rules.approvers.groups or each_of:
        inputs["groups"] = counted
        inputs["missing"] = missing
    is_open = len(counted) >= required and not missing
    return GateResult(APPROVALS, is_open, f"{said}.", inputs, waits=True)


def counts(rules: Rules, facts: Facts, given: GivenApproval) -> bool:
    """Whether an approval counts now, on this plan, by this policy."""
    if given.plan_digest != facts.plan_digest or not given.may_decide:
        return False
    if rules.second_factor and not given.second_factor:
        return False
    lasts = rules.approvals_expire_after
    if lasts and facts.now >= given.at + duration(lasts):
        return False
    return not unfit(rules, involved(facts), given.username, given.groups, given.is_machine)


@dataclass(frozen=True, slots=True)
class Involved:
    """Who had a hand in what is decided: who asked, and by name who published which version and
    who started the run that made it."""

    requester: str
    publishers: Mapping[str, str]
    run_starters: Mapping[str, str]


def involved(facts: Facts) -> Involved:
    return Involved(
        facts.requester.username,
        {item.publisher: item.name for item in facts.items},
        {item.run_starter: item.name for item in facts.items},
    )


def unfit(
    rules: Rules, involved: Involved, username: str, groups: frozenset[str], is_machine: bool
) -> str:
    """Why this person's approval cannot count here, whatever their role; empty where it can."""
    if username == involved.requester and not rules.self_approval:
        return "requested it"
    if "publisher" in rules.not_by and username in involved.publishers:
        return f"published {involved.publishers[username]}"
    if "run_starter" in rules.not_by and username in involved.run_starters:
        return f"started the run of {involved.run_starters[username]}"
    if is_machine and not rules.machines.approve:
        return "is a machine"
    wanted = {*rules.approvers.groups, *rules.approvers.one_from_each}
    if rules.approvers.groups and groups.isdisjoint(wanted):
        return f"is in none of {', '.join(sorted(wanted))}"
    return ""


# ---- In words ----------------------------------------------------------------------------------
def in_words(span: timedelta) -> str:
    """A length of time as people say it: its largest unit, of which there are at least two."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 72 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // (24 * 60)} d"


def moment(at: datetime) -> str:
    return f"{at.day} {at:%b %Y %H:%M} UTC"


def _names(names: list[str]) -> str:
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'}"


def _each(wrong: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in wrong.items())


def _fits(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
