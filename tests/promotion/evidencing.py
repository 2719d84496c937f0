"""Keys of others, and what they sign: envelopes of parts, so that each can be made wrong."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from promotion.evidence import dsse
from promotion.models import Version

Private = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem_of(private: Private) -> str:
    public = private.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signature(private: Private, data: bytes) -> bytes:
    if isinstance(private, Ed25519PrivateKey):
        return private.sign(data)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(data, ec.ECDSA(SHA256()))
    return private.sign(
        data, padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH), SHA256()
    )


def statement(*sha256s: str, type_: str = "https://example.com/scan/v1", **predicate: Any) -> bytes:
    """An in-toto Statement, spaced as no canonical form would have it."""
    subjects = [
        {"name": "it", "digest": {"sha256": each.removeprefix("sha256:")}} for each in sha256s
    ]
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": type_,
        "predicate": predicate,
    }
    return json.dumps(said, indent=3).encode()


def envelope(
    payload: bytes,
    *privates: Private,
    payload_type: str = dsse.IN_TOTO,
    signed_type: str = "",
    signed: bytes = b"",
    key_id: str = "",
) -> str:
    data = dsse.pae(signed_type or payload_type, signed or payload)
    return json.dumps(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"keyid": key_id, "sig": base64.b64encode(signature(each, data)).decode()}
                for each in privates
            ],
        },
        indent=1,
    )


def about(version: Version, private: Private, **predicate: Any) -> str:
    return envelope(statement(version.manifest_digest, **predicate), private)
