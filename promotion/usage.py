"""What the stored bytes are used for: what pruning would free, and what is kept for whom."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TypeVar

from django.conf import settings
from django.db.models import Count, QuerySet, Sum

from pipelines import collecting
from pipelines.models import Artifact, ArtifactFile, Blob, BlobState, Collection
from pipelines.models.blob import ROOM
from promotion.models import Package, Version, VersionFile

BATCH = 500
Item = TypeVar("Item")


def bytes_freed(doomed: Sequence[Version]) -> int:
    """How many stored bytes would go with these versions and the artifacts they were made of.

    What another version or artifact refers to as well is not counted: it stays.
    """
    versions = {version.pk for version in doomed}
    artifacts = {version.artifact_id for version in doomed}
    artifacts -= _still_published(versions, artifacts)
    sizes: dict[str, int] = {}
    for batch in _batches(sorted(versions)):
        own = VersionFile.objects.filter(version__in=batch).values_list("blob_id", "blob__size")
        # A composed bundle takes no room: it is made of the files as it is read.
        bundles = Version.objects.filter(
            pk__in=batch, bundle__isnull=False, bundle__recipe__isnull=True
        )
        sizes.update(chain(own, bundles.values_list("bundle_id", "bundle__size")))
    kept: set[str] = set()
    for digests in _batches(sorted(sizes)):
        files = VersionFile.objects.filter(blob__in=digests, version__pruned_at__isnull=True)
        kept |= _others(files.values_list("blob_id", "version_id"), versions)
        bundled = Version.objects.with_bytes().filter(bundle__in=digests)
        kept |= _others(bundled.values_list("bundle_id", "pk"), versions)
        made = ArtifactFile.objects.filter(blob__in=digests, artifact__pruned_at__isnull=True)
        kept |= _others(made.values_list("blob_id", "artifact_id"), artifacts)
        packed = Artifact.objects.with_bytes().filter(bundle__in=digests)
        kept |= _others(packed.values_list("bundle_id", "pk"), artifacts)
    return sum(size for sha256, size in sizes.items() if sha256 not in kept)


def _still_published(versions: set[int], artifacts: set[int]) -> set[int]:
    """Those of `artifacts` of which another version than `versions` was made and is kept."""
    found: set[int] = set()
    for batch in _batches(sorted(artifacts)):
        rows = Version.objects.with_bytes().filter(artifact__in=batch)
        others = rows.values_list("artifact_id", "pk")
        found |= {artifact for artifact, version in others if version not in versions}
    return found


def _others(references: Iterable[tuple[str | None, int]], own: set[int]) -> set[str]:
    """The digests that something else than `own` refers to."""
    return {sha256 for sha256, pk in references if sha256 and pk not in own}


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


# ---- Overview ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Share:
    """So many blobs, and how many bytes they take in the storage."""

    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How the storage stands. `forgotten` is a part of `kept`: what the next collection takes.

    Bundles that are composed as they are read are not stored, and not counted.
    """

    kept: Share
    condemned: Share
    removed: Share
    forgotten: Share
    grace: timedelta
    last: Collection | None


def overview() -> Overview:
    rows = Blob.objects.values_list("state").annotate(count=Count("pk"), room=Sum(ROOM))
    by_state = {state: Share(count, size) for state, count, size in rows.order_by()}
    none = Share(0, 0)
    return Overview(
        kept=by_state.get(BlobState.KEPT, none),
        condemned=by_state.get(BlobState.CONDEMNED, none),
        removed=by_state.get(BlobState.REMOVED, none),
        forgotten=_share(
            collecting.condemnable(grace=settings.BLOB_GRACE).filter(recipe__isnull=True)
        ),
        grace=settings.BLOB_GRACE,
        last=Collection.objects.order_by("-pk").first(),
    )


def _share(blobs: "QuerySet[Blob]") -> Share:
    found = blobs.order_by().aggregate(count=Count("pk"), size=Sum(ROOM))
    return Share(found["count"], found["size"] or 0)


def biggest_packages(count: int = 10) -> "QuerySet[Package]":
    """The packages whose kept versions have the largest downloads, each with `versions_kept` and
    `size`. Bytes that versions share are counted for each."""
    kept = Version.objects.with_bytes().filter(bundle__isnull=False)
    return (
        Package.objects.filter(versions__in=kept)
        .select_related("repository")
        .annotate(versions_kept=Count("versions"), size=Sum("versions__bundle__size"))
        .order_by("-size", "pk")[:count]
    )
