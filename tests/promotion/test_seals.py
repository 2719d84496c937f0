"""Seals: history never changes, whichever way somebody tries."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.utils import timezone

from pipelines import errors
from pipelines.models import Artifact, Blob
from pipelines.seals import Sealed
from promotion.ledger.verify import SEALED
from promotion.models import (
    Affected,
    EvidenceKey,
    Hold,
    Placement,
    Promotion,
    PromotionState,
    Version,
    VersionState,
)
from tests.cast import Site
from tests.world import nothing_changes

Model = type[models.Model]

#: What may change of a sealed row, by table: everything else may not.
MAY_CHANGE: dict[Model, set[str]] = {
    Version: {
        *("state", "recalled_by", "recalled_at", "recall_reason", "replacement"),
        *("pruned_at", "pruned_reason", "last_downloaded_at"),
    },
    Artifact: {"pruned_at"},
    Promotion: {
        "state",
        "gates",
        "reason",
        "lease_until",
        "attempt",
        "progress",
        "decided_at",
        "finished_at",
    },
    Placement: {"until"},
    Affected: {"acknowledged_by", "acknowledged_at", "note"},
    EvidenceKey: {"revoked_at", "revoked_by", "revoked_reason"},
    Hold: {"lifted_by", "lifted_at"},
    Blob: {"state", "kept_at", "recipe"},
}

by_name = pytest.mark.parametrize("model", SEALED, ids=lambda model: model.__name__)


def one_of(model: Model, **having: Any) -> Any:
    found = model._default_manager.filter(**having).order_by("pk").first()
    assert found is not None, f"the full site has a {model.__name__} with {having}"
    return found


def refused_by_trigger(model: Model, act: Callable[[], object]) -> None:
    table = model._meta.db_table
    with (
        nothing_changes(),
        pytest.raises(IntegrityError, match=f"{table} is sealed"),
        transaction.atomic(),
    ):
        act()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_everything_that_calls_itself_sealed_has_a_guard() -> None:
    ours = [model for label in ("pipelines", "promotion") for model in _models_of(label)]
    assert {model for model in ours if issubclass(model, Sealed)} == set(SEALED)


def _models_of(label: str) -> list[Model]:
    return list(apps.get_app_config(label).get_models())


@by_name
@pytest.mark.usefixtures("full")
def test_saving_a_sealed_row_again_is_refused(model: Model) -> None:
    row = one_of(model)
    with nothing_changes(), pytest.raises(errors.Sealed):
        row.save()
    fixed = [
        field.name
        for field in model._meta.concrete_fields
        if not field.primary_key and field.name not in MAY_CHANGE.get(model, set())
    ]
    with nothing_changes(), pytest.raises(errors.Sealed):
        row.save(update_fields=fixed[:1])


@by_name
@pytest.mark.usefixtures("full")
def test_deleting_a_sealed_row_is_refused(model: Model) -> None:
    row = one_of(model)
    with nothing_changes(), pytest.raises(errors.Sealed):
        row.delete()


@by_name
@pytest.mark.usefixtures("full")
def test_deleting_past_the_model_is_refused_by_the_database(model: Model) -> None:
    key, table = model._meta.pk, model._meta.db_table
    assert key is not None
    refused_by_trigger(model, lambda: execute(f'DELETE FROM "{table}"'))
    # What a queryset deletes without asking the model, and without following relations.
    rows: Any = model._default_manager.filter(pk=one_of(model).pk)
    refused_by_trigger(model, lambda: rows._raw_delete("default"))


@by_name
@pytest.mark.usefixtures("full")
def test_no_fixed_column_can_be_updated(model: Model) -> None:
    tried = 0
    for field in model._meta.concrete_fields:
        if field.name in MAY_CHANGE.get(model, set()):
            continue
        if field.null:
            row, value = one_of(model, **{f"{field.name}__isnull": False}), None
        else:
            row = one_of(model)
            value = _another(field, field.value_from_object(row))
        rows = model._default_manager.filter(pk=row.pk)
        refused_by_trigger(model, lambda r=rows, f=field, v=value: r.update(**{f.attname: v}))  # type: ignore[misc]
        tried += 1
    assert tried == len(model._meta.concrete_fields) - len(MAY_CHANGE.get(model, ()))


def _another(field: Any, value: Any) -> Any:
    """A value that is not `value`. The guard speaks before any other constraint does."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return {**value, "more": 1}
    if isinstance(value, list):
        return [*value, "more"]
    if isinstance(value, bytes | memoryview):
        return bytes(value) + b" "
    if isinstance(value, str):
        return f"{value[:-1]}{'1' if value[-1:] != '1' else '2'}"
    return value + timedelta(seconds=1)


