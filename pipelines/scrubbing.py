"""Scrubbing: whether every storage has what the rows say, and putting right what it has not."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from pipelines import blobs, bundles, collecting
from pipelines.models import Blob, BlobState
from pipelines.queue import nudge

log = logging.getLogger(__name__)

MEND = "pipelines.mend_bytes"


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that are not what their row says, where that is, and whether it has been mended."""

    said: str
    is_mended: bool = False


def faults(*, scrub: bool, repair: bool) -> Iterator[Fault]:
    """What is wrong with the bytes that are kept. `scrub` re-reads all of them; `repair` puts them
    right where another storage of the site has them."""
    places = blobs.places()
    kept = Blob.objects.there()
    for blob in kept.filter(recipe__isnull=True).iterator(chunk_size=1000):
        for place, storage in places.items():
            said = blobs.fault_in(storage, blob, scrub=scrub)
            if not said or not _is_kept(blob):
                continue
            where = f" in {place}" if len(places) > 1 else ""
            mended = repair and blobs.repair(blob, storage)
            yield Fault(f"blob {blob.sha256} {said}{where}", is_mended=mended)
    # Last what is composed of the others: with them mended it reads true again.
    for blob in kept.filter(recipe__isnull=False).iterator(chunk_size=1000):
        yield from _composed(blob, scrub=scrub)


def make_true(blob: Blob, *, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Whether the blob reads true, if need be after its bytes were put right out of the other copy.

    `meanwhile` is called at each piece that is read.
    """
    if blobs.reads_true(blob, meanwhile=meanwhile):
        return True
    if len(blobs.stores()) < 2:
        return False
    for stored in _stored(blob):
        for place, storage in blobs.places().items():
            if blobs.has(storage, stored) and blobs.reads_true_in(
                stored, storage, meanwhile=meanwhile
            ):
                continue
            if blobs.repair(stored, storage, meanwhile=meanwhile):
                log.warning("The bytes %s were damaged in %s and are mended", stored.pk, place)
    return blobs.reads_true(blob, meanwhile=meanwhile)


def mend_soon(sha256: str) -> None:
    """Have a worker mend bytes that somebody was just refused, where there is another copy."""
    if len(blobs.stores()) > 1:
        nudge(MEND, sha256)


def mend(sha256: str) -> None:
    blob = Blob.objects.there().filter(pk=sha256).first()
    if blob is not None:
        make_true(blob)


def _stored(blob: Blob) -> Iterator[Blob]:
    """The blob itself, or all that it is composed of."""
    if blob.recipe is None:
        yield blob
        return
    members = {member.sha256 for member in bundles.Recipe.read(blob.recipe).members}
    for member in Blob.objects.filter(pk__in=members).iterator(chunk_size=1000):
        yield from _stored(member)


def _composed(blob: Blob, *, scrub: bool) -> Iterator[Fault]:
    said = ""
    if not blobs.is_whole(blob):
        said = f"is missing or does not have {blob.size} bytes"
    elif scrub and not blobs.reads_true(blob):
        said = "reads as other bytes"
    # One that nothing refers to may have lost its files to the collector before its own turn.
    if said and _is_kept(blob) and collecting.referenced().filter(pk=blob.pk).exists():
        yield Fault(f"blob {blob.sha256} {said}")


def _is_kept(blob: Blob) -> bool:
    """Whether it is kept to this moment: a scrub takes long, and the collector works meanwhile."""
    return Blob.objects.there().filter(pk=blob.pk).exists()


def waiting() -> int:
    """How many blobs nothing refers to any more that the collector may take by now: no fault."""
    cutoff = timezone.now() - settings.BLOB_GRACE
    return collecting.unreferenced().filter(state=BlobState.KEPT, kept_at__lt=cutoff).count()
