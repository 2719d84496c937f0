"""`manage.py verify`: 0 where all promises hold, 1 naming what is broken, 2 if it cannot tell."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Max
from django.test import override_settings
from django.utils import timezone

from accounts.models import Token, User
from pipelines.canonical import canonical, digest
from pipelines.models import Blob, ExecutionState, Job, Revision
from pipelines.seals import trigger_names
from promotion import promoting
from promotion.ledger.merkle import leaf_hash
from promotion.ledger.verify import CHECKS
from promotion.models import (
    Approval,
    CheckedSignature,
    Environment,
    Evidence,
    EvidenceKey,
    LedgerEntry,
    LedgerHead,
    Placement,
    PolicyRevision,
    Promotion,
    Repository,
    Selection,
    Version,
    VersionFile,
)
from tests.cast import Site
from tests.promotion.verifying import broken, verify
from tests.sealed import unsealed

ALL = list(CHECKS)
LEDGER, ROWS, BYTES, MANIFESTS, TEXTS, APPROVALS, SIGNED, PLACED, AT_TARGETS, LEASES, GUARDS = ALL


def test_a_site_on_which_everything_has_happened_holds(full: Site) -> None:
    status, text = verify("--scrub")
    assert status == 0
    assert [line.split("  ")[0] for line in text.splitlines()] == ["holds"] * len(ALL)
    assert broken() == {}


# ---- The ledger tampered with --------------------------------------------------------------------
def body_of(sequence: int) -> bytes:
    return bytes(LedgerEntry.objects.get(pk=sequence).body)


def put_body(sequence: int, body: bytes, *, hashed: bool = False) -> None:
    changes = {"leaf_hash": leaf_hash(body).hex()} if hashed else {}
    LedgerEntry.objects.filter(pk=sequence).update(body=body, **changes)


def edited(body: bytes) -> bytes:
    return body.replace(b'"actor":"ada"', b'"actor":"eve"')


def sequence_of(type_: str) -> int:
    return (
        LedgerEntry.objects.filter(type=type_)
        .order_by("sequence")
        .values_list("sequence", flat=True)[0]
    )


def test_an_edited_entry_is_named(full: Site) -> None:
    at = sequence_of("version.published")
    with unsealed():
        put_body(at, edited(body_of(at)))
    assert f"entry {at} was changed: its bytes do not have its leaf hash" in broken()[LEDGER]


def test_an_edited_entry_with_a_fitting_hash_does_not_fit_the_root(full: Site) -> None:
    at = sequence_of("version.published")
    with unsealed():
        put_body(at, edited(body_of(at)), hashed=True)
    root = LedgerHead.objects.get().root
    assert any(each.startswith(f"the head's root is {root}") for each in broken()[LEDGER])


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]", b'{"sequence":1e400}', b"\xff"])
def test_an_entry_overwritten_with_anything_is_broken_and_not_unknown(
    full: Site, body: bytes
) -> None:
    at = sequence_of("version.published")
    with unsealed():
        put_body(at, body)
    assert any(f"entry {at} " in finding for finding in broken()[LEDGER])


def test_an_entry_with_the_same_meaning_in_other_bytes_is_named(full: Site) -> None:
    at = sequence_of("promotion.approved")
    with unsealed():
        put_body(at, json.dumps(json.loads(body_of(at))).encode(), hashed=True)
    assert f"entry {at} is not in canonical form" in broken()[LEDGER]


def test_a_deleted_entry_is_named(full: Site) -> None:
    at = sequence_of("promotion.approved")
    with unsealed():
        LedgerEntry.objects.filter(pk=at).delete()
    assert broken()[LEDGER] == [f"entry {at} is missing; the next one is {at + 1}"]


def test_entries_cut_off_at_the_end_are_counted(full: Site) -> None:
    size = LedgerEntry.objects.count()
    with unsealed():
        LedgerEntry.objects.filter(sequence__gte=size - 2).delete()
    assert broken()[LEDGER] == [f"the head counts {size} entries, there are {size - 2}"]


def test_a_ledger_cut_off_together_with_its_head_does_not_fit_the_rows(full: Site) -> None:
    with unsealed():
        LedgerEntry.objects.all().delete()
        LedgerHead.objects.all().delete()
    found = broken()
    assert LEDGER not in found
    assert any("is not in the ledger" in finding for finding in found[ROWS])


def test_two_entries_that_changed_places_are_named(full: Site) -> None:
    one, other = sequence_of("version.published"), sequence_of("promotion.approved")
    bodies = body_of(one), body_of(other)
    with unsealed():
        put_body(one, bodies[1], hashed=True)
        put_body(other, bodies[0], hashed=True)
    found = broken()[LEDGER]
    for at in (one, other):
        assert f"entry {at} says of itself that it is another one" in found


# ---- The rows tampered with ----------------------------------------------------------------------
def edit_manifest() -> str:
    version = Version.objects.get(name="1.2.0")
    Version.objects.filter(pk=version.pk).update(manifest=version.manifest + " ")
    return "version apps/app 1.2.0: its manifest does not have its digest"


def edit_manifest_and_digest() -> str:
    manifest = canonical({"files": [], "kind": "files"})
    Version.objects.filter(name="1.2.0").update(
        manifest=manifest.decode(), manifest_digest=digest(manifest)
    )
    return f"version apps app 1.2.0: the ledger says sha256:{'?' * 64}"


def edit_image() -> str:
    evil = f"registry.example.com/evil@sha256:{'e' * 64}"
    Version.objects.exclude(image="").update(image=evil)
    return "version images/app 1.0.0: its image is not that of its manifest"


def edit_file() -> str:
    VersionFile.objects.filter(version__name="1.2.0").update(path="other.txt")
    return "version apps/app 1.2.0: its files are not those of its manifest"


def make_file_executable() -> str:
    VersionFile.objects.filter(version__name="1.2.0").update(executable=True)
    return "version apps/app 1.2.0: its files are not those of its manifest"


def take_recall_back() -> str:
    Version.objects.filter(name="1.1.0").update(state="published")
    return "recall apps app 1.1.0 is in the ledger and has no row"


def insert_placement() -> str:
    now = timezone.now()
    version = Version.objects.get(name="1.2.0")
    current = Placement.objects.current().filter(
        environment__name="production", package=version.package
    )
    promotion = current.get().promotion
    current.update(until=now)
    Placement.objects.create(
        package=version.package,
        environment=Environment.objects.get(name="production"),
        version=version,
        promotion=promotion,
        since=now,
        recorded_at=now,
    )
    return f"placement apps app 1.2.0 production {promotion.pk} "


def end_placement() -> str:
    Placement.objects.current().filter(environment__name="production").update(until=timezone.now())
    return "current placement production apps app is in the ledger and has no row"


def delete_approval() -> str:
    first = Approval.objects.filter(promotion__state="completed").order_by("pk")[0]
    Approval.objects.filter(pk=first.pk).delete()
    return f"promotion {first.promotion_id} was carried out with 0 of 1 approvals"


def approve_in_anothers_name() -> str:
    first = Approval.objects.filter(promotion__state="completed").order_by("pk")[0]
    Approval.objects.filter(pk=first.pk).update(by=User.objects.get(username="cleo"))
    return f"approval {first.promotion_id} cleo approve {first.plan_digest} "


def revive_promotion() -> str:
    rejected = Promotion.objects.get(state="rejected")
    Promotion.objects.filter(pk=rejected.pk).update(state="completed")
    return f"promotion {rejected.pk}: the ledger says"


def edit_plan() -> str:
    first = Promotion.objects.filter(state="completed").order_by("pk")[0]
    Promotion.objects.filter(pk=first.pk).update(plan=first.plan.replace("app", "web"))
    return f"promotion {first.pk}: its plan does not have its digest"


def lower_policy() -> str:
    policy = PolicyRevision.objects.get(environment__name="production", number=2)
    lowered = policy.rules.replace('"approvals":2', '"approvals":0')
    assert lowered != policy.rules
    PolicyRevision.objects.filter(pk=policy.pk).update(rules=lowered)
    return "policy production policy 2: its rules do not have their digest"


def edit_evidence() -> str:
    evidence = Evidence.objects.get(kind="result")
    Evidence.objects.filter(pk=evidence.pk).update(payload=evidence.payload.replace("10", "11"))
    return f"evidence {evidence.pk}: its payload does not have its digest"


def pass_what_failed() -> str:
    evidence = Evidence.objects.get(kind="result")
    Evidence.objects.filter(pk=evidence.pk).update(result="failed")
    return f"evidence {evidence.pk}: its columns do not say what its payload says"


def swap_evidence_key() -> str:
    """The row of a trusted key made to hold another one: of the swapper's own."""
    key = EvidenceKey.objects.get(name="ci-tests")
    other = EvidenceKey.objects.get(name="sluice")
    EvidenceKey.objects.filter(pk=key.pk).update(public_key=other.public_key)
    return "evidence key ci-tests: it does not have its fingerprint"


