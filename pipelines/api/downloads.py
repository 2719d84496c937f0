"""Bytes over HTTP: whole or in ranges, with a digest that the receiver can check."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any, Protocol, runtime_checkable

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage
from django.http import Http404, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from pipelines import artifacts, blobs, bundles, links, rules, scrubbing
from pipelines.api import problems
from pipelines.api.base import has_already, query, require_match
from pipelines.bundles import Member
from pipelines.errors import Damaged, Invalid, NotFound, StorageSilent
from pipelines.models import Blob
from pipelines.reading import Verified

CHUNK = 1024 * 1024
RANGE = re.compile(r"^bytes=([0-9]{0,18})-([0-9]{0,18})\Z", re.IGNORECASE)
FORMATS = ("tar.gz", "zip")
#: How long a link into the storage itself is good for: the download need only have begun by then.
STORAGE_LINK_SECONDS = 300


class MayDownload(BasePermission):
    """Somebody with a role, or whoever holds a signed link to this very path."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        if isinstance(user, User) and rules.may(user, "view"):
            return True
        if signature := request.query_params.get("signature", ""):
            links.require_signed(request.path, signature)
            return True
        return False


def fetched_by(request: Request) -> int | None:
    """Who fetches, for a view that asked MayDownload: whoever is signed in, or else to whom the
    link was given; None for a link that does not say."""
    if isinstance(request.user, User):
        return int(request.user.pk)
    return links.require_signed(request.path, request.query_params.get("signature", ""))


