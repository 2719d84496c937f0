"""Text to a definition, with every problem of its shape. Nothing here raises for bad input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipelines.flow.document import Definition, Position
from pipelines.flow.nodes import ListNode, MapNode, Node, ScalarNode, read_nodes
from pipelines.flow.problems import Problem, Problems
from pipelines.flow.reader import Reader
from pipelines.flow.text import read_text

__all__ = ["Parsed", "Positions", "parse"]


class Positions(Mapping[str, Position]):
    """Path to place, made when asked for: a large document has far more values than problems."""

    __slots__ = ("_keys", "_nodes", "_text")

    def __init__(
        self, nodes: Mapping[str, Node], text: str, keys: Mapping[str, Node] | None = None
    ) -> None:
        self._nodes = nodes
        self._text = text
        self._keys = keys if keys is not None else {}

    def __getitem__(self, path: str) -> Position:
        node = self._nodes[path]
        return Position(node.line, node.column)

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def nearest(self, path: str) -> Position:
        """The place of a path, or of the closest value around it that was written."""
        while path:
            if path in self._nodes:
                return self[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return Position(1, 1)

    def of_key(self, path: str) -> Position:
        """Where the key is written whose value is at `path`."""
        node = self._keys.get(path)
        return Position(node.line, node.column) if node is not None else self.nearest(path)

    def walker(self, path: str) -> Walker:
        """Finds successive pieces of the scalar at `path`, for places inside a long text."""
        node = self._nodes.get(path)
        return Walker(
            self._text, node if isinstance(node, ScalarNode) else None, self.nearest(path)
        )


class Walker:
    """Places of pieces of one scalar, asked for in the order in which they stand.

    Each search goes on where the last one ended, so that a script with thousands of references
    is gone through once. Where escapes or folding hide a piece, its place is the scalar's.
    """

    __slots__ = ("_at", "_end", "_line", "_line_start", "_text", "_whole")

    def __init__(self, text: str, node: ScalarNode | None, whole: Position) -> None:
        self._text = text
        self._whole = whole
        self._at = node.start if node is not None else 0
        self._end = node.end if node is not None else 0
        self._line = whole.line
        self._line_start = self._at - (whole.column - 1)

    def __call__(self, piece: str) -> Position:
        found = self._text.find(piece, self._at, self._end)
        if found < 0:
            return self._whole
        place = self._place(found)
        self._at = found + 1  # a piece holds no line break, so the line is still right
        return place

    def offset(self, text: str, offset: int) -> Position:
        """Where a character of the whole scalar `text` stands."""
        found = self._text.find(text, self._at, self._end)
        return self._place(found + offset) if found >= 0 else self._whole

    def _place(self, at: int) -> Position:
        lines = self._text.count("\n", self._at, at)
        if lines:
            self._line += lines
            self._line_start = self._text.rfind("\n", self._at, at) + 1
        self._at = at
        return Position(self._line, at - self._line_start + 1)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What could be read, and what is wrong with its shape.

    `definition` is None only where the text is no YAML mapping at all; otherwise it holds
    whatever had the right shape, so that later checks can say more.
    """

    definition: Definition | None
    problems: tuple[Problem, ...]
    positions: Positions = field(default_factory=lambda: Positions({}, ""), repr=False)
    left_out: int = 0  # problems past the limit, which are counted but not kept


def parse(text: str | bytes) -> Parsed:
    """Read a definition. UTF-8 if bytes; never raises."""
    problems = Problems()
    characters = read_text(text, problems)
    if characters is None:
        return Parsed(None, problems.sorted())
    root = read_nodes(characters, problems)
    if root is None:
        return Parsed(None, problems.sorted())
    if not isinstance(root, MapNode):
        kind = "a list" if isinstance(root, ListNode) else "a single value"
        problems.add(
            "wrong_type",
            f"the document is {kind}; a definition is a mapping that holds `stages`",
            line=root.line,
            column=root.column,
        )
        return Parsed(None, problems.sorted())
    places: dict[str, Node] = {}
    keys: dict[str, Node] = {}
    positions = Positions(places, characters, keys)
    definition = Reader(problems, places, keys).definition(root, positions)
    return Parsed(definition, problems.sorted(), positions, problems.left_out)
