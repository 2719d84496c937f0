"""Seals: rows and columns that, once written, never change.

History is sealed twice. `Sealed` refuses in Python, with a clear error; the `SealTable` migration
operation installs triggers that refuse what `QuerySet.update()` or a SQL prompt would slip past.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from pipelines import errors


class Sealed(models.Model):
    """A row that never changes after it is written, save for the fields named in `unsealed`."""

    unsealed: ClassVar[frozenset[str]] = frozenset()

    class Meta:
        abstract = True

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        if not self._state.adding and not (
            update_fields is not None and set(update_fields) <= self.unsealed
        ):
            raise errors.Sealed(
                f"A {self._meta.verbose_name} is never changed after it is written."
            )
        super().save(
            force_insert=force_insert,
            force_update=force_update,
            using=using,
            update_fields=update_fields,
        )

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise errors.Sealed(f"A {self._meta.verbose_name} is never deleted.")


def trigger_names(table: str) -> tuple[str, str, str]:
    """The triggers that seal `table`: against update, delete and, on PostgreSQL, truncate."""
    return f"{table}_sealed_update", f"{table}_sealed_delete", f"{table}_sealed_truncate"


class SealTable(Operation):
    """Install triggers on a model's table that refuse changes, on SQLite and PostgreSQL.

    `unsealed` names the columns that may still change; with `write_once` a column may only go from
    NULL to a value. Rows can never be deleted. PostgreSQL's triggers are ENABLE ALWAYS, so that
    session_replication_role does not walk past them, and cover TRUNCATE.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(
        self, model: str, unsealed: tuple[str, ...] = (), write_once: tuple[str, ...] = ()
    ) -> None:
        self.model = model
        self.unsealed = unsealed
        self.write_once = write_once

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """A trigger is invisible to Django's model state."""

    def describe(self) -> str:
        return f"Seal {self.model}"

    @property
    def migration_name_fragment(self) -> str:
        return f"seal_{self.model.lower()}"

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        meta = to_state.apps.get_model(app_label, self.model)._meta
        columns = [field.column for field in meta.concrete_fields if field.column]
        for statement in seal_sql(
            schema_editor.connection.vendor, meta.db_table, columns, self.unsealed, self.write_once
        ):
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model)._meta.db_table
        for statement in unseal_sql(schema_editor.connection.vendor, table):
            schema_editor.execute(statement, params=None)


class Unseal(SealTable):
    """Take the triggers of a model off while its table is altered; `SealTable` follows.

    SQLite makes an altered table anew, without its triggers, and a trigger must name the new
    columns too. `unsealed` and `write_once` are those with which the table was sealed before.
    """

    def describe(self) -> str:
        return f"Unseal {self.model}"

    @property
    def migration_name_fragment(self) -> str:
        return f"unseal_{self.model.lower()}"

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        super().database_backwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        super().database_forwards(app_label, schema_editor, from_state, to_state)


def seal_sql(
    vendor: str,
    table: str,
    columns: Iterable[str],
    unsealed: Iterable[str] = (),
    write_once: Iterable[str] = (),
) -> Iterator[str]:
    on_update, on_delete, on_truncate = trigger_names(table)
    differs = "IS DISTINCT FROM" if vendor == "postgresql" else "IS NOT"
    loose = {*unsealed, *write_once}
    changes = [f'OLD."{name}" {differs} NEW."{name}"' for name in columns if name not in loose]
    changes += [
        f'(OLD."{name}" IS NOT NULL AND OLD."{name}" {differs} NEW."{name}")' for name in write_once
    ]
    changed = " OR ".join(changes)
    if vendor == "postgresql":
        yield (
            f'CREATE FUNCTION "{on_update}"() RETURNS trigger LANGUAGE plpgsql AS '
            f"$$BEGIN RAISE EXCEPTION '{table} is sealed' "
            "USING ERRCODE = 'integrity_constraint_violation'; END$$"
        )
        for name, event, condition in (
            (on_update, "BEFORE UPDATE", f"FOR EACH ROW WHEN ({changed})"),
            (on_delete, "BEFORE DELETE", "FOR EACH ROW"),
            (on_truncate, "BEFORE TRUNCATE", "FOR EACH STATEMENT"),
        ):
            yield (
                f'CREATE TRIGGER "{name}" {event} ON "{table}" {condition} '
                f'EXECUTE FUNCTION "{on_update}"()'
            )
            yield f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{name}"'
    else:
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is sealed'); END"
        yield f'CREATE TRIGGER "{on_update}" BEFORE UPDATE ON "{table}" WHEN {changed} {refuse}'
        yield f'CREATE TRIGGER "{on_delete}" BEFORE DELETE ON "{table}" {refuse}'


def unseal_sql(vendor: str, table: str) -> Iterator[str]:
    on_update, on_delete, on_truncate = trigger_names(table)
    if vendor == "postgresql":
        for name in (on_update, on_delete, on_truncate):
            yield f'DROP TRIGGER "{name}" ON "{table}"'
        yield f'DROP FUNCTION "{on_update}"()'
    else:
        for name in (on_update, on_delete):
            yield f'DROP TRIGGER "{name}"'
