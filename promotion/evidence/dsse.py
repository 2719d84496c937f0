"""DSSE envelopes: what was signed, exactly, and which of some keys did so. Pure.

https://github.com/secure-systems-lab/dsse: a signature is over the pre-authentication encoding of
the payload and its type, so that bytes signed as one thing are never taken for another.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from pipelines.errors import Invalid

IN_TOTO = "application/vnd.in-toto+json"
MAX_SIGNATURES = 16
MIN_RSA_BITS = 2048

PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Signature:
    """`key_id` is a hint of the signer's that nothing vouches for; what counts is what verifies."""

    key_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @property
    def signed(self) -> bytes:
        return pae(self.payload_type, self.payload)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key by the name that this site gave it."""

    name: str
    fingerprint: str
    public: PublicKey


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that are really signed."""
    type_ = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(type_), type_, len(payload), payload)


def parse(value: Mapping[str, Any]) -> Envelope:
    """The envelope that a JSON object is."""
    if unknown := sorted(set(value) - {"payload", "payloadType", "signatures"}):
        raise Invalid(f"A DSSE envelope has no field “{unknown[0][:64]}”.")
    payload, type_, signatures = (value.get(k) for k in ("payload", "payloadType", "signatures"))
    if not isinstance(payload, str) or not isinstance(type_, str):
        raise Invalid("A DSSE envelope has a payload in base64 and a payloadType, both texts.")
    if not isinstance(signatures, list) or not signatures:
        raise Invalid(
            "The DSSE envelope has no signatures. Send what is not signed as a plain statement."
        )
    if len(signatures) > MAX_SIGNATURES:
        raise Invalid(f"A DSSE envelope may have at most {MAX_SIGNATURES} signatures.")
    return Envelope(_decoded(payload, "payload"), type_, tuple(map(_signature, signatures)))


def _signature(value: Any) -> Signature:
    if not isinstance(value, dict) or not isinstance(value.get("sig"), str):
        raise Invalid("Each signature of a DSSE envelope has a “sig” in base64.")
    key_id = value.get("keyid") or ""
    if not isinstance(key_id, str):
        raise Invalid("The “keyid” of a signature is a text.")
    return Signature(key_id, _decoded(value["sig"], "sig"))


def _decoded(text: str, field: str) -> bytes:
    """Standard or URL-safe base64: the specification has verifiers take both."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"The {field} of the DSSE envelope is not base64.") from error


def load_key(pem: str) -> PublicKey:
    """The public key in `pem`, of a kind that signatures are checked with here."""
    if "PRIVATE KEY" in pem:
        raise Invalid(
            "This is a private key. Keep it to yourself and replace it, since it was sent: "
            "add the public key that belongs to the new one."
        )
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("The key is no public key in PEM form (BEGIN PUBLIC KEY).") from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise Invalid(f"An RSA key needs at least {MIN_RSA_BITS} bits; it has {key.key_size}.")
        return key
    raise Invalid("A key is Ed25519, ECDSA on P-256, or RSA.")


def algorithm(key: PublicKey) -> str:
    if isinstance(key, Ed25519PublicKey):
        return "ed25519"
    return "ecdsa-p256" if isinstance(key, ec.EllipticCurvePublicKey) else "rsa-pss"


def pem(key: PublicKey) -> str:
    """One key, one text, however it was written when it came."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def fingerprint(key: PublicKey) -> str:
    """`sha256:` and the hex digest of the key's SubjectPublicKeyInfo."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def verifies(key: PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(SHA256()))
        else:
            pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.AUTO)
            key.verify(signature, data, pss, SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def signers(envelope: Envelope, keys: Iterable[Key]) -> tuple[str, ...]:
    """The names of those among `keys` that signed, sorted."""
    data, known = envelope.signed, list(keys)
    return tuple(
        sorted(
            {
                key.name
                for signature in envelope.signatures
                for key in known
                if verifies(key.public, signature.data, data)
            }
        )
    )


def require_honest(envelope: Envelope, keys: Iterable[Key]) -> None:
    """Refuse an envelope with a signature that says it is of one of `keys` and is not.

    That is no mere lack of a known signer: what was signed was changed, or somebody pretends.
    """
    data = envelope.signed
    by_id = {id_: key for key in keys for id_ in _ids(key)}
    for signature in envelope.signatures:
        key = by_id.get(signature.key_id)
        if key is not None and not verifies(key.public, signature.data, data):
            raise Invalid(
                f"The signature says that it is of the key “{key.name}”, and it is not: the "
                "statement was changed after it was signed, or somebody else signed it."
            )


def _ids(key: Key) -> set[str]:
    return {key.name, key.fingerprint, key.fingerprint.removeprefix("sha256:")}
