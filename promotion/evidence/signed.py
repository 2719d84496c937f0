"""What Sluice itself says: in-toto Statements in DSSE envelopes, signed by the site's own key."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.canonical import canonical
from promotion import signing
from promotion.evidence import dsse, statements


def envelope(
    predicate_type: str, subjects: Sequence[Mapping[str, Any]], predicate: Mapping[str, Any]
) -> str:
    """The signed envelope as canonical JSON: the same facts are the same text again."""
    payload = canonical(
        {
            "_type": statements.TYPE,
            "subject": [dict(subject) for subject in subjects],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )
    signature = signing.sign(dsse.pae(dsse.IN_TOTO, payload))
    key_id = dsse.fingerprint(signing.signing_key().public_key())
    return canonical(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": dsse.IN_TOTO,
            "signatures": [{"keyid": key_id, "sig": signature}],
        }
    ).decode()


def subject(name: str, sha256: str) -> dict[str, Any]:
    """A subject by its SHA-256, in hex or as `sha256:…`."""
    return {"name": name, "digest": {"sha256": sha256.removeprefix("sha256:")}}
