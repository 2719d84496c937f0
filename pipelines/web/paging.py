"""Lists page by page: newest first by key, or in order by number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")
SIZE = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """The rows to show, and the addresses of the pages beside this one."""

    rows: Sequence[Item]
    previous: str | None
    next: str | None


def newest_first(
    request: HttpRequest, rows: "QuerySet[Row]", *, key: str = "pk", size: int = SIZE
) -> Page[Row]:
    """A page by cursor, so that what comes in while people read shifts nothing."""
    before, after = _number(request, "before"), _number(request, "after")
    if after is not None:
        # The nearest newer ones are read upwards and shown downwards.
        found = list(rows.filter(**{f"{key}__gt": after}).order_by(key)[: size + 1])
        newer, found = len(found) > size, found[:size][::-1]
        older = True
    else:
        if before is not None:
            rows = rows.filter(**{f"{key}__lt": before})
        found = list(rows.order_by(f"-{key}")[: size + 1])
        newer, older, found = before is not None, len(found) > size, found[:size]
    return Page(
        found,
        _address(request, after=_value(found[0], key)) if newer and found else None,
        _address(request, before=_value(found[-1], key)) if older and found else None,
    )


def in_order(request: HttpRequest, rows: "QuerySet[Row]", *, size: int = SIZE) -> Page[Row]:
    """A page by number, for lists that are ordered by name and grow slowly."""
    start, end = _span(request, size)
    return _numbered(request, list(rows[start:end]), size)


def of_list(request: HttpRequest, items: Sequence[Item], *, size: int = SIZE) -> Page[Item]:
    """A page by number of what is in memory already."""
    start, end = _span(request, size)
    return _numbered(request, items[start:end], size)


def _span(request: HttpRequest, size: int) -> tuple[int, int]:
    """From where to where to read: one more than is shown tells whether there is a next page."""
    start = (_page_number(request) - 1) * size
    return start, start + size + 1


def _page_number(request: HttpRequest) -> int:
    return max(_number(request, "page") or 1, 1)


def _numbered(request: HttpRequest, found: Sequence[Item], size: int) -> Page[Item]:
    number = _page_number(request)
    return Page(
        found[:size],
        _address(request, page=number - 1) if number > 1 else None,
        _address(request, page=number + 1) if len(found) > size else None,
    )


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    # A database counts no further than 63 bits; a longer number is nobody's cursor.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def _value(row: Model, key: str) -> Any:
    return row.pk if key == "pk" else getattr(row, key)


def _address(request: HttpRequest, **changes: Any) -> str:
    query = request.GET.copy()
    for name in ("before", "after", "page"):
        query.pop(name, None)
    for name, value in changes.items():
        query[name] = str(value)
    return f"?{query.urlencode()}"
