"""What the API answers of uploads in parts."""

from typing import TypedDict

from pipelines.api.shapes import timestamp
from pipelines.models import Upload, UploadFile, UploadPart, UploadState


class PartItem(TypedDict):
    number: int
    size: int
    sha256: str


class UploadFileItem(TypedDict):
    number: int
    path: str
    size: int
    sha256: str | None
    executable: bool
    parts: int
    received: list[PartItem]


class MissingItem(TypedDict):
    file: int
    part: int
    offset: int
    size: int


class UploadAnswer(TypedDict):
    id: int
    state: str
    artifact: str
    artifact_id: int | None
    pipeline: str
    run: int
    stage: str
    job: str
    step: str
    part_size: int
    size: int
    missing: list[MissingItem]
    files: list[UploadFileItem]
    created_by: str
    created_at: str | None
    expires_at: str | None


def upload_answer(upload: Upload) -> UploadAnswer:
    """`missing` is what is still to be sent; files of uploads that have ended miss nothing."""
    files = list(upload.files.all())
    is_open = upload.state == UploadState.OPEN
    return {
        "id": upload.pk,
        "state": upload.state,
        "artifact": upload.name,
        "artifact_id": upload.artifact_id,
        "pipeline": upload.run.pipeline.slug,
        "run": upload.run.number,
        "stage": upload.stage,
        "job": upload.job,
        "step": upload.step,
        "part_size": upload.part_size,
        "size": sum(file.size for file in files),
        "missing": [
            {
                "file": file.number,
                "part": number,
                "offset": (number - 1) * upload.part_size,
                "size": file.length_of(number, upload.part_size),
            }
            for file in files
            for number in (file.missing(upload.part_size) if is_open else ())
        ],
        "files": [_file_item(upload, file) for file in files],
        "created_by": upload.created_by.username,
        "created_at": timestamp(upload.created_at),
        "expires_at": timestamp(upload.expires_at),
    }


def _file_item(upload: Upload, file: UploadFile) -> UploadFileItem:
    return {
        "number": file.number,
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256 or None,
        "executable": file.executable,
        "parts": file.part_count(upload.part_size),
        "received": [part_item(upload, file, part) for part in file.parts.all()],
    }


def part_item(upload: Upload, file: UploadFile, part: UploadPart) -> PartItem:
    return {
        "number": part.number,
        "size": file.length_of(part.number, upload.part_size),
        "sha256": part.blob_id,
    }
