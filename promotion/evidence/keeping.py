"""Keeping what was said of versions and artifacts: byte for byte, with whose signature counts.

The only writer of evidence.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import canonical, digest
from pipelines.errors import Invalid, TooLarge
from pipelines.models import Artifact
from promotion import rules
from promotion.evidence import dsse, keys, reading, statements
from promotion.evidence.reading import MAX_BYTES, Read
from promotion.evidence.statements import Identity
from promotion.ledger.append import append, lock
from promotion.models import (
    ArtifactEvidence,
    CheckedSignature,
    Evidence,
    EvidenceKey,
    Version,
)
from promotion.naming import about, named


@dataclass(frozen=True, slots=True)
class Added:
    """The row, and whether this call made it or found the same statement there already."""

    evidence: Evidence
    is_new: bool


@dataclass(frozen=True, slots=True)
class AddedToArtifact:
    evidence: ArtifactEvidence
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Given:
    """A statement as it came, and what it was read as."""

    payload: str
    read: Read


# ---- Verbs -------------------------------------------------------------------------------------
def add_evidence(
    version: Version, *, by: User, predicate_type: str, result: str, payload: Mapping[str, Any]
) -> Added:
    """Keep a plain result about a version; the same one again is found, not doubled."""
    rules.require(by, "evidence.add")
    return _add(version, _plain(predicate_type, result, payload), by=by)


def add_document(version: Version, text: str, *, by: User) -> Added:
    """Keep an envelope, statement, report or bill of materials about a version, as it came.

    The same one again is found, and its signatures are checked anew: by then a key may be trusted
    that was not.
    """
    rules.require(by, "evidence.add")
    return _add(version, _document(text), by=by)


def add_evidence_to_artifact(
    artifact: Artifact, *, by: User, predicate_type: str, result: str, payload: Mapping[str, Any]
) -> AddedToArtifact:
    rules.require(by, "evidence.add")
    return _add_to_artifact(artifact, _plain(predicate_type, result, payload), by=by)


def add_document_to_artifact(artifact: Artifact, text: str, *, by: User) -> AddedToArtifact:
    rules.require(by, "evidence.add")
    return _add_to_artifact(artifact, _document(text), by=by)


def bring(version: Version, produced: Iterable[str], *, by: User) -> None:
    """What a new version has from the beginning: the evidence on its artifact, in the names of
    those who added it, and what Sluice itself has seen. In the transaction that seals it."""
    for said in _rows_on(version.artifact):
        _keep(version, _again(said), by=said.added_by)
    own_words = [_document(text) for text in produced]
    if own_words:
        keys.own()
    for given in own_words:
        _keep(version, given, by=by)


# ---- What was given ----------------------------------------------------------------------------
def _plain(predicate_type: str, result: str, payload: Mapping[str, Any]) -> _Given:
    if not predicate_type.strip():
        raise Invalid("Name the predicate_type: what kind of statement this is.")
    try:
        text = canonical({"payload": payload, "predicate_type": predicate_type, "result": result})
    except ValueError as error:
        raise Invalid(f"The payload has no canonical JSON: {error}.") from error
    if len(text) > MAX_BYTES:
        raise TooLarge(f"A statement may have at most {MAX_BYTES} bytes.")
    return _Given(text.decode(), Read(reading.RESULT, predicate_type, result, {}))


def _document(text: str) -> _Given:
    if "\x00" in text:
        raise Invalid("The evidence has a NUL character, which no database can keep.")
    return _Given(text, reading.read(text))


def _again(row: ArtifactEvidence) -> _Given:
    if row.kind == reading.RESULT:
        return _Given(row.payload, Read(reading.RESULT, row.predicate_type, row.result, {}))
    return _document(row.payload)


# ---- Versions ----------------------------------------------------------------------------------
def _add(version: Version, given: _Given, *, by: User) -> Added:
    if given.read.statement is not None:
        statements.require_about(given.read.statement, identity_of(version))
    _require_honest(given)
    with transaction.atomic():
        return _keep(version, given, by=by)


def _require_honest(given: _Given) -> None:
    if given.read.envelope is not None:
        dsse.require_honest(given.read.envelope, keys.trusted())


def _keep(version: Version, given: _Given, *, by: User) -> Added:
    # Taken before any row: two who add the same would otherwise wait for each other's.
    lock()
    now = timezone.now()
    evidence, is_new = Evidence.objects.get_or_create(
        version=version,
        predicate_type=given.read.predicate_type,
        digest=digest(given.payload.encode()),
        defaults=_columns(given, by, now),
    )
    signers = _check_signatures(evidence, given, now)
    if is_new or signers:
        append(
            "evidence.added" if is_new else "evidence.verified",
            by=by,
            at=now,
            about=about(version),
            data={
                **named(version),
                "predicate_type": evidence.predicate_type,
                "result": evidence.result,
                "digest": evidence.digest,
                **({"kind": evidence.kind} if evidence.kind != reading.RESULT else {}),
                **({"keys": signers} if signers else {}),
            },
        )
    return Added(evidence, is_new)


def _check_signatures(evidence: Evidence, given: _Given, now: datetime) -> list[str]:
    """Write down which trusted keys have signed; the names of those that are new."""
    if given.read.envelope is None:
        return []
    names = dsse.signers(given.read.envelope, keys.trusted())
    new = []
    for key in EvidenceKey.objects.filter(name__in=names):
        _, is_new = CheckedSignature.objects.get_or_create(
            evidence=evidence, key=key, defaults={"checked_at": now}
        )
        if is_new:
            new.append(key.name)
    return sorted(new)


def _columns(given: _Given, by: User, now: datetime) -> dict[str, Any]:
    return {
        "kind": given.read.kind,
        "payload": given.payload,
        "result": given.read.result,
        "summary": dict(given.read.summary),
        "is_signed": given.read.envelope is not None,
        "added_by": by,
        "added_at": now,
    }


def identity_of(version: Version) -> Identity:
    """By which SHA-256s the bytes of a version are known."""
    files = dict(version.files.values_list("path", "blob_id"))
    return _identity(str(version), files, version.manifest_digest, version.bundle_id, version.image)


def _identity(noun: str, files: dict[str, str], *wholes: str | None) -> Identity:
    digests = (each.rpartition("sha256:")[2] for each in wholes if each)
    return Identity(noun, frozenset(digests), files)


# ---- Artifacts ---------------------------------------------------------------------------------
def _add_to_artifact(artifact: Artifact, given: _Given, *, by: User) -> AddedToArtifact:
    if given.read.statement is not None:
        files = dict(artifact.files.values_list("path", "blob_id"))
        statements.require_about(
            given.read.statement,
            _identity(
                f"the artifact “{artifact.name}”",
                files,
                artifact.digest,
                artifact.bundle_id,
                artifact.image,
            ),
        )
    _require_honest(given)
    now = timezone.now()
    with transaction.atomic():
        # Locked, so that a version that is being made of it has it, or is there to be given it.
        Artifact.objects.select_for_update(no_key=True).get(pk=artifact.pk)
        evidence, is_new = ArtifactEvidence.objects.get_or_create(
            artifact=artifact,
            predicate_type=given.read.predicate_type,
            digest=digest(given.payload.encode()),
            defaults=_columns(given, by, now),
        )
        if is_new:
            append(
                "artifact.evidence_added",
                by=by,
                at=now,
                data={
                    "artifact": artifact.pk,
                    "predicate_type": evidence.predicate_type,
                    "result": evidence.result,
                    "digest": evidence.digest,
                },
            )
        for version in Version.objects.with_names().filter(artifact=artifact).order_by("pk"):
            _keep(version, given, by=by)
    return AddedToArtifact(evidence, is_new)


def _rows_on(artifact: Artifact) -> Sequence[ArtifactEvidence]:
    return list(ArtifactEvidence.objects.filter(artifact=artifact).select_related("added_by"))


def verified_now(evidence: ArtifactEvidence, trusted: Sequence[dsse.Key]) -> tuple[str, ...]:
    """Whose signature would count if the artifact became a version now."""
    if not evidence.is_signed:
        return ()
    _, envelope = statements.opened(json.loads(evidence.payload))
    return dsse.signers(envelope, trusted) if envelope else ()
