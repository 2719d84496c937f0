"""What the components of promotion pages take: changes, file changes, evidence, timelines."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.urls import reverse

from pipelines.templatetags.sluice import file_size
from promotion import descriptors, images, plans
from promotion.diffs import kind_of_change
from promotion.evidence import reading
from promotion.gates import GateResult
from promotion.models import Evidence, Promotion, PromotionKind, PromotionState, Version

GATE_NAMES = {
    "not_recalled": "No recalled version",
    "not_pruned": "No pruned version",
    "requester": "Who requests",
    "no_hold": "No hold",
    "reviews": "No overdue review",
    "upstream": "Placed upstream first",
    "soak": "Soaked upstream",
    "versions": "Allowed versions",
    "branch": "Branch",
    "pipeline": "Pipeline",
    "no_manual_override": "No variables by hand",
    "freeze": "No freeze",
    "approvals": "Approvals",
}
P = PromotionState


def gate_name(name: str) -> str:
    """A gate as people call it; what a policy names itself keeps its name."""
    kind, colon, own = name.partition(": ")
    return f"{kind.capitalize()}: {own}" if colon else GATE_NAMES.get(name, name)


def version_address(version: Version) -> str:
    package = version.package
    return reverse("promotion:version", args=[package.repository.name, package.name, version.name])


def image(version: Version) -> dict[str, Any]:
    """What is known of a version's image, as _image.html draws it."""
    return {
        "address": descriptors.image_address(version),
        "tag": version.image_tag,
        "details": images.details_of(version),
        "look": getattr(version, "image_look", None),
    }


def changes(planned: plans.Plan) -> list[dict[str, Any]]:
    """What a plan changes, as components/changes.html draws it."""
    return [
        {
            "package": version.package.name,
            "repository": version.package.repository.name,
            "kind": kind_of_change(version, replaced, planned.kind),
            "before": replaced.name if replaced else None,
            "after": version.name,
            "before_digest": replaced.manifest_digest if replaced else None,
            "after_digest": version.manifest_digest,
            "before_url": _replaced_address(version, replaced) if replaced else None,
            "after_url": version_address(version),
        }
        for version, replaced in planned.items
    ]


def _replaced_address(version: Version, replaced: Version) -> str:
    """A replaced version is of the same package, which it need not be loaded for again."""
    package = version.package
    return reverse("promotion:version", args=[package.repository.name, package.name, replaced.name])


def as_requested(promotion: Promotion) -> plans.Plan:
    """The plan that was requested and is decided on, whatever a new plan would say."""
    items = tuple((item.version, item.replaces) for item in promotion.items.all())
    return plans.Plan(
        environment=promotion.environment,
        kind=promotion.kind,
        content=json.loads(promotion.plan),
        text=promotion.plan,
        digest=promotion.plan_digest,
        items=items,
    )


def plan_lines(planned: plans.Plan) -> str:
    """The plan as people read it. Its digest is over the canonical bytes, not over these."""
    return json.dumps(planned.content, indent=2, ensure_ascii=False)


def gates(results: Iterable[GateResult]) -> list[dict[str, Any]]:
    return kept_gates([gate.as_json() for gate in results])


