"""Images of versions: looked up in their registry, looked at again, carried to another one.

A version is its image's digest. The registry is asked what that digest consists of when the
version is published; later looks say whether the tag still names it, and change no version.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from accounts.models import User
from pipelines import registry
from pipelines.canonical import canonical, digest
from pipelines.errors import Invalid, NotFound, SluiceError, Unreachable, WrongState
from pipelines.leases import leased
from pipelines.registry import Credentials, Descriptor, Gathered, ImageName, Manifest
from promotion import registries, rules
from promotion.models import (
    ImageDetails,
    ImageLook,
    LookState,
    Placement,
    Repository,
    RepositoryKind,
    Version,
)

MAX_LISTED = 100
#: Of all platforms of one image; each is shown on the version's page.
MAX_LAYERS = 10_000
LOOKING_SECONDS = 45
#: All questions about one image together: somebody waits for the answer, and a registry that is
#: slow with each of hundreds must not keep a thread of the site for hours.
GATHERING_SECONDS = 120.0
#: Longer than the last of a minute's looks can take, with what it asks of the tag.
LOOKING_LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Look:
    """What a registry says of an image just now."""

    state: LookState
    tag_digest: str = ""
    problem: str = ""
    referrers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What is kept of an image that is published: its parts for ever, the rest until looked at."""

    details: bytes
    look: Look


# ---- Look up, when it is published -------------------------------------------------------------
def look_up(repository: Repository, image: str, tag: str) -> LookedUp | None:
    """Ask the repository's registry for `image`; None where the repository names no registry.

    Refuses an image that lies elsewhere or is not there. Writes nothing.
    """
    if not repository.registry:
        return None
    name = registry.parse(image)
    if not registries.holds(repository, name):
        raise Invalid(
            f"The images of {repository.name} lie in {repository.registry}, and {image} does not. "
            "Push it there and report it under that name, or publish it into another repository."
        )
    login = registries.login_for(repository, name)
    try:
        gathered = registry.gather(name, login, meanwhile=_patience(name))
    except NotFound as error:
        raise Invalid(
            f"{name.registry} does not have {name.repository}@{name.digest}, so nobody could pull "
            "this version. Push the image, and report the digest that the registry then gives it."
        ) from error
    try:
        details = canonical(_described(name, gathered, login))
    except ValueError as error:
        raise Invalid(f"{image} describes itself in numbers that cannot be kept.") from error
    return LookedUp(details, _look_at_tag(name, tag, login, gathered))


def keep(version: Version, found: LookedUp) -> ImageDetails:
    """Write what was looked up beside its version, in the transaction that makes the version."""
    now = timezone.now()
    _write(version, found.look, now)
    return ImageDetails.objects.create(
        version=version, details=found.details.decode(), digest=digest(found.details), at=now
    )


def _patience(name: ImageName) -> Callable[[], None]:
    """To be called between the questions about `name`; Unreachable once they take too long."""
    until = time.monotonic() + GATHERING_SECONDS

    def check() -> None:
        if time.monotonic() > until:
            raise Unreachable(
                f"{name.registry} took more than {GATHERING_SECONDS:g} s to say what belongs to "
                f"{name.repository}@{name.digest}. Try again when it is well."
            )

    return check


def _described(name: ImageName, gathered: Gathered, login: Credentials | None) -> dict[str, Any]:
    root = gathered.root
    if root.is_index:
        listed = list(_listed(gathered, root))
    else:
        platform = registry.platform_of(name, root, login)
        alone = Descriptor(root.digest, len(root.body), root.media_type, platform)
        listed = [(alone, root)]
    if sum(len(manifest.layers) for _, manifest in listed) > MAX_LAYERS:
        raise Invalid(
            f"{name} has more than {MAX_LAYERS} layers, which is more than are kept of an image."
        )
    platforms = [_platform(child, manifest) for child, manifest in listed if not child.subject]
    attestations = [
        {"digest": child.digest, "about": child.subject} for child, _ in listed if child.subject
    ]
    # What several platforms share is there once.
    blobs = {blob.digest: blob.size for _, manifest in listed for blob in manifest.blobs}
    return {
        "digest": root.digest,
        "media_type": root.media_type,
        "size": sum(blobs.values()),
        "platforms": platforms,
        "attestations": attestations,
    }


def _listed(gathered: Gathered, index: Manifest) -> Iterator[tuple[Descriptor, Manifest]]:
    """The images that an index lists, also in lists within it, each with its manifest."""
    for child in index.children:
        manifest = gathered.manifests[child.digest]
        if manifest.is_index:
            yield from _listed(gathered, manifest)
        else:
            yield child, manifest


def _platform(child: Descriptor, manifest: Manifest) -> dict[str, Any]:
    return {
        "platform": child.platform,
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "size": sum(blob.size for blob in manifest.blobs),
        "layers": [
            {"digest": layer.digest, "size": layer.size, "media_type": layer.media_type}
            for layer in manifest.layers
        ],
    }


# ---- Look again --------------------------------------------------------------------------------
def look_for_drift(version: Version, *, by: User) -> ImageLook:
    """Ask the registry now what the version's tag names, and keep the answer."""
    rules.require(by, "image.look")
    if not version.image:
        raise WrongState(f"{version} holds files, which are in no registry.", current="files")
    if not version.package.repository.registry:
        raise WrongState(
            f"{version.package.repository.name} names no registry to ask. Set it first.",
            current="not looked up",
        )
    return look(version)


