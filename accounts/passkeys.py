"""Register and remove passkeys, and remember their use.

Who adds or removes one says the password again: whoever finds an open session must not be able to
plant a key of their own in it.
"""

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone
from webauthn import generate_registration_options, verify_registration_response
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    options_to_json_dict,
    parse_registration_credential_json,
)
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from accounts.models import Passkey, User
from accounts.relying import NAME, RelyingParty, relying_party

#: How long a browser may take from the options to the key, in seconds.
PATIENCE = 300
MOST = 20
#: Far more than any device sends.
LARGEST_ANSWER = 100_000
BEGUN = "passkey_begun"

#: Told of each passkey that was added or removed, in the transaction of it.
recorders: list[Callable[[str, Passkey], None]] = []


class PasskeyRefused(Exception):
    """Why a passkey was not added or removed, and what to do."""


def required_party() -> RelyingParty:
    party = relying_party()
    if party is None:
        raise PasskeyRefused(
            "Passkeys need an address with https and a domain name. "
            "Somebody who operates Sluice has to set SLUICE_URL to one."
        )
    return party


def begin(user: User, *, name: str, password: str, session: SessionBase) -> dict[str, Any]:
    """What the browser needs to make a key, as JSON. The challenge waits in the session."""
    party = required_party()
    _require_password(user, password)
    own = list(Passkey.objects.usable_by(user))
    if len(own) >= MOST:
        raise PasskeyRefused(f"You have {MOST} passkeys. Remove one that you no longer use.")
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=NAME,
        user_name=user.username,
        user_id=f"sluice-{user.pk}".encode(),
        timeout=PATIENCE * 1000,
        # Which maker's device it is plays no part: nobody here keeps a list of makers to trust.
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=descriptors(own),
    )
    session[BEGUN] = {
        "challenge": bytes_to_base64url(options.challenge),
        "name": name.strip() or "unnamed",
        "until": time.time() + PATIENCE,
    }
    return options_to_json_dict(options)


def finish(user: User, credential: str, *, session: SessionBase) -> Passkey:
    """Keep the key that the browser made; `credential` is its answer as JSON text."""
    party = required_party()
    # Taken out first: whatever comes of it, a challenge is answered once.
    begun = session.pop(BEGUN, None)
    if begun is None or begun["until"] < time.time():
        raise PasskeyRefused("That took too long, or was not begun here. Begin again.")
    if len(credential) > LARGEST_ANSWER:
        raise PasskeyRefused("The browser's answer is larger than any passkey's. Begin again.")
    try:
        answer = parse_registration_credential_json(credential)
        made = verify_registration_response(
            credential=answer,
            expected_challenge=base64url_to_bytes(begun["challenge"]),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except Exception as error:
        # The library has no one error for bytes that are no answer: a stranger wrote them.
        raise PasskeyRefused(f"The browser's answer is not in order: {error}. Begin again.") from (
            error
        )
    credential_id = bytes_to_base64url(made.credential_id)
    if len(credential_id) > 1364:
        raise PasskeyRefused("The device names its key at greater length than is allowed.")
    with transaction.atomic():
        passkey, is_new = Passkey.objects.get_or_create(
            credential_id=credential_id,
            defaults={
                "user": user,
                "name": begun["name"],
                "public_key": bytes_to_base64url(made.credential_public_key),
                "transports": [each.value for each in answer.response.transports or ()],
                "sign_count": made.sign_count,
                "created_at": timezone.now(),
            },
        )
        if not is_new:
            raise PasskeyRefused("This passkey is known here already. Use another device or key.")
        _tell("added", passkey)
    return passkey


def remove(user: User, pk: int, *, password: str) -> Passkey | None:
    """Let the user's own passkey sign nothing any more; None when there is no such one."""
    own = Passkey.objects.usable_by(user).filter(pk=pk)
    if not own.exists():
        return None
    # Before the lock: to check a password takes its time on purpose.
    _require_password(user, password)
    with transaction.atomic():
        found = own.select_for_update().first()
        if found is None:
            return None
        found.removed_at = timezone.now()
        found.save(update_fields=["removed_at"])
        _tell("removed", found)
    return found


def note_use(passkey: Passkey, *, sign_count: int) -> None:
    """Remember what the device has counted. The row must be locked since its count was read."""
    passkey.sign_count = sign_count
    passkey.last_used_at = timezone.now()
    passkey.save(update_fields=["sign_count", "last_used_at"])


def descriptors(passkeys: list[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    """The passkeys as a browser is told of them."""
    known = set(AuthenticatorTransport)
    return [
        PublicKeyCredentialDescriptor(
            id=base64url_to_bytes(each.credential_id),
            transports=[AuthenticatorTransport(way) for way in each.transports if way in known],
        )
        for each in passkeys
    ]


def _require_password(user: User, password: str) -> None:
    if authenticate(username=user.username, password=password) != user:
        raise PasskeyRefused("That is not your password. Nothing was changed.")


def _tell(event: str, passkey: Passkey) -> None:
    for record in recorders:
        record(event, passkey)
