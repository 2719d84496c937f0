"""YAML text to a tree of nodes that know their place, in bounded time and memory.

PyYAML's events are pulled one at a time and everything else is done here, because the usual
loaders merge duplicate keys silently, forget where values stood, recurse with the document and
expand aliases without limit. Limits are therefore met while reading, not after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast

import yaml

from pipelines.flow.document import Value
from pipelines.flow.problems import Problems
from pipelines.flow.text import report_syntax

DEPTH_LIMIT: Final = 50
VALUE_LIMIT: Final = 300_000
ALIAS_LIMIT: Final = 20_000  # repeated values, a long text counting as several

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_FLOAT = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class Mark(Protocol):
    """A place as both of PyYAML's parsers give it, counting from 0."""

    line: int
    column: int
    index: int


class ScalarNode:
    """A scalar: `text` as written (after YAML's unquoting) and `value` as read."""

    __slots__ = ("column", "end", "height", "line", "start", "text", "value", "weight")

    def __init__(self, text: str, value: Value, begin: Mark, end: Mark) -> None:
        self.text = text
        self.value = value
        self.line = begin.line + 1
        self.column = begin.column + 1
        self.start = begin.index
        self.end = end.index
        self.weight = 1 + len(text) // 50
        self.height = 0


class ListNode:
    __slots__ = ("column", "height", "items", "line", "weight")

    def __init__(self, line: int, column: int) -> None:
        self.items: list[Node] = []
        self.line = line
        self.column = column
        self.weight = 1
        self.height = 1


class MapNode:
    """A mapping by the text of its keys; the first of two equal keys is kept."""

    __slots__ = ("column", "entries", "height", "line", "weight")

    def __init__(self, line: int, column: int) -> None:
        self.entries: dict[str, tuple[ScalarNode, Node]] = {}
        self.line = line
        self.column = column
        self.weight = 1
        self.height = 1


Node: TypeAlias = ScalarNode | ListNode | MapNode


class _Stop(Exception):
    """Reading ends here; the problem that says why is already recorded."""


@dataclass(slots=True)
class _Frame:
    """A collection that is being read, and under which anchor."""

    node: ListNode | MapNode
    anchor: str | None
    key: ScalarNode | None = None
    skip: bool = False  # the value that comes next has no usable key


