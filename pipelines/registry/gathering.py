"""All that belongs to an image: the manifests of every platform, and whatever refers to them.

    gathered = gather(image, credentials)
    gathered.root, gathered.manifests          # children stand before what lists them

A registry is not trusted: how much it may send, and how deep its lists may be, is bounded. A list
cannot contain itself, since every manifest is fetched by the digest of its own bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import Invalid, NotFound, SluiceError
from pipelines.registry.manifests import OCI_INDEX, Descriptor, Manifest, descriptor, fetch
from pipelines.registry.naming import Credentials, ImageName
from pipelines.registry.reading import MAX_TAGS, list_tags
from pipelines.registry.talking import Talk

MAX_MANIFESTS = 500
MAX_BYTES = 64 * 1024**2
MAX_DEPTH = 6
MAX_PAGES = 20
# What cosign calls the tags by which it finds its statements on a digest.
COSIGN = ("sig", "att", "sbom")


@dataclass
class Gathered:
    root: Manifest
    #: By digest, each after all that it lists; the image's own first, then what refers to it.
    manifests: dict[str, Manifest] = field(default_factory=dict)
    #: What refers to a manifest, by that manifest's digest: each as its registry described it.
    referrers: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    #: Tags that carry a digest in their name, and what they stand for.
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def referring(self) -> list[Descriptor]:
        """Signatures, attestations and bills of materials: what refers to any of the manifests."""
        listed = [descriptor(each) for group in self.referrers.values() for each in group]
        found = {each.digest: each for each in listed if each is not None}
        for tag, digest in self.tags.items():
            manifest = self.manifests[digest]
            kind = f"cosign {tag.rpartition('.')[2]}"
            found.setdefault(
                digest, Descriptor(digest, len(manifest.body), manifest.media_type, "", kind)
            )
        return list(found.values())


def gather(
    image: ImageName,
    credentials: Credentials | None = None,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Gathered:
    """Read every manifest of `image`, by its digest where it has one. `meanwhile` is called before
    each question."""
    talk = Talk(image.registry, image.repository, credentials)
    return _Gathering(talk, meanwhile).run(image.digest or image.tag)


def fallback_tag(digest: str) -> str:
    """The tag that lists what refers to a digest, where a registry has no call for that."""
    return digest.replace(":", "-")


def listed_by_call(talk: Talk, digest: str) -> list[Mapping[str, Any]] | None:
    """What the registry's own call says refers to `digest`, or None where it has no such call."""
    path = f"/v2/{talk.repository}/referrers/{digest}"
    found: list[Mapping[str, Any]] = []
    for _ in range(MAX_PAGES):
        answer = talk.ask("GET", path, {"Accept": OCI_INDEX})
        if answer.status in {400, 404, 405, 501}:
            return None
        talk.require_ok(answer, f"what refers to {talk.name}@{digest}")
        page = answer.json()
        if not isinstance(page, dict) or not isinstance(page.get("manifests"), list):
            return None
        found += [each for each in page["manifests"] if descriptor(each) is not None]
        if len(found) > MAX_MANIFESTS:
            break
        path = talk.next_page(path, answer)
        if not path:
            return found
    raise Invalid(f"{talk.name}@{digest} has more referring to it than is looked through.")


def listed_by_tag(talk: Talk, digest: str) -> list[Mapping[str, Any]]:
    """What the tag that is named after `digest` says refers to it."""
    try:
        index = fetch(talk, fallback_tag(digest))
    except NotFound:
        return []
    listed = index.parsed.get("manifests", []) if index.is_index else []
    return [each for each in listed if descriptor(each) is not None]


class _Gathering:
    def __init__(self, talk: Talk, meanwhile: Callable[[], None]) -> None:
        self._talk = talk
        self._meanwhile = meanwhile
        self._bytes = self._listed = 0
        self._known_tags: frozenset[str] | None = None

    def run(self, reference: str) -> Gathered:
        root = self._fetch(reference)
        self._found = Gathered(root)
        self._add(root, 0)
        self._known_tags = self._ask_for_tags()
        for digest in list(self._found.manifests):
            self._add_what_refers_to(digest, 0)
        return self._found

    def _fetch(self, reference: str) -> Manifest:
        self._meanwhile()
        manifest = fetch(self._talk, reference)
        self._bytes += len(manifest.body)
        if self._bytes > MAX_BYTES:
            raise self._too_much(f"more than {MAX_BYTES} bytes of manifests")
        return manifest

    def _add(self, manifest: Manifest, depth: int) -> None:
        """Take a manifest in, after all that it lists."""
        if manifest.digest in self._found.manifests:
            return
        if depth > MAX_DEPTH:
            raise self._too_much(f"lists within lists, more than {MAX_DEPTH} deep")
        for child in manifest.children:
            if child.digest not in self._found.manifests:
                self._add(self._child(manifest, child), depth + 1)
        self._found.manifests[manifest.digest] = manifest
        if len(self._found.manifests) > MAX_MANIFESTS:
            raise self._too_much(f"more than {MAX_MANIFESTS} manifests")

    def _child(self, index: Manifest, child: Descriptor) -> Manifest:
        try:
            return self._fetch(child.digest)
        except NotFound as error:
            raise Invalid(
                f"{self._talk.name}@{index.digest} lists {child.platform or 'an image'} "
                f"({child.digest}), which is not there. Push every platform that the list names, "
                "or a list of those alone that are wanted."
            ) from error

    def _too_much(self, what: str) -> Invalid:
        return Invalid(f"{self._talk.name} has {what} for one image, which is more than is read.")

    # ---- What refers to it -----------------------------------------------------------------------
    def _add_what_refers_to(self, digest: str, depth: int) -> None:
        if depth > MAX_DEPTH or digest in self._found.referrers:
            return
        self._meanwhile()
        listed = listed_by_call(self._talk, digest)
        if listed is None:
            is_tagged = self._may_have(fallback_tag(digest))
            listed = listed_by_tag(self._talk, digest) if is_tagged else []
        # Those too that are listed and not there: each costs a question.
        self._listed += len(listed)
        if self._listed > MAX_MANIFESTS:
            raise self._too_much(f"more than {MAX_MANIFESTS} things that refer to it")
        self._found.referrers[digest] = []
        for each in listed:
            if self._is_there(str(each["digest"])):
                self._found.referrers[digest].append(each)
                self._add_what_refers_to(str(each["digest"]), depth + 1)
        for tag in self._cosign_tags(digest):
            try:
                manifest = self._fetch(tag)
            except NotFound:
                continue
            self._add(manifest, depth)
            self._found.tags[tag] = manifest.digest

    def _is_there(self, digest: str) -> bool:
        """Take in what refers to something. A list may still name what was removed since."""
        if digest not in self._found.manifests:
            try:
                manifest = self._fetch(digest)
            except NotFound:
                return False
            self._add(manifest, 0)
        return True

    def _cosign_tags(self, digest: str) -> Iterator[str]:
        for kind in COSIGN:
            tag = f"{fallback_tag(digest)}.{kind}"
            if self._may_have(tag):
                yield tag

    def _may_have(self, tag: str) -> bool:
        return self._known_tags is None or tag in self._known_tags

    def _ask_for_tags(self) -> frozenset[str] | None:
        """Every tag, which saves asking for each that might be; None where they cannot be had."""
        try:
            found, is_whole = list_tags(self._talk, MAX_TAGS)
        except SluiceError:
            return None
        return frozenset(found) if is_whole else None
