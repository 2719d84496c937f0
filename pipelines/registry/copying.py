"""Copy a whole image from one registry to another, so that both name the same bytes.

Every platform, by digest, and whatever refers to it: signatures, attestations, bills of materials.
Blobs go first, then the manifests that name them, each after those that it lists, the wanted tags
last: whoever pulls meanwhile gets all of the image or nothing. What is there already is left, so
a copy that broke off is gone on with by calling it again.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pipelines import outbound
from pipelines.canonical import canonical
from pipelines.errors import Invalid, NotFound, Unreachable
from pipelines.registry.gathering import (
    Gathered,
    fallback_tag,
    gather,
    listed_by_call,
    listed_by_tag,
)
from pipelines.registry.manifests import ACCEPT, OCI_INDEX, Descriptor, Manifest, fetch
from pipelines.registry.naming import Credentials, ImageName
from pipelines.registry.talking import Talk

#: Called with the bytes that are done and those that there are in all, also between them: at least
#: once for each question and each 64 KiB. What it raises ends the copy.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. `bytes` are those that were sent; `referrers` what refers to the image."""

    digest: str
    manifests: int
    blobs_copied: int
    blobs_skipped: int
    blobs_mounted: int
    bytes: int
    referrers: int


def copy(
    source: ImageName,
    target: ImageName,
    *,
    source_login: Credentials | None,
    target_login: Credentials | None,
    tags: Sequence[str],
    progress: Progress = lambda done, total: None,
) -> Copied:
    """Copy `source`, by its digest where it has one, to the repository of `target`, and name it by
    `tags` there. Answers once the target gives the same digest back for each of them."""
    gathered = gather(source, source_login, meanwhile=lambda: progress(0, 0))
    is_near = source.registry == target.registry and source_login == target_login
    mounting = source.repository if is_near and source.repository != target.repository else ""
    copying = _Copying(
        Talk(source.registry, source.repository, source_login),
        Talk(target.registry, target.repository, target_login, push=True, mounting=mounting),
        mounting,
        progress,
        sum(blob.size for blob in _blobs(gathered).values()),
    )
    return copying.run(gathered, tags)


def _blobs(gathered: Gathered) -> dict[str, Descriptor]:
    """Each blob once. Those that nobody may hand out again stay where they are."""
    parts = [blob for manifest in gathered.manifests.values() for blob in manifest.blobs]
    return {blob.digest: blob for blob in parts if not blob.is_elsewhere}


