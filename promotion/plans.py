"""Plans: what a promotion would do, exactly. Reads only.

A plan is canonical JSON, and its digest is what people approve and what is executed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.canonical import canonical, digest
from pipelines.errors import Invalid, NotFound
from promotion import targets
from promotion.ledger.append import NOTHING, About
from promotion.models import (
    Environment,
    Evidence,
    Hold,
    Package,
    Placement,
    Promotion,
    PromotionKind,
    Version,
    VersionState,
)
from promotion.naming import named
from promotion.policies import current_policy
from promotion.publishing import require_usable

#: A larger train nobody could look through, and it would hold the locks of an execution for long.
MOST_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen, exactly. `text` is canonical JSON, and `digest` names it."""

    environment: Environment
    kind: str
    content: dict[str, Any]
    text: str
    digest: str
    items: tuple[tuple[Version, Version | None], ...]


def plan(
    environment: Environment,
    versions: Sequence[Version],
    *,
    kind: str = PromotionKind.PROMOTION,
) -> Plan:
    """Compute the plan of placing `versions` in `environment` now. Changes nothing."""
    if not versions:
        raise Invalid("Name at least one version to promote.")
    if len(versions) > MOST_ITEMS:
        raise Invalid(
            f"A promotion places at most {MOST_ITEMS} versions, and {len(versions)} are named. "
            "Request several promotions."
        )
    packages = [version.package_id for version in versions]
    if len(set(packages)) != len(packages):
        raise Invalid("A promotion places one version of a package, not two.")
    current = {
        placement.package_id: placement.version
        for placement in Placement.objects.current()
        .filter(environment=environment, package__in=packages)
        .select_related("version__package__repository")
    }
    ordered = sorted(versions, key=lambda each: (each.package.repository.name, each.package.name))
    items = tuple((version, current.get(version.package_id)) for version in ordered)
    policy = current_policy(environment)
    evidence = _evidence(versions)
    content: dict[str, Any] = {
        "environment": environment.name,
        "kind": str(kind),
        "policy": {"revision": policy.number, "digest": policy.digest},
        "items": [
            {
                **named(version),
                "replaces": (
                    {"version": replaced.name, "manifest_digest": replaced.manifest_digest}
                    if replaced
                    else None
                ),
                "evidence": sorted(evidence.get(version.pk, ())),
            }
            for version, replaced in items
        ],
    }
    if target := targets.of(environment).as_json():
        # Left out where none is named, so that plans have the digests that they always had.
        content["target"] = target
    text = canonical(content)
    return Plan(environment, str(kind), content, text.decode(), digest(text), items)


def _evidence(versions: Sequence[Version]) -> dict[int, list[str]]:
    """The digests of the statements about each version."""
    found: dict[int, list[str]] = {}
    rows = Evidence.objects.filter(version__in=versions).values_list("version", "digest")
    for version, statement in rows:
        found.setdefault(version, []).append(statement)
    return found


def fresh(versions: Sequence[Version]) -> list[Version]:
    """The versions as they are at this moment, in the same order."""
    found = Version.objects.with_names().select_related("replacement")
    by_pk = found.in_bulk([version.pk for version in versions])
    return [by_pk[version.pk] for version in versions]


def replan(promotion: Promotion) -> Plan:
    """The plan of an existing promotion as it would be made now."""
    versions = [
        item.version for item in promotion.items.select_related("version__package__repository")
    ]
    environment = Environment.objects.with_names().get(pk=promotion.environment_id)
    return plan(environment, versions, kind=promotion.kind)


def what_changed(promotion: Promotion, planned: Plan) -> str:
    """Which part of the plan is no longer what was requested, in words."""
    before, after = json.loads(promotion.plan), planned.content
    parts = []
    if before["policy"] != after["policy"]:
        parts.append("the environment's policy")
    if before.get("target") != after.get("target"):
        parts.append(f"where {planned.environment.name} keeps its own bytes")
    for old, new in zip(before["items"], after["items"], strict=True):
        name = f"{new['repository']}/{new['package']}"
        if old["replaces"] != new["replaces"]:
            parts.append(f"the version of {name} that would be replaced")
        if old["evidence"] != new["evidence"]:
            parts.append(f"the evidence on {name} {new['version']}")
    changed = " and ".join(parts) or "the plan"
    return f"Since the request, {changed} has changed. Request the promotion again."


def about(planned: Plan) -> About:
    """A promotion of several packages is found by its environment only."""
    if len(planned.items) != 1:
        return About(environment=planned.environment.name)
    package = planned.items[0][0].package
    return About(package.repository.name, package.name, planned.environment.name)


def earlier_version(
    environment: Environment, package: Package, *, to: Version | None = None
) -> Version:
    """The version that a rollback places again: the last one before the present, or `to`.

    What is held back there is bad, or somebody thinks so: it comes back only where it is named. The
    version that the last rollback took away would otherwise be the next one's target.
    """
    history = Placement.objects.filter(environment=environment, package=package).order_by(
        "-since", "-id"
    )
    current = history.current().first()
    if current is None:
        raise NotFound(f"{environment.name} has no version of {package} to roll back from.")
    earlier = (
        history.exclude(version=current.version_id)
        .exclude(version__state=VersionState.RECALLED)
        .exclude(version__pruned_at__isnull=False)
        .select_related("version__package__repository")
    )
    if to is not None:
        require_usable(to)
        earlier = earlier.filter(version=to)
    else:
        held = Hold.objects.standing().filter(environment=environment)
        earlier = earlier.exclude(version__in=held.values("version"))
    target = earlier.first()
    if target is None:
        other = "No other version that can be used and is not held back was ever"
        wanted = f"{to} was never" if to else other
        raise NotFound(f"{wanted} in {environment.name}.")
    return target.version


def about_promotion(promotion: Promotion) -> About:
    """By what the ledger entries on a promotion are found."""
    items = list(promotion.items.select_related("package__repository")[:2])
    if not items:
        return NOTHING
    environment = promotion.environment.name
    if len(items) > 1:
        return About(environment=environment)
    return About(items[0].package.repository.name, items[0].package.name, environment)


def named_promotion(promotion: Promotion) -> dict[str, Any]:
    """How ledger entries name a promotion and its plan."""
    return {
        "promotion": promotion.pk,
        "environment": promotion.environment.name,
        "plan_digest": promotion.plan_digest,
    }
