"""A guard in the database: of rows that share some columns, no two intervals overlap.

PostgreSQL has exclusion constraints for it. Each column is compared as a range of one number,
because PostgreSQL can index ranges by itself: to index plain numbers beside them it would need the
extension btree_gist, and somebody with the right to install it. SQLite has triggers, which are
enough: it has one writer at a time.

An interval begins with `since` and ends before `until`, or never where that is null. One of no
length holds no moment, and so overlaps nothing.
"""

from collections.abc import Iterator, Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

NO_TWO_PLACEMENTS = "no_two_placements_at_once"


def trigger_names(name: str) -> tuple[str, str]:
    """The triggers that are the guard `name` on SQLite."""
    return f"{name}_on_insert", f"{name}_on_update"


class GuardIntervals(Operation):
    """Refuse overlapping intervals of a model's rows that have the same `same` columns.

    SQLite makes an altered table anew, without its triggers: a migration that alters the table on
    SQLite must guard it again. `verify` says when it did not.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, model: str, same: tuple[str, ...], name: str) -> None:
        self.model = model
        self.same = same
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Neither a trigger nor this constraint is a part of Django's model state."""

    def describe(self) -> str:
        return f"Guard the intervals of {self.model}"

    @property
    def migration_name_fragment(self) -> str:
        return f"guard_intervals_of_{self.model.lower()}"

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = to_state.apps.get_model(app_label, self.model)._meta.db_table
        for statement in guard_sql(schema_editor.connection.vendor, table, self.same, self.name):
            schema_editor.execute(statement, params=None)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model)._meta.db_table
        for statement in unguard_sql(schema_editor.connection.vendor, table, self.name):
            schema_editor.execute(statement, params=None)


def guard_sql(vendor: str, table: str, same: Sequence[str], name: str) -> Iterator[str]:
    if vendor == "postgresql":
        equal = ", ".join(f'int8range("{each}", "{each}", \'[]\') WITH &&' for each in same)
        yield (
            f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" '
            f'EXCLUDE USING gist ({equal}, tstzrange("since", "until", \'[)\') WITH &&)'
        )
        return
    equal = " AND ".join(f'"{each}" = NEW."{each}"' for each in same)
    overlaps = (
        f'{equal} AND "id" IS NOT NEW."id" '
        'AND ("until" IS NULL OR ("since" < "until" AND NEW."since" < "until")) '
        'AND (NEW."until" IS NULL OR (NEW."since" < NEW."until" AND "since" < NEW."until"))'
    )
    another = f'EXISTS (SELECT 1 FROM "{table}" WHERE {overlaps})'  # noqa: S608  # our own names
    refuse = f"BEGIN SELECT RAISE(ABORT, '{name}') WHERE {another}; END"
    on_insert, on_update = trigger_names(name)
    yield f'CREATE TRIGGER "{on_insert}" BEFORE INSERT ON "{table}" {refuse}'
    # After it, so that a seal on the table speaks first.
    yield f'CREATE TRIGGER "{on_update}" AFTER UPDATE ON "{table}" {refuse}'


def unguard_sql(vendor: str, table: str, name: str) -> Iterator[str]:
    if vendor == "postgresql":
        yield f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"'
        return
    for trigger in trigger_names(name):
        yield f'DROP TRIGGER "{trigger}"'
