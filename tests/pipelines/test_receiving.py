"""Uploads in parts: in any order, once each, whole or not at all."""

import hashlib
import io
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.utils import timezone

from pipelines import artifacts, blobs, collecting, receiving, runs, sweeping, tasks
from pipelines.errors import (
    DigestMismatch,
    Incomplete,
    InvalidFilename,
    NameTaken,
    NotFound,
    PartDiffers,
    SluiceError,
    TooLarge,
    TooManyUploads,
    TruncatedUpload,
    WrongState,
)
from pipelines.models import (
    Artifact,
    Blob,
    BlobState,
    ExecutionState,
    Run,
    Upload,
    UploadFile,
    UploadPart,
    UploadState,
)
from pipelines.receiving import Announced
from pipelines.states import move
from tests.cast import Site, external_run
from tests.parallel import outcomes
from tests.world import refused, stored_files

# Bytes are let go after the commit, so there must be commits.
pytestmark = pytest.mark.django_db(transaction=True)

PART = 1000
PLACE = artifacts.Place("build", "build", "upload")
S = UploadState


@pytest.fixture(autouse=True)
def small_parts(settings: Any) -> None:
    settings.UPLOAD_PART_BYTES = PART


@pytest.fixture
def run(site: Site) -> Run:
    return external_run(site.cast.ada, site.pipeline)


