"""Check the promises that Sluice makes, against what is really there.

Each check names the promise it holds to and yields a finding for everything that breaks it. A
check that cannot be made says so: that is neither holding nor broken.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from django.db import connection
from django.db.models import Count
from django.utils import timezone

from accounts.models import Token
from pipelines import collecting, scrubbing
from pipelines.canonical import canonical, digest, timestamp
from pipelines.errors import SluiceError
from pipelines.models import (
    Artifact,
    ArtifactFile,
    Blob,
    BlobState,
    ExecutionState,
    GateDecision,
    Job,
    Revision,
)
from pipelines.seals import trigger_names
from promotion.ledger import approved, at_targets, evidence, intervals, rows, signatures
from promotion.ledger.at_targets import CouldNot
from promotion.ledger.fold import Folded, fold
from promotion.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from promotion.models import (
    Affected,
    Approval,
    ArtifactEvidence,
    CheckedSignature,
    Evidence,
    EvidenceKey,
    Hold,
    ImageDetails,
    LedgerEntry,
    LedgerHead,
    Override,
    Placement,
    PolicyRevision,
    Promotion,
    PromotionItem,
    PromotionState,
    Review,
    Selection,
    UploadOutcome,
    Version,
    VersionFile,
)

SHOWN_UNKNOWN = 5

SEALED = [
    Revision,
    Blob,
    Artifact,
    ArtifactFile,
    GateDecision,
    Version,
    VersionFile,
    ImageDetails,
    Evidence,
    CheckedSignature,
    ArtifactEvidence,
    EvidenceKey,
    PolicyRevision,
    Promotion,
    PromotionItem,
    Approval,
    Override,
    Review,
    Hold,
    Placement,
    Selection,
    UploadOutcome,
    Affected,
    LedgerEntry,
]


@dataclass(frozen=True, slots=True)
class Result:
    """How one promise stands: the findings that break it, and what was looked at."""

    promise: str
    looked_at: str
    findings: tuple[str, ...]
    could_not: str = ""

    @property
    def holds(self) -> bool:
        return not self.findings and not self.could_not


Check = Callable[["Verification"], tuple[str, Iterator[str]]]


class Verification:
    """One pass over everything. `scrub` re-reads every byte instead of only its length, `repair`
    puts right what another storage has; `repaired` says afterwards what that was."""

    def __init__(self, *, scrub: bool = False, repair: bool = False) -> None:
        self.scrub = scrub
        self.repair = repair
        self.repaired: list[str] = []

    def run(self) -> Iterator[Result]:
        for promise, check in CHECKS.items():
            looked_at = ""
            findings: list[str] = []
            unknown: list[str] = []
            try:
                looked_at, found = check(self)
                for each in found:
                    (unknown if isinstance(each, CouldNot) else findings).append(each)
            except SluiceError as refusal:
                unknown.insert(0, _broken_off(refusal.detail, findings))
            except Exception as error:
                # Whatever stops a check, what it had found stands, and the others say theirs.
                unknown.insert(0, _broken_off(f"{type(error).__name__}: {error}", findings))
            could_not = "; ".join(unknown[:SHOWN_UNKNOWN])
            yield Result(promise, looked_at, tuple(findings), could_not)

    @cached_property
    def folded(self) -> Folded:
        return fold(json.loads(bytes(entry.body)) for entry in _in_order())


def _broken_off(why: str, findings: list[str]) -> str:
    return f"{why} (the check broke off after {len(findings)} findings)" if findings else why


def _in_order() -> Iterator[LedgerEntry]:
    rows = LedgerEntry.objects.select_related("actor").order_by("sequence")
    yield from rows.iterator(chunk_size=1000)


# ---- 1 -----------------------------------------------------------------------------------------
def _ledger(verification: Verification) -> tuple[str, Iterator[str]]:
    return f"{LedgerEntry.objects.count()} entries", _ledger_findings()


def _ledger_findings() -> Iterator[str]:
    frontier = Frontier()
    for entry in _in_order():
        body = bytes(entry.body)
        expected = frontier.size
        if entry.sequence != expected:
            yield f"entry {expected} is missing; the next one is {entry.sequence}"
            return
        yield from _body_findings(entry, body)
        if leaf_hash(body).hex() != entry.leaf_hash:
            yield f"entry {expected} was changed: its bytes do not have its leaf hash"
        frontier = frontier.append(leaf_hash(body))
    head = LedgerHead.objects.filter(pk=LedgerHead.THE_ONE).first()
    size = head.size if head else 0
    root = head.root if head else EMPTY_ROOT.hex()
    if size != frontier.size:
        yield f"the head counts {size} entries, there are {frontier.size}"
    elif root != frontier.root.hex():
        yield f"the head's root is {root}, the entries' is {frontier.root.hex()}"


def _body_findings(entry: LedgerEntry, body: bytes) -> Iterator[str]:
    try:
        parsed = json.loads(body)
        is_canonical = canonical(parsed) == body
        says = parsed["sequence"], parsed["type"], parsed["at"], parsed["actor"]
    except (ValueError, TypeError, LookupError, RecursionError):
        yield f"entry {entry.sequence} cannot be read"
        return
    if not is_canonical:
        yield f"entry {entry.sequence} is not in canonical form"
    actor = entry.actor.username if entry.actor else None
    if says != (entry.sequence, entry.type, timestamp(entry.at), actor):
        yield f"entry {entry.sequence} says of itself that it is another one"


# ---- 2 -----------------------------------------------------------------------------------------
def _state(verification: Verification) -> tuple[str, Iterator[str]]:
    folded = verification.folded
    count = len(folded.versions) + len(folded.promotions) + len(folded.placements)
    return f"{count} versions, promotions and placements", rows.findings(folded)


# ---- 3 and 8 -----------------------------------------------------------------------------------
def _bytes(verification: Verification) -> tuple[str, Iterator[str]]:
    how = "re-read" if verification.scrub else "with the recorded size"
    looked_at = f"{Blob.objects.count()} blobs, {how}"
    if waiting := scrubbing.waiting():
        looked_at += f"; {waiting} of them wait to be collected"
    return looked_at, _bytes_findings(verification)


def _bytes_findings(verification: Verification) -> Iterator[str]:
    empty = Version.objects.annotate(count=Count("files")).filter(count=0, image="")
    for version in empty.select_related("package__repository"):
        yield f"version {version} has neither a file nor an image"
    for fault in scrubbing.faults(scrub=verification.scrub, repair=verification.repair):
        if fault.is_mended:
            verification.repaired.append(fault.said)
        else:
            yield fault.said
    # What was pruned refers to nothing any more; whatever else does was promised its bytes.
    removed = collecting.referenced().filter(state=BlobState.REMOVED)
    for sha256 in removed.values_list("pk", flat=True).iterator(chunk_size=1000):
        yield f"blob {sha256} was removed, and an artifact or a version that is kept needs it"


# ---- 4 -----------------------------------------------------------------------------------------
def _manifests(verification: Verification) -> tuple[str, Iterator[str]]:
    return f"{Version.objects.count()} manifests", _manifest_findings()


def _manifest_findings() -> Iterator[str]:
    rows = Version.objects.select_related("package__repository").prefetch_related("files__blob")
    for version in rows.iterator(chunk_size=500):
        if digest(version.manifest.encode()) != version.manifest_digest:
            yield f"version {version}: its manifest does not have its digest"
            continue
        manifest = json.loads(version.manifest)
        if manifest["kind"] == "files":
            said = {
                (each["path"], each["sha256"], each["size"], each["executable"])
                for each in manifest["files"]
            }
            there = {
                (file.path, file.blob.sha256, file.blob.size, file.executable)
                for file in version.files.all()
            }
            if said != there:
                yield f"version {version}: its files are not those of its manifest"
        elif version.image.rpartition("@")[2] != manifest["digest"]:
            yield f"version {version}: its image is not that of its manifest"


# ---- What else was written under a digest ------------------------------------------------------
def _texts(verification: Verification) -> tuple[str, Iterator[str]]:
    return "definitions, policies and evidence", _text_findings()


def _text_findings() -> Iterator[str]:
    for revision in Revision.objects.select_related("pipeline").iterator(chunk_size=500):
        if digest(revision.yaml.encode()) != f"sha256:{revision.digest}":
            yield f"revision {revision}: its text does not have its digest"
    for policy in PolicyRevision.objects.select_related("environment").iterator(chunk_size=500):
        if digest(policy.rules.encode()) != policy.digest:
            yield f"policy {policy}: its rules do not have their digest"
    yield from evidence.findings()
    for each in ImageDetails.objects.select_related("version__package__repository").iterator(500):
        if digest(each.details.encode()) != each.digest:
            yield f"image details of version {each.version}: they do not have their digest"


# ---- 5 -----------------------------------------------------------------------------------------
def _approvals(verification: Verification) -> tuple[str, Iterator[str]]:
    completed = Promotion.objects.filter(state=PromotionState.COMPLETED)
    return f"{completed.count()} completed promotions", approved.findings()


def _signatures(verification: Verification) -> tuple[str, Iterator[str]]:
    return f"{signatures.signed().count()} signatures", signatures.findings(verification.folded)


# ---- 6 and 7 -----------------------------------------------------------------------------------
def _placements(verification: Verification) -> tuple[str, Iterator[str]]:
    count = Placement.objects.current().count()
    return f"{count} current placements", _placement_findings(verification.folded)


def _placement_findings(folded: Folded) -> Iterator[str]:
    last = {
        (environment, repository, package): (version, promotion)
        for repository, package, version, environment, promotion, *_ in folded.placements
    }
    current = {
        (
            placement.environment.name,
            placement.package.repository.name,
            placement.package.name,
        ): (placement.version.name, placement.promotion_id)
        for placement in Placement.objects.current().with_names()
    }
    yield from rows.compare("current placement", last, current)
    yield from intervals.overlaps()
    yield from intervals.gaps()
    for placement in Placement.objects.with_names():
        items = json.loads(placement.promotion.plan)["items"]
        planned = {item["manifest_digest"] for item in items}
        if placement.version.manifest_digest not in planned:
            yield f"placement {placement.pk} holds bytes that its promotion's plan does not name"


def _at_targets(verification: Verification) -> tuple[str, Iterator[str]]:
    count = at_targets.placements().count()
    how = "re-read" if verification.scrub else "asked for"
    return f"{count} current placements, {how}", at_targets.findings(scrub=verification.scrub)


# ---- 9 -----------------------------------------------------------------------------------------
def _leases(verification: Verification) -> tuple[str, Iterator[str]]:
    return "running jobs and executing promotions", _lease_findings()


def _lease_findings() -> Iterator[str]:
    # The sweeper needs a moment to take over; only what it has passed by is stuck.
    late = timezone.now() - timedelta(minutes=5)
    for job in Job.objects.filter(state=ExecutionState.RUNNING, lease_until__lt=late):
        yield f"job {job.pk} is running past its lease of {job.lease_until}"
    for promotion in Promotion.objects.filter(state=PromotionState.EXECUTING, lease_until__lt=late):
        yield f"promotion {promotion.pk} is executing past its lease of {promotion.lease_until}"


# ---- 10 ----------------------------------------------------------------------------------------
def _guards(verification: Verification) -> tuple[str, Iterator[str]]:
    return f"{len(SEALED)} sealed tables, {Token.objects.count()} tokens", _guard_findings()


def _guard_findings() -> Iterator[str]:
    present = _triggers()
    for model in SEALED:
        names = trigger_names(model._meta.db_table)
        needed = names if connection.vendor == "postgresql" else names[:2]
        for name in needed:
            if name not in present:
                yield f"the guard {name} is missing or disabled"
    yield from intervals.missing_guards()
    for token in Token.objects.all():
        if len(token.digest) != 128:
            yield f"the token {token.token_key} is not stored as a SHA-512"


def _triggers() -> set[str]:
    """The names of the triggers that are there, enabled, and do refuse."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
                "WHERE tgenabled = 'A' AND prosrc LIKE '%RAISE EXCEPTION%is sealed%'"
            )
        else:
            cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' "
                "AND sql LIKE '%RAISE(ABORT,%is sealed%'"
            )
        return {row[0] for row in cursor.fetchall()}


CHECKS: dict[str, Check] = {
    "the ledger is whole": _ledger,
    "the ledger and the rows say the same": _state,
    "every byte that is referred to is there": _bytes,
    "a version has one manifest for ever": _manifests,
    "what was written has its digest": _texts,
    "promotions had the approvals they needed": _approvals,
    "signed approvals were signed by their people's passkeys": _signatures,
    "what is placed is what was approved": _placements,
    "what is placed lies where its environment keeps its bytes": _at_targets,
    "nothing runs past its lease": _leases,
    "history is guarded and tokens are hashed": _guards,
}
