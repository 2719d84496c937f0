"""Uploads: multipart bodies whose files go straight into staged blobs while they are hashed.

Django's own parser cuts file names down to their last part and takes a body that breaks off for a
whole one. Here the name is kept as it was sent, to be refused if it is bad, and a body that is
shorter than announced is an error.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request

from pipelines import blobs
from pipelines.errors import BadRequest, DigestMismatch, InvalidFilename, TruncatedUpload

SHA256_FIELD = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]+):")


class StagedUpload(UploadedFile[bytes]):
    """An uploaded file that lies in a staged blob; closing it removes what was not kept."""

    def __init__(self, staged: blobs.Staged, name: str, field: str) -> None:
        super().__init__(file=None, name=None, size=staged.size)
        self.field_name = field
        self.staged = staged
        self.sent_name = name
        self.sha256 = staged.sha256

    def __bool__(self) -> bool:
        # Django's files are false without a name of Django's making, and its parser drops them.
        return True

    def close(self) -> None:
        self.staged.discard()


class _StagingHandler(FileUploadHandler):
    chunk_size = blobs.CHUNK

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[blobs.Staged] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.opened.append(blobs.open_stage())

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.opened[-1].write(raw_data)

    def file_complete(self, file_size: int) -> StagedUpload:
        return StagedUpload(self.opened[-1], self.file_name or "", self.field_name or "")

    def discard(self) -> None:
        for staged in self.opened:
            staged.discard()


class _KeepingNames(MultiPartParser):
    def sanitize_file_name(self, file_name: str) -> str:
        if file_name.startswith('"'):
            raise InvalidFilename(
                "The file name begins with a quotation mark, or was cut off by a line break."
            )
        return file_name


class Whole:
    """The body, which must be as long as was announced; hashed when a digest was announced."""

    def __init__(self, stream: IO[bytes], length: int, *, hashed: bool) -> None:
        self._stream = stream
        self.length = self._left = length
        self.hasher = hashlib.sha256() if hashed else None

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise _truncated(self._left) from error
        self._left -= len(data)
        if self.hasher:
            self.hasher.update(data)
        if not data and size != 0 and self._left > 0:
            raise _truncated(self._left)
        return data


def _truncated(missing: int) -> TruncatedUpload:
    return TruncatedUpload(
        f"The body ended {missing} bytes before its announced length. Nothing was kept; "
        "send it again."
    )


class StagingParser(BaseParser):
    media_type = "multipart/form-data"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> "DataAndFiles[QueryDict, MultiValueDict[str, UploadedFile[bytes]]]":
        request: Request = (parser_context or {})["request"]
        meta = {**request.META, "CONTENT_TYPE": media_type}
        length = announced_length(request)
        announced = announced_digest(request, "Content-Digest")
        body = Whole(stream, length, hashed=announced is not None)
        handler = _StagingHandler()
        try:
            data, files = _KeepingNames(meta, body, [handler], "utf-8").parse()  # type: ignore[arg-type]
            while body.read(blobs.CHUNK):
                pass  # What follows the last boundary belongs to the body and its digest.
            if body.hasher and announced != body.hasher.hexdigest():
                raise DigestMismatch("The body does not have the Content-Digest that was sent.")
        except MultiPartParserError as error:
            handler.discard()
            raise ParseError(f"The multipart body is malformed: {error}") from error
        except BaseException:
            handler.discard()
            raise
        return DataAndFiles(data, files)


class RawParser(BaseParser):
    """A body that is bytes and nothing else: handed on to be read as a stream."""

    media_type = "application/octet-stream"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request: Request = (parser_context or {})["request"]
        return Whole(stream, announced_length(request), hashed=False)


def announced_length(request: Request) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise BadRequest("Content-Length is not a number.") from error


def announced_digest(request: Request, header: str) -> str | None:
    """The SHA-256 of an RFC 9530 digest header in hex, or None when it was not sent."""
    value = request.headers.get(header)
    if not value:
        return None
    match = SHA256_FIELD.search(value)
    if match is None:
        raise BadRequest(f"{header} has no sha-256. Write it like sha-256=:<base64>:")
    try:
        raw = base64.b64decode(match.group(1), validate=True)
    except binascii.Error as error:
        raise BadRequest(f"{header} is not base64.") from error
    return raw.hex()
