"""Bytes over HTTP: whole or in ranges, with a digest that the receiver can check."""

import base64
import re
from collections.abc import Iterator
from typing import IO

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from pipelines import blobs, links, rules
from pipelines.api import problems
from pipelines.api.base import has_already
from pipelines.errors import NotFound
from pipelines.models import Blob

CHUNK = 256 * 1024
RANGE = re.compile(r"^bytes=([0-9]{0,18})-([0-9]{0,18})\Z")


class MayDownload(BasePermission):
    """Somebody with a role, or whoever holds a signed link to this very path."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        signature = request.query_params.get("signature", "")
        if signature and links.is_signed(request.path, signature):
            return True
        user = request.user
        return isinstance(user, User) and rules.may(user, "view")


def serve(request: Request, blob: Blob, name: str) -> HttpResponseBase:
    """Answer with the blob's bytes as an attachment, or with the range that was asked for."""
    try:
        stream = blobs.open_blob(blob)
    except FileNotFoundError as error:
        raise NotFound(
            f"The bytes {blob.sha256} are missing from the storage. Tell an operator."
        ) from error
    start, end = 0, blob.size - 1
    status = 200
    wanted = request.headers.get("Range", "")
    tag = f'"{blob.sha256}"'
    if wanted and request.headers.get("If-Range", tag) == tag:
        found = _range(wanted, blob.size)
        if found is None:
            stream.close()
            return _unsatisfiable(blob)
        if found != (0, -1):
            start, end = found
            status = 206
    if has_already(request, tag):
        stream.close()
        response: HttpResponseBase = HttpResponse(status=304)
    elif request.method == "HEAD":
        stream.close()
        response = HttpResponse(status=status, content_type="application/octet-stream")
    else:
        response = StreamingHttpResponse(
            _pieces(stream, start, end - start + 1),
            status=status,
            content_type="application/octet-stream",
        )
    if response.status_code != 304:
        response["Content-Length"] = str(end - start + 1)
    if status == 206:
        response["Content-Range"] = f"bytes {start}-{end}/{blob.size}"
    raw = base64.b64encode(bytes.fromhex(blob.sha256)).decode()
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = tag
    response["Repr-Digest"] = f"sha-256=:{raw}:"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private"
    return response


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """The first and last byte; (0, -1) to ignore what we do not support; None if there is none."""
    match = RANGE.match(wanted.strip())
    if match is None or match.group(0) == "bytes=-":
        return 0, -1
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size - 1) if length else None
    if last and int(last) < int(first):
        return 0, -1
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    return (start, end) if start <= end else None


def _unsatisfiable(blob: Blob) -> HttpResponse:
    import json

    document = {
        "type": "urn:sluice:problem:range_not_satisfiable",
        "title": "No such range of bytes",
        "status": 416,
        "detail": f"The file has {blob.size} bytes.",
        "code": "range_not_satisfiable",
    }
    return HttpResponse(
        json.dumps(document),
        status=416,
        content_type=problems.CONTENT_TYPE,
        headers={"Content-Range": f"bytes */{blob.size}"},
    )


def _pieces(stream: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    with stream:
        stream.seek(start)
        while length > 0:
            chunk = stream.read(min(CHUNK, length))
            if not chunk:
                # The announced length cannot be kept: break off rather than end short in silence.
                raise OSError("the stored bytes ended early")
            length -= len(chunk)
            yield chunk
