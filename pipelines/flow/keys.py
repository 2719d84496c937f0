"""Reading single keys of a mapping, whichever mapping it is, with the faults of their shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pipelines.flow.document import Value
from pipelines.flow.nodes import ListNode, MapNode, Node, ScalarNode, join, shorten
from pipelines.flow.problems import Problems, Severity

# Longer paths are not remembered: thousands of them would fill the memory, and the place of
# what is around them serves as well.
PATH_LIMIT: Final = 400

_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class KeyReader:
    """`places` and `keys` are filled with the nodes of what was read, by path."""

    def __init__(self, problems: Problems, places: dict[str, Node], keys: dict[str, Node]) -> None:
        self._problems = problems
        self._places = places
        self._keys = keys

    def _entry(self, node: MapNode, key: str, path: str) -> tuple[ScalarNode, Node] | None:
        """The key's nodes; None where it is absent or empty, which mean the same."""
        entry = node.entries.get(key)
        if entry is None:
            return None
        written, value = entry
        self._places[join(path, key)] = value if isinstance(value, ScalarNode) else written
        if isinstance(value, ScalarNode) and value.value is None:
            return None
        return entry

    def _string(self, node: MapNode, key: str, path: str) -> str | None:
        entry = self._entry(node, key, path)
        if entry is None:
            return None
        value = entry[1]
        if not isinstance(value, ScalarNode):
            self._wrong(value, join(path, key), "text")
            return None
        return value.text

    def _strings(self, node: MapNode, key: str, path: str) -> tuple[str, ...] | None:
        """A list of texts, or a single text that stands for a list of one."""
        entry = self._entry(node, key, path)
        if entry is None:
            return None
        value = entry[1]
        path = join(path, key)
        if isinstance(value, ScalarNode):
            return (value.text,)
        if isinstance(value, MapNode):
            self._wrong(value, path, "a list of texts")
            return None
        texts: list[str] = []
        for index, item in enumerate(value.items):
            self._places[f"{path}[{index}]"] = item
            if isinstance(item, ScalarNode) and item.value is not None:
                texts.append(item.text)
            else:
                self._wrong(item, f"{path}[{index}]", "text")
        return tuple(texts)

    def _free_mapping(
        self, node: MapNode, key: str, path: str, known: tuple[str, ...] = ()
    ) -> Mapping[str, Value]:
        entry = self._entry(node, key, path)
        if entry is None:
            return {}
        value = entry[1]
        path = join(path, key)
        if not isinstance(value, MapNode):
            self._wrong(value, path, "a mapping")
            return {}
        if known:
            self._unknown_keys(value, known, path)
        return {
            name: self._value(each, join(path, name), written)
            for name, (written, each) in value.entries.items()
        }

    def _value_of(self, node: MapNode, key: str, path: str) -> Value:
        entry = self._entry(node, key, path)
        return self._value(entry[1], join(path, key), entry[0]) if entry is not None else None

    def _value(self, node: Node, path: str, key: ScalarNode | None = None) -> Value:
        """Plain data. Recursion is safe: the tree is no deeper than the limit."""
        if len(path) <= PATH_LIMIT:
            if key is not None:
                self._keys[path] = key
            of_key = key is not None and not isinstance(node, ScalarNode)
            self._places[path] = key if key is not None and of_key else node
        if isinstance(node, ScalarNode):
            return node.value
        if isinstance(node, ListNode):
            return [self._value(each, f"{path}[{n}]") for n, each in enumerate(node.items)]
        return {
            name: self._value(each, join(path, name), written)
            for name, (written, each) in node.entries.items()
        }

    def _mappings(
        self, node: MapNode, key: str, path: str, what: str
    ) -> Iterator[tuple[ScalarNode, MapNode, str]]:
        """The entries of a mapping from ids to mappings: sources, stages, jobs or steps."""
        entry = node.entries.get(key)
        if entry is None:
            return
        written, value = entry
        path = join(path, key)
        self._places[path] = written
        if not isinstance(value, MapNode):
            self._wrong(
                value, path, f"a mapping from each {what}'s id to what the {what} is", at=written
            )
            return
        if not value.entries and what != "source":
            self._fault("missing_key", written, path, f"`{key}` is empty; it needs a {what}")
        for name, (id_, each) in value.entries.items():
            here = join(path, name)
            self._places[here] = id_
            if isinstance(each, MapNode):
                yield id_, each, here
            else:
                self._wrong(each, here, f"a mapping that describes the {what}", at=id_)

    def _id(self, key: ScalarNode, path: str, length: int, what: str) -> None:
        if not _ID.fullmatch(key.text) or len(key.text) > length:
            self._fault(
                "bad_id",
                key,
                path,
                f"`{shorten(key.text)}` cannot be the id of a {what}: begin with a letter, go on "
                f"with letters, digits or `_`, at most {length} characters",
            )

    def _unknown_keys(self, node: MapNode, known: tuple[str, ...], path: str) -> None:
        for name in self._strangers(node, known):
            self._fault(
                "unknown_key",
                node.entries[name][0],
                join(path, name),
                f"`{shorten(name)}` means nothing here and is ignored"
                + self._problems.did_you_mean(name, known),
                severity="warning",
            )

    def _strangers(self, node: MapNode, known: Iterable[str]) -> list[str]:
        return [name for name in node.entries if name not in known]

    def _choice(self, node: Node, path: str, given: str, choices: tuple[str, ...]) -> None:
        allowed = ", ".join(f"`{each}`" for each in choices)
        self._fault(
            "bad_choice",
            node,
            path,
            f"`{shorten(given)}` is none of {allowed}"
            + self._problems.did_you_mean(given, choices),
        )

    def _wrong(self, node: Node, path: str, wanted: str, at: Node | None = None) -> None:
        absent = isinstance(node, ScalarNode) and node.value is None
        place = at if at is not None and absent else node
        last = path.rpartition(".")[2]
        self._fault("wrong_type", place, path, f"`{last}` must be {wanted}")

    def _fault(
        self, code: str, node: Node, path: str, message: str, severity: Severity = "error"
    ) -> None:
        self._problems.add(
            code, message, line=node.line, column=node.column, path=path, severity=severity
        )