def look(version: Version) -> ImageLook:
    """Ask the registry, whatever comes of it; that it cannot be asked is an answer, too."""
    try:
        name = registry.parse(version.image)
        login = registries.login_for(version.package.repository, name)
        try:
            gathered = registry.gather(name, login, meanwhile=_patience(name))
        except NotFound:
            found = Look(LookState.GONE)
        else:
            found = _look_at_tag(name, version.image_tag, login, gathered)
    except SluiceError as refusal:
        found = Look(LookState.UNKNOWN, problem=refusal.detail)
    return _write(version, found, timezone.now())


def look_where_due() -> int:
    """Look at what has waited longest since the last look; how many were looked at.

    Registries that do not answer take long to say so. What is not reached in a minute is reached
    by the next call, which does nothing while this one still waits for its last answer.
    """
    with leased("images.look", LOOKING_LEASE) as has_it:
        return _look_where_due() if has_it else 0


def _look_where_due() -> int:
    looked, until = 0, time.monotonic() + LOOKING_SECONDS
    for version in due_for_a_look(timezone.now())[: settings.IMAGES_A_LOOK]:
        if time.monotonic() > until:
            break
        look(version)
        looked += 1
    return looked


def due_for_a_look(now: datetime) -> "QuerySet[Version]":
    """Versions whose tag matters to somebody, those first that nobody has looked at for longest:
    what is placed, and the newest of each package."""
    newest = Version.objects.available().filter(package=OuterRef("package")).order_by("-pk")
    placed = Placement.objects.current().filter(version=OuterRef("pk"))
    return (
        Version.objects.with_names()
        .select_related("package__repository__connection", "package__repository__bound_by")
        .filter(package__repository__kind=RepositoryKind.DOCKER)
        .exclude(package__repository__registry="")
        .annotate(
            newest=Subquery(newest.values("pk")[:1]), placed=Subquery(placed.values("pk")[:1])
        )
        .filter(Q(newest=F("pk")) | Q(placed__isnull=False))
        .filter(
            Q(image_look=None) | Q(image_look__looked_at__lt=now - settings.LOOK_AT_IMAGES_EVERY)
        )
        .order_by("image_look__looked_at", "pk")
    )


def _look_at_tag(name: ImageName, tag: str, login: Credentials | None, gathered: Gathered) -> Look:
    referrers = [_referrer(each) for each in gathered.referring[:MAX_LISTED]]
    if not tag:
        return Look(LookState.SAME, "", "", referrers)
    try:
        named = registry.digest_of(replace(name, tag=tag, digest=""), login)
    except NotFound:
        return Look(LookState.UNTAGGED, "", "", referrers)
    state = LookState.SAME if named == name.digest else LookState.MOVED
    return Look(state, named, "", referrers)


def _referrer(each: Descriptor) -> dict[str, Any]:
    kind = each.artifact_type or each.media_type
    return {"digest": each.digest, "kind": kind, "size": each.size}


def _write(version: Version, found: Look, now: datetime) -> ImageLook:
    kept, _ = ImageLook.objects.update_or_create(
        version=version,
        defaults={
            "state": found.state,
            "tag_digest": found.tag_digest,
            "problem": found.problem,
            "looked_at": now,
            # What could not be asked may well still be there.
            **({} if found.state == LookState.UNKNOWN else {"referrers": found.referrers}),
        },
    )
    return kept


# ---- Carry to another registry -----------------------------------------------------------------
def target_of(version: Version, to: str) -> ImageName:
    """The name without a tag that the version's image has below the prefix `to`."""
    package = version.package
    return registry.parse(f"{to.strip('/')}/{package.repository.name}/{package.name}")


def tag_of(version: Version) -> str:
    """The tag of a version. Tags have no +, with which versions name their build."""
    return version.name.replace("+", "_")


def carry(
    version: Version,
    to: str,
    login: Credentials | None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Copy the version's image, and all that refers to it, below the prefix `to`, name it by the
    version there, and answer its pinned name (`…@sha256:…`) as the target gives it back.

    `login` is for the target. `progress` gets the bytes that are done and those that there are; it
    is called all the time, and what it raises ends the copy. To call this again goes on from there.
    """
    source = registry.parse(version.image)
    target, tag = target_of(version, to), tag_of(version)
    _require_free(replace(target, tag=tag), source.digest, login)
    copied = registry.copy(
        source,
        target,
        source_login=registries.login_for(version.package.repository, source),
        target_login=login,
        tags=[tag],
        progress=progress,
    )
    if copied.digest != source.digest:
        raise Invalid(f"{target} got {copied.digest}, where {source.digest} was approved.")
    return str(target.pinned(copied.digest))


def _require_free(tagged: ImageName, expected: str, login: Credentials | None) -> None:
    """A version never changes: its tag at the target is this very image, or is not there yet."""
    try:
        there = registry.digest_of(tagged, login)
    except NotFound:
        return
    if there != expected:
        raise Invalid(
            f"{tagged} is another image ({there}), which Sluice does not overwrite. Find out who "
            "pushed it, and remove the tag there if nobody needs it."
        )


def read_back(pinned: str, login: Credentials | None) -> None:
    """Ask for the manifest of `pinned`; Invalid where it is not there any more."""
    try:
        registry.manifest_of(registry.parse(pinned), login)
    except NotFound as error:
        raise Invalid(f"{pinned} is not there any more.") from error


def details_of(version: Version) -> dict[str, Any] | None:
    """What the image consists of, or None where its registry was never asked."""
    kept = getattr(version, "image_details", None)
    return json.loads(kept.details) if kept else None
