"""Open the seals for a moment: to empty tables after a test, or to tamper with history in one."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import connection

from promotion.ledger.verify import SEALED


@contextmanager
def unsealed(only: Collection[str] | None = None) -> Iterator[None]:
    """Of all tables, or of those named in `only`."""
    sealed = [model._meta.db_table for model in SEALED]
    tables = [table for table in sealed if only is None or table in only]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Foreign keys that wait for the commit would stand in the way of ALTER TABLE.
            if connection.in_atomic_block:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in tables:
                cursor.execute(f'ALTER TABLE "{table}" DISABLE TRIGGER USER')
            yield
            for table in tables:
                # ENABLE ALWAYS, as the migration made them.
                cursor.execute(
                    "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass "
                    "AND NOT tgisinternal",
                    [table],
                )
                for (name,) in cursor.fetchall():
                    cursor.execute(f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{name}"')
            if connection.in_atomic_block:
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        else:
            cursor.execute("SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger'")
            triggers = [row for row in cursor.fetchall() if only is None or row[2] in only]
            for name, *_ in triggers:
                cursor.execute(f'DROP TRIGGER "{name}"')
            yield
            for _, sql, _ in triggers:
                cursor.execute(sql)
