"""Carrying: what is about to be placed lies in the environment's own storage and registry first.

Called by executing.py alone, inside an execution. Whatever lies there already is read, not sent
again, so a copy that was cut goes on where it stopped, and two may carry the same bytes at once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.files.storage import Storage

from pipelines import blobs
from pipelines.models import Blob
from promotion import images, targets
from promotion.errors import NotCarried
from promotion.models import Environment, Version
from promotion.plans import Plan
from promotion.targets import Target

#: How far it is: what is carried now, and how many of all bytes are done.
Said = dict[str, Any]
SAY_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Carried:
    """Where a version was carried to: the image's pinned name, and where its files lie."""

    image: str = ""
    storage: str = ""


HERE = Carried()


def carry(planned: Plan, *, say: Callable[[Said], None]) -> dict[int, Carried]:
    """Have every item lie where the plan's environment keeps its bytes; where, by version.

    `say` is called at least once a second while bytes move, and may raise to stop it.
    """
    environment, target = planned.environment, targets.of(planned.environment)
    if not target.as_json():
        return {}
    versions = [version for version, _ in planned.items]
    # Both are opened before anything is sent: who may no longer use one carries nothing.
    storage = targets.open_storage(environment)
    login = targets.open_registry(environment)
    kept = {version.pk: targets.files_of(version) for version in versions} if storage else {}
    progress = Progress(say, sum(blob.size for files in kept.values() for blob in files))
    carried = {}
    for version in versions:
        where = target.storage if storage and kept[version.pk] else ""
        if storage and where:
            with _named(environment, where):
                _carry_files(version, kept[version.pk], storage, where, progress)
        image = ""
        if target.registry and version.image:
            with _named(environment, target.registry):
                image = _carry_image(version, target, login, progress)
        carried[version.pk] = Carried(image, where)
    return carried


def _carry_files(
    version: Version, files: dict[Blob, str], storage: Storage, where: str, progress: "Progress"
) -> None:
    for blob, path in files.items():
        progress.begin(f"{path} of {version}", blob.size)
        if not blobs.reads_true_in(blob, storage, meanwhile=progress.piece):
            progress.again()
            blobs.copy_into(blob, storage, meanwhile=progress.piece)
            if not blobs.reads_true_in(blob, storage, meanwhile=progress.still):
                raise NotCarried(
                    f"{version}: where “{path}” should be at {where}, other bytes are read back, "
                    "and Sluice overwrites nothing there. Find out whose they are, remove the "
                    f"object …/{blob.storage_name}, and retry."
                )
        progress.end()


def _carry_image(version: Version, target: Target, login: Any, progress: "Progress") -> str:
    progress.begin(f"the image {version}", 0)
    pinned = images.carry(version, target.registry, login, progress=progress.of_image)
    approved = version.image.rpartition("@")[2]
    if pinned.rpartition("@")[2] != approved:
        raise NotCarried(
            f"{version}: the image was approved as {approved} and arrived as {pinned}."
        )
    progress.end()
    return pinned


@contextmanager
def _named(environment: Environment, where: str) -> Iterator[None]:
    """A disk or a connection that breaks is a reason to fail, and to say where."""
    try:
        yield
    except OSError as error:
        raise NotCarried(
            f"{environment.name} keeps its bytes at {where}, and they could not be carried there: "
            f"{error.strerror or type(error).__name__}. Retry it once that is mended: it goes on "
            "where it stopped."
        ) from error


class Progress:
    """Counts bytes, and passes on how far it is: at once for each new thing, then each second."""

    def __init__(self, say: Callable[[Said], None], total: int) -> None:
        self._say = say
        self._total = total
        self._before = 0
        self._size = 0
        self._done = 0
        self._what = ""
        self._last = 0.0

    def begin(self, what: str, size: int) -> None:
        self._what, self._size, self._done = what, size, 0
        self._tell()

    def piece(self) -> None:
        self._done = min(self._done + blobs.CHUNK, self._size)
        self.still()

    def still(self) -> None:
        """Nothing more is done, and it goes on."""
        if time.monotonic() - self._last >= SAY_EVERY:
            self._tell()

    def again(self) -> None:
        self._done = 0

    def of_image(self, done: int, total: int) -> None:
        """How large an image is, is known once its parts have been looked at."""
        self._total += total - self._size
        self._size, self._done = total, min(done, total)
        self.still()

    def end(self) -> None:
        self._before += self._size
        self._size = self._done = 0
        self._tell()

    def _tell(self) -> None:
        self._last = time.monotonic()
        self._say({"what": self._what, "done": self._before + self._done, "total": self._total})
