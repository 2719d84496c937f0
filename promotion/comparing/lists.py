"""Lists of changes that are cut, and what each change is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Change = Literal["added", "removed", "changed"]
Each = TypeVar("Each")


@dataclass(frozen=True, slots=True)
class Cut(Generic[Each]):
    """The first of a list, and how many there are in all."""

    first: tuple[Each, ...]
    total: int

    @property
    def is_cut(self) -> bool:
        return self.total > len(self.first)

    @property
    def left_out(self) -> int:
        return self.total - len(self.first)


def cut(every: Sequence[Each], most: int) -> Cut[Each]:
    return Cut(tuple(every[:most]), len(every))


def change_of(before: object | None, after: object | None) -> Change:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def joined(lists: Sequence[Cut[Each]], most: int) -> Cut[Each]:
    """Several lists as one, cut again."""
    first: list[Each] = [each for every in lists for each in every.first]
    return Cut(tuple(first[:most]), sum(every.total for every in lists))
