"""Whether the rows are what the ledger, folded, says they are: both ways."""

from collections.abc import Iterator
from typing import Any

from django.db.models import F

from accounts.models import Passkey
from pipelines.canonical import canonical, digest, timestamp
from promotion import targets
from promotion.ledger.fold import Folded, digest_of
from promotion.models import (
    Affected,
    Approval,
    ArtifactEvidence,
    CheckedSignature,
    Environment,
    Evidence,
    EvidenceKey,
    Hold,
    ImageDetails,
    Override,
    Placement,
    PolicyRevision,
    Promotion,
    PromotionState,
    Repository,
    Review,
    Selection,
    Version,
    VersionState,
)

VERSION = ("version__package__repository__name", "version__package__name", "version__name")
NAMES = ("package__repository__name", "package__name", "name")


def findings(folded: Folded) -> Iterator[str]:
    """Where the ledger and the rows differ."""
    for part in (_places, _versions, _evidence, _people, _promotions, _acts):
        yield from part(folded)


def _places(folded: Folded) -> Iterator[str]:
    """Repositories, environments and their rules."""
    yield from compare(
        "repository", folded.repositories, dict(Repository.objects.values_list("name", "kind"))
    )
    bound = Repository.objects.exclude(registry="").values_list(
        "name", "registry", "connection__name", "bound_by__username"
    )
    yield from compare(
        "registry of repository", folded.registries, {row[0]: row[1:] for row in bound}
    )
    yield from compare(
        "environment", folded.environments, dict(Environment.objects.values_list("name", "rank"))
    )
    elsewhere = Environment.objects.with_names().filter(target_set_at__isnull=False)
    yield from compare(
        "target of environment",
        folded.targets,
        {
            each.name: (targets.of(each).as_json(), each.bound_by.username if each.bound_by else "")
            for each in elsewhere
        },
    )
    policies = PolicyRevision.objects.values_list("environment__name", "number", "digest")
    yield from compare("policy", folded.policies, {row[:2]: row[2] for row in policies})
    in_force = Environment.objects.filter(policy__environment=F("pk"))
    yield from compare(
        "current policy of environment",
        folded.current_policies,
        dict(in_force.values_list("name", "policy__number")),
    )


def _versions(folded: Folded) -> Iterator[str]:
    """Versions, and who took them."""
    yield from compare(
        "version",
        folded.versions,
        {row[:3]: row[3] for row in Version.objects.values_list(*NAMES, "manifest_digest")},
    )
    yield from compare(
        "bundle of version",
        folded.bundles,
        {row[:3]: row[3] for row in Version.objects.values_list(*NAMES, "bundle_id")},
    )
    publishers = Version.objects.values_list(*NAMES, "published_by__username", "published_at")
    yield from compare(
        "publisher of version",
        folded.publishers,
        {row[:3]: (row[3], timestamp(row[4])) for row in publishers},
    )
    details = ImageDetails.objects.values_list(*VERSION, "digest")
    yield from compare(
        "image details of version", folded.image_details, {row[:3]: row[3] for row in details}
    )
    recalled = Version.objects.filter(state=VersionState.RECALLED).values_list(*NAMES)
    yield from _compare_sets("recall", folded.recalls, set(recalled))
    affected = Affected.objects.values_list(*VERSION, "owner__username", "uses")
    yield from compare(
        "use of recalled version",
        folded.affected,
        {row[:4]: digest(row[4].encode()) for row in affected.iterator()},
    )
    known = Affected.objects.filter(acknowledged_at__isnull=False).values_list(
        *VERSION, "owner__username", "acknowledged_by__username", "acknowledged_at", "note"
    )
    yield from compare(
        "acknowledgement of recall",
        folded.acknowledged,
        {row[:4]: (row[4], timestamp(row[5]), row[6]) for row in known},
    )
    yield from compare(
        "retention rules of repository",
        folded.retentions,
        dict(Repository.objects.filter(retention__isnull=False).values_list("name", "retention")),
    )
    pruned = Version.objects.filter(pruned_at__isnull=False)
    yield from compare(
        "pruning of version",
        folded.prunings,
        {
            row[:3]: (row[3], timestamp(row[4]))
            for row in pruned.values_list(*NAMES, "pruned_reason", "pruned_at")
        },
    )
    selections = Selection.objects.values_list("pk", "manifest_digest", "receipt")
    yield from compare(
        "selection",
        folded.selections,
        {pk: (picked, digest(receipt.encode())) for pk, picked, receipt in selections.iterator()},
    )


