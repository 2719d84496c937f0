"""The ledger: a Merkle tree after RFC 6962, appended in the transaction of what it records."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone as django_timezone
from hypothesis import given
from hypothesis import strategies as st

from pipelines.canonical import canonical
from promotion import publishing, selection
from promotion.ledger import append as ledger
from promotion.ledger.history import entries
from promotion.ledger.merkle import EMPTY_ROOT, Frontier, grow, leaf_hash, node_hash
from promotion.models import LedgerEntry, LedgerHead, Repository
from promotion.selection import Query
from tests.cast import Cast, Site
from tests.world import nothing_changes, world


def naive_root(bodies: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not bodies:
        return hashlib.sha256(b"").digest()
    if len(bodies) == 1:
        return hashlib.sha256(b"\x00" + bodies[0]).digest()
    k = 1
    while k * 2 < len(bodies):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(bodies[:k]) + naive_root(bodies[k:])).digest()


# ---- The tree ------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", range(71))
def test_the_root_is_that_of_the_rfc(size: int) -> None:
    bodies = [b"entry %d" % number for number in range(size)]
    frontier = grow(map(leaf_hash, bodies))
    assert frontier.size == size
    assert frontier.root == naive_root(bodies)
    assert len(frontier.subtrees) == size.bit_count()


@given(st.lists(st.binary(max_size=40), max_size=130))
def test_the_root_is_that_of_the_rfc_for_any_entries(bodies: list[bytes]) -> None:
    assert grow(map(leaf_hash, bodies)).root == naive_root(bodies)


@given(st.lists(st.binary(max_size=8), max_size=40), st.lists(st.binary(max_size=8), max_size=40))
def test_a_tree_grows_on_from_where_it_was(first: list[bytes], then: list[bytes]) -> None:
    grown = grow(map(leaf_hash, then), grow(map(leaf_hash, first)))
    assert grown == grow(map(leaf_hash, first + then))


def test_known_roots() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    # The first leaf of the reference implementation's test vectors: an empty body.
    empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"").hex() == empty_leaf
    assert Frontier().root == EMPTY_ROOT


def test_a_leaf_is_never_taken_for_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


# ---- Appending -----------------------------------------------------------------------------------
def add(by: Any, number: int = 0) -> LedgerEntry:
    now = django_timezone.now()
    return ledger.append("test.happened", by=by, at=now, data={"number": number})


def test_an_entry_keeps_the_canonical_bytes_that_were_hashed(cast: Cast) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2)))
    size = ledger.current_size()
    entry = ledger.append(
        "test.happened",
        by=cast.ada,
        at=at,
        about=ledger.About("r", "p", "e"),
        data={"z": 1, "a": "ä"},
    )
    stored = LedgerEntry.objects.get(pk=entry.pk)
    body = bytes(stored.body)
    assert json.loads(body) == {
        "sequence": size,
        "at": "2026-02-03T02:05:06.000007Z",
        "type": "test.happened",
        "actor": "ada",
        "data": {"a": "ä", "z": 1},
    }
    assert body == canonical(json.loads(body))
    assert stored.leaf_hash == hashlib.sha256(b"\x00" + body).hexdigest()
    assert (stored.sequence, stored.actor, stored.at) == (size, cast.ada, at)
    assert (stored.repository, stored.package, stored.environment) == ("r", "p", "e")


def test_the_head_is_the_root_of_all_entries(site: Site) -> None:
    for number in range(20):
        add(site.cast.ada, number)
    bodies = [bytes(entry.body) for entry in LedgerEntry.objects.order_by("sequence")]
    head = LedgerHead.objects.get()
    assert head.size == len(bodies) == ledger.current_size()
    assert head.root == naive_root(bodies).hex()
    sequences = LedgerEntry.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == list(range(head.size))


@pytest.mark.django_db
def test_the_ledger_begins_empty() -> None:
    assert ledger.current_size() == 0
    assert ledger.lock() == 0
    assert LedgerHead.objects.get().root == EMPTY_ROOT.hex()


@pytest.mark.django_db(transaction=True)
def test_an_entry_outside_a_transaction_is_refused(site: Site) -> None:
    with nothing_changes(), pytest.raises(RuntimeError, match="in the transaction"):
        add(site.cast.ada)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_rolled_back_leaves_no_entry(site: Site) -> None:
    before = world()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        publishing.create_repository("web", by=site.cast.ada)
        assert Repository.objects.count() == 2
        raise ZeroDivisionError
    assert world() == before
    publishing.create_repository("web", by=site.cast.ada)
    assert LedgerEntry.objects.latest("sequence").sequence == len(before["promotion.LedgerEntry"])


def test_an_entry_that_json_cannot_hold_exactly_is_refused(cast: Cast) -> None:
    with nothing_changes(), pytest.raises(ValueError, match=r".+"):
        add(cast.ada, 2**60)


# ---- Reading -------------------------------------------------------------------------------------
def test_history_is_found_by_whom_of_what_type_on_what_and_when(site: Site) -> None:
    before = django_timezone.now()
    version = site.publish("1.0.0")
    site.promote(site.staging, version)
    selection.select(version.package, Query(version="1.0.0"), by=site.cast.production)

    def types(**wanted: Any) -> list[str]:
        return list(entries(**wanted).values_list("type", flat=True))

    assert types(actor="ben") == ["promotion.approved"]
    assert types(type="promotion.completed") == ["promotion.completed"]
    assert types(package="app", repository="apps", environment="staging") == [
        "promotion.completed",
        "promotion.approved",
        "promotion.requested",
    ]
    assert types(actor="ada", since=before) == ["promotion.requested", "version.published"]
    published = LedgerEntry.objects.get(type="version.published").at
    assert "version.published" not in types(until=published)
    assert "version.published" in types(since=published.astimezone(UTC))
    assert types(actor="mallory") == []
