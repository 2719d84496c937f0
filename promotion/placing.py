"""Placements: bytes are read back before they are placed, and one version takes another's place.

Called by executing.py alone, inside an execution.
"""

import time
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from pipelines import scrubbing
from pipelines.canonical import timestamp
from pipelines.errors import Invalid
from promotion.carrying import Carried
from promotion.models import Environment, Placement, Promotion, Version
from promotion.naming import named


def read_back(promotion: Promotion, *, alive: Callable[[], None]) -> None:
    """Read every byte that is about to be placed, and compare it with what was approved. What is
    damaged and whole in the site's second copy is put right by it first.

    `alive` is called from time to time: reading may take longer than the lease.
    """
    pulse = _Pulse(alive)
    for item in promotion.items.select_related("version__bundle"):
        version = item.version
        stored = {file.blob: file.path for file in version.files.select_related("blob")}
        if version.bundle is not None:
            # What is downloaded; of a single file it is the file itself.
            stored.setdefault(version.bundle, version.bundle_name)
        for blob, path in stored.items():
            if not scrubbing.make_true(blob, meanwhile=pulse):
                raise Invalid(
                    f"{version}: the stored bytes of “{path}” are missing or damaged. "
                    "Nothing was moved."
                )


class _Pulse:
    """Passes a call on once a third of the lease has gone by since the last one."""

    def __init__(self, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > settings.LEASE.total_seconds() / 3:
            self._last = now
            self._alive()


def place(
    environment: Environment, version: Version, promotion: Promotion, carried: Carried
) -> Placement:
    """End the package's current placement and begin that of `version`, which lies at `carried`.

    The caller holds the lock on the environment's row.
    """
    now = timezone.now()
    since = _since(version, promotion, now)
    current = Placement.objects.current().filter(environment=environment, package=version.package)
    current.update(until=since)
    return Placement.objects.create(
        package=version.package,
        environment=environment,
        version=version,
        promotion=promotion,
        image=carried.image,
        storage=carried.storage,
        since=since,
        recorded_at=now,
    )


def _since(version: Version, promotion: Promotion, now: datetime) -> datetime:
    """When all that the promotion places begins: at one moment, so that no question about the past
    finds half of a train."""
    others = Placement.objects.filter(promotion=promotion).exclude(package=version.package_id)
    if begun := others.first():
        return begun.since
    # A clock that went back must not end a placement before it began.
    there = Placement.objects.current().filter(
        environment=promotion.environment_id, package__in=promotion.items.values("package")
    )
    last: datetime | None = there.aggregate(last=Max("since"))["last"]
    return max(now, last) if last else now


def named_placement(placement: Placement) -> dict[str, str]:
    """How the ledger names a placement: what is placed, since when, and where its bytes are when
    not with ours."""
    named_bytes = {"image": placement.image, "storage": placement.storage}
    return {
        **named(placement.version),
        **{key: where for key, where in named_bytes.items() if where},
        "since": timestamp(placement.since),
    }