def kept_gates(kept: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gates as components/gate.html draws them, with names and values for people."""
    return [
        {
            **gate,
            "name": gate_name(gate["name"]),
            "inputs": {
                name.replace("_", " ").capitalize(): _words(value)
                for name, value in gate.get("inputs", {}).items()
            },
        }
        for gate in kept
    ]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_words(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    return "none" if value is None else str(value)


def open_count(shown: Sequence[dict[str, Any]]) -> int:
    return sum(1 for gate in shown if gate["open"])


def copies(planned: plans.Plan) -> list[dict[str, str]]:
    """What is copied before anything is placed, and to where, after the plan itself."""
    target = planned.content.get("target", {})
    has_files = any(not version.image for version, _ in planned.items)
    has_images = any(version.image for version, _ in planned.items)
    said = []
    if has_images and "registry" in target:
        said.append({"what": "Images", "to": target["registry"], "at": ""})
    if has_files and "storage" in target:
        said.append({"what": "Files", "to": target["storage"], "at": target["storage_host"]})
    return said


def progress(promotion: Promotion) -> dict[str, Any] | None:
    """How far its bytes were carried, as components/progress.html draws it."""
    said = promotion.progress
    if not said:
        return None
    # A bar of no length, while nothing is known yet, would count as full.
    total = max(said["total"], 1)
    done = f"{file_size(said['done'])} of {file_size(said['total'])}"
    return {**said, "total": total, "text": f"{done}, {said['what']}"}


#: What a predicate type is about, by a word that stands in its address.
EVIDENCE_NAMES = {
    "test-result": "Test result",
    "provenance": "Provenance",
    "cyclonedx": "Bill of materials",
    "spdx": "Bill of materials",
    "vuln": "Vulnerability scan",
}


def evidence(statement: Evidence) -> dict[str, Any]:
    """A statement as components/evidence.html draws it, with where its bytes are to be had."""
    written = statement.predicate_type
    if statement.kind in {reading.RESULT, reading.STATEMENT}:
        known = (name for word, name in EVIDENCE_NAMES.items() if word in written.lower())
        name = next(known, written)
    else:
        name = statement.get_kind_display()
    words = reading.in_words(statement.summary)
    detail = [statement.result, words, written if name != written else ""]
    package = statement.version.package
    address = [package.repository.name, package.name, statement.version.name, statement.pk]
    return {
        "name": name,
        "state": statement.standing,
        "detail": " · ".join(part for part in detail if part),
        "why": statement.why,
        "raw": reverse("api:evidence-raw", args=address),
        "who": statement.added_by,
        "at": statement.added_at,
        "digest": statement.digest,
    }


def lacking(kept: Iterable[dict[str, Any]], version: Version) -> list[dict[str, Any]]:
    """What gates ask of a version and do not find, as rows of components/evidence.html."""
    found = []
    for gate in kept:
        inputs = gate.get("inputs", {})
        why = inputs.get("lacking", {}).get(str(version))
        if why:
            found.append({"name": inputs["type"], "state": "missing", "detail": why})
    return found


ENDED = {
    P.COMPLETED: "Placed in {environment}",
    P.REJECTED: "Ended by the rejection",
    P.WITHDRAWN: "Withdrawn",
    P.EXPIRED: "Expired",
    P.STALE: "Went stale",
    P.FAILED: "Failed; nothing was moved",
    P.ERRORED: "Broke; nothing was moved",
}


def timeline(promotion: Promotion) -> list[dict[str, Any]]:
    """What has happened to a promotion, oldest first."""
    happened: list[dict[str, Any]] = [
        {
            "state": "requested",
            "title": "Rollback requested"
            if promotion.kind == PromotionKind.ROLLBACK
            else "Requested",
            "who": promotion.requested_by,
            "at": promotion.requested_at,
            "digest": promotion.plan_digest,
        }
    ]
    happened += [
        {
            "state": "approved" if approval.decision == "approve" else "rejected",
            "title": approval.get_decision_display()
            + (" with a passkey" if approval.second_factor else ""),
            "who": approval.by,
            "at": approval.at,
            "note": approval.comment,
            "digest": approval.plan_digest,
        }
        for approval in promotion.approvals.all()
    ]
    if override := getattr(promotion, "override", None):
        names = ", ".join(gate_name(name) for name in override.gates)
        happened.append(
            {
                "state": "overridden",
                "title": f"Broke the glass over: {names}",
                "who": override.by,
                "at": override.at,
                "note": override.reason,
                "digest": override.plan_digest,
            }
        )
        happened.sort(key=lambda each: each["at"])
    state = P(promotion.state)
    if promotion.decided_at and state != P.REJECTED:
        title = "Nothing held it back any more" if override else "Every gate was open"
        happened.append({"state": "open", "title": title, "at": promotion.decided_at})
    if state == P.EXECUTING:
        happened.append({"state": "executing", "title": "Checking and placing the bytes"})
    if promotion.finished_at and state in ENDED and state != P.REJECTED:
        title = ENDED[state].format(environment=promotion.environment.name)
        happened.append(
            {
                "state": state.value,
                "title": title,
                "at": promotion.finished_at,
                "note": promotion.reason,
            }
        )
    return happened


def headline(promotion: Promotion) -> str:
    """What the promotion is, in a few words."""
    items = list(promotion.items.all())
    place = promotion.environment.name
    if promotion.kind == PromotionKind.ROLLBACK and len(items) == 1:
        return f"Roll back {items[0].package.name} to {items[0].version.name} in {place}"
    if len(items) == 1:
        return f"Promote {items[0].package.name} {items[0].version.name} to {place}"
    return f"Promote {len(items)} packages to {place}"
