"""A security key in software: real keys, real CBOR, and every lie that a forger could try."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.sessions.backends.db import SessionStore
from webauthn.helpers import bytes_to_base64url

from accounts import passkeys
from accounts.models import Passkey, User

ORIGIN = "http://localhost:8000"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One device with one key. `counts`: whether it counts its signatures."""

    counts: bool = True
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    count: int = 0

    @property
    def credential_id(self) -> str:
        return bytes_to_base64url(self.id)

    def make(self, options: dict[str, Any], **lies: Any) -> str:
        """Answer the options of a registration, as the browser's script sends it on."""
        public = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32), -3: public.y.to_bytes(32)}
        attested = bytes(16) + len(self.id).to_bytes(2) + self.id + cbor2.dumps(cose)
        data = self._data(options["rp"]["id"], ATTESTED, lies) + attested
        client = _client("webauthn.create", options["challenge"], lies)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return json.dumps(
            {
                "id": self.credential_id,
                "rawId": self.credential_id,
                "type": "public-key",
                "response": {
                    "clientDataJSON": bytes_to_base64url(client),
                    "attestationObject": bytes_to_base64url(attestation),
                    "transports": ["usb", "of another century"],
                },
            }
        )

    def sign(self, nonce: str, options: dict[str, Any], **lies: Any) -> dict[str, str]:
        """Answer a challenge, as the browser's script sends it on.

        Lies: `origin`, `rp_id`, `flags`, `count`, `type`, `challenge`.
        """
        data = self._data(options["rpId"], 0, lies)
        client = _client("webauthn.get", options["challenge"], lies)
        signed = data + hashlib.sha256(client).digest()
        return {
            "nonce": nonce,
            "credential_id": self.credential_id,
            "authenticator_data": bytes_to_base64url(data),
            "client_data": bytes_to_base64url(client),
            "signature": bytes_to_base64url(self.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
        }

    def register(self, user: User, name: str = "Key") -> Passkey:
        """Become a passkey of `user`, by the real verbs."""
        session = SessionStore()
        options = passkeys.begin(
            user, name=name, password=f"{user.username}'s password", session=session
        )
        return passkeys.finish(user, self.make(options), session=session)

    def _data(self, rp_id: str, more: int, lies: dict[str, Any]) -> bytes:
        self.count += self.counts
        flags: int = lies.get("flags", PRESENT | VERIFIED) | more
        count: int = lies.get("count", self.count)
        hashed = hashlib.sha256(lies.get("rp_id", rp_id).encode()).digest()
        return hashed + bytes([flags]) + count.to_bytes(4)


def _client(type_: str, challenge: str, lies: dict[str, Any]) -> bytes:
    said = {
        "type": lies.get("type", type_),
        "challenge": lies.get("challenge", challenge),
        "origin": lies.get("origin", ORIGIN),
        "crossOrigin": False,
    }
    return json.dumps(said).encode()
