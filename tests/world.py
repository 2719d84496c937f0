"""All that a refusal must leave as it was: every row of ours, and every file of the blob store."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
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
    rows: World = {}
    with connection.cursor() as cursor:
        for label, statement in _statements():
            cursor.execute(statement)
            rows[label] = cursor.fetchall()
    return {**rows, "files": stored_files()}


@cache
def _statements() -> list[tuple[str, str]]:
    """By model, what reads its rows: plain SQL, for nothing is asked as often in the tests."""
    quote = connection.ops.quote_name
    return [
        (
            model._meta.label,
            f"SELECT {', '.join(map(quote, _columns(model)))} FROM {quote(model._meta.db_table)} "
            f"ORDER BY {quote(str(model._meta.pk.column))}",
        )
        for label in OURS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if model is not Download
    ]


def _columns(model: type[Model]) -> list[str]:
    """All of them, save for when bytes were last wanted: it does no more than keep them longer."""
    columns = [str(field.column) for field in model._meta.concrete_fields]
    unsaid = {(Blob, "kept_at"), (Version, "last_downloaded_at")}
    return [name for name in columns if (model, name) not in unsaid]


def stored_files() -> list[Any]:
    """The name below the store's folder and the size of every file."""
    return sorted(_below(f"{settings.DATA_DIR}/blobs", ""))


def _below(folder: str, name: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, f"{name}{entry.name}/")
        else:
            yield f"{name}{entry.name}", entry.stat().st_size


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
