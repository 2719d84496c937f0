"""What the API answers of an image: typed dictionaries, and how they are made from a version."""

from typing import TypedDict

from pipelines.api.shapes import timestamp
from promotion import descriptors, images
from promotion.models import ImageLook, Version


class LayerAnswer(TypedDict):
    digest: str
    size: int
    media_type: str


class PlatformAnswer(TypedDict):
    """One image of a list: for what it is built, and its layers from the lowest up."""

    platform: str
    digest: str
    media_type: str
    size: int
    layers: list[LayerAnswer]


class AttestationAnswer(TypedDict):
    """What a builder added to the list about one of its images."""

    digest: str
    about: str


class ReferrerAnswer(TypedDict):
    """A signature, a bill of materials: what its registry has that refers to an image."""

    digest: str
    kind: str
    size: int


class ImageAnswer(TypedDict):
    """An image as its registry described it when it was published, and at the last look since."""

    pinned: str
    tag: str
    digest: str
    looked_up: bool
    media_type: str | None
    size: int | None
    platforms: list[PlatformAnswer]
    attestations: list[AttestationAnswer]
    referrers: list[ReferrerAnswer]
    state: str | None
    drifted: bool
    tag_digest: str | None
    problem: str
    looked_at: str | None


def image_answer(version: Version) -> ImageAnswer | None:
    if not version.image:
        return None
    details = images.details_of(version)
    look: ImageLook | None = getattr(version, "image_look", None)
    return {
        "pinned": descriptors.image_address(version),
        "tag": version.image_tag,
        "digest": version.image.rpartition("@")[2],
        "looked_up": details is not None,
        "media_type": details["media_type"] if details else None,
        "size": details["size"] if details else None,
        "platforms": details["platforms"] if details else [],
        "attestations": details["attestations"] if details else [],
        "referrers": look.referrers if look else [],
        "state": look.state if look else None,
        "drifted": bool(look and look.has_drifted),
        "tag_digest": look.tag_digest or None if look else None,
        "problem": look.problem if look else "",
        "looked_at": timestamp(look.looked_at) if look else None,
    }
