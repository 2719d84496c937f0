"""What still blocks a promotion. Pure decisions: values in, values out, nothing read or written.

A policy is a set of rules; a gate is one rule evaluated for one promotion. `promoting.py` gathers
the facts, asks here, and keeps the answer with the promotion.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy revision, read.

    approvals: how many people must approve. self_approval: whether the requester may be one of
    them. upstream: the environment in which every version must be placed first. expires_after_days:
    how long a request waits for its decision.
    """

    approvals: int = 1
    self_approval: bool = False
    upstream: str | None = None
    expires_after_days: int = 14

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Rules":
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """One person's approval, and whether that person may still give it."""

    username: str
    plan_digest: str
    may_decide: bool


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of one version that is to be placed."""

    name: str
    is_recalled: bool
    upstream_since: datetime | None
    is_pruned: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    requested_by: str
    plan_digest: str
    approvals: tuple[GivenApproval, ...]
    items: tuple[ItemFacts, ...]
    is_rollback: bool = False


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a gate is open, and a sentence that says why to a person."""

    name: str
    open: bool
    reason: str
    inputs: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "open": self.open,
            "reason": self.reason,
            "inputs": dict(self.inputs),
        }


def evaluate(rules: Rules, facts: Facts) -> tuple[GateResult, ...]:
    """Every gate of the policy, in the order in which people read them."""
    gates = [_not_recalled(facts)]
    if pruned := [item.name for item in facts.items if item.is_pruned]:
        gates.append(_not_pruned(pruned))
    # What is rolled back to was in this environment before: its way there is not walked again.
    if rules.upstream and not facts.is_rollback:
        gates.append(_upstream(rules.upstream, facts))
    gates.append(_approvals(rules, facts))
    return tuple(gates)


def closed(gates: Iterable[GateResult], *, besides: str = "") -> tuple[GateResult, ...]:
    """The gates that are closed, leaving aside the one named `besides`."""
    return tuple(gate for gate in gates if not gate.open and gate.name != besides)


APPROVALS = "approvals"


def _not_recalled(facts: Facts) -> GateResult:
    recalled = [item.name for item in facts.items if item.is_recalled]
    reason = f"{', '.join(recalled)} was recalled." if recalled else "No version has been recalled."
    return GateResult("not_recalled", not recalled, reason, {"recalled": recalled})


def _not_pruned(pruned: list[str]) -> GateResult:
    """Only ever closed: what can be requested has its bytes, and an open request keeps them."""
    reason = f"{', '.join(pruned)} was pruned: its bytes are no longer kept."
    return GateResult("not_pruned", False, reason, {"pruned": pruned})


def _upstream(upstream: str, facts: Facts) -> GateResult:
    missing = [item.name for item in facts.items if item.upstream_since is None]
    if missing:
        reason = f"{', '.join(missing)} is not in {upstream}. Promote it there first."
    else:
        reason = f"Every version is in {upstream}."
    return GateResult(
        "upstream",
        not missing,
        reason,
        {
            "environment": upstream,
            "since": {
                item.name: item.upstream_since.isoformat() if item.upstream_since else None
                for item in facts.items
            },
        },
    )


def _approvals(rules: Rules, facts: Facts) -> GateResult:
    counted = sorted(
        {
            given.username
            for given in facts.approvals
            if given.plan_digest == facts.plan_digest
            and given.may_decide
            and (rules.self_approval or given.username != facts.requested_by)
        }
    )
    said = f"{len(counted)} of {rules.approvals} approvals"
    if counted:
        said += f" (by {', '.join(counted)})"
    inputs = {"required": rules.approvals, "counted": counted, "plan_digest": facts.plan_digest}
    return GateResult(APPROVALS, len(counted) >= rules.approvals, f"{said}.", inputs)