def sign_in_anothers_name() -> str:
    claimed = Evidence.objects.get(kind="result")
    key = EvidenceKey.objects.get(name="ci-tests")
    CheckedSignature.objects.create(evidence=claimed, key=key, checked_at=timezone.now())
    return f"evidence {claimed.pk} is not signed by the key ci-tests"


def trust_a_key_again() -> str:
    EvidenceKey.objects.filter(name="old").update(revoked_at=None, revoked_reason="")
    return "evidence key old: the ledger says"


def edit_definition() -> str:
    Revision.objects.update(yaml="stages: {}")
    return "revision app revision 1: its text does not have its digest"


def edit_receipt() -> str:
    picked = Selection.objects.order_by("pk")[0]
    Selection.objects.filter(pk=picked.pk).update(
        receipt=picked.receipt.replace('"by":"production"', '"by":"mallory"')
    )
    return f"selection {picked.pk}: the ledger says"


def delete_selection() -> str:
    last = Selection.objects.latest("pk")
    Selection.objects.filter(pk=last.pk).delete()
    return f"selection {last.pk} is in the ledger and has no row"


def insert_repository() -> str:
    Repository.objects.create(
        name="shadow", created_by=User.objects.get(username="ada"), created_at=timezone.now()
    )
    return "repository shadow has a row and is not in the ledger"


