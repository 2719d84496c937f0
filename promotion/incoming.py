"""What an import takes in, wherever it lies: in a folder (trees.py) or in Packages (yunxiao.py)."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from promotion.ranges import semantic


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """One file of a version, not yet read. `size` is in bytes, None where nobody says."""

    path: str
    size: int | None
    executable: bool
    #: The SHA-256 in hex without taking the bytes over; None where it can only be had by reading.
    sha256: Callable[[], str | None]
    open: Callable[[], AbstractContextManager[Iterator[bytes]]]


@dataclass(frozen=True, slots=True)
class Incoming:
    """One version that may come in. Asking for its files may refuse it."""

    package: str
    version: str
    #: Where people find it: a path or an address without credentials.
    place: str
    files: Callable[[], Sequence[IncomingFile]]
    #: When the other side says it was made, in milliseconds; orders what has no better order.
    created: int = 0


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something that can be no version: where it is, and what is wrong and what to do."""

    place: str
    why: str


class Source(Protocol):
    """Where versions come from."""

    @property
    def place(self) -> str: ...

    def listing(self) -> Iterable[Incoming | Misfit]: ...


def oldest_first(versions: Iterable[Incoming]) -> list[Incoming]:
    """By package, and in each the order in which they are to be published.

    Names that are no semantic versions come before those that are, so that what is published last,
    and is the newest from then on, is the highest version wherever there is one.
    """
    return sorted(versions, key=_order)


def _order(incoming: Incoming) -> tuple[Any, ...]:
    parsed = semantic(incoming.version)
    if parsed is None:
        return incoming.package, 0, incoming.created, _natural(incoming.version)
    return incoming.package, 1, parsed, incoming.version


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers inside of names as numbers: build-9 before build-10."""
    return [
        (int(part[:18]), part) if position % 2 else (-1, part)
        for position, part in enumerate(re.split(r"([0-9]+)", name))
    ]
