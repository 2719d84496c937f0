"""Automatic promotion: where a policy says so, Sluice itself requests what its gates let through.

It requests in its own name, by the verb that people use, and only where every gate is open at once:
so nothing that it requests waits for anybody.
"""

import json
import logging

from django.db import transaction

from accounts.models import User
from pipelines.errors import SluiceError, WrongState
from promotion import gates, gathering, itself, plans, promoting
from promotion.models import (
    Environment,
    Hold,
    Placement,
    Promotion,
    PromotionItem,
    PromotionState,
    Version,
)
from promotion.policies import current_policy, rules_of
from promotion.ranges import is_newer

log = logging.getLogger(__name__)

P = PromotionState


def promote_due() -> None:
    """Look at every environment whose policy promotes by itself."""
    for environment in gathering.automatic_environments():
        promote_into(environment.pk)


def promote_into(environment_id: int) -> list[Promotion]:
    """Request what is in upstream, comes after what is here, and finds every gate open."""
    environment = Environment.objects.with_names().filter(pk=environment_id).first()
    if environment is None or not rules_of(current_policy(environment)).automatic:
        return []
    candidates = _candidates(environment)
    if not candidates:
        return []
    try:
        by = itself.sluice()
    except WrongState as refusal:
        log.error("Nothing is promoted automatically: %s", refusal.detail)
        return []
    requested = []
    for version in candidates:
        try:
            made = _request(environment, version, by=by)
        except SluiceError as refusal:
            # A gate closed just now, or somebody was first: the next sweep looks again.
            log.info("%s was not promoted to %s: %s", version, environment, refusal.detail)
        else:
            requested += [made] if made is not None else []
    return requested


def _candidates(environment: Environment) -> list[Version]:
    upstream = rules_of(current_policy(environment)).upstream
    there = (
        Placement.objects.current()
        .filter(environment__name=upstream)
        .select_related("version__package__repository")
        .order_by("pk")
    )
    current = Placement.objects.current().filter(environment=environment)
    here = dict(current.values_list("package_id", "version__name"))
    open_here = Promotion.objects.open().filter(environment=environment)
    busy = set(
        PromotionItem.objects.filter(promotion__in=open_here).values_list("package_id", flat=True)
    )
    standing = Hold.objects.standing().filter(environment=environment)
    held = set(standing.values_list("version_id", flat=True))
    return [
        placement.version
        for placement in there
        if placement.package_id not in busy
        and placement.version_id not in held
        and (
            placement.package_id not in here
            or is_newer(placement.version.name, here[placement.package_id])
        )
    ]


def _request(environment: Environment, version: Version, *, by: User) -> Promotion | None:
    """Request `version` unless a gate is closed, it was tried before, or another is on its way."""
    with transaction.atomic():
        # Two workers that look at once: the second one sees what the first has requested.
        locked = Environment.objects.locked().get(pk=environment.pk)
        if Promotion.objects.open().filter(environment=locked, items__package=version.package_id):
            return None
        planned = plans.plan(locked, plans.fresh([version]))
        if _was_tried(planned, version) or gates.closed(gathering.preview_gates(planned, by=by)):
            return None
        policy = current_policy(locked)
        upstream = rules_of(policy).upstream
        return promoting.request(
            locked,
            [version],
            by=by,
            seen=planned.digest,
            comment=(
                f"Automatic: revision {policy.number} of the policy of {locked.name} says "
                f"“automatic”, the version is in {upstream}, and every gate is open."
            ),
        )


def _was_tried(planned: plans.Plan, version: Version) -> bool:
    """Whether Sluice has requested this version here before, by the same policy and evidence.

    Whatever became of it: what failed would fail again, and what was replaced by hand since is not
    brought back against whoever did that. What went stale was never tried.
    """
    before = Promotion.objects.filter(
        environment=planned.environment,
        requested_by__username=itself.NAME,
        items__version=version,
    ).exclude(state=P.STALE)
    return any(_same(json.loads(each.plan), planned) for each in before)


def _same(before: dict[str, object], planned: plans.Plan) -> bool:
    return _grounds(before) == _grounds(planned.content)


def _grounds(plan: dict[str, object]) -> list[object]:
    items = plan["items"]
    assert isinstance(items, list)
    return [plan["policy"], [[item["manifest_digest"], item["evidence"]] for item in items]]
