"""Local storage that keeps what it was given: durable, and never half visible."""

import errno
import os
from pathlib import Path
from typing import Any, cast

from django.core.files import File
from django.core.files.storage import FileSystemStorage


class DurableFileSystemStorage(FileSystemStorage):
    """Content-addressed files in a local folder.

    Django's own FileSystemStorage never syncs and silently takes another name when one is taken.
    Here a file that was staged on the same file system is linked into place after its bytes have
    been synced, and the folder is synced after that. A name that is taken already holds the same
    bytes, because names are digests, and is left alone.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        final = Path(self.path(name))
        make_durable_folder(final.parent, Path(self.location))
        staged = Path(cast(Any, content).temporary_file_path())
        try:
            os.link(staged, final)
        except FileExistsError:
            # Whoever linked it may not have synced the folder yet.
            pass
        except OSError as error:
            # Some network file systems have no links; a rename is as atomic, and replaces a file
            # of the same digest by the same bytes.
            if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}:
                raise
            staged.rename(final)
        sync_folder(final.parent)
        return name


def make_durable_folder(folder: Path, top: Path) -> None:
    """Make `folder` and its parents below `top`, syncing each parent that gained an entry."""
    if folder.is_dir():
        return
    if folder != top:
        make_durable_folder(folder.parent, top)
    folder.mkdir(exist_ok=True, mode=0o750)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
