"""Recalls: a version is marked as known bad, and whoever used it is listed and acknowledges it.

A recall takes the version's row first and then the ledger's lock, as pruning does, and only then
looks who used the version. A selection or a request takes the ledger's lock before it looks at the
version, and a download the version's row: each comes wholly before the recall and is listed, or
wholly after it and is refused. Bytes may still be fetched, to look into what was wrong with them;
whoever does so for the first time is listed then.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from pipelines.canonical import canonical, digest, timestamp
from pipelines.errors import Invalid, WrongState
from pipelines.queue import nudge
from pipelines.states import move
from promotion import retention, rules
from promotion.ledger import append as ledger
from promotion.models import (
    Affected,
    Download,
    Placement,
    Promotion,
    PromotionItem,
    Selection,
    Version,
    VersionState,
)
from promotion.naming import about, named
from promotion.publishing import require_bytes

RECONSIDER = "promotion.reconsider"
NOTE_EVERY = timedelta(hours=1)
#: How many uses of one owner are told; a machine may have selected a version for each of its runs.
MAX_USES = 50
MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Use:
    """One way in which somebody had used a version: `how` is selected, downloaded, placed or
    requested; `at` when last. The rest is empty where it does not apply."""

    owner: int
    how: str
    at: datetime
    times: int = 1
    consumer: str = ""
    environment: str = ""
    promotion: int | None = None

    def as_json(self) -> dict[str, Any]:
        said = asdict(self)
        del said["owner"]
        return {**said, "at": timestamp(self.at)}


# ---- Recall ------------------------------------------------------------------------------------
def recall(
    version: Version, *, by: User, reason: str, replacement: Version | None = None
) -> Version:
    """Mark a version as known bad. It can no longer be promoted or selected."""
    rules.require(by, "version.recall")
    if not reason.strip():
        raise Invalid("Say why the version is recalled: whoever picked it will read it.")
    if replacement is not None:
        if replacement.package_id != version.package_id or replacement.pk == version.pk:
            raise Invalid("A replacement is another version of the same package.")
        if replacement.state != VersionState.PUBLISHED:
            raise WrongState(f"{replacement} was recalled itself.", current=replacement.state)
        require_bytes(replacement)
    now = timezone.now()
    with transaction.atomic():
        recalled = move(
            version,
            VersionState.RECALLED,
            recalled_by=by,
            recalled_at=now,
            recall_reason=reason.strip(),
            replacement=replacement,
        )
        ledger.lock()
        affected = _list_affected(recalled, now)
        ledger.append(
            "version.recalled",
            by=by,
            at=now,
            about=about(recalled),
            data={
                **named(recalled),
                "reason": reason.strip(),
                "replacement": replacement.name if replacement else None,
                "affected": {each.owner.username: digest(each.uses.encode()) for each in affected},
            },
        )
        for promotion in Promotion.objects.open().filter(items__version=recalled):
            nudge(RECONSIDER, promotion.pk)
    return recalled


def _list_affected(version: Version, now: datetime) -> list[Affected]:
    """Write a row for each owner of a use. The caller holds the ledger's lock."""
    by_owner: dict[int, list[Use]] = {}
    for use in sorted(_uses(version), key=lambda use: (use.at, use.how), reverse=True):
        by_owner.setdefault(use.owner, []).append(use)
    owners = User.objects.in_bulk(by_owner)
    return Affected.objects.bulk_create(
        Affected(version=version, owner=owners[owner], uses=_text(uses), listed_at=now)
        for owner, uses in sorted(by_owner.items())
    )


def _text(uses: list[Use]) -> str:
    told = [use.as_json() for use in uses[:MAX_USES]]
    return canonical({"uses": told, "more": len(uses) - len(told)}).decode()


def _uses(version: Version) -> Iterator[Use]:
    """Every use of a version that somebody must know of when it turns out to be bad."""
    picks = (
        Selection.objects.filter(version=version)
        .order_by()
        .values_list("by", "consumer", "environment__name")
        .annotate(times=Count("pk"), last=Max("at"))
    )
    for owner, consumer, environment, times, last in picks:
        yield Use(owner, "selected", last, times, consumer, environment or "")
    for fetched in Download.objects.filter(version=version):
        yield Use(fetched.by_id, "downloaded", fetched.last_at, fetched.count)
    current = Placement.objects.current().filter(version=version).with_names()
    for placement in current:
        yield Use(
            placement.promotion.requested_by_id,
            "placed",
            placement.since,
            environment=placement.environment.name,
            promotion=placement.promotion_id,
        )
    waiting = PromotionItem.objects.filter(version=version, promotion__in=Promotion.objects.open())
    for item in waiting.select_related("promotion__environment"):
        promotion = item.promotion
        yield Use(
            promotion.requested_by_id,
            "requested",
            promotion.requested_at,
            environment=promotion.environment.name,
            promotion=promotion.pk,
        )


