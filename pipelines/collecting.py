"""Collecting: bytes that nothing refers to any more are removed, in two steps.

    condemn    kept ──▶ condemned   where nothing refers to them and nobody held them for a while
    remove     condemned ──▶ removed, with the stored bytes, while their row is locked

Whoever begins to refer to bytes holds them in the same transaction (`blobs.hold`), which writes
their row. So a condemnation, which compares and writes that row too, comes wholly before or wholly
after it: a publish takes condemned bytes back, and is refused only where they are gone.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.utils import timezone

from pipelines import blobs
from pipelines.errors import StorageUnavailable
from pipelines.models import Blob, BlobState
from pipelines.states import move

log = logging.getLogger(__name__)

#: Each answers whether something refers to the blob of the outer query (`OuterRef("pk")`).
Reference = Callable[[], Exists]
_references: list[Reference] = []

MOST = 1000


def register(reference: Reference) -> None:
    """Have the collector spare what `reference` finds to be referred to."""
    _references.append(reference)


def unreferenced() -> "QuerySet[Blob]":
    """Blobs that nothing refers to, whatever their state."""
    found = Blob.objects.all()
    for reference in _references:
        found = found.exclude(reference())
    return found


def collect(*, grace: timedelta | None = None) -> int:
    """Condemn and remove what nothing has referred to for `grace`; how many blobs it removed."""
    condemn(grace=settings.BLOB_GRACE if grace is None else grace)
    condemned = Blob.objects.filter(state=BlobState.CONDEMNED).order_by("kept_at")
    return sum(remove(pk) for pk in condemned.values_list("pk", flat=True)[:MOST])


def condemn(*, grace: timedelta) -> int:
    """Condemn what may be removed; how many blobs that were."""
    cutoff = timezone.now() - grace
    forgotten = unreferenced().filter(state=BlobState.KEPT, kept_at__lt=cutoff)
    # What is composed of others goes first: without them it could not be read.
    forgotten = forgotten.annotate(is_stored=Q(recipe__isnull=True))
    candidates = list(
        forgotten.order_by("is_stored", "kept_at").values_list("pk", flat=True)[:MOST]
    )
    # Compared with the row's own columns once more: whoever referred to it since has written them.
    return sum(
        Blob.objects.filter(pk=pk, state=BlobState.KEPT, kept_at__lt=cutoff).update(
            state=BlobState.CONDEMNED
        )
        for pk in candidates
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
        if blob.recipe is None:
            try:
                blobs.erase(blob)
            except (OSError, StorageUnavailable):
                log.exception("The bytes %s could not be removed; they will be tried again", sha256)
                return False
        move(blob, BlobState.REMOVED)
    return True
