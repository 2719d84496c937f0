"""in-toto Statements: what is said, of which bytes. Pure.

https://github.com/in-toto/attestation/tree/main/spec, versions 1 and 0.1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Invalid
from promotion.evidence import dsse, strict

TYPE = "https://in-toto.io/Statement/v1"
TYPES = frozenset({TYPE, "https://in-toto.io/Statement/v0.1"})
PROVENANCE = "https://slsa.dev/provenance/"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"

MAX_SUBJECTS = 20_000
MAX_TYPE = 255
HEX = re.compile(r"[0-9a-f]{64}")

#: How predicates word what came out; what a predicate says in other words is no result.
RESULTS: Mapping[str, str] = {
    **dict.fromkeys(("passed", "pass", "succeeded", "success"), "passed"),
    **dict.fromkeys(("failed", "fail", "failure", "denied"), "failed"),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """`subjects` are the SHA-256s, in hex, of the bytes that the statement is about."""

    predicate_type: str
    subjects: frozenset[str]
    predicate: Mapping[str, Any]

    @property
    def result(self) -> str:
        for key in ("result", "verificationResult"):
            word = self.predicate.get(key)
            if isinstance(word, str):
                return RESULTS.get(word.lower(), "")
        return ""


@dataclass(frozen=True, slots=True)
class Identity:
    """By which SHA-256s some bytes are known: each of `wholes` names all of them at once (the
    manifest, the download, the image), each of `files` one file, by its path."""

    noun: str
    wholes: frozenset[str]
    files: Mapping[str, str]


def opened(value: Mapping[str, Any]) -> tuple[Statement | None, dsse.Envelope | None]:
    """The Statement in a JSON object, and the envelope around it; None for what it is not."""
    if "payloadType" in value or "signatures" in value:
        envelope = dsse.parse(value)
        if envelope.payload_type != dsse.IN_TOTO:
            raise Invalid(
                f"The envelope holds “{envelope.payload_type[:80]}”. Only statements are taken as "
                f"evidence: {dsse.IN_TOTO}."
            )
        try:
            text = envelope.payload.decode()
        except UnicodeDecodeError as error:
            raise Invalid("The payload of the DSSE envelope is not UTF-8.") from error
        return of(strict.load_object(text, "The statement in the envelope")), envelope
    return (of(value), None) if "_type" in value else (None, None)


def of(value: Mapping[str, Any]) -> Statement:
    """The Statement that a JSON object is."""
    if value.get("_type") not in TYPES:
        raise Invalid(f"A statement's _type is one of: {', '.join(sorted(TYPES))}.")
    predicate_type = value.get("predicateType")
    if not isinstance(predicate_type, str) or not predicate_type.strip():
        raise Invalid("A statement has a predicateType: what kind of statement it is.")
    if len(predicate_type) > MAX_TYPE:
        raise Invalid(f"A predicateType may have at most {MAX_TYPE} characters.")
    predicate = value.get("predicate")
    if not isinstance(predicate, dict | None):
        raise Invalid("The predicate of a statement is a JSON object.")
    return Statement(predicate_type.strip(), _subjects(value.get("subject")), predicate or {})


def _subjects(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise Invalid("A statement names at least one subject: the bytes that it is about.")
    if len(value) > MAX_SUBJECTS:
        raise Invalid(f"A statement may have at most {MAX_SUBJECTS} subjects.")
    found = set()
    for position, each in enumerate(value, 1):
        digests = each.get("digest") if isinstance(each, dict) else None
        if not isinstance(digests, dict) or not digests:
            raise Invalid(f"Subject {position} has no digest.")
        sha256 = digests.get("sha256")
        if sha256 is None:
            continue  # Named by another algorithm; of that kind nothing is known here.
        if not isinstance(sha256, str) or not HEX.fullmatch(sha256.lower()):
            raise Invalid(f"The sha256 of subject {position} is no SHA-256 in hex.")
        found.add(sha256.lower())
    return frozenset(found)


def require_about(statement: Statement, identity: Identity) -> None:
    """Refuse a statement that is not about all of these bytes.

    One about some of the files only would otherwise speak for every version that has the same
    licence or readme. Further subjects are no harm: they are what else came out of a build.
    """
    if statement.subjects & identity.wholes:
        return
    missing = [path for path, sha256 in identity.files.items() if sha256 not in statement.subjects]
    if identity.files and not missing:
        return
    known = len(identity.files) - len(missing)
    if known:
        raise Invalid(
            f"The statement is about {known} of the {len(identity.files)} files of {identity.noun} "
            f"only; “{min(missing)[:100]}” is not among its subjects. Name all files, or the "
            "SHA-256 of the manifest or of the download."
        )
    if not statement.subjects:
        raise Invalid("No subject of the statement has a sha256, by which bytes are known here.")
    raise Invalid(
        f"The statement is about other bytes (sha256:{min(statement.subjects)}…): none of its "
        f"subjects is the manifest, the download, the image or a file of {identity.noun}."
    )
