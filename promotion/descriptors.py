"""Versions as Flow describes the artifacts of its package repositories."""

from dataclasses import dataclass

from django.urls import reverse

from pipelines import links
from promotion.models import Version


def download_path(version: Version) -> str:
    """Ends with the name of the file, which is what `curl -O` and `wget` keep it under."""
    package = version.package
    return reverse(
        "api:version-download-named",
        args=[package.repository.name, package.name, version.name, version.bundle_name],
    )


def image_address(version: Version) -> str:
    """The image by its digest alone. The tag stands beside it: several image tools refuse a name
    that has both."""
    name, _, digest = version.image.rpartition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{digest}"


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """The image as an environment has it in a registry of its own."""

    pinned: str
    tag: str


def descriptor(
    version: Version, *, placed: PlacedImage | None = None, owner: int | None = None
) -> dict[str, str]:
    """The descriptor with exactly the keys that Flow documents; of the image that is `placed`,
    where an environment was asked that has its own. Its link is given to the user `owner`."""
    if version.bundle is None:
        return {
            "artifact": version.package.name,
            "type": "dockerImage",
            "dockerUrl": placed.pinned if placed else image_address(version),
            "dockerTag": placed.tag if placed else version.image_tag,
        }
    path = download_path(version)
    return {
        "artifact": version.package.name,
        "type": "packages",
        "repoId": version.package.repository.name,
        "downloadUrl": links.signed(path, owner=owner),
        "version": version.name,
        "md5": version.bundle.md5,
    }


def properties(version: Version, *, placed: PlacedImage | None = None) -> dict[str, str]:
    """All that a reference can ask of a version: the descriptor, and its digests."""
    known = {
        **descriptor(version, placed=placed),
        "version": version.name,
        "digest": version.manifest_digest,
    }
    if version.bundle is not None:
        known |= {"sha256": version.bundle.sha256, "file": version.bundle_name}
    return known
