"""What the API answers of promotion: typed dictionaries, and how each is made from a row."""

import json
from typing import Any, NotRequired, TypedDict

from django.urls import reverse

from accounts.models import User
from pipelines import links
from pipelines.api.shapes import timestamp
from promotion import descriptors, targets
from promotion.api.evidence_shapes import EvidenceAnswer, evidence_answer
from promotion.api.image_shapes import ImageAnswer, image_answer
from promotion.models import (
    Environment,
    LedgerEntry,
    Package,
    Placement,
    PolicyRevision,
    Repository,
    Version,
)


class RepositoryAnswer(TypedDict):
    name: str
    kind: str
    description: str
    registry: str
    connection: str | None
    created_by: str
    created_at: str | None


def repository_answer(repository: Repository) -> RepositoryAnswer:
    return {
        "name": repository.name,
        "kind": repository.kind,
        "description": repository.description,
        "registry": repository.registry,
        "connection": repository.connection.name if repository.connection else None,
        "created_by": repository.created_by.username,
        "created_at": timestamp(repository.created_at),
    }


class PlacementAnswer(TypedDict):
    environment: str
    repository: str
    package: str
    version: str
    manifest_digest: str
    promotion: int
    image: str
    storage: str
    since: str | None
    until: str | None
    recorded_at: str | None
    state: str
    replacement: str | None


def placement_answer(placement: Placement) -> PlacementAnswer:
    """A placement, with its end as it was known at the time that was asked about; `state` and
    `replacement` are its version's now."""
    version = placement.version
    return {
        "environment": placement.environment.name,
        "repository": placement.package.repository.name,
        "package": placement.package.name,
        "version": placement.version.name,
        "manifest_digest": placement.version.manifest_digest,
        "promotion": placement.promotion_id,
        "image": placement.image,
        "storage": placement.storage,
        "since": timestamp(placement.since),
        "until": timestamp(getattr(placement, "known_until", placement.until)),
        "recorded_at": timestamp(placement.recorded_at),
        "state": version.state,
        "replacement": version.replacement.name if version.replacement else None,
    }


class PackageAnswer(TypedDict):
    repository: str
    name: str
    latest: str | None
    placements: list[PlacementAnswer]
    created_at: str | None


def package_answer(package: Package) -> PackageAnswer:
    return {
        "repository": package.repository.name,
        "name": package.name,
        "latest": getattr(package, "latest", None),
        "placements": [placement_answer(each) for each in getattr(package, "placed_now", ())],
        "created_at": timestamp(package.created_at),
    }


class VersionFileAnswer(TypedDict):
    path: str
    size: int
    sha256: str
    md5: str
    download_url: str


class VersionAnswer(TypedDict):
    repository: str
    package: str
    version: str
    state: str
    manifest_digest: str
    artifact: dict[str, str]
    image: ImageAnswer | None
    files: list[VersionFileAnswer]
    provenance: dict[str, Any]
    evidence: list[EvidenceAnswer]
    placements: list[PlacementAnswer]
    notes: str
    published_by: str
    published_at: str | None
    recalled_at: str | None
    recall_reason: str
    replacement: str | None
    pruned_at: str | None
    pruned_reason: str
    download_url: str | None
    url: str


def version_answer(
    version: Version, placed: descriptors.PlacedImage | None = None, *, by: User
) -> VersionAnswer:
    names = [version.package.repository.name, version.package.name, version.name]
    has_bytes = version.bundle_id and version.pruned_at is None
    download = descriptors.download_path(version) if has_bytes else None
    return {
        "repository": names[0],
        "package": names[1],
        "version": names[2],
        "state": version.state,
        "manifest_digest": version.manifest_digest,
        "artifact": descriptors.descriptor(version, placed=placed, owner=by.pk),
        "image": image_answer(version),
        "files": [
            {
                "path": file.path,
                "size": file.blob.size,
                "sha256": file.blob.sha256,
                "md5": file.blob.md5,
                "download_url": links.absolute(
                    reverse("api:version-file", args=[*names, file.path])
                ),
            }
            for file in version.files.all()
        ],
        "provenance": version.provenance,
        "evidence": [evidence_answer(each) for each in version.evidence.all()],
        "placements": [
            placement_answer(each) for each in version.placements.all() if each.until is None
        ],
        "notes": version.notes,
        "published_by": version.published_by.username,
        "published_at": timestamp(version.published_at),
        "recalled_at": timestamp(version.recalled_at),
        "recall_reason": version.recall_reason,
        "replacement": version.replacement.name if version.replacement else None,
        "pruned_at": timestamp(version.pruned_at),
        "pruned_reason": version.pruned_reason,
        "download_url": links.absolute(download) if download else None,
        "url": links.absolute(reverse("promotion:version", args=names)),
    }


class ConsideredAnswer(TypedDict):
    version: str
    eligible: bool
    why: str


class ExplanationAnswer(TypedDict):
    rule: str
    considered: list[ConsideredAnswer]
    ledger_size: int


class ResolvedAnswer(VersionAnswer):
    explanation: ExplanationAnswer


class SelectionAnswer(TypedDict):
    id: int
    query: dict[str, str | None]
    repository: str
    package: str
    version: str
    manifest_digest: str
    artifact: dict[str, str]
    sha256: str | None
    explanation: ExplanationAnswer
    ledger_size: int
    by: str
    consumer: str
    at: str
    signature: str
    image: NotRequired[str]
    image_tag: NotRequired[str]


class PolicyAnswer(TypedDict):
    environment: str
    revision: int
    digest: str
    rules: dict[str, Any]
    created_by: str
    created_at: str | None


def policy_answer(policy: PolicyRevision) -> PolicyAnswer:
    return {
        "environment": policy.environment.name,
        "revision": policy.number,
        "digest": policy.digest,
        "rules": json.loads(policy.rules),
        "created_by": policy.created_by.username,
        "created_at": timestamp(policy.created_at),
    }


class TargetAnswer(TypedDict):
    """Where the bytes of an environment live when not with ours; empty where it names nothing."""

    registry: str
    registry_connection: str
    storage: str
    storage_host: str
    storage_connection: str
    storage_prefix: str
    bound_by: str | None
    set_at: str | None


def target_answer(environment: Environment) -> TargetAnswer:
    target = targets.of(environment)
    return {
        "registry": target.registry,
        "registry_connection": target.registry_connection,
        "storage": target.storage,
        "storage_host": target.storage_host,
        "storage_connection": target.storage_connection,
        "storage_prefix": environment.storage_prefix,
        "bound_by": environment.bound_by.username if environment.bound_by else None,
        "set_at": timestamp(environment.target_set_at),
    }


class EnvironmentAnswer(TypedDict):
    name: str
    rank: int
    description: str
    policy: PolicyAnswer
    target: TargetAnswer


def environment_answer(environment: Environment) -> EnvironmentAnswer:
    assert environment.policy is not None, "every environment is created with a policy"
    return {
        "name": environment.name,
        "rank": environment.rank,
        "description": environment.description,
        "policy": policy_answer(environment.policy),
        "target": target_answer(environment),
    }


class HistoryAnswer(TypedDict):
    sequence: int
    at: str
    type: str
    actor: str | None
    data: dict[str, Any]
    leaf_hash: str


def history_answer(entry: LedgerEntry) -> HistoryAnswer:
    body = json.loads(bytes(entry.body))
    return {
        "sequence": entry.sequence,
        "at": body["at"],
        "type": body["type"],
        "actor": body["actor"],
        "data": body["data"],
        "leaf_hash": entry.leaf_hash,
    }
