"""The facts that a promotion's gates are asked about, and how the gates stand. Reads only.

What a policy does not ask for is not looked up.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.models import User
from pipelines.models import Run, Trigger
from promotion import expressions, gates, itself, rules
from promotion.evidence import facts
from promotion.gates import (
    Facts,
    GateResult,
    GivenApproval,
    ItemFacts,
    KnownEvidence,
    Requester,
    Rules,
)
from promotion.gates.language import RunRule
from promotion.models import (
    Approval,
    Decision,
    Environment,
    Hold,
    Override,
    Placement,
    Promotion,
    PromotionKind,
    PromotionState,
    Version,
    VersionState,
)
from promotion.plans import Plan, replan
from promotion.policies import current_policy, rules_of
from promotion.ranges import Range, semantic


# ---- How gates stand ---------------------------------------------------------------------------
def preview_gates(planned: Plan, *, by: User) -> tuple[GateResult, ...]:
    """The gates as they would stand if `by` requested this plan now."""
    policy = rules_of(current_policy(planned.environment))
    return gates.evaluate(policy, facts_of(planned, policy, requester=by))


def current_gates(promotion: Promotion, planned: Plan | None = None) -> tuple[GateResult, ...]:
    """The gates of a promotion as they stand now."""
    planned = planned or replan(promotion)
    policy = rules_of(current_policy(planned.environment))
    evaluated = gates.evaluate(policy, facts_of(planned, policy, promotion=promotion))
    # Like an approval, it counts for the plan that it was given for, and for no other.
    given = Override.objects.filter(promotion=promotion, plan_digest=planned.digest)
    broken = given.select_related("by").first()
    if broken is None or not _may_override(policy, broken.by):
        return evaluated
    return gates.overriding(evaluated, frozenset(broken.gates))


def _may_override(policy: Rules, by: User) -> bool:
    """Whether an override counts still: like an approval, only of whoever may give it now."""
    is_named = not groups_of(by).isdisjoint(policy.override.groups)
    return is_named and not by.is_machine and rules.may(by, "promotion.override")


def shown_gates(promotion: Promotion) -> list[dict[str, Any]]:
    """The gates as people are to see them: live while it is open, as kept once it is over."""
    if PromotionState(promotion.state) in {PromotionState.REQUESTED, PromotionState.APPROVED}:
        return [gate.as_json() for gate in current_gates(promotion)]
    return list(promotion.gates)


# ---- Facts -------------------------------------------------------------------------------------
def facts_of(
    planned: Plan,
    policy: Rules,
    *,
    promotion: Promotion | None = None,
    requester: User | None = None,
) -> Facts:
    """What is known of a plan that `requester` would ask for, or of a promotion that was."""
    now = timezone.now()
    by = promotion.requested_by if promotion is not None else requester
    assert by is not None, "either there is a promotion, or somebody who asks"
    items = _items(planned, policy)
    given = _given(promotion) if promotion is not None else ()
    who = _requester(by, planned.environment, promotion)
    known = Facts(
        environment=planned.environment.name,
        now=now,
        requester=who,
        plan_digest=planned.digest,
        approvals=given,
        items=items,
        is_rollback=planned.kind == PromotionKind.ROLLBACK,
        overdue_reviews=_overdue_reviews(planned.environment, now),
    )
    if not policy.custom:
        return known
    # Like the gate of approvals, an expression sees those that count: not of whoever has left.
    counted = [each for each in given if gates.counts(policy, known, each)]
    plain = in_plain(known.environment, planned.kind, who, items=items, given=counted, now=now)
    return replace(known, custom=expressions.answers(policy.custom, plain))


def _requester(by: User, environment: Environment, promotion: Promotion | None) -> Requester:
    open_requests = 0
    # A limit of requests: a later one, or one that is retried, does not close those before it.
    if by.is_machine and promotion is None:
        theirs = Promotion.objects.open().filter(environment=environment, requested_by=by)
        open_requests = theirs.count()
    return Requester(
        by.username,
        may_request=itself.is_sluice(by) or rules.may(by, "promotion.request"),
        groups=groups_of(by),
        is_machine=by.is_machine,
        open_requests=open_requests,
    )


def groups_of(user: User) -> frozenset[str]:
    return frozenset(group.name for group in user.groups.all())


def _given(promotion: Promotion) -> tuple[GivenApproval, ...]:
    approvals = (
        promotion.approvals.filter(decision=Decision.APPROVE)
        .select_related("by")
        .prefetch_related("by__groups")
    )
    return tuple(given(approval) for approval in approvals)


def given(approval: Approval) -> GivenApproval:
    return GivenApproval(
        approval.by.username,
        approval.plan_digest,
        rules.may(approval.by, "promotion.decide"),
        approval.at,
        groups=groups_of(approval.by),
        is_machine=approval.by.is_machine,
        second_factor=approval.second_factor is not None,
    )


def _items(planned: Plan, policy: Rules) -> tuple[ItemFacts, ...]:
    versions = [version for version, _ in planned.items]
    since = _upstream_since(policy.upstream, versions) if policy.upstream else {}
    runs = _runs(versions) if _asks_for_runs(policy) else {}
    evidence = known_evidence(versions) if policy.evidence or policy.custom else {}
    holds = _holds(planned.environment, versions)
    allowed = Range(policy.versions.range) if policy.versions.range else None
    return tuple(
        ItemFacts(
            str(version),
            version.name,
            version.state == VersionState.RECALLED,
            since.get(version.pk),
            is_pruned=version.pruned_at is not None,
            evidence=evidence.get(version.pk, ()),
            hold=holds.get(version.pk, ""),
            **lasting(version, runs.get(version.pk), allowed),
        )
        for version in versions
    )


def lasting(version: Version, run: Run | None, allowed: Range | None) -> dict[str, Any]:
    """What is true of a version as long as it exists."""
    return {
        "publisher": version.published_by.username,
        "outside_range": allowed.refusal(version.name) if allowed else "",
        "is_pre_release": _is_pre_release(version.name),
        **_of_run(run, version),
    }


def _upstream_since(upstream: str, versions: Iterable[Version]) -> dict[int, datetime]:
    placed = Placement.objects.current().filter(environment__name=upstream, version__in=versions)
    return dict(placed.values_list("version_id", "since"))


def _holds(environment: Environment, versions: Iterable[Version]) -> dict[int, str]:
    """By version, why automation is kept from placing it here."""
    standing = Hold.objects.standing().filter(environment=environment, version__in=versions)
    return {
        hold.version_id: f"held by {hold.by.username}: {hold.reason.rstrip('.')}"
        for hold in standing.select_related("by")
    }


def _overdue_reviews(environment: Environment, now: datetime) -> tuple[str, ...]:
    overdue = Override.objects.overdue(now).filter(promotion__environment=environment)
    return tuple(
        f"of promotion {each.promotion_id}, due {each.review_due:%Y-%m-%d}"
        for each in overdue.order_by("pk")
    )


# ---- Where Sluice promotes by itself -------------------------------------------------------------
def automatic_environments() -> list[Environment]:
    """Those whose policy promotes by itself what its gates let through."""
    # Rules are canonical text; few policies say it.
    return list(Environment.objects.with_names().filter(policy__rules__contains='"automatic":true'))


def automatic_downstream(environment: Environment) -> list[int]:
    """The environments that take by themselves what is placed in this one."""
    return [
        each.pk
        for each in automatic_environments()
        if rules_of(current_policy(each)).upstream == environment.name
    ]


def _asks_for_runs(policy: Rules) -> bool:
    return bool(policy.not_by or policy.custom or policy.run != RunRule())


def _runs(versions: Iterable[Version]) -> dict[int, Run]:
    found = Version.objects.filter(pk__in=[version.pk for version in versions])
    of_runs = found.select_related("artifact__run__pipeline", "artifact__run__started_by")
    return {version.pk: version.artifact.run for version in of_runs}


def _of_run(run: Run | None, version: Version) -> dict[str, Any]:
    if run is None:
        return {}
    # As it was when the version was published: that is what its manifest is sealed with.
    sources: Mapping[str, Mapping[str, Any]] = version.provenance.get("sources", {})
    origin = _origin(run)
    branches = {
        _branch(pinned, is_named=_names_commit(origin, source_id))
        for source_id, pinned in sources.items()
        if pinned.get("branch")
    }
    return {
        "run_starter": run.started_by.username,
        "branches": tuple(sorted(branches)),
        "pipeline": run.pipeline.slug,
        "overrides": tuple(_by_hand(origin)),
    }


def _origin(run: Run) -> Run:
    """Where a run's inputs were asked for: of one that was started again, the first."""
    while run.trigger == Trigger.AGAIN and run.again_of is not None:
        run = run.again_of
    return run


