"""Where the nodes of a graph in columns stand, and how its edges run between them.

Every edge leaves a node in the middle of its right side and enters another on its left. One that
passes columns on its way keeps a lane of its own there, which all edges from the same node share,
so that no line runs behind a node. All numbers are whole pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

NODE_WIDTH: Final = 190
NODE_HEIGHT: Final = 50
LANE_HEIGHT: Final = 12
LABELLED_PORT: Final = 18  # the height that the end of an edge takes with a label above it
PORT: Final = 8  # and without one
ROW_GAP: Final = 14
COLUMN_GAP: Final = 56
LABEL_GAP: Final = 186  # the same, where labels stand before the next column
BEND: Final = 48  # how wide the curve is with which an edge changes its height
HEAD: Final = 40  # above the nodes, for the name of the frame
PADDING: Final = 14  # between a frame and what it holds
FRAME_GAP: Final = 12
MARGIN: Final = 2


class Link(NamedTuple):
    start: str
    end: str
    labelled: bool


class Place(NamedTuple):
    x: int
    y: int
    width: int
    height: int


class Route(NamedTuple):
    path: str
    arrow: str
    label_x: int  # the end of the label
    label_y: int


class Drawn(NamedTuple):
    width: int
    height: int
    bands: tuple[Place, ...]
    places: Mapping[str, Place]
    routes: Mapping[tuple[str, str], Route]


class _Lane(NamedTuple):
    """The way through one column that the edges from `start` share."""

    start: str
    column: int


@dataclass(slots=True)
class _Row:
    """Something that takes room in a column: a node or a lane."""

    item: str | _Lane
    height: int
    wanted: float | None  # the height at which its edges arrive
    y: int = 0


def arrange(columns: Sequence[Sequence[str]], bands: Sequence[int], links: Sequence[Link]) -> Drawn:
    """Lay out `columns` of nodes; `bands` says how many columns each frame holds, in order."""
    return _Arrangement(columns, bands, links).drawn()


class _Arrangement:
    def __init__(
        self, columns: Sequence[Sequence[str]], bands: Sequence[int], links: Sequence[Link]
    ) -> None:
        self._columns = columns
        self._bands = bands
        self._links = links
        self._column = {node: n for n, nodes in enumerate(columns) for node in nodes}
        self._incoming: dict[str, list[Link]] = {node: [] for node in self._column}
        self._far: dict[str, int] = {}  # the last column to which an edge of a node goes
        for link in links:
            self._incoming[link.end].append(link)
            far = max(self._column[link.end], self._far.get(link.start, 0))
            self._far[link.start] = far
        self._middle: dict[str | _Lane, int] = {}
        self._places: dict[str, Place] = {}
        self._x: list[int] = []

    def drawn(self) -> Drawn:
        frames = self._across()
        for number in range(len(self._columns)):
            self._down(number)
        bottom = max((at.y + at.height for at in self._places.values()), default=HEAD)
        lanes = [y + LANE_HEIGHT // 2 for key, y in self._middle.items() if isinstance(key, _Lane)]
        height = max([bottom, *lanes]) + PADDING
        bands = tuple(Place(x, MARGIN, width, height - MARGIN) for x, width in frames)
        width = bands[-1].x + bands[-1].width + MARGIN if bands else 0
        routes: dict[tuple[str, str], Route] = {}
        for node in self._column:
            routes |= self._routes_to(node)
        return Drawn(width, height + MARGIN, bands, self._places, routes)

    def _across(self) -> list[tuple[int, int]]:
        """Sets the left edge of every column; the left edge and width of each frame."""
        labelled = {self._column[link.end] for link in self._links if link.labelled}
        frames = []
        left, column = MARGIN, 0
        for count in self._bands:
            begin = left
            for nth in range(count):
                gap = LABEL_GAP if column in labelled else COLUMN_GAP
                left += PADDING if nth == 0 and column == 0 else gap
                self._x.append(left)
                left += NODE_WIDTH
                column += 1
            left += PADDING
            frames.append((begin, left - begin))
            left += FRAME_GAP
        return frames

    def _down(self, number: int) -> None:
        """Places what stands in a column, near the heights from which its edges come."""
        rows = [
            _Row(node, self._height(node), self._wanted(node)) for node in self._columns[number]
        ]
        rows += [
            _Row(_Lane(start, number), LANE_HEIGHT, self._height_before(start, number))
            for start, far in self._far.items()
            if self._column[start] < number < far
        ]
        rows.sort(key=lambda row: row.wanted if row.wanted is not None else float("inf"))
        y = HEAD
        for row in rows:
            if row.wanted is not None:
                y = max(y, round(row.wanted - row.height / 2))
            row.y = y
            y += row.height + ROW_GAP
        lift = self._lift(rows)
        for row in rows:
            row.y -= lift
            self._middle[row.item] = row.y + row.height // 2
            if isinstance(row.item, str):
                self._places[row.item] = Place(self._x[number], row.y, NODE_WIDTH, row.height)

    @staticmethod
    def _lift(rows: Sequence[_Row]) -> int:
        """How far a column is raised, so that it lies as much above its edges as below."""
        below = [row.y + row.height / 2 - row.wanted for row in rows if row.wanted is not None]
        if not below:
            return 0
        return max(0, min(round(sum(below) / len(below)), rows[0].y - HEAD))

    def _height(self, node: str) -> int:
        return max(NODE_HEIGHT, sum(map(_port_height, self._incoming[node])) + 2 * PORT)

    def _wanted(self, node: str) -> float | None:
        number = self._column[node]
        arriving = [
            self._height_before(link.start, number)
            for link in self._incoming[node]
            if self._column[link.start] < number
        ]
        return sum(arriving) / len(arriving) if arriving else None

    def _height_before(self, start: str, number: int) -> int:
        """At which height an edge from `start` leaves the column before `number`."""
        if self._column[start] == number - 1:
            return self._middle[start]
        return self._middle[_Lane(start, number - 1)]

    def _routes_to(self, node: str) -> dict[tuple[str, str], Route]:
        """The edges that end at a node, each at a port of its own, sorted so that few cross."""
        at, number = self._places[node], self._column[node]

        def height(link: Link) -> int:
            if self._column[link.start] < number:
                return self._height_before(link.start, number)
            return self._middle[link.start]

        ordered = sorted(self._incoming[node], key=height)
        routes = {}
        left_over = at.height - sum(map(_port_height, ordered))
        top = at.y + left_over // 2
        for link in ordered:
            # The line runs in the lower part of its room, below its label.
            y = top + _port_height(link) - PORT // 2
            top += _port_height(link)
            arrow = f"M{at.x - 7},{y - 4}L{at.x},{y}L{at.x - 7},{y + 4}Z"
            path = self._path(link.start, at.x, y, number)
            routes[link.start, node] = Route(path, arrow, at.x - 11, y - 5)
        return routes

    def _path(self, start: str, x: int, y: int, number: int) -> str:
        first = self._column[start]
        begin = self._places[start]
        height = self._middle[start]
        right = begin.x + begin.width
        if first >= number:
            # Only a circle of needs leads back. It is reported; the drawing just shows it.
            return f"M{right},{height}C{right + BEND},{height} {x - BEND},{y} {x - 6},{y}"
        path = f"M{right},{height}"
        for column in range(first + 1, number + 1):
            to = y if column == number else self._middle[_Lane(start, column)]
            left = self._x[column - 1] + NODE_WIDTH
            if to != height:
                half = left + BEND // 2
                path += f"H{left}C{half},{height} {half},{to} {left + BEND},{to}"
            height = to
        return path + f"H{x - 6}"


def _port_height(link: Link) -> int:
    return LABELLED_PORT if link.labelled else PORT
