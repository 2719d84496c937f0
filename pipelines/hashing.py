"""Both digests of the same bytes in one pass."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

# Below this, handing the bytes to another thread costs more than it saves (docs/decisions/0010).
WIDE = 512 * 1024
CPUS = len(os.sched_getaffinity(0))
_pool: tuple[int, ThreadPoolExecutor] | None = None


class Digests:
    """SHA-256, which names the bytes, and MD5, which is Flow's name for an artifact and proves
    nothing. Of larger pieces MD5 is computed by another thread meanwhile: hashlib lets go of the
    interpreter."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if len(chunk) < WIDE or CPUS < 2:
            self._sha256.update(chunk)
            self._md5.update(chunk)
            return
        other = threads().submit(self._md5.update, chunk)
        self._sha256.update(chunk)
        other.result()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()


def threads() -> ThreadPoolExecutor:
    """This process's own: threads do not come along when a process forks."""
    global _pool  # noqa: PLW0603  # one for all who hash
    if _pool is None or _pool[0] != os.getpid():
        _pool = os.getpid(), ThreadPoolExecutor(CPUS, thread_name_prefix="hashing")
    return _pool[1]
