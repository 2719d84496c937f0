"""What a policy would have said of promotions that were carried out, before it is set. Reads only.

Each is asked about as it was when it was carried out: what was upstream then, the evidence that was
there, the approvals that counted. Groups are known as far as the gates kept them. Where a fact is
not kept, the gate is asked twice, with the best and with the worst that it may have been; if it
makes a difference, the gate cannot be told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Max, Min, Prefetch, Q

from accounts.models import User
from promotion import expressions, gates, gathering, rules
from promotion.evidence import facts
from promotion.gates import (
    APPROVALS,
    CustomAnswer,
    Facts,
    GateResult,
    GivenApproval,
    ItemFacts,
    KnownEvidence,
    Requester,
    Rules,
)
from promotion.models import (
    Approval,
    Decision,
    Environment,
    Evidence,
    Placement,
    Promotion,
    PromotionItem,
    PromotionKind,
    PromotionQuerySet,
    PromotionState,
)
from promotion.ranges import Range

#: How many promotions a replay may be asked for.
MOST = 200


@dataclass(frozen=True, slots=True)
class Replayed:
    """A promotion, and the gates that would have stopped it, or those that cannot be told."""

    promotion: Promotion
    gates: tuple[GateResult, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    checked: int
    stopped: tuple[Replayed, ...]
    unknown: tuple[Replayed, ...]


def replay(environment: Environment, policy: Rules, *, by: User, last: int = 50) -> Replay:
    """What `policy` says of the last promotions that were carried out in `environment`."""
    rules.require(by, "environment.manage")
    looked_at = list(_completed(environment)[: min(last, MOST)])
    past = _Past.of(environment, policy, looked_at)
    stopped: list[Replayed] = []
    unknown: list[Replayed] = []
    for promotion, custom in zip(looked_at, _custom(policy, looked_at, past), strict=True):
        best, worst = (
            _gates(promotion, policy, past, custom, hopeful=hopeful) for hopeful in (True, False)
        )
        untold = [
            bad for good, bad in zip(best, worst, strict=True) if _opens(good) and not _opens(bad)
        ]
        if closed := gates.closed(best):
            stopped.append(Replayed(promotion, closed))
        elif untold:
            unknown.append(Replayed(promotion, tuple(untold)))
    return Replay(len(looked_at), tuple(stopped), tuple(unknown))


def _completed(environment: Environment) -> PromotionQuerySet:
    items = PromotionItem.objects.select_related(
        "version__package__repository",
        "version__published_by",
        "version__artifact__run__pipeline",
        "version__artifact__run__started_by",
    )
    approvals = Approval.objects.filter(decision=Decision.APPROVE).select_related("by")
    return (
        Promotion.objects.filter(environment=environment, state=PromotionState.COMPLETED)
        .select_related("environment", "requested_by")
        .prefetch_related(
            Prefetch("items", queryset=items),
            Prefetch("approvals", queryset=approvals.prefetch_related("by__groups")),
        )
        .order_by("-id")
    )


def _opens(gate: GateResult) -> bool:
    return not gates.closed([gate])


def _gates(
    promotion: Promotion,
    policy: Rules,
    past: "_Past",
    custom: Mapping[str, CustomAnswer] | None,
    *,
    hopeful: bool,
) -> tuple[GateResult, ...]:
    if custom is None:
        told = CustomAnswer(True) if hopeful else CustomAnswer(False, "it took too long")
        custom = {each.name: told for each in policy.custom}
    else:
        # No gate keeps every group of whoever requested.
        blind = CustomAnswer(hopeful, "" if hopeful else "the requester's groups were not kept")
        custom = {
            each.name: blind if "groups" in each.expression else custom[each.name]
            for each in policy.custom
        }
    facts = past.facts(promotion, policy, hopeful=hopeful)
    then = gates.evaluate(policy, replace(facts, custom=custom))
    broken = frozenset(str(each["name"]) for each in promotion.gates if each.get("overridden"))
    return gates.overriding(then, broken)


# ---- The facts of then -------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Past:
    """What was kept of all that is looked at, found in a fixed number of questions."""

    #: By version: when each stay in the upstream environment began, ended and was recorded.
    stays: Mapping[int, Sequence[Placement]]
    evidence: Mapping[int, Sequence[Evidence]]
    #: By machine: when each of its requests here was made and over.
    requests: Mapping[int, Sequence[tuple[int, datetime, datetime | None]]]
    allowed: Range | None

    @classmethod
    def of(cls, environment: Environment, policy: Rules, looked_at: Sequence[Promotion]) -> "_Past":
        versions = {item.version_id for each in looked_at for item in each.items.all()}
        stays: dict[int, list[Placement]] = {}
        if policy.upstream:
            there = Placement.objects.filter(
                environment__name=policy.upstream, version__in=versions
            )
            for placement in there:
                stays.setdefault(placement.version_id, []).append(placement)
        evidence: dict[int, list[Evidence]] = {}
        if policy.evidence or policy.custom:
            statements = Evidence.objects.filter(version__in=versions)
            for statement in statements.prefetch_related("signatures__key"):
                evidence.setdefault(statement.version_id, []).append(statement)
        allowed = Range(policy.versions.range) if policy.versions.range else None
        return cls(stays, evidence, _requests_of_machines(environment, looked_at), allowed)

    def facts(self, promotion: Promotion, policy: Rules, *, hopeful: bool) -> Facts:
        assert promotion.finished_at is not None, "what is completed has an end"
        return Facts(
            environment=promotion.environment.name,
            now=promotion.finished_at,
            requester=self._requester(promotion, policy, hopeful=hopeful),
            plan_digest=promotion.plan_digest,
            approvals=_approvals(promotion, policy, hopeful=hopeful),
            items=tuple(self._item(item, promotion.finished_at) for item in promotion.items.all()),
            is_rollback=promotion.kind == PromotionKind.ROLLBACK,
        )

    def _item(self, item: PromotionItem, then: datetime) -> ItemFacts:
        version = item.version
        since = [
            stay.since
            for stay in self.stays.get(version.pk, ())
            if stay.since <= then and (stay.until is None or stay.until > then)
        ]
        # It was placed, so it was neither recalled nor pruned.
        return ItemFacts(
            str(version),
            version.name,
            False,
            max(since, default=None),
            evidence=tuple(
                _known(each, at=then)
                for each in self.evidence.get(version.pk, ())
                if each.added_at <= then
            ),
            **gathering.lasting(version, version.artifact.run, self.allowed),
        )

    def _requester(self, promotion: Promotion, policy: Rules, *, hopeful: bool) -> Requester:
        by = promotion.requested_by
        is_rollback = promotion.kind == PromotionKind.ROLLBACK
        asked = policy.may_roll_back if is_rollback else policy.may_request
        kept = _kept(promotion, "requester")
        known = frozenset(kept.get("in", ()))
        # Which of the groups it was looked for in then; of the others nothing is known.
        looked_for = frozenset(kept.get("groups", ())) if "in" in kept else frozenset[str]()
        return Requester(
            by.username,
            groups=known | (frozenset(asked) - looked_for if hopeful else frozenset()),
            is_machine=by.is_machine,
            open_requests=sum(
                1
                for pk, requested_at, finished_at in self.requests.get(by.pk, ())
                if pk != promotion.pk and _was_open(requested_at, finished_at, promotion)
            ),
        )


def _known(statement: Evidence, *, at: datetime) -> KnownEvidence:
    keys = facts.verified_by(statement, at=at)
    return KnownEvidence(
        statement.digest, statement.kind, statement.predicate_type, statement.result, keys
    )


def _was_open(begun: datetime, over: datetime | None, promotion: Promotion) -> bool:
    then = promotion.finished_at
    assert then is not None, "what is completed has an end"
    return begun <= then and (over is None or over > then)


def _requests_of_machines(
    environment: Environment, looked_at: Sequence[Promotion]
) -> dict[int, list[tuple[int, datetime, datetime | None]]]:
    machines = {each.requested_by_id for each in looked_at if each.requested_by.is_machine}
    found: dict[int, list[tuple[int, datetime, datetime | None]]] = {}
    if not machines:
        return found
    ours = Promotion.objects.filter(pk__in=[each.pk for each in looked_at])
    span = ours.aggregate(first=Min("finished_at"), last=Max("finished_at"))
    theirs = Promotion.objects.filter(
        Q(finished_at__isnull=True) | Q(finished_at__gt=span["first"]),
        environment=environment,
        requested_by__in=machines,
        requested_at__lte=span["last"],
    )
    rows = theirs.values_list("requested_by_id", "pk", "requested_at", "finished_at")
    for by, pk, requested_at, finished_at in rows:
        found.setdefault(by, []).append((pk, requested_at, finished_at))
    return found


def _approvals(promotion: Promotion, policy: Rules, *, hopeful: bool) -> tuple[GivenApproval, ...]:
    """Those that counted then, with the groups in which people were then as far as it was kept."""
    kept = _kept(promotion, APPROVALS)
    counted = frozenset(kept.get("counted", ()))
    groups: Mapping[str, Sequence[str]] = kept.get("groups", {})
    wanted = frozenset((*policy.approvers.groups, *policy.approvers.one_from_each))
    at_best = wanted if hopeful else frozenset[str]()
    given = (gathering.given(each) for each in promotion.approvals.all())
    return tuple(
        replace(
            each,
            may_decide=True,
            groups=frozenset(groups[each.username]) if each.username in groups else at_best,
        )
        for each in given
        if each.username in counted
    )


def _kept(promotion: Promotion, name: str) -> Mapping[str, Any]:
    """What a gate had looked at when the promotion was carried out; nothing if there was none."""
    inputs = (each.get("inputs", {}) for each in promotion.gates if each["name"] == name)
    return next(inputs, {})


# ---- Own gates ---------------------------------------------------------------------------------
def _custom(
    policy: Rules, looked_at: Sequence[Promotion], past: _Past
) -> list[dict[str, CustomAnswer] | None]:
    """What the policy's expressions say of each; None where it took too long."""
    if not policy.custom:
        return [{} for _ in looked_at]
    return expressions.answers_each(
        policy.custom, [_in_plain(each, policy, past) for each in looked_at]
    )


def _in_plain(promotion: Promotion, policy: Rules, past: _Past) -> dict[str, Any]:
    facts = past.facts(promotion, policy, hopeful=False)
    plain = gathering.in_plain(
        facts.environment,
        promotion.kind,
        facts.requester,
        items=facts.items,
        given=facts.approvals,
        now=facts.now,
    )
    del plain["requester"]["groups"]
    return plain