def reorder_environments() -> str:
    Environment.objects.filter(name="staging").update(rank=9)
    return "environment staging: the ledger says 1, the row 9"


def keep_token_in_clear() -> str:
    token = Token.objects.get()
    Token.objects.filter(pk=token.pk).update(digest="in clear")
    return f"the token {token.token_key} is not stored as a SHA-512"


def put_another_policy_in_force() -> str:
    other = Environment.objects.get(name="staging").policy
    Environment.objects.filter(name="production").update(policy=other)
    return "current policy of environment production is in the ledger and has no row"


def request_in_anothers_name() -> str:
    first = Promotion.objects.filter(state="completed").order_by("pk")[0]
    Promotion.objects.filter(pk=first.pk).update(requested_by=User.objects.get(username="ben"))
    return f"request of promotion {first.pk}: the ledger says"


def publish_in_anothers_name() -> str:
    Version.objects.filter(name="1.2.0").update(published_by=User.objects.get(username="ben"))
    return "publisher of version apps app 1.2.0: the ledger says"


def reword_approval() -> str:
    first = Approval.objects.order_by("pk")[0]
    Approval.objects.filter(pk=first.pk).update(comment="I never looked.")
    return f"approval {first.promotion_id} {first.by.username} {first.decision} "


def predate_placement() -> str:
    first = Placement.objects.order_by("pk")[0]
    Placement.objects.filter(pk=first.pk).update(since=first.since - timedelta(days=30))
    return f"placement apps app {first.version.name} {first.environment.name} "


