"""Uploads in parts: begun, sent part by part in any order, completed. The only writer of uploads.

Each part is a blob of its own, durable when it is answered, so a sender who was cut off asks what
is there and sends the rest. Completing joins the parts of a file into one blob in a single pass
that hashes as it goes; a file of one part is that part's blob. Joined files are noted one by one:
a crash in the middle loses no more than the file that was being joined.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import User
from pipelines import artifacts, blobs, collecting, rules
from pipelines.artifacts import NamedBlob, Place
from pipelines.errors import (
    BytesGone,
    DigestMismatch,
    Incomplete,
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
    Run,
    Upload,
    UploadFile,
    UploadPart,
    UploadState,
)
from pipelines.queue import nudge
from pipelines.states import move

RELEASE = "pipelines.release_upload"

MOST_PARTS = 10_000
#: Of all files of one upload: each part that is missing is named whenever somebody asks.
MOST_PARTS_IN_ALL = 40_000
MIB = 1024**2
SHOWN_MISSING = 20
SHOWN_OPEN = 20
#: What was given up can be asked for so long, so that a sender who comes late learns why.
GIVEN_UP_STAYS = timedelta(days=7)
#: Parts released, and uploads forgotten, at a time.
BATCH = 500
MOST_FORGOTTEN = 1000


@dataclass(frozen=True, slots=True)
class Announced:
    """What a sender says beforehand of one file. `sha256` in hex; empty: not known."""

    path: str
    size: int
    sha256: str = ""
    executable: bool = False


# ---- Begin -------------------------------------------------------------------------------------
def create(run: Run, place: Place, name: str, files: Sequence[Announced], *, by: User) -> Upload:
    """Begin an upload of `files` that becomes the artifact `name`."""
    artifacts.check_report(run, place, name, [file.path for file in files], by=by)
    for file in files:
        if file.size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(
                f"“{file.path}” has {file.size} bytes; a file may have at most "
                f"{settings.MAX_UPLOAD_BYTES} (SLUICE_MAX_UPLOAD_BYTES)."
            )
    part_size = part_size_for(max(file.size for file in files))
    _require_few_parts(files, part_size)
    now = timezone.now()
    with transaction.atomic():
        _require_room(by, sum(file.size for file in files), now)
        upload = Upload.objects.create(
            run=run,
            stage=place.stage,
            job=place.job,
            step=place.step,
            name=name,
            part_size=part_size,
            created_by=by,
            created_at=now,
            expires_at=now + settings.UPLOAD_LIFETIME,
        )
        UploadFile.objects.bulk_create(
            UploadFile(
                upload=upload,
                number=number,
                path=file.path,
                size=file.size,
                sha256=file.sha256,
                executable=file.executable,
            )
            for number, file in enumerate(files, start=1)
        )
    return upload


def part_size_for(largest: int) -> int:
    """The size of parts, in bytes, so that the largest file needs no more than may be."""
    usual: int = settings.UPLOAD_PART_BYTES
    needed = -(-largest // MOST_PARTS)
    return usual if needed <= usual else -(-needed // MIB) * MIB


def _require_few_parts(files: Iterable[Announced], part_size: int) -> None:
    count = sum(-(-file.size // part_size) for file in files)
    if count > MOST_PARTS_IN_ALL:
        raise TooLarge(
            f"These files would come in {count} parts of {part_size} bytes; an upload may have "
            f"{MOST_PARTS_IN_ALL}. Send them as several artifacts, or have an operator make the "
            "parts larger (SLUICE_UPLOAD_PART_BYTES)."
        )


def _require_room(by: User, announced: int, now: datetime) -> None:
    """Refuse more than one person may have open. To be called in the transaction that begins it."""
    if announced > settings.OPEN_UPLOAD_BYTES:
        raise TooLarge(
            f"These files have {announced} bytes; what one person has open may have at most "
            f"{settings.OPEN_UPLOAD_BYTES} (SLUICE_OPEN_UPLOAD_BYTES). Send them as several "
            "artifacts, one after the other."
        )
    # One after the other, so that two that are begun at once do not both find the last place.
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    mine = Upload.objects.open().filter(created_by=by, expires_at__gt=now)
    files = UploadFile.objects.filter(upload__in=mine)
    count, held = mine.count(), files.aggregate(size=Sum("size"))["size"] or 0
    if count < settings.OPEN_UPLOADS and held + announced <= settings.OPEN_UPLOAD_BYTES:
        return
    full = (
        f"{count} uploads open, and may have {settings.OPEN_UPLOADS} (SLUICE_OPEN_UPLOADS)"
        if count >= settings.OPEN_UPLOADS
        else f"uploads of {held} bytes open; with these {announced} it would be more than "
        f"{settings.OPEN_UPLOAD_BYTES} (SLUICE_OPEN_UPLOAD_BYTES)"
    )
    oldest = mine.select_related("run__pipeline").order_by("pk")[:SHOWN_OPEN]
    raise TooManyUploads(
        f"{by.username} has {full}. Complete or abort one of them, or wait until they expire.",
        open=[
            {"pipeline": each.run.pipeline.slug, "run": each.run.number, "upload": each.pk}
            for each in oldest
        ],
    )


# ---- Parts -------------------------------------------------------------------------------------
def put_part(
    upload: Upload,
    file_number: int,
    number: int,
    body: blobs.Readable,
    *,
    by: User,
    length: int,
    digests: Collection[str] = (),
) -> tuple[UploadPart, bool]:
    """Keep one part, and answer whether it is new; it is durable then.

    `length` is how long `body` was announced to be, `digests` are the SHA-256 in hex that were
    announced of it. The same part again is taken as sent before.
    """
    artifacts.require_reportable(upload.run, by)
    _require_open(upload)
    file = _file(upload, file_number, number)
    expected = file.length_of(number, upload.part_size)
    _check_length(file, number, expected, length)
    if file.part_count(upload.part_size) == 1 and file.sha256:
        digests = {*digests, file.sha256}
    with blobs.stage() as staged:
        while chunk := body.read(blobs.CHUNK):
            if staged.size + len(chunk) > expected:
                _check_length(file, number, expected, staged.size + len(chunk))
            staged.write(chunk)
        _check_length(file, number, expected, staged.size)
        if any(announced != staged.sha256 for announced in digests):
            raise DigestMismatch(
                f"Part {number} of “{file.path}” has another SHA-256 than was announced: "
                f"{staged.sha256}. Nothing was kept; send it again."
            )
        if known := file.parts.filter(number=number).first():
            return _same(known, staged.sha256), False
        blob = blobs.keep(staged)
    return _note(upload, file, number, blob)


def _note(upload: Upload, file: UploadFile, number: int, blob: Blob) -> tuple[UploadPart, bool]:
    with transaction.atomic():
        # Bytes before the upload, everywhere: then no two wait for each other.
        blobs.hold([blob.pk])
        # One after the other, so that of two parts of the same number one is there for the other.
        _lock_open(upload)
        if known := file.parts.filter(number=number).first():
            return _same(known, blob.pk), False
        held_at = Blob.objects.values_list("kept_at", flat=True).get(pk=blob.pk)
        part = UploadPart.objects.create(file=file, number=number, blob=blob, held_at=held_at)
    return part, True


def _same(known: UploadPart, sha256: str) -> UploadPart:
    if known.blob_id != sha256:
        raise PartDiffers(
            f"Part {known.number} of “{known.file.path}” is there with other bytes "
            f"({known.blob_id}). If the file has changed, abort this upload and begin another.",
            current=known.blob_id,
        )
    return known


def _file(upload: Upload, file_number: int, number: int) -> UploadFile:
    file = upload.files.filter(number=file_number).first()
    if file is None:
        raise NotFound(f"This upload has no file {file_number}.")
    if not 1 <= number <= file.part_count(upload.part_size):
        raise NotFound(
            f"“{file.path}” comes in {file.part_count(upload.part_size)} parts of "
            f"{upload.part_size} bytes; there is no part {number}."
        )
    return file


def _check_length(file: UploadFile, number: int, expected: int, length: int) -> None:
    said = f"Part {number} of “{file.path}” has {expected} bytes"
    if length > expected:
        raise TooLarge(f"{said}; more were sent. Nothing was kept.")
    if length < expected:
        raise TruncatedUpload(f"{said}, not {length}. Nothing was kept; send it again.")


# ---- The end -----------------------------------------------------------------------------------
def complete(upload: Upload, *, by: User) -> tuple[Artifact, bool]:
    """Make the artifact of an upload that is whole, and answer whether this call made it.

    Repeated, it answers the same artifact. What is refused leaves the upload as it was, but for
    files that were joined on the way.
    """
    rules.require(by, "run.report")
    try:
        if upload.state != UploadState.COMPLETED:
            return _complete(upload, by), True
    except SluiceError:
        upload.refresh_from_db()
        if upload.state == UploadState.OPEN:
            raise
        # Two who complete it at once: one makes the artifact, and it is the other's as well. Where
        # it was given up instead, that is the reason, whatever was found missing first.
        if upload.state != UploadState.COMPLETED:
            _require_open(upload)
    assert upload.artifact is not None, "a constraint"
    return upload.artifact, False


def _complete(upload: Upload, by: User) -> Artifact:
    _require_open(upload)
    files = list(upload.files.select_related("blob").prefetch_related("parts__blob"))
    place = Place(upload.stage, upload.job, upload.step)
    artifacts.check_report(upload.run, place, upload.name, [file.path for file in files], by=by)
    _require_whole(upload, files)
    kept = [NamedBlob(file.path, _joined(upload, file), file.executable) for file in files]

    def then(artifact: Artifact) -> None:
        _end(upload, UploadState.COMPLETED, artifact=artifact)

    return artifacts.report_files(upload.run, place, upload.name, kept, by=by, then=then)


def abort(upload: Upload, *, by: User) -> Upload:
    """Give an upload up, and remove what came in of it."""
    rules.require(by, "run.report")
    with transaction.atomic():
        return _end(upload, UploadState.ABORTED)


def expire_overdue() -> None:
    """Give up the uploads whose time is over or whose run has ended."""
    for upload in Upload.objects.overdue(timezone.now()):
        # One that was completed in this very moment stays so.
        with suppress(WrongState), transaction.atomic():
            _end(upload, UploadState.EXPIRED)


def _end(upload: Upload, to: UploadState, **changes: Any) -> Upload:
    """To be called in a transaction: after it, a worker releases what came in. There may be
    thousands of parts, each to be removed from a bucket, and no request is to wait for that."""
    move(upload, to, ended_at=timezone.now(), **changes)
    nudge(RELEASE, upload.pk)
    return upload


def release(upload_id: int) -> int:
    """Remove the bytes of parts that are no longer needed; how many blobs that were.

    The parts of an upload that has ended lose their rows as well, and until then they are the
    to-do list. Those of an open one stay, to be compared with what is sent again.
    """
    upload = Upload.objects.filter(pk=upload_id).first()
    if upload is None:
        return 0
    parts = UploadPart.objects.filter(file__upload=upload).order_by("pk")
    if upload.state == UploadState.OPEN:
        # Those whose bytes went at the last call have other rows by now.
        joined = parts.filter(
            file__blob__isnull=False, blob__state=BlobState.KEPT, blob__kept_at=F("held_at")
        )
        return collecting.release(list(joined.values_list("blob_id", "held_at")))
    removed = 0
    while batch := list(parts.values_list("pk", "blob_id", "held_at")[:BATCH]):
        removed += collecting.release((sha256, held_at) for _, sha256, held_at in batch)
        UploadPart.objects.filter(pk__in=[pk for pk, _, _ in batch]).delete()
    return removed


def release_ended() -> None:
    """Have a worker release what still lies there of uploads that ended a while ago."""
    late = timezone.now() - settings.SWEEP_EVERY
    ended = UploadPart.objects.filter(file__upload__ended_at__lt=late)
    for pk in ended.values_list("file__upload_id", flat=True).distinct():
        nudge(RELEASE, pk)


def forget_given_up() -> int:
    """Remove the rows of uploads that were given up a good while ago; how many uploads."""
    ended = Upload.objects.filter(
        state__in=[UploadState.ABORTED, UploadState.EXPIRED],
        ended_at__lt=timezone.now() - GIVEN_UP_STAYS,
    ).exclude(files__parts__isnull=False)
    forgotten = 0
    for pk in list(ended.order_by("pk").values_list("pk", flat=True)[:MOST_FORGOTTEN]):
        with transaction.atomic():
            UploadFile.objects.filter(upload=pk).delete()
            forgotten += Upload.objects.filter(pk=pk).delete()[0]
    return forgotten


# ---- Join --------------------------------------------------------------------------------------
def _require_whole(upload: Upload, files: Iterable[UploadFile]) -> None:
    missing = [
        {"file": file.number, "part": number, "path": file.path}
        for file in files
        for number in file.missing(upload.part_size)
    ]
    if missing:
        first = missing[0]
        raise Incomplete(
            f"{len(missing)} parts are missing, the first is part {first['part']} of "
            f"“{first['path']}”. Send them, then complete it.",
            missing=missing[:SHOWN_MISSING],
        )


def _joined(upload: Upload, file: UploadFile) -> Blob:
    if file.blob is not None:
        return file.blob
    parts = list(file.parts.all())
    if len(parts) == 1:
        # Its length and digest were checked when it came in.
        return parts[0].blob
    try:
        with blobs.stage() as staged:
            for part in parts:
                with blobs.open_blob(part.blob) as content:
                    while chunk := content.read(blobs.CHUNK):
                        staged.write(chunk)
            _check_joined(file, staged)
            blob = blobs.keep(staged)
    except FileNotFoundError as error:
        return _joined_meanwhile(upload, file, error)
    with transaction.atomic():
        blobs.hold([blob.pk])
        _lock_open(upload)
        UploadFile.objects.filter(pk=file.pk).update(blob=blob)
        nudge(RELEASE, upload.pk)
    return blob


def _joined_meanwhile(upload: Upload, file: UploadFile, error: FileNotFoundError) -> Blob:
    """Parts vanish under whoever joins them when somebody else has joined them, or ended it all."""
    file.refresh_from_db()
    if file.blob is not None:
        return file.blob
    upload.refresh_from_db()
    _require_open(upload)
    raise BytesGone(
        f"Parts of “{file.path}” are missing from the storage. Abort this upload and send it anew."
    ) from error


def _check_joined(file: UploadFile, staged: blobs.Staged) -> None:
    if staged.size != file.size or file.sha256 not in {"", staged.sha256}:
        raise DigestMismatch(
            f"The parts of “{file.path}” make {staged.size} bytes with the SHA-256 "
            f"{staged.sha256}, not the {file.size} bytes with {file.sha256 or 'any'} that were "
            "announced. Abort this upload and send it anew."
        )


# ---- State -------------------------------------------------------------------------------------
def _require_open(upload: Upload) -> None:
    state = UploadState(upload.state)
    if state == UploadState.OPEN and upload.expires_at <= timezone.now():
        state = UploadState.EXPIRED
    if state != UploadState.OPEN:
        raise WrongState(f"This upload is {state}. Begin another.", current=str(state))


def _lock_open(upload: Upload) -> None:
    """Keep an open upload from ending until this transaction does."""
    _require_open(Upload.objects.select_for_update(no_key=True).get(pk=upload.pk))