def read_nodes(text: str, problems: Problems) -> Node | None:
    """The tree of the first document, or None with the reason recorded in `problems`."""
    builder = _Builder(text, problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _Stop:
        return builder.root if builder.complete else None
    except yaml.MarkedYAMLError as error:
        report_syntax(text, error, problems)
        return None
    except yaml.YAMLError as error:
        problems.add("yaml_syntax", f"this is not YAML: {error}", line=1, column=1)
        return None
    if builder.root is None:
        problems.add(
            "empty_document",
            "the document is empty; a definition needs at least `stages`",
            line=1,
            column=1,
        )
    return builder.root


def read_scalar(text: str) -> Value:
    """The value of an unquoted scalar.

    A number is read as one only where its text can be had back from it: `1.10`, `007` and `1e3`
    stay text, since versions and commit ids look like that and nothing may be lost from them.
    """
    if text in _NULLS:
        return None
    if text == "true":
        return True
    if text == "false":
        return False
    if text[0] in "-0123456789":
        if _INTEGER.fullmatch(text):
            integer = int(text)
            return integer if str(integer) == text else text
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if str(number) == text else text
    return text


class _Builder:
    """Takes events in order and keeps the tree, without recursion."""

    def __init__(self, text: str, problems: Problems) -> None:
        self.root: Node | None = None
        self.complete = False
        self._text = text
        self._problems = problems
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._values = 0
        self._repeated = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._count(event)
            self._refuse_tag(event, event.tag)
            plain = event.style is None or event.style == ""
            value = read_scalar(event.value) if plain else event.value
            node = ScalarNode(event.value, value, _begin(event), _mark(event.end_mark))
            if event.anchor is not None:
                self._anchors[event.anchor] = node
            self._place_node(node)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.complete:
            self._problem(
                event, "multiple_documents", "a second document begins here; keep one to a file"
            )
            raise _Stop
        elif isinstance(event, yaml.DocumentEndEvent):
            # A document that holds only a comment or `---` is an empty one.
            root = self.root
            if isinstance(root, ScalarNode) and root.start == root.end:
                self.root = None
            self.complete = True

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self._count(event)
        self._refuse_tag(event, event.tag)
        if len(self._frames) >= DEPTH_LIMIT:
            self._problem(
                event, "too_deep", f"values are nested more than {DEPTH_LIMIT} deep; flatten them"
            )
            raise _Stop
        kind = MapNode if isinstance(event, yaml.MappingStartEvent) else ListNode
        mark = _begin(event)
        node = kind(mark.line + 1, mark.column + 1)
        if event.anchor is not None:
            # An anchor that is still open is known, so that an alias to it is called recursive.
            self._anchors[event.anchor] = node
        self._frames.append(_Frame(node, event.anchor))

    def _close(self) -> None:
        node = self._frames.pop().node
        if isinstance(node, MapNode) and "<<" in node.entries:
            self._merge(node)
        self._place_node(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        self._count(event)
        anchor = event.anchor or ""
        node = self._anchors.get(anchor)
        if node is None:
            self._problem(
                event,
                "unknown_alias",
                f"no anchor `&{anchor}` stands before this alias"
                + self._problems.did_you_mean(anchor, self._anchors),
            )
            raise _Stop
        if any(frame.node is node for frame in self._frames):
            self._problem(event, "recursive_alias", f"`*{anchor}` stands inside the value it names")
            raise _Stop
        self._repeated += node.weight
        if self._repeated > ALIAS_LIMIT:
            self._problem(
                event,
                "alias_limit",
                f"aliases repeat more than {ALIAS_LIMIT} values; write fewer of them",
            )
            raise _Stop
        if len(self._frames) + node.height > DEPTH_LIMIT:
            self._problem(
                event, "too_deep", f"values are nested more than {DEPTH_LIMIT} deep; flatten them"
            )
            raise _Stop
        self._place_node(node, event)

    def _place_node(self, node: Node, event: yaml.AliasEvent | None = None) -> None:
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        parent = frame.node
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif frame.skip:
            frame.skip = False
        elif frame.key is None:
            self._take_key(frame, parent, node, event)
        else:
            parent.entries[frame.key.text] = (frame.key, node)
            frame.key = None

    def _take_key(
        self, frame: _Frame, parent: MapNode, node: Node, event: yaml.AliasEvent | None
    ) -> None:
        line, column = node.line, node.column
        if event is not None:
            line, column = _begin(event).line + 1, _begin(event).column + 1
        if not isinstance(node, ScalarNode) or node.value is None or not node.text:
            self._problems.add(
                "bad_key",
                "a key must be a plain word; quote it if it looks like something else",
                line=line,
                column=column,
                path=self._path(),
            )
            frame.skip = True
        elif node.text in parent.entries:
            first = parent.entries[node.text][0]
            self._problems.add(
                "duplicate_key",
                f"`{shorten(node.text)}` is already written in line {first.line}; "
                "rename or remove one of them",
                line=line,
                column=column,
                path=join(self._path(), node.text),
            )
            frame.skip = True
        else:
            frame.key = node

    def _merge(self, node: MapNode) -> None:
        """`<<: *defaults`, as YAML 1.1 has it: keys written here win over merged ones."""
        key, value = node.entries.pop("<<")
        parts = value.items if isinstance(value, ListNode) else [value]
        for part in parts:
            if not isinstance(part, MapNode):
                self._problems.add(
                    "wrong_type",
                    "`<<` merges mappings; give it an alias of a mapping",
                    line=key.line,
                    column=key.column,
                    path=join(self._path(), "<<"),
                )
                continue
            for name, entry in part.entries.items():
                node.entries.setdefault(name, entry)

    def _refuse_tag(self, event: yaml.Event, tag: str | None) -> None:
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(
                event,
                "tag",
                f"the tag `{shorten(shown)}` is not allowed; remove it (quote a value to keep "
                "it text)",
            )

    def _count(self, event: yaml.Event) -> None:
        self._values += 1
        if self._values > VALUE_LIMIT:
            self._problem(
                event, "too_many_values", f"the document holds more than {VALUE_LIMIT} values"
            )
            raise _Stop

    def _problem(self, event: yaml.Event, code: str, message: str) -> None:
        mark = _begin(event)
        self._problems.add(
            code, message, line=mark.line + 1, column=mark.column + 1, path=self._path()
        )

    def _path(self) -> str:
        path = ""
        for frame in self._frames:
            if isinstance(frame.node, ListNode):
                path += f"[{len(frame.node.items)}]"
            elif frame.key is not None:
                path = join(path, frame.key.text)
        return path


def _mark(mark: object) -> Mark:
    # The stubs allow None, which neither parser ever gives.
    return cast(Mark, mark)


def _begin(event: yaml.Event) -> Mark:
    return _mark(event.start_mark)


def join(path: str, key: str) -> str:
    return f"{path}.{shorten(key)}" if path else shorten(key)


def shorten(text: str, limit: int = 80) -> str:
    """Text for a message or a path: one line, and no longer than a person would read."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
