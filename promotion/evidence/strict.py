"""JSON as evidence must be: one meaning whoever reads it, within bounds. Pure."""

import json
from typing import Any, NoReturn

from pipelines.errors import Invalid

#: No report, statement or bill of materials that anybody means is nested deeper.
DEEPEST = 64


def load(text: str, what: str = "The evidence") -> Any:
    """The value of `text`. A key that stands twice is refused: one reader would see the first of
    its values and the next one the last, so that what was checked is not what was signed."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError as error:
        raise Invalid(f"{what} is nested deeper than {DEEPEST} levels.") from error
    except ValueError as error:
        raise Invalid(f"{what} is not JSON: {error}.") from error
    _check_depth(value, what)
    return value


def load_object(text: str, what: str = "The evidence") -> dict[str, Any]:
    value = load(text, what)
    if not isinstance(value, dict):
        raise Invalid(f"{what} must be a JSON object.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key “{key[:64]}” stands twice in one object")
            seen.add(key)
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: Any, what: str) -> None:
    """Level by level, so that depth costs no stack."""
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise Invalid(f"{what} is nested deeper than {DEEPEST} levels.")
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        level, depth = [each for each in inner if isinstance(each, dict | list)], depth + 1