@runtime_checkable
class Signing(Protocol):
    """A storage whose bytes can be fetched from it directly."""

    def signed_url(self, name: str, seconds: int, filename: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Described:
    """What the headers tell of the bytes of one answer, whichever part of them it brings."""

    size: int
    tag: str
    name: str
    #: Base64 of their SHA-256, and thereby whether a part of them can be asked for.
    sha256: str | None = None

    def onto(self, response: HttpResponseBase) -> HttpResponseBase:
        response["Accept-Ranges"] = "bytes" if self.sha256 else "none"
        response["ETag"] = self.tag
        if self.sha256:
            response["Repr-Digest"] = f"sha-256=:{self.sha256}:"
        response["Content-Disposition"] = (
            content_disposition_header(True, self.name) or "attachment"
        )
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "private"
        return response


def download(
    request: Request, bundle: Blob, name: str, members: Callable[[], Sequence[Member]]
) -> HttpResponseBase:
    """Answer with the bytes of an artifact or a version, in the form that `format` names."""
    kind = query(request, "signature", "format", is_list=False).get("format")
    if kind is None:
        return serve(request, bundle, name)
    if kind not in FORMATS:
        raise Invalid(f"format is one of: {', '.join(FORMATS)}.")
    files = members()
    if len(files) > 1:
        if kind == "tar.gz":
            return serve(request, bundle, name)
        name = name.removesuffix(".tgz")
    return _serve_archive(request, kind, files, f"{name}.{'tgz' if kind == 'tar.gz' else kind}")


class Held(Protocol):
    """An artifact or a version, as far as bytes are concerned."""

    bundle: Blob | None
    bundle_name: str
    files: Any


def download_all(
    request: Request, held: Held, name: str | None, before: Callable[[], None]
) -> HttpResponseBase:
    """Answer with all bytes of an artifact or a version, which the address may call by `name`.
    `before` refuses those that are no longer kept, or notes that they are fetched."""
    if held.bundle is None or name not in {None, held.bundle_name}:
        raise Http404
    before()
    files = held.files.select_related("blob")
    return download(request, held.bundle, held.bundle_name, lambda: artifacts.members(files))


def download_file(
    request: Request, held: Held, path: str, before: Callable[[], None]
) -> HttpResponseBase:
    """Answer with one of the files, in the same way."""
    query(request, "signature", is_list=False)
    file = get_object_or_404(held.files.select_related("blob"), path=path)
    before()
    return serve(request, file.blob, path.rpartition("/")[2])


# ---- One blob ----------------------------------------------------------------------------------
def serve(request: Request, blob: Blob, name: str) -> HttpResponseBase:
    """Answer with the blob's bytes as an attachment, or with the range that was asked for."""
    raw = base64.b64encode(bytes.fromhex(blob.sha256)).decode()
    described = Described(blob.size, f'"{blob.sha256}"', name, raw)
    if known := _known_already(request, described):
        return known
    status, start, end = _asked_part(request, described)
    if status == 416:
        return _unsatisfiable(blob)
    if request.method == "GET" and (elsewhere := _elsewhere(blob, described)):
        return elsewhere
    length = end - start + 1
    stream = _open(blob)
    if request.method == "HEAD":
        stream.close()
        return _answer((), described)
    if length < blob.size or not settings.VERIFY_READS:
        response = _answer(_pieces(stream, start, length), described, status, length)
    else:
        response = _answer(_verified_pieces(stream, blob), described, status)
    if status == 206:
        response["Content-Range"] = f"bytes {start}-{end}/{blob.size}"
    return response


def _known_already(request: Request, described: Described) -> HttpResponseBase | None:
    """What comes before any range, in this order (RFC 9110, 13.2.2)."""
    require_match(request, described.tag, "The file")
    if has_already(request, described.tag):
        return described.onto(HttpResponse(status=304))
    return None


def _asked_part(request: Request, described: Described) -> tuple[int, int, int]:
    """The status, and the first and last byte of the answer."""
    whole = (200, 0, described.size - 1)
    # Ranges are defined for GET alone, and hold for exactly the bytes that the caller has: a weak
    # tag, or a time, does not say so much (RFC 9110, 14.2 and 13.1.5).
    if request.method != "GET" or request.headers.get("If-Range", described.tag) != described.tag:
        return whole
    match = RANGE.match(request.headers.get("Range", "").strip())
    if match is None or match.groups() == ("", ""):
        # Several ranges too: whoever asks for them must be able to take the whole.
        return whole
    first, last = match.groups()
    if not first:
        length = min(int(last), described.size)
        start, end = described.size - length, described.size - 1
        if int(last) and not length:
            return whole
    else:
        start = int(first)
        end = min(int(last), described.size - 1) if last else described.size - 1
        if last and int(last) < start:
            return whole
    return (206, start, end) if start <= end else (416, start, end)


def _unsatisfiable(blob: Blob) -> HttpResponse:
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


def _open(blob: Blob) -> IO[bytes]:
    try:
        return blobs.open_blob(blob)
    except FileNotFoundError as error:
        raise _missing(blob) from error


def _missing(blob: Blob) -> NotFound:
    return NotFound(f"The bytes {blob.sha256} are missing from the storage. Tell an operator.")


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


def _verified_pieces(stream: IO[bytes], blob: Blob) -> Iterator[bytes]:
    """All pieces, the last one only if the bytes were the right ones: damage breaks the connection
    off, so that the receiver does not take it for the whole, and is mended for the next one. The
    first piece is read at once, so that a small file is mended at once, or damage told in words."""
    try:
        return _first_read(stream, blob)
    except Damaged:
        if not scrubbing.make_true(blob):
            raise
    return _first_read(_open(blob), blob)


def _first_read(stream: IO[bytes], blob: Blob) -> Iterator[bytes]:
    verified = _verified(stream, blob.sha256, blob.size)
    try:
        first = verified.read(CHUNK)
    except FileNotFoundError as error:
        # Of a composed bundle, files are looked for only now.
        stream.close()
        raise _missing(blob) from error
    except BaseException:
        stream.close()
        raise
    return _rest(verified, first)


def _verified(stream: IO[bytes], sha256: str, size: int) -> Verified:
    return Verified(stream, sha256, size, on_damage=scrubbing.mend_soon)


def _rest(verified: Verified, first: bytes) -> Iterator[bytes]:
    with closing(verified):
        chunk = first
        while chunk:
            yield chunk
            chunk = verified.read(CHUNK)


def _answer(
    pieces: Iterable[bytes], described: Described, status: int = 200, length: int | None = None
) -> HttpResponseBase:
    response = StreamingHttpResponse(pieces, status=status, content_type="application/octet-stream")
    response["Content-Length"] = str(described.size if length is None else length)
    return described.onto(response)


# ---- From elsewhere ----------------------------------------------------------------------------
def _elsewhere(blob: Blob, described: Described) -> HttpResponseBase | None:
    """An answer by which the bytes come from the storage itself, or from the proxy in front."""
    if blob.recipe is not None:
        return None
    store = blobs.store()
    if settings.SIGNED_URLS and isinstance(store, Signing) and _is_in(store, blob):
        address = store.signed_url(blob.storage_name, STORAGE_LINK_SECONDS, described.name)
        response = HttpResponse(status=302, headers={"Location": address})
        # The address is a permission, and a short one.
        response["Cache-Control"] = "private, no-store"
        return response
    if settings.ACCEL_REDIRECT and isinstance(store, FileSystemStorage) and _is_in(store, blob):
        # nginx sends the bytes, and the range of them that was asked for.
        response = HttpResponse(content_type="application/octet-stream")
        response["X-Accel-Redirect"] = f"{settings.ACCEL_REDIRECT}{blob.storage_name}"
        described.onto(response)
        # It would send this one beside its own.
        del response["Accept-Ranges"]
        return response
    return None


def _is_in(store: Storage, blob: Blob) -> bool:
    """Whether the storage has the bytes: what it has lost is in the second copy, of which neither
    the proxy nor whoever asks knows."""
    try:
        return blobs.has(store, blob)
    except StorageSilent:
        return False


# ---- Archives made on the way ------------------------------------------------------------------
def _serve_archive(
    request: Request, kind: str, members: Sequence[Member], name: str
) -> HttpResponseBase:
    """An archive of which nothing is known but its length and what it is made of: no digest, and
    no part of it."""
    size = bundles.zip_size(members) if kind == "zip" else bundles.bundle_size(members)
    described = Described(size, f'"{bundles.tag(kind, members)}"', name)
    if known := _known_already(request, described):
        return known
    return _answer(() if request.method == "HEAD" else _archive(kind, members, size), described)


def _archive(kind: str, members: Sequence[Member], size: int) -> Iterator[bytes]:
    if kind == "zip":
        chunks = bundles.zip_chunks(members, _open_member)
    else:
        chunks = bundles.compose_bundle(bundles.SummedTar(members, _open_member))
    for chunk in chunks:
        size -= len(chunk)
        yield chunk
    if size:
        raise OSError("the archive has another length than was announced")


def _open_member(member: Member) -> bundles.Source:
    stream = blobs.open_member(member)
    if not settings.VERIFY_READS:
        return stream
    return _verified(stream, member.sha256, member.size)
