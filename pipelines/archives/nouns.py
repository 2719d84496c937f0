"""What a listing is made of, and how much work may be done for one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pipelines.errors import Invalid

MIB = 1024**2


class MemberKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    DEVICE = "device"
    OTHER = "other"


class Danger(StrEnum):
    """What would go wrong if a careless program unpacked the member. The words are for people."""

    OUTSIDE = "leads outside"
    BEHIND_LINK = "lies behind a link"
    DEVICE = "device"
    BOMB = "unpacks to far more than it is"
    SETUID = "runs with its owner’s rights"
    TWICE = "a name that came before"
    HIDDEN = "hidden characters in the name"


#: With these an archive is not extracted by a step.
LEADING_OUT = frozenset({Danger.OUTSIDE, Danger.BEHIND_LINK, Danger.DEVICE})


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive, as the archive has it: nothing in it was checked.

    `path` is text whatever its bytes are; `size` is in bytes, None where only reading would tell.
    """

    path: str
    size: int | None
    kind: MemberKind = MemberKind.FILE
    link_target: str = ""
    mode: int | None = None
    danger: Danger | None = None

    @property
    def executable(self) -> bool:
        return self.kind == MemberKind.FILE and bool((self.mode or 0) & 0o111)


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in an archive, in its own order; a member is named by its position in `members`.

    `count` and `total` (bytes, unpacked) are of all members that were counted, which are more than
    those in `members` where the listing is truncated.
    """

    kind: str
    members: tuple[Member, ...]
    count: int
    total: int
    is_truncated: bool = False
    warnings: tuple[str, ...] = ()
    #: Whether another look at the same bytes may come further.
    is_hurried: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far one look goes. All that an archive says of itself is weighed against these."""

    shown: int = 10_000
    counted: int = 100_000
    #: Bytes of all names and link targets in one listing.
    names: int = 4 * MIB
    #: Bytes that are decompressed for one look.
    unpacked: int = 256 * MIB
    #: What unpacks to more than `ratio` times itself, and to more than `small`, is a bomb.
    ratio: int = 500
    small: int = 64 * MIB
    #: Bytes of a zip's directory.
    directory: int = 64 * MIB
    seconds: float = 10.0


BOUNDS = Bounds()


class Stopped(Exception):
    """The look has gone as far as it may; the text says why the rest is not shown."""


class OutOfTime(Stopped):
    """How far a look comes in its time is another thing each time."""


class Damaged(Exception):
    """From here on the bytes are no archive of this kind; the text says what was found."""


class Budget:
    """What is left of the bounds while one archive of `size` stored bytes is looked into.

    No decompressor can be interrupted from inside, so each works in small pieces and asks here
    between them.
    """

    def __init__(
        self, bounds: Bounds, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.bounds = bounds
        self.size = size
        self._clock = clock
        self._end = clock() + bounds.seconds
        self._unpacked = 0

    def spend_time(self) -> None:
        if self._clock() > self._end:
            raise OutOfTime(f"Looking at it took more than {self.bounds.seconds:g} seconds.")

    def spend(self, unpacked: int) -> None:
        """Note that so many bytes more were decompressed."""
        self.spend_time()
        self._unpacked += unpacked
        self.refuse_bomb(self._unpacked)
        if self._unpacked > self.bounds.unpacked:
            raise Stopped(f"Only the first {self.bounds.unpacked // MIB} MiB of it were unpacked.")

    def refuse_bomb(self, unpacked: int) -> None:
        if self.is_bomb(unpacked, self.size):
            raise Invalid(
                f"This archive of {self.size} bytes unpacks to more than {self.bounds.ratio} times "
                "as many. Only an archive that is made to do harm does, so it is not looked into."
            )

    def is_bomb(self, unpacked: int, packed: int) -> bool:
        return unpacked > self.bounds.small and unpacked > self.bounds.ratio * packed
