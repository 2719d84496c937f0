"""Stored files that no row knows of: what a crash left between the file and its row.

They are adopted: a row is written for them, condemned from the beginning, so that the collector
removes them like everything else that nobody needs, and whoever sends the same bytes meanwhile
takes them back.
"""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.core.files.storage import Storage
from django.db import transaction
from django.utils import timezone

from pipelines import blobs
from pipelines.errors import SluiceError
from pipelines.hashing import Digests
from pipelines.models import Blob, BlobState
from pipelines.storage import PARTIAL, Stored

log = logging.getLogger(__name__)

FOLDER = "sha256/"
NAME = re.compile(r"^sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})\Z")
BATCH = 500
# What one sweep adopts at most: each of them is read wholly.
MOST = 100


def tidy() -> None:
    """Deal with everything that processes left behind which died while they wrote."""
    for act in (blobs.sweep_staging, blobs.abort_stale_uploads, adopt):
        try:
            act()
        except (SluiceError, OSError):
            # A storage that is silent today must not keep the others from being tidied.
            log.exception("%s could not be finished; it is tried again", act.__name__)


def adopt(*, grace: timedelta | None = None) -> int:
    """Adopt strays that nobody wrote to for the time of grace; how many files were dealt with."""
    cutoff = timezone.now() - (settings.BLOB_GRACE if grace is None else grace)
    done = 0
    for storage in blobs.stores():
        for stray in strays(storage):
            if done >= MOST:
                return done
            if stray.modified < cutoff:
                done += _adopt(storage, stray)
    return done


def strays(storage: Storage) -> Iterator[Stored]:
    """Every stored file that no row knows of, however young."""
    batch: list[Stored] = []
    for stored in cast(Any, storage).listed(FOLDER):
        batch.append(stored)
        if len(batch) == BATCH:
            yield from _unknown(batch)
            batch = []
    yield from _unknown(batch)


def _unknown(batch: list[Stored]) -> Iterator[Stored]:
    named = {stored.name.rpartition("/")[2]: stored for stored in batch}
    there = Blob.objects.exclude(state=BlobState.REMOVED).filter(pk__in=named)
    known = set(there.values_list("pk", flat=True))
    return (stored for digest, stored in named.items() if digest not in known)


def _adopt(storage: Storage, stray: Stored) -> bool:
    match = NAME.match(stray.name)
    if match is None:
        if stray.name.rpartition("/")[2].startswith(PARTIAL):
            # Half a file of a process that died while it wrote it.
            storage.delete(stray.name)
            return True
        log.warning("%s is no file of ours and was left alone", stray.name)
        return False
    sha256 = match.group(2)
    if Blob.objects.filter(pk=sha256).exists():
        return _remove_again(storage, stray, sha256)
    digests = Digests()
    with storage.open(stray.name, "rb") as stream:
        while chunk := stream.read(blobs.CHUNK):
            digests.update(chunk)
    if digests.sha256 != sha256:
        # No row can be written for it, and without one nobody says whether it is being replaced.
        log.warning("%s holds other bytes than its name says and was left alone", stray.name)
        return False
    now = timezone.now()
    row = Blob(
        sha256=sha256,
        md5=digests.md5,
        size=stray.size,
        created_at=now,
        kept_at=now,
        state=BlobState.CONDEMNED,
    )
    # A row that came into being meanwhile is somebody's who needs the bytes.
    Blob.objects.bulk_create([row], ignore_conflicts=True)
    return True


def _remove_again(storage: Storage, stray: Stored, sha256: str) -> bool:
    """Remove what came in once more and got no further than to the storage; whether it was that."""
    with transaction.atomic():
        # Whoever keeps these bytes just now looks for them again once it has the lock.
        row = Blob.objects.select_for_update().filter(pk=sha256).first()
        if row is None or row.state != BlobState.REMOVED:
            return False
        storage.delete(stray.name)
    return True
