"""A collector is killed between condemning and removing, or in the middle of a removal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction

from pipelines import blobs, collecting
from pipelines.errors import BytesGone
from pipelines.models import Blob, BlobState
from tests.cast import Site, make_site
from tests.faults.test_collecting_races import NO_GRACE, findings

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

#: What the child does before it is killed; it kills itself, so that the moment is exact.
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
CHILD = """
import os, signal, sys
from datetime import timedelta
import django
django.setup()
from django.conf import settings
from django.db import connections
settings.DATABASES["default"]["NAME"] = sys.argv[1]
connections["default"].settings_dict["NAME"] = sys.argv[1]
from pipelines import blobs, collecting
{before}
collecting.collect(grace=timedelta(0))
"""
#: By the moment: what is changed of the collector so that it dies there.
MOMENTS = {
    "between condemning and removing": f"collecting.remove = lambda pk: {DIE}",
    "before the bytes are removed": f"blobs.erase = lambda blob: {DIE}",
    "after the bytes are removed and before the row says so": (
        f"erase = blobs.erase\nblobs.erase = lambda blob: (erase(blob), {DIE})"
    ),
}


def die(moment: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(before=MOMENTS[moment]),
         str(connection.settings_dict["NAME"])],
        cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_next_run_finishes_what_a_killed_collector_began(moment: str) -> None:
    site: Site = make_site()
    version = site.publish("1.0.0", files={"a.txt": b"kept", "b.txt": b"kept too"})
    forgotten = [blobs.keep_bytes([b"forgotten %d" % number]) for number in range(3)]
    die(moment)
    assert Blob.objects.filter(state=BlobState.CONDEMNED).count() == 3
    assert findings() == []
    assert collecting.collect(grace=NO_GRACE) == 3
    states = Blob.objects.filter(pk__in=[blob.pk for blob in forgotten])
    assert set(states.values_list("state", flat=True)) == {BlobState.REMOVED}
    top = Path(settings.DATA_DIR) / "blobs"
    assert not any((top / blob.storage_name).exists() for blob in forgotten)
    assert version.bundle is not None
    assert blobs.reads_true(version.bundle)
    assert findings() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_killed_collector_left_is_taken_back_only_where_it_is_there(moment: str) -> None:
    blob = blobs.keep_bytes([b"condemned, and wanted after all"])
    die(moment)
    if moment.startswith("after"):
        with pytest.raises(BytesGone), transaction.atomic():
            blobs.hold([blob.pk])
        blobs.keep_bytes([b"condemned, and wanted after all"])
    else:
        with transaction.atomic():
            blobs.hold([blob.pk])
    blob.refresh_from_db()
    assert blob.state == BlobState.KEPT
    assert blobs.reads_true(blob)
    assert findings() == []