class Sender:
    """ada, who sends files in parts."""

    def __init__(self, site: Site, run: Run, name: str = "app", **files: bytes) -> None:
        self.by = site.cast.ada
        self.files = files
        self.upload = receiving.create(
            run, PLACE, name, [Announced(path, len(data)) for path, data in files.items()],
            by=self.by,
        )  # fmt: skip

    def part(self, file: int, number: int) -> bytes:
        content = list(self.files.values())[file - 1]
        return content[(number - 1) * PART : number * PART]

    def put(self, file: int, number: int, data: bytes | None = None, **more: Any) -> Any:
        data = self.part(file, number) if data is None else data
        more.setdefault("length", len(data))
        upload = Upload.objects.get(pk=self.upload.pk)
        return receiving.put_part(upload, file, number, io.BytesIO(data), by=self.by, **more)

    def put_all(self) -> "Sender":
        for nth, data in enumerate(self.files.values(), start=1):
            for number in range(1, -(-len(data) // PART) + 1):
                self.put(nth, number)
        return self

    def complete(self) -> tuple[Artifact, bool]:
        return receiving.complete(Upload.objects.get(pk=self.upload.pk), by=self.by)

    def abort(self) -> Upload:
        return receiving.abort(Upload.objects.get(pk=self.upload.pk), by=self.by)

    def release(self) -> None:
        """What a worker does once it is nudged, or the sweeper has it do."""
        tasks.release_upload(self.upload.pk)

    @property
    def state(self) -> str:
        return str(Upload.objects.values_list("state", flat=True).get(pk=self.upload.pk))


def contents(artifact: Artifact) -> dict[str, bytes]:
    found = {}
    for file in artifact.files.select_related("blob"):
        with blobs.open_blob(file.blob) as stream:
            found[file.path] = stream.read()
    return found


def there() -> set[str]:
    """The digests of the bytes that the storage has."""
    return {Path(name).name for name, _ in stored_files() if name.startswith("sha256/")}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- The way through ---------------------------------------------------------------------------
def test_parts_in_any_order_become_the_files_they_are_of(site: Site, run: Run) -> None:
    files = {
        "large": os.urandom(2500),
        "small": os.urandom(10),
        "exact": os.urandom(2000),
        "no": b"",
    }
    sender = Sender(site, run, "app", **files)
    for file, number in ((3, 2), (1, 3), (2, 1), (1, 1), (3, 1), (1, 2)):
        part, is_new = sender.put(file, number)
        assert (part.blob_id, is_new) == (sha256(sender.part(file, number)), True)
    artifact, is_new = sender.complete()
    assert is_new
    assert contents(artifact) == files
    assert (sender.state, artifact.upload) == (S.COMPLETED, sender.upload)
    assert artifact.reference == "$[stages.build.build.upload.artifacts.app]"
    by_multipart = artifacts.report_files(
        run, PLACE, "other",
        [artifacts.NamedBlob(path, blobs.keep_bytes([data])) for path, data in files.items()],
        by=site.cast.ada,
    )  # fmt: skip
    assert by_multipart.digest == artifact.digest


def test_an_artifact_of_one_file_in_parts_is_that_file(site: Site, run: Run) -> None:
    data = os.urandom(2500)
    artifact, _ = Sender(site, run, large=data).put_all().complete()
    assert artifact.bundle is not None
    assert (artifact.bundle.sha256, artifact.bundle.md5) == (
        sha256(data),
        hashlib.md5(data).hexdigest(),
    )
    assert blobs.reads_true(artifact.bundle)


def test_whether_a_file_may_run_is_kept(site: Site, run: Run) -> None:
    files = [Announced("bin/app", 3, executable=True), Announced("readme", 3)]
    upload = receiving.create(run, PLACE, "app", files, by=site.cast.ada)
    for number in (1, 2):
        receiving.put_part(upload, number, 1, io.BytesIO(b"one"), by=site.cast.ada, length=3)
    artifact, _ = receiving.complete(upload, by=site.cast.ada)
    may_run = dict(artifact.files.values_list("path", "executable"))
    assert may_run == {"bin/app": True, "readme": False}


def test_joined_parts_are_released_and_a_single_one_is_the_file(site: Site, run: Run) -> None:
    before = there()
    sender = Sender(site, run, large=os.urandom(2500), small=os.urandom(10)).put_all()
    artifact, _ = sender.complete()
    sender.release()
    assert not UploadPart.objects.exists()
    kept = {file.blob_id for file in artifact.files.all()}
    assert there() - before == kept


def test_completed_twice_it_is_one_artifact_also_after_the_end_of_the_run(
    site: Site, run: Run
) -> None:
    sender = Sender(site, run, a=b"one").put_all()
    artifact, _ = sender.complete()
    runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)
    assert sender.complete() == (artifact, False)
    assert Artifact.objects.count() == 1


def test_part_sizes_grow_where_a_file_would_need_too_many(settings: Any) -> None:
    settings.UPLOAD_PART_BYTES = 16 * 1024**2
    assert receiving.part_size_for(1) == 16 * 1024**2
    largest = 400 * 1024**3 + 1
    size = receiving.part_size_for(largest)
    assert size % 1024**2 == 0
    assert -(-largest // size) <= receiving.MOST_PARTS


# ---- The same again ----------------------------------------------------------------------------
def test_the_same_part_again_is_taken_as_sent_before(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    first, _ = sender.put(1, 1)
    files = stored_files()
    assert sender.put(1, 1) == (first, False)
    assert stored_files() == files


def test_another_part_of_the_same_number_is_refused(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    first, _ = sender.put(1, 1)
    refusal = refused(PartDiffers, lambda: sender.put(1, 1, os.urandom(1000)))
    assert refusal.extra["current"] == first.blob_id


# ---- What cannot be right ----------------------------------------------------------------------
def test_a_part_of_another_length_is_refused(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    refused(TooLarge, lambda: sender.put(1, 1, bytes(1001)))
    refused(TooLarge, lambda: sender.put(1, 2, bytes(501)))
    refused(TooLarge, lambda: sender.put(1, 1, bytes(1001), length=1000))
    refused(TruncatedUpload, lambda: sender.put(1, 1, bytes(999)))
    refused(TruncatedUpload, lambda: sender.put(1, 2, bytes(499), length=500))


def test_a_part_with_another_digest_than_announced_is_refused(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    refused(DigestMismatch, lambda: sender.put(1, 1, digests=[sha256(b"other")]))
    right = sha256(sender.part(1, 1))
    refused(DigestMismatch, lambda: sender.put(1, 1, digests=[right, sha256(b"other")]))
    assert sender.put(1, 1, digests=[right])[1]


def test_a_part_that_nobody_announced_is_not_there(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500), empty=b"")
    for file, number in ((0, 1), (3, 1), (1, 0), (1, 3), (2, 1)):
        refused(NotFound, lambda f=file, n=number: sender.put(f, n, b"x"))  # type: ignore[misc]


def test_other_bytes_than_the_file_was_announced_with_make_no_artifact(
    site: Site, run: Run
) -> None:
    data = os.urandom(1500)
    announced = [Announced("a", 1500, sha256(data)), Announced("b", 5, sha256(b"right"))]
    upload = receiving.create(run, PLACE, "app", announced, by=site.cast.ada)

    def put(file: int, number: int, content: bytes) -> None:
        body = io.BytesIO(content)
        receiving.put_part(upload, file, number, body, by=site.cast.ada, length=len(content))

    put(1, 1, data[:1000])
    put(1, 2, os.urandom(500))
    refused(DigestMismatch, lambda: put(2, 1, b"wrong"))
    put(2, 1, b"right")
    refused(DigestMismatch, lambda: receiving.complete(upload, by=site.cast.ada))
    assert Upload.objects.get().state == S.OPEN


def test_what_is_not_whole_is_not_completed_and_says_what_is_missing(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(2500), b=b"x", c=b"")
    sender.put(1, 2)
    refusal = refused(Incomplete, sender.complete)
    missing = [(each["file"], each["part"]) for each in refusal.extra["missing"]]
    assert missing == [(1, 1), (1, 3), (2, 1)]


def test_names_are_looked_at_before_anything_is_sent(site: Site, run: Run, settings: Any) -> None:
    ada = site.cast.ada
    for path in ("../x", "/etc/passwd", "a//b", "a\x00b"):
        refused(
            InvalidFilename,
            lambda p=path: receiving.create(run, PLACE, "app", [Announced(p, 1)], by=ada),  # type: ignore[misc]
        )
    Sender(site, run, "taken", a=b"x").put_all().complete()
    announced = [Announced("a", 1)]
    refused(NameTaken, lambda: receiving.create(run, PLACE, "taken", announced, by=ada))
    settings.MAX_UPLOAD_BYTES = 10
    refused(TooLarge, lambda: receiving.create(run, PLACE, "app", [Announced("a", 11)], by=ada))


def test_a_name_that_was_taken_meanwhile_leaves_the_upload_open(site: Site, run: Run) -> None:
    first, second = Sender(site, run, a=b"one").put_all(), Sender(site, run, a=b"two").put_all()
    first.complete()
    refused(NameTaken, second.complete)
    assert second.state == S.OPEN


# ---- The end -----------------------------------------------------------------------------------
def test_an_aborted_upload_leaves_no_bytes(site: Site, run: Run) -> None:
    before = there()
    sender = Sender(site, run, a=os.urandom(2500)).put_all()
    assert len(there() - before) == 3
    assert sender.abort().state == S.ABORTED
    sender.release()
    assert there() == before
    assert set(Blob.objects.filter(size__in=[1000, 500]).values_list("state", flat=True)) == {
        BlobState.REMOVED
    }


def test_bytes_that_somebody_else_wanted_meanwhile_stay(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(2500)).put_all()
    wanted = blobs.keep_bytes([sender.part(1, 2)])
    sender.abort()
    sender.release()
    assert blobs.reads_true(wanted)
    assert sha256(sender.part(1, 1)) not in there()


def test_parts_stay_while_the_upload_is_open(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(2500)).put_all()
    collecting.collect(grace=timedelta(0))
    artifact, _ = sender.complete()
    assert contents(artifact) == sender.files


def _expire(sender: Sender, site: Site, run: Run) -> None:
    _late(sender)
    sweeping.sweep()


def _end_the_run(sender: Sender, site: Site, run: Run) -> None:
    runs.finish(run, ExecutionState.FAILED, by=site.cast.ada)
    sweeping.sweep()


ENDED: dict[str, Callable[[Sender, Site, Run], object]] = {
    "aborted": lambda sender, site, run: sender.abort(),
    "completed": lambda sender, site, run: sender.complete(),
    "expired": _expire,
    "the run has ended": _end_the_run,
}


def _late(sender: Sender) -> None:
    Upload.objects.filter(pk=sender.upload.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )


@pytest.mark.parametrize("end", ENDED)
def test_what_has_ended_takes_nothing_more(end: str, site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500)).put_all()
    ENDED[end](sender, site, run)
    expected = end if end in S.values else "expired"
    assert sender.state == expected
    sender.release()
    assert not UploadPart.objects.exists()
    refused(WrongState, lambda: sender.put(1, 1))
    refused(WrongState, sender.abort)
    if end != "completed":
        refused(WrongState, sender.complete)


def test_an_upload_whose_time_is_over_is_refused_before_the_sweeper_comes(
    site: Site, run: Run
) -> None:
    sender = Sender(site, run, a=os.urandom(1500)).put_all()
    _late(sender)
    assert refused(WrongState, lambda: sender.put(1, 1)).extra["current"] == "expired"
    refused(WrongState, sender.complete)


def test_the_sweeper_leaves_open_uploads_alone(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500)).put_all()
    sweeping.sweep()
    assert contents(sender.complete()[0]) == sender.files


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("to", S)
def test_only_an_open_upload_moves(state: S, to: S, site: Site, run: Run) -> None:
    sender = Sender(site, run, a=b"one").put_all()
    made = Sender(site, run, "made", a=b"one").put_all().complete()[0]
    Upload.objects.filter(artifact=made).update(state=S.ABORTED, artifact=None)
    of: dict[str, Any] = {"artifact": made} if state == S.COMPLETED else {}
    Upload.objects.filter(pk=sender.upload.pk).update(state=state, **of)
    sender.upload.refresh_from_db()
    if state == S.OPEN and to != S.OPEN:
        of = {"artifact": made} if to == S.COMPLETED else {}
        assert move(sender.upload, to, **of).state == to
    else:
        refused(WrongState, lambda: move(sender.upload, to))


# ---- Crashes -----------------------------------------------------------------------------------
class Crash(Exception):
    """The process is gone."""


@pytest.mark.parametrize("at", ["pipelines.blobs.keep", "pipelines.artifacts.report_files"])
def test_a_crash_while_completing_leaves_it_to_be_completed(
    at: str, site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender(site, run, a=os.urandom(2500), b=os.urandom(1500), c=b"1").put_all()

    def crash(*args: Any, **kwargs: Any) -> Any:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(at, crash)
        with pytest.raises(Crash):
            sender.complete()
    assert (sender.state, Artifact.objects.count()) == (S.OPEN, 0)
    assert list(Path(site_settings.BLOB_STAGING_DIR).glob("staged-*")) == []
    collecting.collect(grace=timedelta(0))
    assert contents(sender.complete()[0]) == sender.files


def test_a_crash_after_a_file_was_joined_keeps_what_was_joined(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender(site, run, a=os.urandom(2500), b=os.urandom(1500)).put_all()
    keep, calls = blobs.keep, []

    def crash_at_the_second(staged: blobs.Staged) -> Blob:
        calls.append(staged)
        if len(calls) == 2:
            raise Crash
        return keep(staged)

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "keep", crash_at_the_second)
        with pytest.raises(Crash):
            sender.complete()
    sender.release()
    # The parts of the joined file are gone, and nothing asks for them.
    assert sha256(sender.part(1, 1)) not in there()
    assert sender.put(1, 1)[1] is False
    refused(PartDiffers, lambda: sender.put(1, 1, os.urandom(1000)))
    collecting.collect(grace=timedelta(0))
    assert contents(sender.complete()[0]) == sender.files


def test_an_expired_upload_lets_joined_files_go(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender(site, run, a=os.urandom(2500)).put_all()
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "report_files", lambda *a, **k: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            sender.complete()
    collecting.collect(grace=timedelta(0))
    assert sha256(sender.files["a"]) in there()
    _late(sender)
    receiving.expire_overdue()
    collecting.collect(grace=timedelta(0))
    assert sha256(sender.files["a"]) not in there()


def test_no_request_removes_bytes_and_a_lost_nudge_is_repeated(
    site: Site, run: Run, nobody_listens_to_the_queue: list[tuple[str, int]]
) -> None:
    before = there()
    sender = Sender(site, run, a=os.urandom(2500)).put_all()
    sent = there() - before
    sender.abort()
    assert there() == before | sent
    nudges = nobody_listens_to_the_queue
    assert (receiving.RELEASE, sender.upload.pk) in nudges
    nudges.clear()
    Upload.objects.update(ended_at=timezone.now() - timedelta(minutes=1))
    sweeping.sweep()
    assert (receiving.RELEASE, sender.upload.pk) in nudges
    sender.release()
    sender.release()
    assert there() == before
    nudges.clear()
    sweeping.sweep()
    assert (receiving.RELEASE, sender.upload.pk) not in nudges


def test_what_was_given_up_is_forgotten_after_some_days(site: Site, run: Run) -> None:
    given_up, done, open_one = (Sender(site, run, name, a=b"one").put_all() for name in "abc")
    given_up.abort()
    done.complete()
    assert receiving.forget_given_up() == 0
    Upload.objects.exclude(state=S.OPEN).update(ended_at=timezone.now() - timedelta(days=8))
    # Whatever still has parts to release comes first.
    assert receiving.forget_given_up() == 0
    given_up.release()
    tasks.collect()
    there = set(Upload.objects.values_list("pk", flat=True))
    assert there == {done.upload.pk, open_one.upload.pk}
    assert set(UploadFile.objects.values_list("upload", flat=True)) == there


# ---- How much -----------------------------------------------------------------------------------
def test_one_person_may_have_so_many_uploads_open(site: Site, run: Run, settings: Any) -> None:
    settings.OPEN_UPLOADS = 2
    first, second = Sender(site, run, "first", a=b"1"), Sender(site, run, "second", a=b"2")
    refusal = refused(TooManyUploads, lambda: Sender(site, run, "third", a=b"3"))
    assert "2 uploads open" in refusal.detail
    assert refusal.extra["open"] == [
        {"pipeline": "app", "run": run.number, "upload": each.upload.pk} for each in (first, second)
    ]
    first.abort()
    Sender(site, run, "third", a=b"3")
    _late(second)
    Sender(site, run, "fourth", a=b"4")


def test_one_person_may_have_so_many_bytes_announced(site: Site, run: Run, settings: Any) -> None:
    settings.OPEN_UPLOAD_BYTES = 2500
    refused(TooLarge, lambda: Sender(site, run, a=bytes(2501)))
    first = Sender(site, run, "first", a=bytes(1000), b=bytes(1000))
    assert (
        "2000 bytes"
        in refused(TooManyUploads, lambda: Sender(site, run, "second", a=bytes(501))).detail
    )
    Sender(site, run, "second", a=bytes(500))
    first.abort()
    Sender(site, run, "third", a=bytes(2000))


def test_what_others_have_open_is_theirs(site: Site, run: Run, settings: Any) -> None:
    settings.OPEN_UPLOADS = 1
    Sender(site, run, "first", a=b"1")
    files = [Announced("a", 1)]
    receiving.create(run, PLACE, "second", files, by=site.cast.admin)
    refused(TooManyUploads, lambda: Sender(site, run, "third", a=b"3"))


# ---- At once -----------------------------------------------------------------------------------
@pytest.mark.postgres
def test_of_many_begun_at_once_no_more_are_open_than_may_be(
    site: Site, run: Run, settings: Any
) -> None:
    settings.OPEN_UPLOADS = 3
    answers = outcomes([lambda n=n: Sender(site, run, f"a{n}", a=b"1") for n in range(10)])  # type: ignore[misc]
    assert sum(isinstance(answer, TooManyUploads) for answer in answers) == 7
    assert Upload.objects.open().count() == 3


@pytest.mark.postgres
def test_of_fifty_different_parts_at_once_one_is_taken(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    sent = [os.urandom(1000) for _ in range(50)]
    answers = outcomes([lambda data=data: sender.put(1, 1, data) for data in sent])  # type: ignore[misc]
    won = [answer for answer in answers if not isinstance(answer, SluiceError)]
    assert len(won) == 1
    assert {type(answer) for answer in answers if answer not in won} == {PartDiffers}
    assert UploadPart.objects.get().blob_id == won[0][0].blob_id


@pytest.mark.postgres
def test_of_fifty_same_parts_at_once_one_is_new(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(1500))
    answers = outcomes([lambda: sender.put(1, 1)] * 50)
    assert sorted(is_new for _, is_new in answers) == [False] * 49 + [True]


@pytest.mark.postgres
def test_parts_of_all_files_at_once_are_all_taken(site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(20_000), b=os.urandom(20_000))
    numbers = [(file, number) for file in (1, 2) for number in range(1, 21)]
    outcomes([lambda f=f, n=n: sender.put(f, n) for f, n in numbers])  # type: ignore[misc]
    assert contents(sender.complete()[0]) == sender.files


@pytest.mark.postgres
@pytest.mark.parametrize("attempt", range(5))
def test_completed_many_times_at_once_it_is_one_artifact(
    attempt: int, site: Site, run: Run
) -> None:
    sender = Sender(site, run, a=os.urandom(50_000), b=os.urandom(2500), c=b"1").put_all()
    answers = outcomes([sender.complete] * 8)
    assert {artifact for artifact, _ in answers} == {Artifact.objects.get()}
    assert sum(is_new for _, is_new in answers) == 1
    assert contents(Artifact.objects.get()) == sender.files


@pytest.mark.postgres
@pytest.mark.parametrize("attempt", range(10))
def test_completed_and_aborted_at_once_one_of_both_holds(
    attempt: int, site: Site, run: Run
) -> None:
    sender = Sender(site, run, a=os.urandom(attempt * 5000 + 1), b=os.urandom(2500)).put_all()
    made, given_up = outcomes([sender.complete, sender.abort])
    if sender.state == S.COMPLETED:
        assert isinstance(given_up, WrongState)
        assert contents(made[0]) == sender.files
    else:
        assert sender.state == S.ABORTED
        assert isinstance(made, WrongState)
        assert not Artifact.objects.exists()
    sender.release()
    assert not UploadPart.objects.exists()


@pytest.mark.postgres
@pytest.mark.parametrize("attempt", range(5))
def test_the_run_ends_while_its_upload_is_completed(attempt: int, site: Site, run: Run) -> None:
    sender = Sender(site, run, a=os.urandom(20_000)).put_all()
    made, _ = outcomes(
        [sender.complete, lambda: runs.finish(run, ExecutionState.SUCCEEDED, by=site.cast.ada)]
    )
    assert isinstance(made, WrongState) != Artifact.objects.exists()
