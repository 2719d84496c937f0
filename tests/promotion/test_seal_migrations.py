"""The migrations that seal history can be taken back, as every migration can."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.db.migrations.exceptions import IrreversibleError

from pipelines import blobs
from pipelines.models import Blob, Revision
from pipelines.seals import trigger_names
from promotion.ledger.verify import SEALED
from promotion.models import LedgerEntry, Version
from tests.cast import make_site


def guards() -> set[str]:
    names = {name for model in SEALED for name in trigger_names(model._meta.db_table)}
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgenabled = 'A'")
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return names & {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
def test_a_way_back_that_would_lose_bytes_is_refused() -> None:
    """A composed bundle is its recipe, which earlier versions do not know."""
    version = make_site().publish("1.0.0", files={"a.txt": b"a", "b.txt": b"b"})
    try:
        with pytest.raises(IrreversibleError, match="restore the backup"):
            call_command("migrate", "pipelines", "0009", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)
    assert version.bundle is not None
    assert blobs.reads_true(Blob.objects.get(pk=version.bundle_id))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("app", ["promotion", "pipelines"])
def test_the_seals_can_be_taken_off_and_put_on_again_by_migrating(app: str) -> None:
    make_site().publish("1.0.0")
    sealed = [model for model in SEALED if model._meta.app_label == app]
    own = {name for model in sealed for name in trigger_names(model._meta.db_table)}
    before = guards()
    assert before & own
    try:
        call_command("migrate", app, "0001", verbosity=0)
        assert guards() & own == set()
        loose = {"promotion": Version.objects.all(), "pipelines": Revision.objects.all()}[app]
        assert loose.update(**{"promotion": {"notes": "x"}, "pipelines": {"yaml": "x"}}[app]) == 1
    finally:
        call_command("migrate", verbosity=0)
    assert guards() == before
    entry = LedgerEntry.objects.earliest("sequence")
    with pytest.raises(IntegrityError, match="is sealed"):
        LedgerEntry.objects.filter(pk=entry.pk).update(type="other")
