"""What the ledger says the world is: its entries folded, one by one, into the state they describe.

Pure: parsed entries in, plain dictionaries out. `verify.py` compares them with the rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.canonical import canonical, digest

Key = tuple[str, ...]


@dataclass(slots=True)
class Folded:
    """State by key. Versions map to their manifest digest, placements to version and promotion,
    selections to the digests of what was picked and of the receipt."""

    repositories: dict[str, str] = field(default_factory=dict)
    registries: dict[str, tuple[str, str | None, str]] = field(default_factory=dict)
    versions: dict[Key, str] = field(default_factory=dict)
    bundles: dict[Key, str | None] = field(default_factory=dict)
    image_details: dict[Key, str] = field(default_factory=dict)
    recalls: set[Key] = field(default_factory=set)
    affected: dict[Key, str] = field(default_factory=dict)
    acknowledged: dict[Key, tuple[str, str, str]] = field(default_factory=dict)
    retentions: dict[str, Any] = field(default_factory=dict)
    prunings: dict[Key, tuple[str, str]] = field(default_factory=dict)
    evidence: set[Key] = field(default_factory=set)
    artifact_evidence: set[tuple[int, str, str]] = field(default_factory=set)
    evidence_keys: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    signatures: set[Key] = field(default_factory=set)
    environments: dict[str, int] = field(default_factory=dict)
    policies: dict[tuple[str, int], str] = field(default_factory=dict)
    current_policies: dict[str, int] = field(default_factory=dict)
    publishers: dict[Key, tuple[str, str]] = field(default_factory=dict)
    requesters: dict[int, tuple[str, str]] = field(default_factory=dict)
    promotions: dict[int, tuple[str, str]] = field(default_factory=dict)
    #: Of what was carried out: the policy in force in its environment then.
    carried_out_under: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    gates: dict[int, str] = field(default_factory=dict)
    approvals: set[tuple[int, str, str, str, str, str, str]] = field(default_factory=set)
    passkeys: dict[str, tuple[str, str, str, str]] = field(default_factory=dict)
    unknown_keys: list[tuple[int, str]] = field(default_factory=list)
    #: By whom, why, which gates, on which plan, when; how many reviews are owed, and until when.
    overrides: dict[int, tuple[str, str, str, str, str, int, str]] = field(default_factory=dict)
    reviews: set[tuple[int, str, str, str, str]] = field(default_factory=set)
    #: Where, what, why and by whom; then by whom and when it was lifted, empty while it stands.
    holds: dict[int, tuple[str, ...]] = field(default_factory=dict)
    targets: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    placements: list[tuple[str, str, str, str, int, str, str, str]] = field(default_factory=list)
    selections: dict[int, tuple[str, str]] = field(default_factory=dict)


#: What an entry of each type means for the state of the promotion it names.
STATE_AFTER = {
    "promotion.requested": "requested",
    "promotion.rejected": "rejected",
    "promotion.withdrawn": "withdrawn",
    "promotion.expired": "expired",
    "promotion.stale": "stale",
    "promotion.failed": "failed",
    "promotion.errored": "errored",
    "promotion.retried": "approved",
    "promotion.completed": "completed",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    type: str
    actor: str
    at: str
    data: Mapping[str, Any]


def fold(entries: Iterable[Mapping[str, Any]]) -> Folded:
    """Fold parsed entry bodies in sequence order."""
    state = Folded()
    for body in entries:
        entry = _Entry(str(body["type"]), str(body["actor"]), str(body["at"]), body["data"])
        for apply in PARTS:
            apply(state, entry)
    return state


def _to_places(state: Folded, entry: _Entry) -> None:
    """Repositories, environments and their rules."""
    data = entry.data
    match entry.type:
        case "repository.created":
            state.repositories[data["repository"]] = data["kind"]
        case "repository.registry_set":
            state.registries.pop(data["repository"], None)
            if data["registry"]:
                bound = (data["registry"], data["connection"], entry.actor)
                state.registries[data["repository"]] = bound
        case "repository.retention_set":
            if data["rules"] is None:
                state.retentions.pop(data["repository"], None)
            else:
                state.retentions[data["repository"]] = data["rules"]
        case "environment.created":
            state.environments[data["environment"]] = data["rank"]
        case "environment.target_set":
            # Nobody's rights count once nothing is named.
            bound_by = entry.actor if data["target"] else ""
            state.targets[data["environment"]] = (data["target"], bound_by)
        case "policy.set":
            state.policies[(data["environment"], data["revision"])] = data["digest"]
            state.current_policies[data["environment"]] = data["revision"]


def _to_versions(state: Folded, entry: _Entry) -> None:
    """Versions, what is said of them, and who took them."""
    data = entry.data
    match entry.type:
        case "version.pruned":
            state.prunings[_version(data)] = (data["reason"], entry.at)
        case "version.published":
            state.versions[_version(data)] = data["manifest_digest"]
            state.bundles[_version(data)] = data["bundle"]
            state.publishers[_version(data)] = (entry.actor, entry.at)
            # Only images whose registry was asked have details.
            if "image_details" in data:
                state.image_details[_version(data)] = data["image_details"]
        case "version.recalled":
            state.recalls.add(_version(data))
            # Earlier releases made no list.
            for owner, uses in data.get("affected", {}).items():
                state.affected[(*_version(data), owner)] = uses
        case "recall.reached":
            state.affected[(*_version(data), data["owner"])] = data["uses"]
        case "recall.acknowledged":
            said = (entry.actor, entry.at, data["note"])
            state.acknowledged[(*_version(data), data["owner"])] = said
        case "selection.made":
            state.selections[data["selection"]] = (data["manifest_digest"], data["receipt"])


def _to_evidence(state: Folded, entry: _Entry) -> None:
    """Statements, and the keys they are checked with."""
    data = entry.data
    match entry.type:
        case "evidence.added" | "evidence.verified":
            line = (*_version(data), data["predicate_type"], data["digest"])
            if entry.type == "evidence.added":
                state.evidence.add(line)
            state.signatures.update((*line, key) for key in data.get("keys", ()))
        case "artifact.evidence_added":
            state.artifact_evidence.add((data["artifact"], data["predicate_type"], data["digest"]))
        case "evidence_key.added":
            state.evidence_keys[data["key"]] = (data["fingerprint"], entry.actor, "")
        case "evidence_key.revoked":
            fingerprint, added_by, _ = state.evidence_keys[data["key"]]
            state.evidence_keys[data["key"]] = (fingerprint, added_by, data["reason"])


def _to_people(state: Folded, entry: _Entry) -> None:
    """The keys that people sign with."""
    data = entry.data
    match entry.type:
        case "passkey.added":
            state.passkeys[data["credential_id"]] = (entry.actor, data["public_key"], entry.at, "")
        case "passkey.removed":
            # One that was never added stays unlike every row, and so is found.
            added = state.passkeys.get(data["credential_id"], (entry.actor, "", "", ""))
            state.passkeys[data["credential_id"]] = (*added[:3], entry.at)


def _to_promotions(state: Folded, entry: _Entry) -> None:
    """Promotions, decisions on them and what they placed."""
    data = entry.data
    if entry.type in STATE_AFTER:
        state.promotions[data["promotion"]] = (data["plan_digest"], STATE_AFTER[entry.type])
    match entry.type:
        case "promotion.requested":
            state.requesters[data["promotion"]] = (entry.actor, data["comment"])
        case "promotion.approved" | "promotion.rejected":
            _decided(state, entry.actor, entry.at, data)
        case "promotion.completed":
            environment = data["environment"]
            in_force = environment, state.current_policies.get(environment)
            state.carried_out_under[data["promotion"]] = in_force
            state.gates[data["promotion"]] = digest(canonical(data["gates"]))
            for placed in data["placed"]:
                where = (
                    data["environment"],
                    data["promotion"],
                    placed.get("image", ""),
                    placed.get("storage", ""),
                    placed["since"],
                )
                state.placements.append((*_version(placed), *where))


def _decided(state: Folded, actor: str, at: str, data: Mapping[str, Any]) -> None:
    decided = (data["promotion"], actor, data["decision"], data["plan_digest"])
    signed = data.get("second_factor")
    state.approvals.add((*decided, data["comment"], digest_of(signed), at))
    if signed and not _was_theirs(state, actor, signed):
        state.unknown_keys.append((data["promotion"], actor))


def digest_of(signed: Mapping[str, Any] | None) -> str:
    """The digest of a kept signature, by which entries and rows are compared; empty without one."""
    return digest(canonical(dict(signed))) if signed else ""


def _was_theirs(state: Folded, actor: str, signed: Mapping[str, Any]) -> bool:
    """Whether the key that signed was this person's at this place of the ledger."""
    known = state.passkeys.get(signed["credential_id"])
    return known is not None and (known[0], known[1], known[3]) == (
        actor,
        signed["public_key"],
        "",
    )


def _to_acts(state: Folded, entry: _Entry) -> None:
    """What people do beside deciding: override, review, hold."""
    data = entry.data
    match entry.type:
        case "promotion.overridden":
            gates = " ".join(data["gates"])
            said = (entry.actor, data["reason"], gates, data["plan_digest"], entry.at)
            owed = (data["reviews_required"], data["review_due"])
            state.overrides[data["promotion"]] = (*said, *owed)
        case "override.reviewed":
            reviewed = (data["promotion"], entry.actor, data["verdict"], data["comment"], entry.at)
            state.reviews.add(reviewed)
        case "hold.placed":
            held = (data["environment"], *_version(data), data["reason"], entry.actor, entry.at)
            state.holds[data["hold"]] = (*held, "", "")
        case "hold.lifted":
            lifted = (entry.actor, entry.at)
            state.holds[data["hold"]] = (*state.holds[data["hold"]][:-2], *lifted)


def _version(data: Mapping[str, Any]) -> tuple[str, str, str]:
    return data["repository"], data["package"], data["version"]


PARTS = (_to_places, _to_versions, _to_evidence, _to_people, _to_promotions, _to_acts)
