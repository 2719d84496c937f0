"""Reading and writing where a step may have put anything in a file's place.

A link may lead where the step could not, and a pipe or device would be read for ever. So only plain
files are read, and a file is written anew, never into what lies there.
"""

import contextlib
import os
import stat
from pathlib import Path


def read_plain(path: Path, most: int) -> bytes:
    """The beginning of a plain file; nothing of whatever else is there."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as stream:
        return stream.read(most) if stat.S_ISREG(os.fstat(handle).st_mode) else b""


def write_private(path: Path, data: bytes, *, owner: int | None = None) -> None:
    """A new file for its owner's eyes alone, in the place of whatever lies at `path`.

    `owner` is whose it becomes; None leaves it with the worker. The folder may be the step's own,
    but not the way to it.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(path.name, flags, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as stream:
            if owner is not None:
                os.fchown(handle, owner, owner)
            stream.write(data)
    finally:
        os.close(folder)
