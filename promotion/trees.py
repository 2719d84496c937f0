"""A folder of versions, `<package>/<version>/<files…>`, as an import takes them in."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.artifacts import MAX_FILES, check_path
from pipelines.errors import Invalid
from promotion.incoming import Incoming, IncomingFile, Misfit

CHUNK = 1024 * 1024


class Tree:
    """With `flat`, the folder holds the versions of that one package itself.

    `only` names the folders of packages to look at, all when it is empty; `names` what a folder's
    package is called here where it is not the folder's own name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        only: Collection[str] = (),
        names: Mapping[str, str] | None = None,
        flat: str = "",
    ) -> None:
        self.folder = folder.absolute()
        self.only = frozenset(only)
        self.names = names or {}
        self.flat = flat

    @property
    def place(self) -> str:
        return shown(self.folder)

    def listing(self) -> Iterator[Incoming | Misfit]:
        if not self.folder.is_dir():
            raise Invalid(f"{self.place} is no folder.")
        if self.flat:
            yield from self._versions(self.folder, self.flat)
            return
        for entry in _entries(self.folder):
            if self.only and entry.name not in self.only:
                continue
            if why := _why_no_folder(entry, "a package"):
                yield Misfit(shown(entry), why)
            else:
                yield from self._versions(Path(entry), self.names.get(entry.name, entry.name))
        for name in sorted(self.only - {entry.name for entry in _entries(self.folder)}):
            yield Misfit(f"{self.place}/{name}", "There is no such folder. Check --package.")

    def _versions(self, folder: Path, package: str) -> Iterator[Incoming | Misfit]:
        for entry in _entries(folder):
            if why := _why_no_folder(entry, "a version"):
                yield Misfit(shown(entry), why)
            else:
                top = Path(entry)
                yield Incoming(
                    package,
                    entry.name,
                    shown(top),
                    lambda top=top: files_of(top, self.folder),  # type: ignore[misc]
                )


def shown(path: "os.PathLike[str]") -> str:
    """A path as it can be printed, whatever bytes are in it."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def files_of(top: Path, root: Path | None = None) -> list[IncomingFile]:
    """The files below `top` in the order of their paths. Raises for what no version may hold.

    `root` is the folder that `top` lies in, below which nothing is followed when it is read.
    """
    found: list[IncomingFile] = []
    for path in _walk(top):
        if len(found) == MAX_FILES:
            raise Invalid(
                f"It has more than {MAX_FILES} files. Put them into an archive and import that."
            )
        found.append(_file(top, path, root or top))
    return sorted(found, key=lambda file: file.path)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_symlink():
            raise Invalid(
                f"{shown(entry)} is a symbolic link. Put what it leads to in its place, or remove "
                "it: a version holds bytes, not the way to them."
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry)
        else:
            raise Invalid(f"{shown(entry)} is neither a file nor a folder. Remove it.")


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _why_no_folder(entry: "os.DirEntry[str]", noun: str) -> str:
    if entry.is_symlink():
        return f"It is a symbolic link where the folder of {noun} should be. Put the folder there."
    if not entry.is_dir(follow_symlinks=False):
        return f"It is no folder, and only the folder of {noun} can stand here. Move it into one."
    return ""


def _file(top: Path, path: Path, root: Path) -> IncomingFile:
    about = path.stat(follow_symlinks=False)

    @contextmanager
    def chunks() -> Iterator[Iterator[bytes]]:
        with os.fdopen(_open_below(root, path), "rb", buffering=0) as stream:
            yield iter(lambda: stream.read(CHUNK), b"")

    def sha256() -> str:
        hasher = hashlib.sha256()
        with chunks() as pieces:
            for piece in pieces:
                hasher.update(piece)
        return hasher.hexdigest()

    return IncomingFile(
        path=check_path(path.relative_to(top).as_posix()),
        size=about.st_size,
        executable=bool(about.st_mode & stat.S_IXUSR),
        sha256=sha256,
        open=chunks,
    )


def _open_below(root: Path, path: Path) -> int:
    """Open a file below `root` for reading, without following anything on the way.

    Between the look at it and now, it or a folder above it may have become a link that leads
    elsewhere, or it a pipe that nobody ever writes to.
    """
    *folders, name = path.relative_to(root).parts
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(each, flags, dir_fd=folder)
            os.close(folder)
            folder = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Invalid(f"{shown(path)} is no file any more. Leave the folder alone, and run again.")
    return handle
