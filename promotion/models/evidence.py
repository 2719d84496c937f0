"""Evidence: statements about versions and artifacts, and the keys that are trusted to sign them."""

from typing import Self

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from pipelines.models import Artifact
from pipelines.seals import Sealed
from promotion.models.version import Version

KINDS = [
    ("statement", "Statement"),
    ("result", "Result"),
    ("junit", "Test report"),
    ("sarif", "Scan"),
    ("cyclonedx", "Bill of materials, CycloneDX"),
    ("spdx", "Bill of materials, SPDX"),
    ("provenance", "Provenance"),
]
KEY_NAME = r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?\Z"
check_key_name = RegexValidator(
    KEY_NAME,
    "Lower-case letters, digits and . _ - in between, at most 64 characters.",
    code="invalid_key_name",
)


class EvidenceKey(Sealed):
    """A public key whose signature on evidence counts. Once revoked it never counts again, and
    neither its name nor the key itself is ever trusted anew."""

    unsealed = frozenset({"revoked_at", "revoked_by", "revoked_reason"})

    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True, validators=[check_key_name])
    algorithm = models.CharField(
        max_length=16, choices=[(each, each) for each in ("ed25519", "ecdsa-p256", "rsa-pss")]
    )
    public_key = models.TextField(help_text="PEM, SubjectPublicKeyInfo.")
    fingerprint = models.CharField(max_length=71, unique=True, help_text="sha256:… of the DER.")
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Empty: the site's own key, which it added itself.",
    )
    added_at = models.DateTimeField()

    # What has happened. Written only by evidence/keys.py.
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    revoked_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revoked_reason="")
                | (models.Q(revoked_at__isnull=False) & ~models.Q(revoked_reason="")),
                name="a_revoked_key_says_why",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        return "trusted" if self.revoked_at is None else "revoked"

    @property
    def is_own(self) -> bool:
        return self.added_by_id is None


class _Kept(Sealed):
    """A statement as it came, byte for byte, and in short what it says."""

    kind = models.CharField(max_length=16, choices=KINDS, default="result", db_default="result")
    predicate_type = models.CharField(max_length=255)
    result = models.CharField(max_length=40, blank=True)
    payload = models.TextField(
        help_text="The whole statement as it came; of a plain result its canonical JSON."
    )
    summary = models.JSONField(default=dict, db_default={}, help_text="Counts, builder.")
    is_signed = models.BooleanField(default=False, db_default=False)
    digest = models.CharField(max_length=71, help_text="sha256:… of the payload.")
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    added_at = models.DateTimeField()

    class Meta:
        abstract = True


class EvidenceQuerySet(models.QuerySet["Evidence"]):
    def whole(self) -> Self:
        """With all that its standing is told by."""
        return self.select_related("added_by").prefetch_related("signatures__key")


class Evidence(_Kept):
    """A statement that somebody made about a version."""

    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="evidence")

    objects = EvidenceQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "evidence"
        constraints = [
            models.UniqueConstraint(
                fields=["version", "predicate_type", "digest"],
                name="one_evidence_per_version_type_and_digest",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=[kind for kind, _ in KINDS]),
                name="evidence_kind_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.predicate_type}"

    @property
    def verified_by(self) -> tuple[str, ...]:
        """The names of the keys that signed it and are trusted still."""
        trusted = (each.key for each in self.signatures.all() if each.key.revoked_at is None)
        return tuple(sorted(key.name for key in trusted))

    @property
    def standing(self) -> str:
        return "verified" if self.verified_by else "claimed"

    @property
    def why(self) -> str:
        """Why it stands as it does, in a sentence."""
        if names := self.verified_by:
            return f"Signed by {' and '.join(names)}."
        revoked = sorted(each.key.name for each in self.signatures.all())
        if revoked:
            return f"It was signed by {' and '.join(revoked)}, which is no longer trusted."
        if self.is_signed:
            return "It is signed, but by no key that is trusted here."
        return "It is not signed: whoever added it says so."


class CheckedSignature(Sealed):
    """A signature on evidence that was checked and is of a key that was trusted then."""

    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, related_name="signatures")
    key = models.ForeignKey(EvidenceKey, on_delete=models.PROTECT, related_name="signatures")
    checked_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["evidence", "key"], name="one_signature_per_evidence_and_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.evidence}: {self.key}"


class ArtifactEvidence(_Kept):
    """A statement about an artifact. It comes along to each version that the artifact becomes;
    whose signature counts is looked at there and then."""

    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="evidence")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "evidence on artifacts"
        constraints = [
            models.UniqueConstraint(
                fields=["artifact", "predicate_type", "digest"],
                name="one_evidence_per_artifact_type_and_digest",
            )
        ]

    def __str__(self) -> str:
        return f"{self.artifact}: {self.predicate_type}"
