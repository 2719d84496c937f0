"""What keeps a job to itself: a fresh folder, an operating system user of its own, limits.

A worker that is root gives each job a user that no other job on the machine has at the time. The
job's folder is laid out so that the job owns what it works in and nothing that the worker reads:

    job-x1/             the worker's; others may only pass through
      workspace/        the job's
      own/              the worker's: scripts, and the files behind $FLOW_ENV and the like
        home/  tmp/     the job's
"""

import contextlib
import fcntl
import logging
import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from pipelines.errors import Unavailable

log = logging.getLogger(__name__)

NOT_ENTERED = 0o711
IN_USE = ".in-use"
A_MOMENT = 60


class NoRoom(Unavailable):
    """The worker cannot give a job what it needs to begin. Somebody must look at the machine."""

    code = "no_room"
    title = "The worker has no room for the job"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job works, and as whom; `user` is None where it works as the worker itself."""

    workspace: Path
    own: Path
    user: int | None

    def give(self, path: Path) -> None:
        """Make the job's user the owner of a file or folder that the worker made for it."""
        if self.user is not None:
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def give_all(self, top: Path) -> None:
        """The same for a whole tree, whose links are not followed."""
        if self.user is None:
            return
        self.give(top)
        # By open folders and not by paths, which somebody could turn elsewhere meanwhile.
        for _, folders, files, at in os.fwalk(top, follow_symlinks=False):
            for name in (*folders, *files):
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                # A file that has a second name may be somebody's.
                if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                    os.chown(name, self.user, self.user, dir_fd=at, follow_symlinks=False)


def is_isolating() -> bool:
    """Whether this worker gives each job a user of its own."""
    return settings.ISOLATE_STEPS and os.geteuid() == 0 and sys.platform == "linux"


@contextmanager
def place() -> Iterator[Place]:
    """A fresh place for one job, that is gone afterwards, whatever the job left in it."""
    top = _workspaces()
    with _user() as user, _folder(top) as folder:
        try:
            folder.chmod(NOT_ENTERED)
            made = Place(folder / "workspace", folder / "own", user)
            made.workspace.mkdir(mode=0o700)
            made.own.mkdir(mode=NOT_ENTERED)
            made.give(made.workspace)
            for name in ("home", "tmp"):
                (made.own / name).mkdir(mode=0o700)
                made.give(made.own / name)
            yield made
        finally:
            _remove(folder)


@contextmanager
def _folder(top: Path) -> Iterator[Path]:
    """A folder of one job. While the job is at work, its worker holds a lock on a file in it."""
    folder = Path(tempfile.mkdtemp(dir=top, prefix="job-"))
    with (folder / IN_USE).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def remove_leftovers() -> int:
    """Remove the folders of jobs whose worker was killed; how many there were."""
    count = 0
    for folder in _workspaces().glob("job-*"):
        with contextlib.suppress(OSError):
            # Its lock is made a moment after the folder itself.
            if time.time() - folder.stat().st_mtime < A_MOMENT:
                continue
            with (folder / IN_USE).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
                count += 1
    return count


def _workspaces() -> Path:
    """The folder of all places, which must not be anybody else's when the worker is root."""
    folder = Path(settings.WORKSPACES_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=NOT_ENTERED)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NoRoom(
            f"{folder} is not a folder of this worker's own user. Remove it, or set "
            "SLUICE_WORKSPACES to another."
        )
    if is_isolating() and not found.st_mode & stat.S_IXOTH:
        folder.chmod(NOT_ENTERED)
    return folder


@contextmanager
def _user() -> Iterator[int | None]:
    """A user that no other job of this machine has, whichever site that job belongs to.

    All that a user runs is killed when its job ends, so two must never share one. A name among the
    kernel's abstract sockets is the lock: the same for all sites, and let go when a worker dies.
    """
    if not is_isolating():
        yield None
        return
    first, last = settings.STEP_USERS
    for user in range(first, last + 1):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
            try:
                lock.bind(f"\0sluice-user-{user}")
            except OSError:
                continue
            if _processes_of(user):
                # Something outlived its job there. Nobody gets this user until it is gone.
                log.error("Processes of the user %s run, and no job has it", user)
                continue
            yield user
            return
    raise NoRoom(f"All users from {first} to {last} are at work (SLUICE_STEP_USERS).")


def _processes_of(user: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
            users = next(line for line in lines if line.startswith("Uid:")).split()[1:4]
            # A dead one that nobody has asked after yet does no harm.
            is_dead = any(line.startswith("State:") and "Z" in line[:9] for line in lines)
            if str(user) in users and not is_dead:
                found.append(int(status.parent.name))
    return found


def _remove(folder: Path) -> None:
    """Remove a tree, however deep it is. Python's own way would call itself for each folder."""
    _quietly("rm", "-rf", "--", str(folder))
    if folder.exists():
        # A step may have taken the right to write from a folder; without root it binds us too.
        _quietly("chmod", "-R", "u+rwX", "--", str(folder))
        _quietly("rm", "-rf", "--", str(folder))


def _quietly(*argv: str) -> None:
    subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# ---- Limits ------------------------------------------------------------------------------------
def limits(user: int | None) -> Mapping[str, int]:
    """What the kernel holds each program of a step to, by the launcher's names for it."""
    found = {"core": 0, "file": settings.MAX_STEP_FILE_BYTES, "memory": _memory()}
    # The kernel counts processes by user. Root is not bound; a shared user has others besides.
    if user is not None:
        found["processes"] = settings.MAX_STEP_PROCESSES
    elif os.geteuid():
        found["processes"] = settings.MAX_STEP_PROCESSES + _threads_of(os.geteuid())
    return found


def _memory() -> int:
    configured: int = settings.MAX_STEP_MEMORY_BYTES
    if configured:
        return configured
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return resource.RLIM_INFINITY


def _threads_of(user: int) -> int:
    count = 0
    for entry in os.scandir("/proc") if Path("/proc").is_dir() else ():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == user:
                count += sum(1 for _ in Path(f"/proc/{entry.name}/task").iterdir())
    return count


def why_too_full(place: Place) -> str:
    """Why a job must stop for what it wrote, or empty. Walks the job's folders."""
    free = shutil.disk_usage(place.workspace).free
    if free < settings.MIN_FREE_BYTES:
        return (
            f"The worker's disk has only {free} bytes left, and {settings.MIN_FREE_BYTES} must "
            "stay free (SLUICE_MIN_FREE_BYTES). The step was stopped."
        )
    used = _used(place.workspace) + _used(place.own)
    if used > settings.MAX_WORKSPACE_BYTES:
        return (
            f"The job wrote {used} bytes; {settings.MAX_WORKSPACE_BYTES} are allowed "
            "(SLUICE_MAX_WORKSPACE_BYTES). The step was stopped."
        )
    return ""


def _used(top: Path) -> int:
    """Bytes on disk below `top`, as far as they can be seen while they change."""
    total = 0
    waiting = [str(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        except OSError:
            continue
    return total