def _names_commit(origin: Run, source_id: str) -> bool:
    """Whether a caller named the commit. Nobody has looked whether it is on the branch; what was
    pushed, the server that has the branch says."""
    is_asked = origin.trigger in {Trigger.MANUAL, Trigger.API}
    return is_asked and bool(origin.asked_sources.get(source_id, {}).get("commit"))


def _branch(pinned: Mapping[str, Any], *, is_named: bool) -> str:
    return f"commit {str(pinned['commit'])[:8]}" if is_named else str(pinned["branch"])


def _by_hand(origin: Run) -> Iterator[str]:
    """What a person had otherwise than the pipeline's definition has it."""
    is_person = not origin.started_by.is_machine
    if origin.trigger == Trigger.MANUAL or (origin.trigger == Trigger.API and is_person):
        yield from (f"the variable {name} was given by hand" for name in sorted(origin.variables))
        for source_id, asked in sorted(origin.asked_sources.items()):
            yield from (f"the {key} of {source_id} was named by hand" for key in sorted(asked))


def known_evidence(versions: Iterable[Version]) -> dict[int, tuple[KnownEvidence, ...]]:
    """By version, every statement about it, with the trusted keys that verified it."""
    return {
        pk: tuple(
            KnownEvidence(each.digest, each.kind, each.predicate_type, each.result, each.keys)
            for each in statements
        )
        for pk, statements in facts.of(versions).items()
    }


def _is_pre_release(name: str) -> bool:
    version = semantic(name)
    return version is not None and bool(version.value.prerelease)


def in_plain(
    environment: str,
    kind: str,
    who: Requester,
    *,
    items: Iterable[ItemFacts],
    given: Iterable[GivenApproval],
    now: datetime,
) -> dict[str, Any]:
    """The facts as an expression sees them, to the minute, so that its answer can be kept."""
    return {
        "environment": environment,
        "kind": kind,
        "now": now.replace(second=0, microsecond=0).isoformat(),
        "requester": {
            "username": who.username,
            "groups": sorted(who.groups),
            "is_machine": who.is_machine,
        },
        "approvers": sorted(each.username for each in given),
        "items": [
            {
                "name": item.name,
                "version": item.version,
                "publisher": item.publisher,
                "run_starter": item.run_starter,
                "branches": list(item.branches),
                "pipeline": item.pipeline,
                "evidence": [
                    {
                        "kind": each.kind,
                        "predicate_type": each.predicate_type,
                        "result": each.result,
                        "keys": list(each.keys),
                    }
                    for each in item.evidence
                ],
            }
            for item in items
        ],
    }
