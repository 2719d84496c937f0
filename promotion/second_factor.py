"""The second factor of an approval: a passkey of the person's own signs exactly what is approved.

What it is asked to sign needs no row: the nonce carries our own signature, over the promotion and
the person, and the time. It is good for one decision, because nobody decides twice on a promotion.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.signing import BadSignature, TimestampSigner
from django.urls import reverse
from webauthn import generate_authentication_options
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict
from webauthn.helpers.structs import UserVerificationRequirement

from accounts import passkeys
from accounts.models import Passkey, User
from accounts.relying import RelyingParty, relying_party
from promotion import assertions, deciders
from promotion.assertions import Assertion, NotSigned, Subject
from promotion.errors import PlanChanged, SecondFactorRefused, SecondFactorRequired
from promotion.ledger.append import append
from promotion.models import Decision, Promotion
from promotion.policies import rules_of

#: What a browser hands back, unread; None where no passkey was asked.
Answer = Mapping[str, Any] | None

#: For how long a challenge may be answered, in seconds.
PATIENCE = 300
#: What a browser hands back of a signature, and how long each text may be: more than any has.
ANSWERED = {
    "nonce": 200,
    "credential_id": 1364,
    "authenticator_data": 4000,
    "client_data": 4000,
    "signature": 8000,
}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a browser is to have signed: `options` for navigator.credentials.get, as JSON."""

    nonce: str
    options: dict[str, Any]


def challenge(promotion: Promotion, *, by: User, plan: str) -> Challenge:
    """Ask for `by`'s signature of the approval of exactly the plan whose digest is `plan`."""
    deciders.require_decider(promotion, by=by)
    if plan != promotion.plan_digest:
        raise PlanChanged(
            "The digest you sent is not that of this promotion's plan. Look at it again.",
            current=promotion.plan_digest,
        )
    own = list(Passkey.objects.usable_by(by))
    party = relying_party()
    if party is None or not own:
        raise SecondFactorRequired(what_to_do(promotion, by))
    nonce = _signer(promotion, by).sign(secrets.token_urlsafe(24))
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=assertions.challenge(_subject(promotion, by), nonce),
        timeout=PATIENCE * 1000,
        allow_credentials=passkeys.descriptors(own),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Challenge(nonce, options_to_json_dict(options))


def is_asked(promotion: Promotion) -> bool:
    return rules_of(promotion.policy).second_factor


def can_sign(user: User) -> bool:
    return relying_party() is not None and Passkey.objects.usable_by(user).exists()


def require(promotion: Promotion, *, by: User, assertion: Answer) -> dict[str, str] | None:
    """What is kept of the signature with the approval; refused where one is asked and not given.

    One that nobody asked for is checked and kept all the same. Within the approval's transaction.
    """
    if assertion is None:
        if is_asked(promotion):
            raise SecondFactorRequired(what_to_do(promotion, by))
        return None
    party = relying_party()
    if party is None:
        raise SecondFactorRequired(what_to_do(promotion, by))
    answered = _answered(assertion)
    _require_ours(promotion, by, answered["nonce"])
    # Locked until the commit: two approvals must not be held against the same count.
    passkey = (
        Passkey.objects.usable_by(by)
        .select_for_update()
        .filter(credential_id=answered["credential_id"])
        .first()
    )
    if passkey is None:
        raise SecondFactorRefused(
            "The passkey that signed is none of yours, or you have removed it. Use one that your "
            "account page lists."
        )
    kept = _kept(party, passkey, answered)
    try:
        count = assertions.check(_subject(promotion, by), kept, last_count=passkey.sign_count)
    except NotSigned as error:
        raise SecondFactorRefused(
            f"Your passkey's answer does not approve this plan: {error}. Approve it again."
        ) from error
    passkeys.note_use(passkey, sign_count=count)
    return kept.as_json()


def what_to_do(promotion: Promotion, by: User) -> str:
    """Why this person must sign, and how, in words."""
    asked = f"The policy of {promotion.environment.name} asks for a passkey's signature."
    party = relying_party()
    if party is None:
        return (
            f"{asked} Passkeys need an address with https and a domain name: somebody who operates "
            "Sluice has to set SLUICE_URL to one."
        )
    if by.is_machine:
        return f"{asked} A machine has none: a person must approve."
    page = f"{party.origin}{reverse('promotion:promotion', args=[promotion.pk])}"
    if not Passkey.objects.usable_by(by).exists():
        return f"{asked} You have none yet: add one on your account page, then approve at {page}."
    return f"{asked} Approve at {page} in a browser with scripts, and have your device at hand."


def record(event: str, passkey: Passkey) -> None:
    """Keep on the ledger whose key is which: signatures are held against it."""
    append(
        f"passkey.{event}",
        by=passkey.user,
        at=passkey.removed_at or passkey.created_at,
        data={
            "name": passkey.name,
            "credential_id": passkey.credential_id,
            "public_key": passkey.public_key,
        },
    )


def _answered(assertion: Mapping[str, Any]) -> dict[str, str]:
    answered = {}
    for name, longest in ANSWERED.items():
        text = assertion.get(name)
        if not isinstance(text, str) or not 0 < len(text) <= longest:
            raise SecondFactorRefused(
                f"The passkey's answer needs “{name}”, a text of 1 to {longest} characters."
            )
        answered[name] = text
    return answered


def _require_ours(promotion: Promotion, by: User, nonce: str) -> None:
    try:
        _signer(promotion, by).unsign(nonce, max_age=PATIENCE)
    except BadSignature as error:
        raise SecondFactorRefused(
            "What your passkey signed was not asked for here, or longer ago than "
            f"{PATIENCE // 60} minutes. Approve it again."
        ) from error


def _signer(promotion: Promotion, by: User) -> TimestampSigner:
    return TimestampSigner(salt=f"sluice.approval.{promotion.pk}.{by.pk}")


def _subject(promotion: Promotion, by: User) -> Subject:
    return Subject(promotion.pk, promotion.plan_digest, Decision.APPROVE.value, by.username)


def _kept(party: RelyingParty, passkey: Passkey, answered: Mapping[str, str]) -> Assertion:
    """With each text in its one form: base64 can say the same bytes in many ways."""
    try:
        same = {
            name: bytes_to_base64url(base64url_to_bytes(answered[name]))
            for name in ("authenticator_data", "client_data", "signature")
        }
    except ValueError as error:
        raise SecondFactorRefused("The passkey's answer is not in base64url.") from error
    return Assertion(
        rp_id=party.id,
        origin=party.origin,
        credential_id=passkey.credential_id,
        public_key=passkey.public_key,
        nonce=answered["nonce"],
        **same,
    )
