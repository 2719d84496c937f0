"""Collecting: bytes that nothing refers to any more are removed, in two steps.

    condemn    kept ──▶ condemned   where nothing refers to them and nobody held them for a while
    remove     condemned ──▶ removed, with the stored bytes, while their row is locked and after
               a last look whether something refers to them

Whoever begins to refer to bytes holds them in the same transaction (`blobs.hold`), which locks and
writes their row. So a removal, which locks it too, comes wholly before or wholly after: what was
referred to before is seen and spared, whatever the clocks say, and who comes after is refused. A
publish takes condemned bytes back, and is refused only where they are gone.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.utils import timezone

from pipelines import blobs
from pipelines.errors import StorageSilent, StorageUnavailable
from pipelines.models import Blob, BlobState, Collection
from pipelines.models.blob import ROOM
from pipelines.s3 import DurableS3Storage
from pipelines.states import move

log = logging.getLogger(__name__)

#: Each answers whether something refers to the blob of the outer query (`OuterRef("pk")`).
Reference = Callable[[], Exists]
_references: list[Reference] = []

MOST = 10_000


def register(reference: Reference) -> None:
    """Have the collector spare what `reference` finds to be referred to."""
    _references.append(reference)


def unreferenced() -> "QuerySet[Blob]":
    """Blobs that nothing refers to, whatever their state."""
    found = Blob.objects.all()
    for reference in _references:
        found = found.exclude(reference())
    return found


def referenced() -> "QuerySet[Blob]":
    """Blobs that something refers to, whatever their state."""
    found = Q()
    for reference in _references:
        found |= Q(reference())
    return Blob.objects.filter(found)


def condemnable(*, grace: timedelta) -> "QuerySet[Blob]":
    """What `condemn` would take, the longest forgotten first."""
    cutoff = timezone.now() - grace
    forgotten = unreferenced().filter(state=BlobState.KEPT, kept_at__lt=cutoff)
    # What is composed of others goes first: without them it could not be read.
    return forgotten.annotate(is_stored=Q(recipe__isnull=True)).order_by("is_stored", "kept_at")


def collect(*, grace: timedelta | None = None) -> int:
    """Condemn and remove what nothing has referred to for `grace`; how many blobs it removed."""
    return run(grace=grace).removed


def run(*, grace: timedelta | None = None) -> Collection:
    """Collect once, and keep a note of it. Two at a time do no harm; what one left, the next
    finishes."""
    began_at = timezone.now()
    newly = condemn(grace=settings.BLOB_GRACE if grace is None else grace)
    condemned = Blob.objects.filter(state=BlobState.CONDEMNED).order_by("kept_at")
    tried = list(condemned.annotate(room=ROOM).values_list("pk", "room")[:MOST])
    removed = [room for pk, room in tried if remove(pk)] if _can_be_asked() else []
    failed = 0
    if len(removed) < len(tried):
        failed = condemned.filter(pk__in=[pk for pk, _ in tried]).count()
    return Collection.objects.create(
        began_at=began_at,
        ended_at=timezone.now(),
        condemned=newly,
        removed=len(removed),
        removed_bytes=sum(removed),
        failed=failed,
    )


def _can_be_asked() -> bool:
    """Whether every storage answers. One that does not would be waited for with each blob anew, and
    each time with the blob's row locked."""
    try:
        for storage in blobs.stores():
            if isinstance(storage, DurableS3Storage):
                storage.check()
    except StorageSilent:
        log.exception("Nothing is removed now; it will be tried again")
        return False
    return True


def condemn(*, grace: timedelta) -> int:
    """Condemn what may be removed; how many blobs that were."""
    candidates = list(condemnable(grace=grace).values_list("pk", "kept_at")[:MOST])
    # Compared with the row's own columns once more: whoever held it since has written them. That
    # they are old is not enough, for a hold may have waited longer than the grace to be committed.
    return sum(
        Blob.objects.filter(pk=pk, state=BlobState.KEPT, kept_at=kept_at).update(
            state=BlobState.CONDEMNED
        )
        for pk, kept_at in candidates
    )


def release(held: Iterable[tuple[str, datetime]]) -> int:
    """Remove at once, without grace, what its last holder lets go; how many blobs that were.

    `held` names blobs by digest with the `kept_at` that the holder's own `blobs.hold` left. Where
    somebody has kept or held the same bytes since, it differs, and they stay for the grace.
    """
    removed = 0
    wanted = list(held)
    for start in range(0, len(wanted), MOST):
        batch = wanted[start : start + MOST]
        free = set(
            unreferenced().filter(pk__in=[pk for pk, _ in batch]).values_list("pk", flat=True)
        )
        for pk, kept_at in batch:
            mine = Blob.objects.filter(pk=pk, state=BlobState.KEPT, kept_at=kept_at)
            if pk in free and mine.update(state=BlobState.CONDEMNED):
                removed += remove(pk)
    return removed


def remove(sha256: str) -> bool:
    """Remove condemned bytes, unless somebody took them back; whether they were removed."""
    with transaction.atomic():
        # While the row is locked nobody takes the bytes back or stores them anew.
        blob = Blob.objects.select_for_update().filter(pk=sha256).first()
        if blob is None or blob.state != BlobState.CONDEMNED:
            return False
        if not unreferenced().filter(pk=sha256).exists():
            move(blob, BlobState.KEPT)
            return False
        if blob.recipe is None:
            try:
                blobs.erase(blob)
            except (OSError, StorageUnavailable):
                log.exception("The bytes %s could not be removed; they will be tried again", sha256)
                return False
        move(blob, BlobState.REMOVED)
    return True
