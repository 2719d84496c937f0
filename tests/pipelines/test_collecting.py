"""Collecting: what nothing refers to goes, and nothing that anybody refers to ever does."""

from datetime import timedelta

import pytest
from django.db import transaction

from pipelines import blobs, collecting
from pipelines.errors import BytesGone
from pipelines.models import Blob, BlobState
from tests.cast import Site
from tests.pipelines.stored import Place
from tests.pipelines.test_blobs import fresh

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("place")]

NOW = timedelta(0)
DAY = timedelta(days=1)


def state_of(blob: Blob) -> str:
    blob.refresh_from_db()
    return str(blob.state)


def test_bytes_that_nothing_refers_to_are_removed_and_their_row_stays(place: Place) -> None:
    blob = blobs.keep_bytes([fresh()])
    assert collecting.collect(grace=NOW) >= 1
    assert state_of(blob) == BlobState.REMOVED
    assert not any(name.endswith(blob.pk) for name in place.names())


def test_bytes_stay_for_the_time_of_grace() -> None:
    blob = blobs.keep_bytes([fresh()])
    collecting.collect(grace=DAY)
    assert state_of(blob) == BlobState.KEPT
    assert blobs.reads_true(blob)


def test_bytes_of_artifacts_and_versions_stay(site: Site) -> None:
    version = site.publish("1.0.0", files={"a.txt": fresh(), "b.txt": fresh()})
    collecting.collect(grace=NOW)
    for file in version.files.select_related("blob"):
        assert blobs.reads_true(file.blob)
    assert version.bundle is not None
    assert blobs.reads_true(version.bundle)


def test_bytes_that_come_in_again_after_their_removal_are_there_again() -> None:
    data = fresh()
    blob = blobs.keep_bytes([data])
    collecting.collect(grace=NOW)
    assert blobs.keep_bytes([data]) == blob
    assert state_of(blob) == BlobState.KEPT
    assert blobs.reads_true(blob)


def test_whoever_needs_condemned_bytes_takes_them_back() -> None:
    blob = blobs.keep_bytes([fresh()])
    assert collecting.condemn(grace=NOW) >= 1
    with transaction.atomic():
        blobs.hold([blob.pk])
    assert not collecting.remove(blob.pk)
    assert state_of(blob) == BlobState.KEPT
    assert blobs.reads_true(blob)


def test_bytes_that_are_gone_cannot_be_referred_to() -> None:
    blob = blobs.keep_bytes([fresh()])
    collecting.collect(grace=NOW)
    with pytest.raises(BytesGone, match=blob.pk), transaction.atomic():
        blobs.hold([blob.pk])
