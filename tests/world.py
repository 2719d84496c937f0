"""All that a refusal must leave as it was: every row of ours, and every file of the blob store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import Model

from pipelines.errors import SluiceError
from pipelines.models import Blob
from promotion.models import Download, Version

OURS = ("accounts", "pipelines", "promotion")

World = dict[str, list[Any]]
Refusal = TypeVar("Refusal", bound=SluiceError)


def world() -> World:
    """Every row with all its columns by model, and the name and size of every stored file.

    What links rows to each other, like a user's groups, is a model too. That bytes were fetched is
    noted as they are read.
    """
    rows = {
        model._meta.label: list(model._base_manager.order_by("pk").values_list(*_columns(model)))
        for label in OURS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if model is not Download
    }
    return {**rows, "files": stored_files()}


def _columns(model: type[Model]) -> list[str]:
    """All of them, save for when bytes were last wanted: it does no more than keep them longer."""
    columns = [field.attname for field in model._meta.concrete_fields]
    unsaid = {(Blob, "kept_at"), (Version, "last_downloaded_at")}
    return [name for name in columns if (model, name) not in unsaid]


def stored_files() -> list[Any]:
    top = Path(settings.DATA_DIR) / "blobs"
    return sorted(
        (path.relative_to(top).as_posix(), path.stat().st_size)
        for path in top.rglob("*")
        if path.is_file()
    )


def counts() -> dict[str, int]:
    return {label: len(rows) for label, rows in world().items()}


@contextmanager
def nothing_changes() -> Iterator[None]:
    before = world()
    yield
    after = world()
    assert {label for label in before if before[label] != after[label]} == set()


def refused(error: type[Refusal], act: Callable[[], object]) -> Refusal:
    """Call `act`, which must be refused with exactly `error` and change nothing; the refusal."""
    with nothing_changes(), pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    return caught.value
