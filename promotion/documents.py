"""Policies as YAML: text to plain values that know their lines, and back. Pure.

The reader is the Flow language's own, with its bounds: no tags, no duplicate keys, no endless
aliases, in bounded time and memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from pipelines.flow.nodes import ListNode, MapNode, Node, ScalarNode, read_nodes
from pipelines.flow.problems import Problem, Problems
from pipelines.flow.text import read_text

#: Path to line and column, both from 1.
Places = Callable[[str], tuple[int, int]]
LONGEST_PATH = 500


class Unreadable(ValueError):
    """The text is no YAML mapping; `problems` says where and why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("the text is no YAML mapping")
        self.problems = list(problems)


def read_mapping(text: str, *, what: str) -> Mapping[str, Any]:
    """The mapping that `text` holds, an empty one where nothing is written. Raises Unreadable."""
    problems = Problems()
    root = _root(text, problems)
    if [problem.code for problem in problems.sorted()] in (["empty_document"], []) and root is None:
        return {}
    if root is not None and not isinstance(root, MapNode):
        said = f"{what} is a mapping of keys to values"
        problems.add("wrong_type", said, line=root.line, column=root.column)
    found = [problem for problem in problems.sorted() if problem.severity == "error"]
    if found or not isinstance(root, MapNode):
        raise Unreadable(found)
    value: Mapping[str, Any] = _value(root)
    return value


def places(text: str) -> Places:
    """Where the value at a path stands, or the closest one around it that was written."""
    found: dict[str, tuple[int, int]] = {}
    root = _root(text, Problems())
    if root is not None:
        _note(root, "", found)

    def place(path: str) -> tuple[int, int]:
        while path and path not in found:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return found.get(path, (1, 1))

    return place


def write_mapping(value: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order."""
    written: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=88)
    return written


def _root(text: str, problems: Problems) -> Node | None:
    characters = read_text(text, problems)
    return read_nodes(characters, problems) if characters is not None else None


def _value(node: Node) -> Any:
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [_value(each) for each in node.items]
    return {key: _value(each) for key, (_, each) in node.entries.items()}


def _note(node: Node, path: str, found: dict[str, tuple[int, int]]) -> None:
    if len(path) > LONGEST_PATH:
        # Nothing that is known lies as deep, and keys as long as a text would take all memory.
        return
    found.setdefault(path, (node.line, node.column))
    if isinstance(node, ListNode):
        for number, each in enumerate(node.items):
            _note(each, f"{path}[{number}]", found)
    elif isinstance(node, MapNode):
        for key, (written, each) in node.entries.items():
            here = f"{path}.{key}" if path else key
            found[here] = (written.line, written.column)
            _note(each, here, found)
