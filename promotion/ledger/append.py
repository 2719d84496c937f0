"""Append to the ledger: the one writer of its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from pipelines.canonical import canonical, timestamp
from promotion.ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from promotion.models import LedgerEntry, LedgerHead


@dataclass(frozen=True, slots=True)
class About:
    """What an entry can be found by. Empty where it does not apply."""

    repository: str = ""
    package: str = ""
    environment: str = ""


NOTHING = About()


def append(
    type_: str, *, by: User | None, at: datetime, about: About = NOTHING, data: Mapping[str, Any]
) -> LedgerEntry:
    """Add one entry, in the transaction of the change that it records.

    Call it last: the lock on the head row is held until the commit, and makes appends of all
    processes take turns. `by` is None only for what Sluice does by itself.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("A ledger entry is written in the transaction of what it records.")
    head = _locked_head()
    frontier = Frontier(head.size, tuple(bytes.fromhex(node) for node in head.frontier))
    body = canonical(
        {
            "sequence": head.size,
            "at": timestamp(at),
            "type": type_,
            "actor": by.username if by else None,
            "data": dict(data),
        }
    )
    leaf = leaf_hash(body)
    frontier = frontier.append(leaf)
    entry = LedgerEntry(
        sequence=head.size,
        body=body,
        leaf_hash=leaf.hex(),
        type=type_,
        actor=by,
        repository=about.repository,
        package=about.package,
        environment=about.environment,
        at=at,
    )
    entry.save(force_insert=True)
    LedgerHead.objects.filter(pk=head.pk).update(
        size=frontier.size,
        root=frontier.root.hex(),
        frontier=[node.hex() for node in frontier.subtrees],
    )
    return entry


def current_size() -> int:
    """How many entries there are, as committed."""
    sizes = LedgerHead.objects.filter(pk=LedgerHead.THE_ONE).values_list("size", flat=True)
    return sizes.first() or 0


def lock() -> int:
    """Take the ledger's lock until the commit and answer its size: the next entry's sequence.

    For acts that must know their own position before they are written.
    """
    return _locked_head().size


def _locked_head() -> LedgerHead:
    # On SQLite select_for_update does nothing: the transaction holds the one write lock already.
    rows = LedgerHead.objects.select_for_update().filter(pk=LedgerHead.THE_ONE)
    head = rows.first()
    if head is None:
        first = LedgerHead(pk=LedgerHead.THE_ONE, root=EMPTY_ROOT.hex())
        LedgerHead.objects.bulk_create([first], ignore_conflicts=True)
        head = rows.get()
    return head
