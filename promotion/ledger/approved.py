"""Whether completed promotions had the approvals that their policy asked for, checked anew.

Who was in which group then is what the gates kept; they stand in the ledger, and `rows.py` holds
them against it.
"""

import json
from collections.abc import Iterator

from pipelines.canonical import digest
from promotion.gates import (
    APPROVALS,
    UNBREAKABLE,
    Facts,
    GivenApproval,
    ItemFacts,
    Requester,
    Rules,
    counts,
)
from promotion.models import Decision, Promotion, PromotionKind, PromotionState


def findings() -> Iterator[str]:
    completed = (
        Promotion.objects.filter(state=PromotionState.COMPLETED)
        .select_related("policy", "environment", "requested_by", "override")
        .prefetch_related(
            "approvals__by",
            "items__version__package__repository",
            "items__version__published_by",
            "items__version__artifact__run__started_by",
        )
    )
    for promotion in completed.iterator(chunk_size=500):
        if digest(promotion.plan.encode()) != promotion.plan_digest:
            yield f"promotion {promotion.pk}: its plan does not have its digest"
        yield from _other_plan(promotion)
        gate = next((each for each in promotion.gates if each["name"] == APPROVALS), None)
        if gate is None:
            yield f"promotion {promotion.pk} was carried out, and no gate says by whose approval"
        elif not gate.get("overridden"):
            yield from _missing(promotion, gate["inputs"].get("groups", {}))
        yield from _shut(promotion)


def _other_plan(promotion: Promotion) -> Iterator[str]:
    """Columns that do not say what the plan says, which is what was approved."""
    plan = json.loads(promotion.plan)
    said = plan["environment"], plan["kind"], plan["policy"]["digest"]
    there = promotion.environment.name, str(promotion.kind), promotion.policy.digest
    planned = {each["manifest_digest"] for each in plan["items"]}
    items = {each.version.manifest_digest for each in promotion.items.all()}
    if said != there or planned != items:
        yield f"promotion {promotion.pk}: its row is not what its plan says"


def _shut(promotion: Promotion) -> Iterator[str]:
    """Gates that were closed, and that nobody overrode for this very plan."""
    override = getattr(promotion, "override", None)
    broken: frozenset[str] = frozenset()
    if override is not None and override.plan_digest == promotion.plan_digest:
        broken = frozenset(override.gates) - UNBREAKABLE
    for gate in promotion.gates:
        name = gate["name"]
        if not gate["open"] and not (gate.get("overridden") and name in broken):
            yield (
                f"promotion {promotion.pk} was carried out with the gate {name} closed, "
                "and nobody overrode it"
            )


def _missing(promotion: Promotion, groups: dict[str, list[str]]) -> Iterator[str]:
    rules = Rules.read(json.loads(promotion.policy.rules))
    facts = _facts(promotion, groups)
    counted = {given.username for given in facts.approvals if counts(rules, facts, given)}
    is_rollback = promotion.kind == PromotionKind.ROLLBACK
    required = rules.approvals_for(rollback=is_rollback)
    if len(counted) < required:
        yield (
            f"promotion {promotion.pk} was carried out with {len(counted)} of {required} approvals"
        )
    for name in () if is_rollback else rules.approvers.one_from_each:
        if not any(name in groups.get(username, ()) for username in counted):
            yield f"promotion {promotion.pk} was carried out without an approval from {name}"


def _facts(promotion: Promotion, groups: dict[str, list[str]]) -> Facts:
    """What counted when it was carried out: every decision stood before its end."""
    assert promotion.decided_at is not None, "what is completed was decided"
    given = [each for each in promotion.approvals.all() if each.decision == Decision.APPROVE]
    return Facts(
        environment=promotion.environment.name,
        now=promotion.decided_at,
        requester=Requester(promotion.requested_by.username),
        plan_digest=promotion.plan_digest,
        approvals=tuple(
            GivenApproval(
                each.by.username,
                each.plan_digest,
                True,
                each.at,
                groups=frozenset(groups.get(each.by.username, ())),
                is_machine=each.by.is_machine,
                second_factor=each.second_factor is not None,
            )
            for each in given
        ),
        items=tuple(
            ItemFacts(
                str(item.version),
                item.version.name,
                False,
                None,
                publisher=item.version.published_by.username,
                run_starter=item.version.artifact.run.started_by.username,
            )
            for item in promotion.items.all()
        ),
        is_rollback=promotion.kind == PromotionKind.ROLLBACK,
    )
