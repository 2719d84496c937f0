"""The keys whose signatures on evidence count. The only writer of their rows."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from pipelines.errors import Invalid, NameTaken, WrongState
from promotion import rules, signing
from promotion.evidence import dsse
from promotion.ledger.append import append
from promotion.models import EvidenceKey
from promotion.models.evidence import check_key_name

#: What the site calls its own key. Names that begin so are for it alone: “signed by sluice” in a
#: policy must not be had by naming another key like that.
OWN = "sluice"


def add_key(name: str, public_key: str, *, by: User) -> EvidenceKey:
    """Trust a public key (PEM) from now on, by a name that policies and pages use."""
    rules.require(by, "evidence_key.manage")
    try:
        check_key_name(name)
    except ValidationError as error:
        raise Invalid(f"“{name[:80]}” cannot name a key. {error.message}") from error
    if name.startswith(OWN):
        raise Invalid(f"Names that begin with “{OWN}” are for the site's own key. Take another.")
    key = dsse.load_key(public_key)
    taken = EvidenceKey.objects.filter(Q(name=name) | Q(fingerprint=dsse.fingerprint(key))).first()
    if taken is not None:
        raise _why_taken(taken, name)
    try:
        with transaction.atomic():
            return _write(name, key, by=by)
    except IntegrityError as error:
        raise NameTaken(f"The key “{name}” was added by somebody else just now.") from error


def _why_taken(taken: EvidenceKey, name: str) -> NameTaken:
    once = "is" if taken.revoked_at is None else "was revoked, and is never trusted again as"
    if taken.name == name:
        return NameTaken(f"There is a key “{name}”, or was one. Take a name that was never used.")
    return NameTaken(f"This very key {once} “{taken.name}”. One key has one name.")


def _write(name: str, key: dsse.PublicKey, *, by: User | None) -> EvidenceKey:
    now = timezone.now()
    row = EvidenceKey.objects.create(
        name=name,
        algorithm=dsse.algorithm(key),
        public_key=dsse.pem(key),
        fingerprint=dsse.fingerprint(key),
        added_by=by,
        added_at=now,
    )
    append(
        "evidence_key.added",
        by=by,
        at=now,
        data={"key": name, "algorithm": row.algorithm, "fingerprint": row.fingerprint},
    )
    return row


def revoke_key(key: EvidenceKey, *, by: User, reason: str) -> EvidenceKey:
    """Trust a key no longer. What it alone has signed is a mere claim from this moment on."""
    rules.require(by, "evidence_key.manage")
    if not reason.strip():
        raise Invalid("Say why the key is revoked: whoever relied on it will read it.")
    now = timezone.now()
    with transaction.atomic():
        revoked = EvidenceKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=now, revoked_by=by, revoked_reason=reason.strip()
        )
        if not revoked:
            raise WrongState(f"The key “{key.name}” was revoked already.", current="revoked")
        append(
            "evidence_key.revoked",
            by=by,
            at=now,
            data={"key": key.name, "fingerprint": key.fingerprint, "reason": reason.strip()},
        )
    return EvidenceKey.objects.get(pk=key.pk)


def trusted() -> list[dsse.Key]:
    """Every key that counts now."""
    rows = EvidenceKey.objects.filter(revoked_at__isnull=True)
    return [dsse.Key(row.name, row.fingerprint, dsse.load_key(row.public_key)) for row in rows]


def own() -> EvidenceKey:
    """The row of the key that the site signs with now, written when it first signs something."""
    public = signing.signing_key().public_key()
    fingerprint = dsse.fingerprint(public)
    known = EvidenceKey.objects.filter(fingerprint=fingerprint).first()
    if known is not None:
        return known
    earlier = EvidenceKey.objects.filter(name=OWN).exists()
    # After the key was replaced, what the earlier one has signed still says by which.
    name = f"{OWN}-{fingerprint.removeprefix('sha256:')[:12]}" if earlier else OWN
    try:
        with transaction.atomic():
            return _write(name, public, by=None)
    except IntegrityError:
        return EvidenceKey.objects.get(fingerprint=fingerprint)
