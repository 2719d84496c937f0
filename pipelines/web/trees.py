"""Paths as a tree of folders, for a page to show."""

from collections.abc import Iterable
from dataclasses import dataclass, field

#: Folders further down are shown as one name: who nests deeper means to break the page.
DEEPEST = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a file, or whatever else an archive has. `address` is of the page about it."""

    path: str
    size: int | None = None
    digest: str = ""
    executable: bool = False
    #: What it is besides a file: "link to lib.so", "device".
    note: str = ""
    danger: str = ""
    address: str = ""
    #: The word on the link to `address`.
    act: str = ""
    download: str = ""
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    entry: Entry


@dataclass(slots=True)
class Folder:
    """`count` and `size` are of all that lies below."""

    name: str
    folders: list["Folder"] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    count: int = 0
    size: int = 0
    danger: str = ""


def tree(entries: Iterable[Entry]) -> Folder:
    """The folders and files of `entries`; folders that only hold one folder are one row."""
    top = Folder("")
    known: dict[tuple[str, ...], Folder] = {(): top}
    for entry in entries:
        parts = _parts(entry.path)
        if entry.is_folder:
            folder = _folder(known, tuple(parts[:DEEPEST]))
            folder.danger = folder.danger or entry.danger
            continue
        at = min(len(parts) - 1, DEEPEST)
        _folder(known, tuple(parts[:at])).leaves.append(Leaf("/".join(parts[at:]), entry))
        for end in range(at + 1):
            above = known[tuple(parts[:end])]
            above.count += 1
            above.size += entry.size or 0
    _join(top)
    return top


def _parts(path: str) -> list[str]:
    """The names along a path. What would lead outside is kept, so that it is seen."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/"):
        parts.insert(0, "/")
    return parts or [path or "(no name)"]


def _folder(known: dict[tuple[str, ...], Folder], parts: tuple[str, ...]) -> Folder:
    if parts not in known:
        known[parts] = Folder(parts[-1])
        _folder(known, parts[:-1]).folders.append(known[parts])
    return known[parts]


def _join(folder: Folder) -> None:
    for inner in folder.folders:
        while len(inner.folders) == 1 and not inner.leaves and not inner.danger:
            (only,) = inner.folders
            inner.name = f"{inner.name}/{only.name}".replace("//", "/")
            inner.folders, inner.leaves = only.folders, only.leaves
            inner.danger = only.danger
        _join(inner)