# ---- Downloads ---------------------------------------------------------------------------------
def note_download(version: Version, *, by: int | None) -> None:
    """Refuse a version that was pruned; of another, note that `by` fetches its bytes, at most once
    an hour. By None where nobody knows who it is."""
    retention.note_download(version)
    now = timezone.now()
    noted = Download.objects.filter(version=version, by=by, last_at__gt=now - NOTE_EVERY)
    # A link may outlive the user to whom it was given.
    if by is None or noted.exists() or not User.objects.filter(pk=by).exists():
        return
    with transaction.atomic():
        # A recall has this row too, so that it either finds the download or is seen here.
        locked = (
            Version.objects.select_related("package__repository")
            .defer("manifest", "provenance", "notes")
            .select_for_update(no_key=True, of=("self",))
            .get(pk=version.pk)
        )
        again = Download.objects.filter(version=locked, by=by)
        if not again.update(last_at=now, count=F("count") + 1):
            Download.objects.create(version=locked, by_id=by, first_at=now, last_at=now)
        if locked.state == VersionState.RECALLED:
            _list_late(locked, by, now)


def _list_late(version: Version, owner: int, now: datetime) -> None:
    """List somebody who fetches a version that was recalled, unless they are listed already."""
    ledger.lock()
    if Affected.objects.filter(version=version, owner=owner).exists():
        return
    uses = _text([Use(owner, "downloaded", now)])
    listed = Affected.objects.create(version=version, owner_id=owner, uses=uses, listed_at=now)
    ledger.append(
        "recall.reached",
        by=listed.owner,
        at=now,
        about=about(version),
        data={
            **named(version),
            "owner": listed.owner.username,
            "uses": digest(uses.encode()),
        },
    )


# ---- Acknowledge -------------------------------------------------------------------------------
def acknowledge(affected: Affected, *, by: User, note: str = "") -> Affected:
    """Say that the owner knows of the recall: oneself, or on behalf of somebody else."""
    rules.require(by, act_of_acknowledging(affected, by))
    if len(note) > MAX_NOTE:
        raise Invalid(f"A note may have at most {MAX_NOTE} characters.")
    now = timezone.now()
    with transaction.atomic():
        waiting = Affected.objects.unacknowledged().filter(pk=affected.pk)
        if not waiting.update(acknowledged_by=by, acknowledged_at=now, note=note.strip()):
            known = Affected.objects.with_names().get(pk=affected.pk)
            raise WrongState(
                f"{known.acknowledged_by} has acknowledged the recall of {known.version} for "
                f"{known.owner} already.",
                current="acknowledged",
            )
        found = Affected.objects.with_names().get(pk=affected.pk)
        ledger.append(
            "recall.acknowledged",
            by=by,
            at=now,
            about=about(found.version),
            data={
                **named(found.version),
                "owner": found.owner.username,
                "note": found.note,
            },
        )
    return found


def may_acknowledge(affected: Affected, *, by: User) -> bool:
    waits = affected.acknowledged_at is None
    return waits and rules.may(by, act_of_acknowledging(affected, by))


def act_of_acknowledging(affected: Affected, by: User) -> str:
    """Everybody says for themselves that they know; for somebody else it is an act of its own."""
    own = by.pk == affected.owner_id
    return "recall.acknowledge" if own else "recall.acknowledge_for_another"


# ---- Look --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Progress:
    """How many of those whom a recall concerns have acknowledged it."""

    acknowledged: int
    listed: int


def progress(version: Version) -> Progress:
    counted = Affected.objects.filter(version=version).aggregate(
        listed=Count("pk"), known=Count("pk", filter=Q(acknowledged_at__isnull=False))
    )
    return Progress(counted["known"], counted["listed"])


def owners_of(version: Version) -> "QuerySet[User]":
    """Whom the recall of a version concerns, acknowledged or not."""
    return User.objects.filter(affected_by_recalls__version=version)


def to_acknowledge(user: User) -> "QuerySet[Affected]":
    """The recalled versions that somebody used, and has not acknowledged."""
    return Affected.objects.unacknowledged().of(user).with_names().order_by("-pk")
