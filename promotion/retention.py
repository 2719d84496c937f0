"""Retention: which versions of a repository keep their bytes, by rules; the others are pruned.

A pruned version keeps its row, its name, its manifest and every digest for ever. Its bytes are
removed by the collector (pipelines/collecting.py) once nothing else refers to them.

Whatever could keep a version takes the ledger's lock before it looks: a request, an execution, a
selection, a publication. Pruning takes it too and decides once more under it, so that each comes
wholly before the other or wholly after it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from accounts.models import User
from pipelines import blobs, forgetting
from pipelines.errors import PreconditionFailed
from pipelines.models import Artifact, ExecutionState, Run
from pipelines.models.artifact import ArtifactType
from promotion import keeping, rules
from promotion.keeping import Decision, Facts, Rules, decide
from promotion.ledger import append as ledger
from promotion.ledger.append import About
from promotion.models import (
    Placement,
    Promotion,
    PromotionItem,
    PromotionState,
    Repository,
    Selection,
    Version,
    VersionState,
)
from promotion.models.placement import PlacementQuerySet
from promotion.naming import about, named
from promotion.publishing import require_bytes

MOST = 1000
NOTE_EVERY = timedelta(hours=1)

P = PromotionState


@dataclass(frozen=True, slots=True)
class Planned:
    """A version that a plan looked at, and what is decided on it."""

    version: Version
    facts: Facts
    decision: Decision


# ---- Rules -------------------------------------------------------------------------------------
def rules_of(repository: Repository) -> Rules:
    return Rules.read(repository.retention)


def set_rules(
    repository: Repository, wanted: Rules, *, by: User, expected: Rules | None = None
) -> Repository:
    """Have `wanted` decide from now on which versions are kept. The next hourly run acts on it.

    `expected` are the rules that the writer saw: when they changed since, nothing is saved.
    """
    rules.require(by, "retention.manage")
    value = None if wanted.keep_all else wanted.as_json()
    with transaction.atomic():
        locked = Repository.objects.select_for_update(no_key=True).get(pk=repository.pk)
        if expected is not None and expected != rules_of(locked):
            raise PreconditionFailed(
                f"The retention rules of {locked} were changed since you saw them. Load them again."
            )
        if locked.retention != value:
            locked.retention = value
            locked.save(update_fields=["retention"])
            ledger.append(
                "repository.retention_set",
                by=by,
                at=timezone.now(),
                about=About(repository=locked.name),
                data={"repository": locked.name, "rules": value},
            )
    repository.refresh_from_db()
    return repository


def preview(
    repository: Repository, wanted: Rules, *, by: User, now: datetime | None = None
) -> tuple[Planned, ...]:
    """What `wanted` would keep and prune if it held now. Changes nothing."""
    rules.require(by, "retention.preview")
    return plan(repository, wanted, now or timezone.now())


# ---- Decide ------------------------------------------------------------------------------------
def plan(repository: Repository, wanted: Rules, now: datetime) -> tuple[Planned, ...]:
    """What is decided on every version that has its bytes, package by package, newest first."""
    versions = Version.objects.with_bytes().filter(package__repository=repository)
    found = list(
        _with_times(versions)
        .select_related("package__repository", "bundle")
        .defer("manifest", "provenance", "notes", "bundle__recipe")
        .order_by("package__name", "-pk")
    )
    placed_in = _placements(Placement.objects.filter(package__repository=repository))
    promotions = _open_promotions(
        PromotionItem.objects.filter(package__repository=repository), placed_in
    )
    ranks, taken = _ranks(found), _runs()
    facts = (_facts(each, ranks.get(each.pk), placed_in, promotions, taken) for each in found)
    return tuple(
        Planned(version, known, decide(wanted, known, now))
        for version, known in zip(found, facts, strict=True)
    )


def doubts(wanted: Rules, planned: Iterable[Planned]) -> list[str]:
    """What should make one think twice before these rules are set."""
    return keeping.doubts(
        wanted, ((each.version.package.name, each.facts, each.decision) for each in planned)
    )


def _decide_on(version: Version, wanted: Rules, now: datetime) -> Decision:
    """The decision on one version, from facts that are read anew."""
    (found,) = _with_times(Version.objects.filter(pk=version.pk))
    newer = Version.objects.available().filter(package=version.package_id, pk__gt=version.pk)
    rank = newer.count() + 1 if found.state == VersionState.PUBLISHED else None
    placed_in = _placements(Placement.objects.filter(package=version.package_id))
    items = PromotionItem.objects.filter(version=version)
    promotions = _open_promotions(items, placed_in)
    return decide(wanted, _facts(found, rank, placed_in, promotions, _runs()), now)


def _with_times(versions: "QuerySet[Version]") -> "QuerySet[Version]":
    """Versions with when they were last selected and last ceased to be placed."""
    selections = Selection.objects.filter(version=OuterRef("pk")).order_by("-pk")
    ended = Placement.objects.filter(version=OuterRef("pk"), until__isnull=False)
    return versions.annotate(
        selected_at=Subquery(selections.values("at")[:1]),
        placed_until=Subquery(ended.order_by("-until").values("until")[:1]),
    )


def _ranks(newest_first: Iterable[Version]) -> dict[int, int]:
    """The place of each usable version among those of its package, the newest being 1."""
    counted: dict[int, int] = {}
    ranks = {}
    for version in newest_first:
        if version.state == VersionState.PUBLISHED:
            ranks[version.pk] = counted[version.package_id] = counted.get(version.package_id, 0) + 1
    return ranks


@dataclass(frozen=True, slots=True)
class _Current:
    environment: int
    name: str
    package: int
    version: int


def _placements(placements: PlacementQuerySet) -> list[_Current]:
    rows = placements.current().order_by("environment__rank", "environment__name")
    columns = ("environment_id", "environment__name", "package_id", "version_id")
    return [_Current(*row) for row in rows.values_list(*columns)]


def _open_promotions(
    items: "QuerySet[PromotionItem]", placed: Iterable[_Current]
) -> dict[int, int]:
    """The promotion that still may place a version, by version.

    One that failed counts for as long as it can be retried with success: once something else was
    placed instead, its plan is stale.
    """
    current = {(each.environment, each.package): each.version for each in placed}
    waiting = items.filter(promotion__in=Promotion.objects.open()).values_list(
        "version_id", "promotion_id"
    )
    found = dict(waiting)
    failed = items.filter(promotion__state__in=[P.FAILED, P.ERRORED]).values_list(
        "version_id", "promotion_id", "promotion__environment_id", "package_id", "replaces_id"
    )
    for version, promotion, environment, package, replaces in failed:
        if current.get((environment, package)) == replaces:
            found.setdefault(version, promotion)
    return found


def _runs() -> dict[int, str]:
    """The unfinished run whose source was resolved to a version, by version: its jobs still fetch
    that one."""
    picked = {
        pinned["selection"]: str(run)
        for run in Run.objects.open()
        .select_related("pipeline")
        .only("number", "sources", "pipeline__slug")
        for pinned in run.sources.values()
        if "selection" in pinned
    }
    rows = Selection.objects.filter(pk__in=picked).values_list("version_id", "pk")
    return {version: picked[selection] for version, selection in rows}


def _facts(
    version: Version,
    rank: int | None,
    placed: Iterable[_Current],
    promotions: Mapping[int, int],
    taken: Mapping[int, str],
) -> Facts:
    return Facts(
        name=version.name,
        rank=rank,
        published_at=version.published_at,
        placed_in=tuple(each.name for each in placed if each.version == version.pk),
        placed_until=getattr(version, "placed_until", None),
        promotion=promotions.get(version.pk),
        run=taken.get(version.pk, ""),
        downloaded_at=version.last_downloaded_at,
        selected_at=getattr(version, "selected_at", None),
    )


# ---- Act ---------------------------------------------------------------------------------------
def retain(*, most: int = MOST) -> int:
    """Prune what no rule of its repository keeps, at most `most` versions; how many were pruned."""
    pruned = 0
    for repository in Repository.objects.filter(retention__isnull=False).order_by("name"):
        pruned += prune(repository, most=most - pruned)
    forget_artifacts(most=most)
    return pruned


def forget_artifacts(*, most: int = MOST) -> int:
    """Forget the artifacts all of whose versions were pruned; how many artifacts that were."""
    left = forgetting.unneeded(_artifacts_of_pruned())
    return forgetting.forget(left.values_list("pk", flat=True)[:most])


def prune(repository: Repository, *, most: int = MOST) -> int:
    """Prune the versions of a repository that no rule keeps; how many were pruned."""
    wanted = rules_of(repository)
    if wanted.keep_all:
        return 0
    planned = plan(repository, wanted, timezone.now())
    # The oldest first, so that what a shorter run leaves is the newer part.
    doomed = sorted(each.version.pk for each in planned if not each.decision.keeps)
    return sum(_prune(pk) for pk in doomed[:most])


def _bytes_of(version: Version) -> list[str]:
    files = list(version.files.values_list("blob_id", flat=True))
    return files + ([version.bundle_id] if version.bundle_id else [])


def _prune(version_id: int) -> bool:
    """Prune one version, unless something keeps it by now; whether it was pruned."""
    with transaction.atomic():
        # The version first and the ledger last, as a recall has them. The lock lets selections and
        # promotions refer to the row meanwhile; a download that is noted waits.
        version = (
            Version.objects.with_bytes()
            .select_related("package__repository")
            .select_for_update(no_key=True, of=("self",))
            .filter(pk=version_id)
            .first()
        )
        if version is None:
            return False
        blobs.let_go(_bytes_of(version))
        ledger.lock()
        now = timezone.now()
        wanted = rules_of(Repository.objects.get(pk=version.package.repository_id))
        decision = _decide_on(version, wanted, now)
        if decision.keeps:
            return False
        Version.objects.filter(pk=version.pk).update(pruned_at=now, pruned_reason=decision.why)
        ledger.append(
            "version.pruned",
            by=None,
            at=now,
            about=about(version),
            data={**named(version), "reason": decision.why, "rules": wanted.as_json()},
        )
    return True


def note_download(version: Version) -> None:
    """Refuse a version that was pruned; of another, note that its bytes are fetched, at most once
    an hour."""
    require_bytes(version)
    now = timezone.now()
    long_ago = now - NOTE_EVERY
    last = version.last_downloaded_at
    if last is None or last < long_ago:
        Version.objects.filter(pk=version.pk).filter(
            Q(last_downloaded_at__isnull=True) | Q(last_downloaded_at__lt=long_ago)
        ).update(last_downloaded_at=now)


# ---- Artifacts that versions were made of ------------------------------------------------------
def _artifacts_of_pruned() -> "QuerySet[Artifact]":
    """Artifacts all of whose versions were pruned: their bytes were not to be kept."""
    versions = Version.objects.filter(artifact=OuterRef("pk"))
    return (
        Artifact.objects.with_bytes()
        .filter(Exists(versions), ~Exists(versions.with_bytes()), bundle__isnull=False)
        .order_by("pk")
    )


def _is_published() -> Exists:
    """A version that is kept was made of the artifact."""
    return Exists(Version.objects.with_bytes().filter(artifact=OuterRef("pk")))


def _waits_to_be_published() -> Exists:
    """The artifact was uploaded for a repository, and nothing has become of it yet."""
    uploads = Artifact.objects.of_last_attempts().filter(
        type=ArtifactType.PACKAGES,
        upload_outcome__isnull=True,
        run__state=ExecutionState.SUCCEEDED,
    )
    return Exists(uploads.filter(pk=OuterRef("pk")))


#: What promotion needs artifacts for (pipelines/forgetting.py).
NEEDS: tuple[Callable[[], Exists], ...] = (_is_published, _waits_to_be_published)
