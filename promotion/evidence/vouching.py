"""What Sluice vouches for: that a promotion was carried out as approved, and whether what is placed
passed an environment's policy. Computed from what is on record, so it needs no state of its own."""

import json
from typing import Any

from django.urls import reverse

from pipelines import links
from pipelines.canonical import timestamp
from pipelines.errors import WrongState
from promotion import publishing
from promotion.errors import NotPromoted
from promotion.evidence import signed
from promotion.models import (
    Environment,
    LedgerEntry,
    Override,
    Placement,
    PolicyRevision,
    Promotion,
    PromotionState,
    Version,
)

PROMOTION = "urn:sluice:promotion:v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
#: SLSA's own levels say how something was built. This one says what Sluice has seen to.
LEVEL = "SLUICE_POLICY_PASSED"
#: SLSA's own word, where somebody broke the glass: what was placed did not pass the policy.
FAILED = "FAILED"


def promotion_statement(promotion: Promotion) -> str:
    """The signed statement that a promotion placed these bytes, by this plan and these people."""
    entry, data = _completion(promotion)
    approvals = promotion.approvals.select_related("by").order_by("pk")
    return signed.envelope(
        PROMOTION,
        [_subject(placed) for placed in data["placed"]],
        {
            "site": links.absolute("/"),
            "promotion": promotion.pk,
            "environment": data["environment"],
            "plan": json.loads(promotion.plan),
            "plan_digest": promotion.plan_digest,
            "requested_by": promotion.requested_by.username,
            "requested_at": timestamp(promotion.requested_at),
            "decisions": [
                {
                    "by": each.by.username,
                    "decision": str(each.decision),
                    "plan_digest": each.plan_digest,
                    "at": timestamp(each.at),
                }
                for each in approvals
            ],
            "override": _override(promotion),
            "gates": data["gates"],
            "placed": data["placed"],
            "completed_at": timestamp(entry.at),
            "ledger": {"sequence": entry.sequence, "leaf_hash": entry.leaf_hash},
        },
    )


def summary(version: Version, environment: Environment) -> str:
    """The signed SLSA verification summary of what `environment` has of a version now."""
    publishing.require_usable(version)
    placement = (
        Placement.objects.current()
        .filter(environment=environment, version=version)
        .select_related("promotion__environment", "promotion__requested_by")
        .first()
    )
    if placement is None:
        raise NotPromoted(f"{version} is not placed in {environment.name} now.")
    promotion = placement.promotion
    entry, data = _completion(promotion)
    has_passed = not any(gate.get("overridden") for gate in data["gates"])
    plan = json.loads(promotion.plan)
    item = next(
        each for each in plan["items"] if each["manifest_digest"] == version.manifest_digest
    )
    policy = PolicyRevision.objects.get(environment=environment, number=plan["policy"]["revision"])
    address = reverse("api:environment-policy", args=[environment.name])
    package = version.package
    resource = reverse("api:version", args=[package.repository.name, package.name, version.name])
    return signed.envelope(
        SUMMARY,
        _subjects(version, placement),
        {
            "verifier": {"id": links.absolute("/")},
            "timeVerified": timestamp(entry.at),
            "resourceUri": links.absolute(resource),
            "policy": {
                "uri": links.absolute(address),
                "name": f"{environment.name} revision {policy.number}",
                "digest": {"sha256": policy.digest.removeprefix("sha256:")},
            },
            "inputAttestations": [
                {"digest": {"sha256": each.removeprefix("sha256:")}} for each in item["evidence"]
            ],
            "verificationResult": "PASSED" if has_passed else FAILED,
            "verifiedLevels": [LEVEL if has_passed else FAILED],
            "slsaVersion": "1.0",
        },
    )


def _override(promotion: Promotion) -> dict[str, Any] | None:
    """Who broke the glass over which gates, if somebody did: that is no approval."""
    found = Override.objects.filter(promotion=promotion).select_related("by").first()
    if found is None:
        return None
    return {
        "by": found.by.username,
        "reason": found.reason,
        "gates": found.gates,
        "plan_digest": found.plan_digest,
        "at": timestamp(found.at),
    }


def _completion(promotion: Promotion) -> tuple[LedgerEntry, dict[str, Any]]:
    """The ledger's own words on how the promotion ended."""
    if promotion.state != PromotionState.COMPLETED:
        raise WrongState(
            f"{promotion} is {promotion.state}. Sluice vouches for what was carried out only.",
            current=promotion.state,
        )
    assert promotion.finished_at is not None, "what is completed has ended"
    ended = LedgerEntry.objects.filter(type="promotion.completed", at=promotion.finished_at)
    for entry in ended:
        data: dict[str, Any] = json.loads(bytes(entry.body))["data"]
        if data["promotion"] == promotion.pk:
            return entry, data
    raise WrongState(
        f"The ledger does not say that {promotion} was completed: have an operator run `verify`.",
        current=promotion.state,
    )


def _subject(placed: dict[str, Any]) -> dict[str, Any]:
    name = f"{placed['repository']}/{placed['package']}@{placed['version']}"
    return signed.subject(name, placed["manifest_digest"])


def _subjects(version: Version, placement: Placement) -> list[dict[str, Any]]:
    """Everything by which whoever deploys knows the bytes: the image, or the download."""
    name = f"{version.package.repository.name}/{version.package.name}@{version.name}"
    found = [signed.subject(f"{name} (manifest)", version.manifest_digest)]
    image = placement.image or version.image
    if image:
        found.append(signed.subject(image.partition("@")[0], image.rpartition("@")[2]))
    if version.bundle_id:
        found.append(signed.subject(version.bundle_name, version.bundle_id))
    return found