def _evidence(folded: Folded) -> Iterator[str]:
    """Statements, and the keys they are checked with."""
    evidence = Evidence.objects.values_list(*VERSION, "predicate_type", "digest")
    yield from _compare_sets("evidence", folded.evidence, set(evidence))
    on_artifacts = ArtifactEvidence.objects.values_list("artifact_id", "predicate_type", "digest")
    yield from _compare_sets("evidence on artifact", folded.artifact_evidence, set(on_artifacts))
    keys = EvidenceKey.objects.values_list(
        "name", "fingerprint", "added_by__username", "revoked_reason"
    )
    yield from compare(
        "evidence key",
        folded.evidence_keys,
        {row[0]: (row[1], str(row[2]), row[3]) for row in keys},
    )
    line = (*(f"evidence__{each}" for each in VERSION), "evidence__predicate_type")
    signatures = CheckedSignature.objects.values_list(*line, "evidence__digest", "key__name")
    yield from _compare_sets("signature on evidence", folded.signatures, set(signatures))


def _promotions(folded: Folded) -> Iterator[str]:
    """Promotions, decisions on them and what they placed."""
    requesters = Promotion.objects.values_list("pk", "requested_by__username", "comment")
    yield from compare(
        "request of promotion", folded.requesters, {row[0]: row[1:] for row in requesters}
    )
    # Approved and executing are on the way; the ledger speaks when they arrive.
    on_the_way = {PromotionState.APPROVED.value, PromotionState.EXECUTING.value}
    yield from compare(
        "promotion",
        {
            pk: (plan, "on the way" if state in {"requested", *on_the_way} else state)
            for pk, (plan, state) in folded.promotions.items()
        },
        {
            pk: (plan, "on the way" if state in {"requested", *on_the_way} else state)
            for pk, plan, state in Promotion.objects.values_list("pk", "plan_digest", "state")
        },
    )
    completed = Promotion.objects.filter(state=PromotionState.COMPLETED)
    yield from compare(
        "policy of promotion",
        folded.carried_out_under,
        {
            row[0]: row[1:]
            for row in completed.values_list("pk", "environment__name", "policy__number")
        },
    )
    yield from compare(
        "gates of promotion",
        folded.gates,
        {
            pk: digest(canonical(gates))
            for pk, gates in completed.values_list("pk", "gates").iterator()
        },
    )
    approvals = Approval.objects.values_list(
        "promotion_id", "by__username", "decision", "plan_digest", "comment", "second_factor", "at"
    )
    yield from _compare_sets(
        "approval",
        folded.approvals,
        {(*row[:-2], digest_of(row[-2]), timestamp(row[-1])) for row in approvals},
    )
    placements = Placement.objects.values_list(
        *VERSION, "environment__name", "promotion_id", "image", "storage", "since"
    )
    yield from _compare_sets(
        "placement",
        set(folded.placements),
        {(*row[:-1], timestamp(row[-1])) for row in placements},
    )


def _people(folded: Folded) -> Iterator[str]:
    """The keys that people sign with."""
    passkeys = Passkey.objects.values_list(
        "credential_id", "user__username", "public_key", "created_at", "removed_at"
    )
    yield from compare(
        "passkey",
        folded.passkeys,
        {
            row[0]: (*row[1:3], timestamp(row[3]), timestamp(row[4]) if row[4] else "")
            for row in passkeys
        },
    )


def _acts(folded: Folded) -> Iterator[str]:
    """What people do beside deciding: override, review, hold."""
    overrides = Override.objects.select_related("by")
    yield from compare(
        "override of promotion",
        folded.overrides,
        {
            each.promotion_id: (
                *(each.by.username, each.reason, " ".join(each.gates), each.plan_digest),
                *(timestamp(each.at), each.reviews_required, timestamp(each.review_due)),
            )
            for each in overrides
        },
    )
    reviews = Review.objects.values_list(
        "override__promotion_id", "by__username", "verdict", "comment", "at"
    )
    yield from _compare_sets(
        "review of override", folded.reviews, {(*row[:-1], timestamp(row[-1])) for row in reviews}
    )
    holds = Hold.objects.values_list(
        *("pk", "environment__name", *VERSION, "reason", "by__username", "at"),
        *("lifted_by__username", "lifted_at"),
    )
    yield from compare(
        "hold",
        folded.holds,
        {
            pk: (*what, timestamp(at), by or "", timestamp(until) if until else "")
            for pk, *what, at, by, until in holds
        },
    )


def compare(noun: str, said: dict[Any, Any], there: dict[Any, Any]) -> Iterator[str]:
    yield from _compare_sets(noun, set(said), set(there))
    for key in said.keys() & there.keys():
        if said[key] != there[key]:
            yield f"{noun} {_shown(key)}: the ledger says {said[key]}, the row {there[key]}"


def _compare_sets(noun: str, said: set[Any], there: set[Any]) -> Iterator[str]:
    for key in sorted(said - there):
        yield f"{noun} {_shown(key)} is in the ledger and has no row"
    for key in sorted(there - said):
        yield f"{noun} {_shown(key)} has a row and is not in the ledger"


def _shown(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
