"""What a passkey signs when a promotion is approved, and whether it did. Pure.

The browser has the device sign a challenge. Ours is the digest of exactly what is approved, so the
signature holds for that and for nothing else, and can be checked for ever with what is kept here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from webauthn import base64url_to_bytes, verify_authentication_response

from pipelines.canonical import canonical

CONTEXT = "sluice approval v1"


class NotSigned(ValueError):
    """Why an assertion does not show that its passkey signed this."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is approved, and by whom."""

    promotion: int
    plan_digest: str
    decision: str
    by: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """All that it takes to check a signature later. Bytes are base64url without padding."""

    rp_id: str
    origin: str
    credential_id: str
    public_key: str
    nonce: str
    authenticator_data: str
    client_data: str
    signature: str

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "Assertion":
        """Raises NotSigned unless there are exactly the known fields, each a text."""
        if set(value) != set(cls.__slots__):
            raise NotSigned(f"it does not have the fields {', '.join(cls.__slots__)}")
        if not all(isinstance(each, str) for each in value.values()):
            raise NotSigned("not each of its fields is a text")
        return cls(**value)

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def challenge(subject: Subject, nonce: str) -> bytes:
    """The 32 bytes that a passkey must sign to approve `subject`."""
    return hashlib.sha256(
        canonical({"context": CONTEXT, "nonce": nonce, **asdict(subject)})
    ).digest()


def check(subject: Subject, assertion: Assertion, *, last_count: int = 0) -> int:
    """What the device has counted; NotSigned unless it signed `subject`, for a verified person.

    `last_count` is what the device had counted before: one that goes back was copied.
    """
    try:
        verified = verify_authentication_response(
            credential={
                "id": assertion.credential_id,
                "rawId": assertion.credential_id,
                "type": "public-key",
                "response": {
                    "clientDataJSON": assertion.client_data,
                    "authenticatorData": assertion.authenticator_data,
                    "signature": assertion.signature,
                },
            },
            expected_challenge=challenge(subject, assertion.nonce),
            expected_rp_id=assertion.rp_id,
            expected_origin=assertion.origin,
            credential_public_key=base64url_to_bytes(assertion.public_key),
            credential_current_sign_count=last_count,
            require_user_verification=True,
        )
    except Exception as error:
        # Any bytes may have been sent, and the library has no one error for what is no assertion.
        raise NotSigned(str(error) or type(error).__name__) from error
    return verified.new_sign_count