TAMPERINGS: list[tuple[Callable[[], str], str]] = [
    (edit_manifest, MANIFESTS),
    (edit_manifest_and_digest, ROWS),
    (edit_image, MANIFESTS),
    (edit_file, MANIFESTS),
    (make_file_executable, MANIFESTS),
    (take_recall_back, ROWS),
    (insert_placement, ROWS),
    (end_placement, PLACED),
    (delete_approval, APPROVALS),
    (put_another_policy_in_force, ROWS),
    (request_in_anothers_name, ROWS),
    (publish_in_anothers_name, ROWS),
    (reword_approval, ROWS),
    (predate_placement, ROWS),
    (approve_in_anothers_name, ROWS),
    (revive_promotion, ROWS),
    (edit_plan, APPROVALS),
    (lower_policy, TEXTS),
    (edit_evidence, TEXTS),
    (pass_what_failed, TEXTS),
    (swap_evidence_key, TEXTS),
    (sign_in_anothers_name, TEXTS),
    (trust_a_key_again, ROWS),
    (edit_definition, TEXTS),
    (edit_receipt, ROWS),
    (delete_selection, ROWS),
    (insert_repository, ROWS),
    (reorder_environments, ROWS),
    (keep_token_in_clear, GUARDS),
]


@pytest.mark.parametrize(
    ("tamper", "promise"), TAMPERINGS, ids=[each.__name__ for each, _ in TAMPERINGS]
)
def test_what_was_tampered_with_is_named(
    full: Site, tamper: Callable[[], str], promise: str
) -> None:
    with unsealed():
        expected = tamper().split("?")[0]
    found = broken()
    assert any(expected in finding for finding in found[promise]), found
    assert LEDGER not in found


def test_a_version_that_holds_nothing_is_named(full: Site) -> None:
    with unsealed():
        VersionFile.objects.filter(version__name="1.2.0").delete()
    assert "version apps/app 1.2.0 has neither a file nor an image" in broken()[BYTES]


# ---- Bytes ---------------------------------------------------------------------------------------
@pytest.fixture
def blob(full: Site) -> Blob:
    """The blob of one file. A test gives its bytes back: others have kept the same ones."""
    return VersionFile.objects.select_related("blob").get(version__name="1.2.0").blob


def file_of(blob: Blob) -> Path:
    return Path(settings.DATA_DIR) / "blobs" / blob.storage_name


def test_bytes_that_are_gone_are_named(blob: Blob) -> None:
    file = file_of(blob)
    data = file.read_bytes()
    file.unlink()
    try:
        (finding,) = broken()[BYTES]
    finally:
        file.write_bytes(data)
    assert finding == f"blob {blob.sha256} is missing or does not have {blob.size} bytes"
    assert broken("--scrub") == {}


def test_altered_bytes_of_the_same_length_are_found_by_reading_them(blob: Blob) -> None:
    file = file_of(blob)
    data = file.read_bytes()
    file.write_bytes(data[::-1])
    try:
        assert broken() == {}
        (finding,) = broken("--scrub")[BYTES]
    finally:
        file.write_bytes(data)
    assert finding == f"blob {blob.sha256} reads as other bytes"


# ---- Guards --------------------------------------------------------------------------------------
def guards() -> list[str]:
    table = LedgerEntry._meta.db_table
    names = trigger_names(table)
    return list(names if connection.vendor == "postgresql" else names[:2])


def drop(name: str) -> None:
    table = LedgerEntry._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(f'DROP TRIGGER "{name}" ON "{table}"')
        else:
            cursor.execute(f'DROP TRIGGER "{name}"')