# ---- What may change -----------------------------------------------------------------------------
NOW = timezone.now()
CHANGES: dict[Model, dict[str, Any]] = {
    Version: {
        "state": VersionState.RECALLED,
        "recalled_at": NOW,
        "recall_reason": "It is bad.",
        "pruned_at": NOW,
        "pruned_reason": "No rule keeps it.",
        "last_downloaded_at": NOW,
    },
    Promotion: {
        "state": PromotionState.STALE,
        "gates": [1],
        "reason": "why",
        "lease_until": NOW,
        "attempt": 9,
        "progress": {"done": 1},
        "decided_at": NOW,
        "finished_at": NOW,
    },
}


@pytest.mark.parametrize("model", CHANGES, ids=lambda model: model.__name__)
def test_what_happens_to_a_row_may_be_written(full: Site, model: Model) -> None:
    changes = {**CHANGES[model]}
    if model is Version:
        changes |= {"recalled_by": full.cast.ben, "replacement": Version.objects.get(name="1.2.0")}
    assert set(changes) == MAY_CHANGE[model]
    row = one_of(model)
    model._default_manager.filter(pk=row.pk).update(**changes)
    row.refresh_from_db()
    assert {name: getattr(row, name) for name in changes} == changes
    row.save(update_fields=list(changes))


@pytest.mark.usefixtures("full")
def test_a_placement_ends_once_and_for_ever() -> None:
    current = Placement.objects.current().order_by("pk")[0]
    rows = Placement.objects.filter(pk=current.pk)
    end = timezone.now()
    rows.update(until=end)
    rows.update(until=end)
    refused_by_trigger(Placement, lambda: rows.update(until=end + timedelta(seconds=1)))
    refused_by_trigger(Placement, lambda: rows.update(until=None))


@pytest.mark.usefixtures("full")
def test_a_refused_update_leaves_the_rest_of_the_statement_undone_too() -> None:
    version = Version.objects.get(name="1.2.0")
    rows = Version.objects.filter(pk=version.pk)
    refused_by_trigger(Version, lambda: rows.update(state=VersionState.RECALLED, name="1.3.0"))


# ---- Ways around ---------------------------------------------------------------------------------
@by_name
@pytest.mark.usefixtures("full")
def test_a_row_cannot_be_replaced_by_inserting_it_again(model: Model) -> None:
    """SQLite's INSERT OR REPLACE deletes silently; PostgreSQL's way is ON CONFLICT DO UPDATE."""
    key, table = model._meta.pk, model._meta.db_table
    assert key is not None
    if connection.vendor == "sqlite":
        statement = f'INSERT OR REPLACE INTO "{table}" SELECT * FROM "{table}"'
    else:
        another = (
            "'other'" if isinstance(key, models.CharField) else f'"{table}"."{key.column}" + 1'
        )
        statement = (
            f'INSERT INTO "{table}" SELECT * FROM "{table}" '
            f'ON CONFLICT ("{key.column}") DO UPDATE SET "{key.column}" = {another}'
        )
    refused_by_trigger(model, lambda: execute(statement))


@pytest.mark.postgres
@by_name
@pytest.mark.usefixtures("full")
def test_a_table_cannot_be_truncated(model: Model) -> None:
    table = model._meta.db_table
    # CASCADE reaches other sealed tables too, and whichever guard speaks first is right.
    with (
        nothing_changes(),
        pytest.raises(DatabaseError, match="is sealed"),
        transaction.atomic(),
    ):
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        execute(f'TRUNCATE "{table}" CASCADE')


@pytest.mark.postgres
@by_name
@pytest.mark.usefixtures("full")
def test_the_role_of_a_replica_does_not_walk_past_the_guards(model: Model) -> None:
    table = model._meta.db_table

    def delete() -> None:
        execute("SET LOCAL session_replication_role = replica")
        execute(f'DELETE FROM "{table}"')

    refused_by_trigger(model, delete)
