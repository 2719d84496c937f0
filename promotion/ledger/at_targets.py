"""Whether what is placed lies where its environment keeps its own bytes, as approved.

Approved digest, placed digest and the digest that the target gives back are one. A target that
cannot be asked breaks no promise: that is said as what could not be checked.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files.storage import Storage
from django.db.models import QuerySet

from pipelines import blobs, registry
from pipelines.errors import NotFound, SluiceError
from pipelines.models import Blob
from promotion import targets
from promotion.models import Environment, Placement


class CouldNot(str):
    """Why something could not be checked, among the findings of a check."""


def placements() -> "QuerySet[Placement]":
    """What is placed now in environments that keep their bytes elsewhere."""
    return (
        Placement.objects.current()
        .exclude(image="", storage="")
        .with_names()
        .select_related("version__bundle")
        .order_by("environment__rank", "environment_id", "pk")
    )


def findings(*, scrub: bool) -> Iterator[str]:
    """`scrub` re-reads every byte at the target, and asks not only for the length."""
    opened: dict[int, _Opened] = {}
    for placement in placements():
        approved = json.loads(placement.promotion.plan).get("target", {})
        yield from _unlike_approved(placement, approved)
        where = opened.get(placement.environment_id)
        if where is None:
            where = opened[placement.environment_id] = _Opened(placement.environment_id)
        if placement.image:
            yield from where.image_findings(placement, approved)
        if placement.storage:
            yield from where.file_findings(placement, approved, scrub=scrub)


def _unlike_approved(placement: Placement, approved: dict[str, str]) -> Iterator[str]:
    image, version = placement.image, placement.version
    if image and image.rpartition("@")[2] != version.image.rpartition("@")[2]:
        yield f"placement {placement.pk}: {image} is not the image that {version} is"
    if image and not image.startswith(f"{approved.get('registry', '')}/"):
        yield f"placement {placement.pk}: {image} is not where the approved plan says"
    if placement.storage != approved.get("storage", "") and placement.storage:
        yield f"placement {placement.pk}: {placement.storage} is not where the approved plan says"


class _Opened:
    """An environment's target, opened once for all that is placed in it."""

    def __init__(self, environment_id: int) -> None:
        self._environment = Environment.objects.with_names().get(pk=environment_id)
        self._named = targets.of(self._environment).as_json()
        self._storage: Storage | None = None

    def image_findings(self, placement: Placement, approved: dict[str, str]) -> Iterator[str]:
        if unknown := self._moved(placement.image, approved, ("registry", "registry_connection")):
            yield unknown
            return
        asked: list[str] = []
        with _asking(placement.image, asked):
            login = targets.open_registry(self._environment, noted=False)
            try:
                registry.digest_of(registry.parse(placement.image), login)
            except NotFound:
                yield f"{placement.version} in {self._environment}: {placement.image} is not there"
        yield from asked

    def file_findings(
        self, placement: Placement, approved: dict[str, str], *, scrub: bool
    ) -> Iterator[str]:
        keys = ("storage", "storage_host", "storage_connection")
        if unknown := self._moved(placement.storage, approved, keys):
            yield unknown
            return
        asked: list[str] = []
        with _asking(placement.storage, asked):
            if self._storage is None:
                self._storage = targets.open_storage(self._environment, noted=False)
            assert self._storage is not None, "the approved target names this storage"
            for blob, path in targets.files_of(placement.version).items():
                if not _is_there(blob, self._storage, scrub=scrub):
                    yield (
                        f"{placement.version} in {self._environment}: “{path}” ({blob.sha256}) at "
                        f"{placement.storage} is missing or has other bytes"
                    )
        yield from asked

    def _moved(self, what: str, approved: dict[str, str], keys: tuple[str, ...]) -> str:
        if all(self._named.get(key) == approved.get(key) for key in keys):
            return ""
        return CouldNot(
            f"{what}: {self._environment} names another target by now, and not how to ask this one"
        )


def _is_there(blob: Blob, storage: Storage, *, scrub: bool) -> bool:
    if scrub:
        return blobs.reads_true_in(blob, storage)
    try:
        return storage.size(blob.storage_name) == blob.size
    except FileNotFoundError:
        return False


@contextmanager
def _asking(what: str, said: list[str]) -> Iterator[None]:
    try:
        yield
    except SluiceError as refusal:
        said.append(CouldNot(f"{what}: {refusal.detail}"))
    except OSError as error:
        said.append(CouldNot(f"{what}: {error.strerror or type(error).__name__}"))
