"""Manifests: the documents of which an image consists, kept byte for byte as they came."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines import outbound
from pipelines.errors import Invalid, NotFound, Unreachable
from pipelines.registry.naming import DIGEST
from pipelines.registry.talking import MAX_MANIFEST, Talk

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEXES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
#: Every form of manifest there is, the lists for several platforms before those for one: a tag's
#: digest is that of the list where there is one.
MANIFESTS = (*INDEXES, OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = {"Accept": ", ".join(MANIFESTS)}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """How a manifest names a blob or another manifest."""

    digest: str
    size: int
    media_type: str
    #: Like linux/arm64/v8; empty where nothing is said of it.
    platform: str = ""
    #: What kind of thing refers to an image, like a signature's media type.
    artifact_type: str = ""
    #: The manifest that this one is about, where a list says so (attestations that builders add).
    subject: str = ""
    #: Its bytes are fetched from elsewhere, because nobody may hand them out again.
    is_elsewhere: bool = False


@dataclass(frozen=True)
class Manifest:
    digest: str
    media_type: str
    body: bytes
    parsed: Mapping[str, Any]

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @cached_property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests that an index lists."""
        listed = self.parsed.get("manifests", []) if self.is_index else []
        return tuple(self._read(listed))

    @cached_property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The configuration, and then the layers from the lowest up."""
        if self.is_index:
            return ()
        return tuple(self._read([self.parsed.get("config")])) + self.layers

    @cached_property
    def layers(self) -> tuple[Descriptor, ...]:
        return () if self.is_index else tuple(self._read(self.parsed.get("layers", [])))

    def _read(self, listed: Any) -> Iterator[Descriptor]:
        for each in listed if isinstance(listed, list) else [None]:
            found = descriptor(each)
            if found is None:
                raise Invalid(
                    f"The manifest {self.digest} names a part without its SHA-256 and size, so "
                    "nobody can say whether what came is what was meant."
                )
            yield found


def descriptor(each: Any) -> Descriptor | None:
    """What a manifest's own words name, or None where they do not name it exactly."""
    if not isinstance(each, dict):
        return None
    digest, size = each.get("digest"), each.get("size")
    if not isinstance(digest, str) or not DIGEST.match(digest):
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**53:
        return None
    annotations = each.get("annotations")
    about = annotations if isinstance(annotations, dict) else {}
    return Descriptor(
        digest=digest,
        size=size,
        media_type=_text(each.get("mediaType")),
        platform=_platform(each.get("platform")),
        artifact_type=_text(each.get("artifactType")),
        subject=_text(about.get("vnd.docker.reference.digest")),
        is_elsewhere=bool(each.get("urls")),
    )


def _text(value: Any) -> str:
    """Something short to show; what a registry sends of another kind is left out."""
    return value if isinstance(value, str) and len(value) <= 255 and value.isprintable() else ""


def _platform(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    parts = [_text(value.get(key)) for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part)


def fetch(talk: Talk, reference: str) -> Manifest:
    """The manifest of a tag or a digest; NotFound where there is none."""
    what = f"{talk.name}{'@' if ':' in reference else ':'}{reference}"
    answer = talk.ask("GET", f"/v2/{talk.repository}/manifests/{reference}", ACCEPT)
    if answer.status == 404:
        raise NotFound(f"{what} is not there.")
    talk.require_ok(answer, what)
    digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    claimed = answer.headers.get("docker-content-digest", "").strip()
    for expected in (
        claimed if DIGEST.match(claimed) else "",
        reference if ":" in reference else "",
    ):
        if expected and expected != digest:
            raise Unreachable(
                f"{talk.host} answered for {what} with {digest} where {expected} was to be "
                "expected. Its answers cannot be relied on; check what stands between."
            )
    parsed = answer.json()
    if not isinstance(parsed, dict):
        raise Unreachable(f"{what} is no manifest.")
    sent = answer.headers.get("content-type", "").partition(";")[0].strip()
    media_type = parsed.get("mediaType") or sent
    if media_type not in MANIFESTS:
        raise Invalid(
            f"{what} is of the form “{str(media_type)[:120]}”, which is not known here. Push it "
            "anew in the form of OCI or of Docker's manifests of version 2."
        )
    # One document that is read as a list by one program and as an image by another is two images.
    if (sent in MANIFESTS and sent != media_type) or {"manifests", "layers"} <= parsed.keys():
        raise Invalid(f"{what} says of itself that it is two things at once.")
    return Manifest(digest, media_type, answer.body, parsed)


def read_platform(talk: Talk, manifest: Manifest) -> str:
    """The platform that an image's configuration names; empty where it names none."""
    config = manifest.blobs[0]
    if config.size > MAX_MANIFEST:
        return ""
    path = f"/v2/{talk.repository}/blobs/{config.digest}"
    with talk.open_elsewhere(path, seconds=outbound.SECONDS) as streamed:
        if streamed.status == 404:
            raise Invalid(
                f"{talk.name}@{manifest.digest} lacks its configuration. Push the image anew."
            )
        talk.require_ok(streamed, f"the configuration of {talk.name}")
        body = streamed.read(MAX_MANIFEST)
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != config.digest:
        raise Unreachable(f"{talk.host} sent other bytes for {config.digest} than those.")
    try:
        return _platform(json.loads(body))
    except (ValueError, RecursionError):
        # What an artifact that is no image has for a configuration may be anything.
        return ""