class _Copying:
    def __init__(
        self, source: Talk, target: Talk, mounting: str, progress: Progress, total: int
    ) -> None:
        self._source = source
        self._target = target
        self._mounting = mounting
        self._progress = progress
        self._total = total
        self._done = self._sent = 0
        self._copied = self._skipped = self._mounted = 0

    def run(self, gathered: Gathered, tags: Sequence[str]) -> Copied:
        for blob in _blobs(gathered).values():
            self._bring(blob)
        for manifest in gathered.manifests.values():
            self._tell()
            if not self._has(f"manifests/{manifest.digest}"):
                self._put(manifest, manifest.digest)
        for digest, listed in gathered.referrers.items():
            self._list(digest, listed)
        for tag, digest in gathered.tags.items():
            self._put(gathered.manifests[digest], tag)
        for tag in tags:
            self._put(gathered.root, tag)
        for reference in (gathered.root.digest, *tags):
            self._read_back(gathered.root, reference)
        return Copied(
            digest=gathered.root.digest,
            manifests=len(gathered.manifests),
            blobs_copied=self._copied,
            blobs_skipped=self._skipped,
            blobs_mounted=self._mounted,
            bytes=self._sent,
            referrers=len(gathered.referring),
        )

    def _tell(self) -> None:
        self._progress(self._done, self._total)

    def _has(self, what: str) -> bool:
        path = f"/v2/{self._target.repository}/{what}"
        answer = self._target.ask("HEAD", path, ACCEPT if what.startswith("manifests/") else None)
        if answer.status not in {200, 404}:
            self._target.require_ok(answer, f"{self._target.name}: {what}")
        return answer.status == 200

    # ---- Blobs -----------------------------------------------------------------------------------
    def _bring(self, blob: Descriptor) -> None:
        self._tell()
        if self._has(f"blobs/{blob.digest}"):
            self._skipped += 1
        elif path := self._begin(blob):
            self._send(blob, path)
            self._copied += 1
            return
        else:
            self._mounted += 1
        self._done += blob.size

    def _begin(self, blob: Descriptor) -> str:
        """Where to send the blob, or an empty text where the registry took it over by itself."""
        path = f"/v2/{self._target.repository}/blobs/uploads/"
        if self._mounting:
            path += "?" + urlencode({"mount": blob.digest, "from": self._mounting})
        answer = self._target.ask("POST", path)
        if answer.status == 201 and self._mounting:
            return ""
        self._target.require_done(answer, f"the beginning of the blob {blob.digest}", 202)
        return self._target.located(path, answer)

    def _send(self, blob: Descriptor, path: str) -> None:
        path += f"{'&' if '?' in path else '?'}digest={quote(blob.digest)}"
        with self._source.open_elsewhere(
            f"/v2/{self._source.repository}/blobs/{blob.digest}"
        ) as coming:
            what = f"the blob {blob.digest} of {self._source.name}"
            if coming.status == 404:
                raise Invalid(f"{what[0].upper()}{what[1:]} is not there. Push the image anew.")
            self._source.require_ok(coming, what)
            with self._target.open(
                "PUT",
                path,
                {"Content-Type": "application/octet-stream"},
                body=self._checked(blob, coming),
                length=blob.size,
            ) as streamed:
                answer = outbound.Answer(streamed.status, streamed.headers, streamed.read())
        self._target.require_done(answer, f"the blob {blob.digest}", 201)
        self._sent += blob.size

    def _checked(self, blob: Descriptor, coming: outbound.Streamed) -> Iterator[bytes]:
        """The blob's bytes. The last piece is held back until all are known to be the right ones,
        so that others never become a whole upload."""
        hashed, size, held = hashlib.sha256(), 0, b""
        for chunk in coming.chunks():
            size += len(chunk)
            hashed.update(chunk)
            if size > blob.size:
                break
            if held:
                yield held
                self._done += len(held)
                self._tell()
            held = chunk
        if size != blob.size or f"sha256:{hashed.hexdigest()}" != blob.digest:
            raise Unreachable(
                f"{self._source.host} sent other bytes for the blob {blob.digest} than its "
                f"manifest names ({blob.size} bytes). Nothing of it was kept; check what stands "
                "between, or push the image anew."
            )
        if held:
            yield held
            self._done += len(held)

    # ---- Manifests and tags ----------------------------------------------------------------------
    def _put(self, manifest: Manifest, reference: str) -> None:
        self._tell()
        path = f"/v2/{self._target.repository}/manifests/{reference}"
        headers = {"Content-Type": manifest.media_type}
        answer = self._target.ask("PUT", path, headers, body=manifest.body)
        self._target.require_done(answer, f"the manifest {reference}", 201)

    def _list(self, digest: str, listed: Sequence[Mapping[str, Any]]) -> None:
        """Have the target answer for `digest` with what refers to it: either it knows by itself, or
        a tag tells, which keeps what others wrote there."""
        self._tell()
        if not listed or listed_by_call(self._target, digest) is not None:
            return
        there = listed_by_tag(self._target, digest)
        known = {each["digest"] for each in there}
        missing = [each for each in listed if each["digest"] not in known]
        if not missing:
            return
        body = canonical(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*there, *missing]}
        )
        index = Manifest(f"sha256:{hashlib.sha256(body).hexdigest()}", OCI_INDEX, body, {})
        self._put(index, fallback_tag(digest))

    def _read_back(self, root: Manifest, reference: str) -> None:
        self._tell()
        try:
            there = fetch(self._target, reference).digest
        except NotFound:
            there = "nothing"
        if there != root.digest:
            raise Unreachable(
                f"{self._target.name} gives back {there} for {reference} right after {root.digest} "
                "was stored under it. Somebody else writes there too, or the registry is not well."
            )
