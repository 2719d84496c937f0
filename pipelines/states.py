"""State machines: an enum that knows its edges, and the one way to move along them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar

from django.db import models

from pipelines.errors import WrongState


class State(models.TextChoices):
    """Base of every state enum. A subclass draws its machine and lists its edges."""

    @classmethod
    def edges(cls) -> dict[Self, frozenset[Self]]:
        raise TypeError(f"{cls.__name__} does not draw its edges")

    @classmethod
    def reopenings(cls) -> dict[Self, frozenset[Self]]:
        """Where somebody may have a row begin anew that has come to an end. None by default."""
        return {}

    @property
    def targets(self) -> frozenset[Self]:
        return type(self).edges().get(self, frozenset())

    @property
    def sources(self) -> frozenset[Self]:
        return frozenset(state for state, to in type(self).edges().items() if self in to)

    @property
    def reopened_from(self) -> frozenset[Self]:
        return frozenset(state for state, to in type(self).reopenings().items() if self in to)

    @property
    def is_final(self) -> bool:
        return not self.targets

    @classmethod
    def open_states(cls) -> list[Self]:
        return [state for state in cls if not state.is_final]


class Stateful(models.Model):
    """A row with a `state` that only `move` changes."""

    state: Any

    class Meta:
        abstract = True


Row = TypeVar("Row", bound=Stateful)
NO_CONDITION: Mapping[str, Any] = MappingProxyType({})


def move(row: Row, to: State, *, only: Mapping[str, Any] = NO_CONDITION, **changes: Any) -> Row:
    """Move `row` to the state `to` by compare and swap, together with `changes`.

    Raises WrongState, having changed nothing, when the row is not in a state with an edge to `to`
    at the moment of writing, whatever the caller read before. `only` adds conditions, like the
    attempt that the caller works for.
    """
    return _swap(row, to, to.sources, only, changes)


def reopen(row: Row, to: State, **changes: Any) -> Row:
    """Have a row that has come to an end begin anew at `to`, by compare and swap like `move`.

    Apart from `move`, so that nothing reopens a row that did not mean to.
    """
    return _swap(row, to, to.reopened_from, NO_CONDITION, changes)


def _swap(
    row: Row,
    to: State,
    sources: frozenset[Any],
    only: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> Row:
    # A look at another table would become a subquery, whose answer PostgreSQL does not ask for
    # again after it has waited for the row: two could win.
    assert not any("__" in key for key in only), "compare with the row's own columns"
    manager = type(row)._default_manager
    moved = manager.filter(pk=row.pk, state__in=sources, **only).update(state=to, **changes)
    if not moved:
        current = manager.values_list("state", flat=True).get(pk=row.pk)
        noun = row._meta.verbose_name
        raise WrongState(
            f"This {noun} is {current}; only from "
            f"{', '.join(sorted(sources)) or 'no state'} can it become {to}.",
            current=str(current),
        )
    row.refresh_from_db()
    return row
