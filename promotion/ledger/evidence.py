"""Whether evidence still says what it was kept as saying, and is signed by whom it says."""

import json
from collections.abc import Iterator

from pipelines.canonical import digest
from pipelines.errors import SluiceError
from promotion.evidence import dsse, reading, statements
from promotion.models import ArtifactEvidence, CheckedSignature, Evidence, EvidenceKey


def findings() -> Iterator[str]:
    for evidence in Evidence.objects.iterator(chunk_size=500):
        yield from _of_row(f"evidence {evidence.pk}", evidence)
    for row in ArtifactEvidence.objects.iterator(chunk_size=500):
        yield from _of_row(f"evidence {row.pk} on an artifact", row)
    for key in EvidenceKey.objects.all():
        if _fingerprint(key.public_key) != key.fingerprint:
            yield f"evidence key {key.name}: it does not have its fingerprint"
    signatures = CheckedSignature.objects.select_related("evidence", "key")
    for signature in signatures.iterator(chunk_size=500):
        if not _is_signed(signature.evidence.payload, signature.key.public_key):
            yield (
                f"evidence {signature.evidence_id} is not signed by the key {signature.key.name}"
            )


def _of_row(name: str, row: Evidence | ArtifactEvidence) -> Iterator[str]:
    if digest(row.payload.encode()) != row.digest:
        yield f"{name}: its payload does not have its digest"
    elif (row.kind, row.predicate_type, row.result) != _said(row):
        yield f"{name}: its columns do not say what its payload says"


def _said(row: Evidence | ArtifactEvidence) -> tuple[str, str, str]:
    if row.kind == reading.RESULT:
        said = json.loads(row.payload)
        return row.kind, said["predicate_type"], said["result"]
    try:
        read = reading.read(row.payload)
    except SluiceError:
        return "", "", ""
    return read.kind, read.predicate_type, read.result


def _fingerprint(public_key: str) -> str:
    try:
        return dsse.fingerprint(dsse.load_key(public_key))
    except SluiceError:
        return ""


def _is_signed(payload: str, public_key: str) -> bool:
    try:
        _, envelope = statements.opened(json.loads(payload))
        key = dsse.load_key(public_key)
    except (SluiceError, ValueError):
        return False
    return envelope is not None and bool(dsse.signers(envelope, [dsse.Key("it", "", key)]))
