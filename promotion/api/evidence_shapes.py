"""What the API answers of evidence and its keys."""

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from django.urls import reverse

from pipelines import links
from pipelines.api.shapes import timestamp
from promotion.evidence import dsse, keeping, reading
from promotion.models import ArtifactEvidence, Evidence, EvidenceKey


class EvidenceAnswer(TypedDict):
    """A statement in short, as a version carries it. The statement itself may be large."""

    id: int
    kind: str
    predicate_type: str
    result: str
    summary: dict[str, Any]
    digest: str
    status: str
    keys: list[str]
    why: str
    added_by: str
    added_at: str | None
    raw_url: str


class StatementAnswer(EvidenceAnswer):
    """A statement whole: the payload of a plain result, the JSON of another, a report as text."""

    payload: Any


def evidence_answer(evidence: Evidence) -> EvidenceAnswer:
    version = evidence.version
    names = [version.package.repository.name, version.package.name, version.name]
    return {
        "id": evidence.pk,
        "kind": evidence.kind,
        "predicate_type": evidence.predicate_type,
        "result": evidence.result,
        "summary": evidence.summary,
        "digest": evidence.digest,
        "status": evidence.standing,
        "keys": list(evidence.verified_by),
        "why": evidence.why,
        "added_by": evidence.added_by.username,
        "added_at": timestamp(evidence.added_at),
        "raw_url": links.absolute(reverse("api:evidence-raw", args=[*names, evidence.pk])),
    }


def statement_answer(evidence: Evidence) -> StatementAnswer:
    return {**evidence_answer(evidence), "payload": _payload(evidence)}


def _payload(evidence: Evidence | ArtifactEvidence) -> Any:
    if evidence.kind == reading.JUNIT:
        return evidence.payload
    value = json.loads(evidence.payload)
    return value["payload"] if evidence.kind == reading.RESULT else value


class ArtifactStatementAnswer(TypedDict):
    """`status` and `keys`: as they would stand if the artifact became a version now."""

    id: int
    kind: str
    predicate_type: str
    result: str
    summary: dict[str, Any]
    digest: str
    status: str
    keys: list[str]
    added_by: str
    added_at: str | None
    payload: Any


def artifact_statement_answer(
    evidence: ArtifactEvidence, trusted: Sequence[dsse.Key]
) -> ArtifactStatementAnswer:
    signers = keeping.verified_now(evidence, trusted)
    return {
        "id": evidence.pk,
        "kind": evidence.kind,
        "predicate_type": evidence.predicate_type,
        "result": evidence.result,
        "summary": evidence.summary,
        "digest": evidence.digest,
        "status": "verified" if signers else "claimed",
        "keys": list(signers),
        "added_by": evidence.added_by.username,
        "added_at": timestamp(evidence.added_at),
        "payload": _payload(evidence),
    }


class KeyAnswer(TypedDict):
    """`added_by` is null for the site's own key."""

    name: str
    state: str
    algorithm: str
    public_key: str
    fingerprint: str
    added_by: str | None
    added_at: str | None
    revoked_by: str | None
    revoked_at: str | None
    revoked_reason: str


def key_answer(key: EvidenceKey) -> KeyAnswer:
    return {
        "name": key.name,
        "state": key.state,
        "algorithm": key.algorithm,
        "public_key": key.public_key,
        "fingerprint": key.fingerprint,
        "added_by": key.added_by.username if key.added_by else None,
        "added_at": timestamp(key.added_at),
        "revoked_by": key.revoked_by.username if key.revoked_by else None,
        "revoked_at": timestamp(key.revoked_at),
        "revoked_reason": key.revoked_reason,
    }
