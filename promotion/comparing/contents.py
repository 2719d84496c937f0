"""What differs in the bytes: files, and the layers of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from promotion.comparing.lists import Change, Cut, change_of, cut


# ---- Files -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class File:
    sha256: str
    size: int
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class FileChange:
    path: str
    change: Change
    before: File | None
    after: File | None

    @property
    def becomes(self) -> str:
        """Whether the system may start the file from now on, where just that has changed."""
        if self.before is None or self.after is None:
            return ""
        if self.before.is_executable == self.after.is_executable:
            return ""
        return "executable" if self.after.is_executable else "not executable"


@dataclass(frozen=True, slots=True)
class FileChanges:
    added: int
    removed: int
    changed: int
    unchanged: int
    listed: Cut[FileChange]


def compare_files(
    before: Mapping[str, File], after: Mapping[str, File], *, most: int
) -> FileChanges:
    changes = [
        FileChange(path, change_of(before.get(path), after.get(path)), before.get(path), new)
        for path in sorted(before.keys() | after.keys())
        if (new := after.get(path)) != before.get(path)
    ]
    counts = dict.fromkeys(("added", "removed", "changed"), 0)
    for each in changes:
        counts[each.change] += 1
    unchanged = len(after) - counts["added"] - counts["changed"]
    return FileChanges(**counts, unchanged=unchanged, listed=cut(changes, most))


def files_of(manifest: Mapping[str, Any]) -> dict[str, File]:
    """The files that a version's manifest vouches for. An image's names none."""
    return {
        each["path"]: File(each["sha256"], each["size"], each["executable"])
        for each in manifest.get("files", ())
    }


# ---- Images ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Layer:
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Platform:
    """An image for one platform, as its manifest says: `layers` from the lowest upwards."""

    digest: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class PlatformChange:
    name: str
    change: Change | Literal["unchanged"]
    digest_before: str | None
    digest_after: str | None
    added: Cut[Layer]
    removed: Cut[Layer]
    shared: int
    #: Of all that is added, listed or not: about what has to be transferred.
    added_size: int
    removed_size: int
    shared_size: int


@dataclass(frozen=True, slots=True)
class Image:
    """`platforms` by their names; None where no registry was asked for them."""

    digest: str
    platforms: Mapping[str, Platform] | None = None


@dataclass(frozen=True, slots=True)
class ImageChange:
    digest_before: str | None
    digest_after: str
    #: None where the registry of one of the two was never asked, so that nothing can be said.
    platforms: Cut[PlatformChange] | None


def compare_images(before: Image | None, after: Image, *, most: int) -> ImageChange:
    platforms = None
    if after.platforms is not None and (before is None or before.platforms is not None):
        old = before.platforms or {} if before else {}
        new = after.platforms
        platforms = cut(
            [
                _compare_platforms(name, old.get(name), new.get(name), most)
                for name in sorted(old.keys() | new.keys())
            ],
            most,
        )
    return ImageChange(before.digest if before else None, after.digest, platforms)


def _compare_platforms(
    name: str, before: Platform | None, after: Platform | None, most: int
) -> PlatformChange:
    # A manifest may name a layer twice, like the empty one; its bytes are there once.
    old = dict.fromkeys(before.layers) if before else {}
    new = dict.fromkeys(after.layers) if after else {}
    added = [layer for layer in new if layer not in old]
    removed = [layer for layer in old if layer not in new]
    shared = [layer for layer in new if layer in old]
    is_same = before is not None and after is not None and before.digest == after.digest
    return PlatformChange(
        name=name,
        change="unchanged" if is_same else change_of(before, after),
        digest_before=before.digest if before else None,
        digest_after=after.digest if after else None,
        added=cut(added, most),
        removed=cut(removed, most),
        shared=len(shared),
        added_size=sum(layer.size for layer in added),
        removed_size=sum(layer.size for layer in removed),
        shared_size=sum(layer.size for layer in shared),
    )