@pytest.mark.parametrize("number", range(2))
def test_a_guard_that_was_dropped_is_named(full: Site, number: int) -> None:
    name = guards()[number]
    drop(name)
    assert broken() == {GUARDS: [f"the guard {name} is missing or disabled"]}


def test_an_entry_filed_under_another_time_is_named(full: Site) -> None:
    at = sequence_of("promotion.approved")
    with unsealed():
        LedgerEntry.objects.filter(pk=at).update(at=timezone.now() - timedelta(days=30))
    assert broken()[LEDGER] == [f"entry {at} says of itself that it is another one"]


def test_a_guard_that_was_made_harmless_is_named(full: Site) -> None:
    table, name = LedgerEntry._meta.db_table, guards()[0]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(
                f'CREATE OR REPLACE FUNCTION "{name}"() RETURNS trigger LANGUAGE plpgsql '
                "AS $$BEGIN RETURN NEW; END$$"
            )
        else:
            cursor.execute(f'DROP TRIGGER "{name}"')
            cursor.execute(
                f'CREATE TRIGGER "{name}" BEFORE UPDATE ON "{table}" BEGIN SELECT 1; END'
            )
    assert f"the guard {name} is missing or disabled" in broken()[GUARDS]


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["DISABLE TRIGGER", "ENABLE TRIGGER", "ENABLE REPLICA TRIGGER"])
def test_a_guard_that_does_not_always_fire_is_named(full: Site, how: str) -> None:
    name = guards()[2]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f'ALTER TABLE "{LedgerEntry._meta.db_table}" {how} "{name}"')
    assert broken() == {GUARDS: [f"the guard {name} is missing or disabled"]}


# ---- Leases --------------------------------------------------------------------------------------
def test_what_runs_long_past_its_lease_is_named(full: Site) -> None:
    long_ago = timezone.now() - timedelta(minutes=6)
    promotion = Promotion.objects.get(state="requested")
    promoting.approve(promotion, by=full.cast.ben, plan=promotion.plan_digest)
    Promotion.objects.filter(pk=promotion.pk).update(state="executing", lease_until=long_ago)
    run = full.pipeline.runs.order_by("pk")[0]
    job = Job.objects.create(
        run=run,
        stage="s",
        stage_name="s",
        stage_position=0,
        key="j",
        position=0,
        name="j",
        timeout_minutes=1,
        state=ExecutionState.RUNNING,
        lease_until=long_ago,
    )
    found = broken()
    assert found == {
        LEASES: [
            f"job {job.pk} is running past its lease of {long_ago}",
            f"promotion {promotion.pk} is executing past its lease of {long_ago}",
        ]
    }


# ---- Unknown -------------------------------------------------------------------------------------
def test_bytes_behind_a_storage_that_cannot_be_loaded_are_neither_there_nor_gone(
    full: Site,
) -> None:
    """As on a host that lacks the package of the storage that its settings name."""
    elsewhere = {**settings.STORAGES, "blobs": {"BACKEND": "package_not_installed.Storage"}}
    with override_settings(STORAGES=elsewhere):
        status, text = verify()
        results = json.loads(verify("--json")[1])
    assert status == 2
    assert f"could not check  {BYTES}: InvalidStorageError" in text
    assert [each["promise"] for each in results if each["could_not"]] == [BYTES]
    assert all(each["holds"] for each in results if each["promise"] != BYTES)


def test_what_is_broken_outweighs_what_cannot_be_checked(full: Site) -> None:
    elsewhere = {**settings.STORAGES, "blobs": {"BACKEND": "package_not_installed.Storage"}}
    with unsealed():
        last = LedgerEntry.objects.aggregate(last=Max("sequence"))["last"]
        LedgerEntry.objects.filter(pk=last).delete()
    with override_settings(STORAGES=elsewhere):
        status, text = verify()
    assert status == 1
    assert "could not check" in text
    assert "BROKEN" in text
