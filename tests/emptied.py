"""Empty the tables after a test with real transactions: only those that hold anything, for there
are many tables and most tests write to few. Content types and permissions stay as migrated."""

from django.db import connection, transaction

from tests.sealed import unsealed

KEPT = {"django_content_type", "auth_permission"}


def empty() -> None:
    tables = _tables_with_rows()
    if not tables:
        return
    with unsealed(tables), transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        else:
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        for table in tables:
            cursor.execute(f'DELETE FROM "{table}"')


def _tables_with_rows() -> list[str]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    # SQLite takes at most 500 parts of a compound statement; there are fewer tables.
    asked = " UNION ALL ".join(
        f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")"
        for name in sorted(set(names) - KEPT)
    )
    with connection.cursor() as cursor:
        cursor.execute(asked)
        return [row[0] for row in cursor.fetchall()]
