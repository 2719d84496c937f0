"""Print the SQL that gives a PostgreSQL role what a runner needs, and no more."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

#: What a runner reads: what it executes, and what that takes its input from.
READS = (
    *("pipelines.Pipeline", "pipelines.Revision", "pipelines.Run", "pipelines.Job"),
    *("pipelines.Step", "pipelines.Artifact", "pipelines.ArtifactFile", "pipelines.Blob"),
    *("pipelines.LogChunk", "pipelines.Runner", "pipelines.ServiceConnection"),
    "pipelines.ServiceConnection_shared_with",
    *("pipelines.MachineGroup", "pipelines.Machine", "pipelines.MachineResult"),
    "pipelines.GateDecision",
    *("promotion.Repository", "promotion.Package", "promotion.Version", "promotion.VersionFile"),
    *("auth.Group", "accounts.User_groups"),
)
#: What it may add.
ADDS = (
    *("pipelines.LogChunk", "pipelines.Artifact", "pipelines.ArtifactFile", "pipelines.Blob"),
    *("pipelines.Runner", "pipelines.MachineResult"),
)
#: What it may change: whole rows, or only some columns of them. A lock needs one column.
CHANGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pipelines.Job", ()),
    ("pipelines.Step", ()),
    ("pipelines.Runner", ()),
    ("pipelines.MachineResult", ()),
    ("pipelines.LogChunk", ()),
    ("pipelines.Run", ("lease_until",)),
    # Whoever refers to bytes holds them.
    ("pipelines.Blob", ("state", "kept_at", "recipe")),
    ("pipelines.ServiceConnection", ("last_used_at",)),
    ("promotion.Version", ("last_downloaded_at",)),
)
REMOVES = ("pipelines.LogChunk", "pipelines.Runner")
#: Nobody's password leaves the site, hashed or not.
HIDDEN = {"accounts.User": ("password", "email", "first_name", "last_name")}


def grants(role: str) -> Iterator[str]:
    who = connection.ops.quote_name(role)
    for label in READS:
        yield _grant("SELECT", label, (), who)
    for label, hidden in HIDDEN.items():
        columns = [
            field.column
            for field in apps.get_model(label)._meta.concrete_fields
            if field.column and field.name not in hidden
        ]
        yield _grant("SELECT", label, columns, who)
    for label in ADDS:
        yield _grant("INSERT", label, (), who)
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {who};"
    for label, only in CHANGES:
        yield _grant("UPDATE", label, only, who)
    for label in REMOVES:
        yield _grant("DELETE", label, (), who)


def _grant(what: str, label: str, columns: Sequence[str], who: str) -> str:
    quote = connection.ops.quote_name
    table = quote(apps.get_model(label)._meta.db_table)
    only = f" ({', '.join(quote(column) for column in columns)})" if columns else ""
    return f"GRANT {what}{only} ON {table} TO {who};"


class Command(BaseCommand):
    help = "Print the SQL that lets a PostgreSQL role execute jobs and nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="The role that the runner connects as.")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError(
                "The embedded database has no roles, and no runner elsewhere can reach it. "
                "Runners on other machines need PostgreSQL (docs/runners.md)."
            )
        for statement in grants(options["role"]):
            self.stdout.write(statement)
