"""Layered drawing of nested boxes: each is laid out by itself and is a node of the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clew.paths.layout import Layout, Point, layered
from clew.paths.nesting import Nesting
from clew.paths.view import View

MARGIN = 14.0  # free space inside a box
TITLE = 16.0  # height of a box's title
Rectangle = tuple[float, float, float, float]  # left, top, width, height


@dataclass
class Nested:
    """Where items and open groups are, and the points of each link's way.

    >>> Nested().items
    {}
    """

    items: dict[int, Rectangle] = field(default_factory=dict)
    boxes: dict[int, Rectangle] = field(default_factory=dict)
    ways: list[list[Point]] = field(default_factory=list)
    size: Point = (0.0, 0.0)


def nested(view: View, nesting: Nesting, sizes: Sequence[Point]) -> Nested:
    """Return the layout of a view whose items have these sizes.

    Each open group is laid out by itself, and is then one node of the group around it.

    >>> from clew.paths.view import Item, Link
    >>> view = View((Item("x", "source", -1), Item("y", "sink", -1)), (Link(0, 1),))
    >>> nested(view, Nesting((), (), ()), [(10, 10), (10, 10)]).ways
    [[(10.0, 5.0), (54.0, 5.0)]]
    """
    return _Nest(view, nesting, sizes).found


Child = tuple[str, int]  # ("item", number), ("box", group), or a gate: ("in" or "out", number)


class _Nest:
    """Lays out from the inside, then puts everything in its place from the outside.

    A link that crosses a box's border has a gate there, a node without size, so that inside, too,
    it is led around what is in its way.
    """

    def __init__(self, view: View, nesting: Nesting, sizes: Sequence[Point]) -> None:
        self.sizes = sizes
        self.chains: list[list[Child]] = [
            [*(("box", group) for group in nesting.path(item.parent)), ("item", number)]
            for number, item in enumerate(view.items)
        ]
        self.children: dict[int, dict[Child, int]] = {-1: {}}  # each with its number
        for chain in self.chains:
            for around, child in zip([-1, *(group for _, group in chain)], chain, strict=False):
                self._number(around, child)
        self.edges: dict[int, list[tuple[int, int]]] = {group: [] for group in self.children}
        ways = [self._way(link.start, link.end) for link in view.links]
        for way in ways:
            for group, start, end in way:
                self.edges[group].append((self._number(group, start), self._number(group, end)))
        self.layouts: dict[int, Layout] = {}
        self.found = Nested(size=self._arrange(-1).size)
        self.origins: dict[int, Point] = {}
        self._put(-1, (0.0, 0.0))
        for link, way in zip(view.links, ways, strict=True):
            x, y, width, height = self.found.items[link.start]
            to_x, to_y, _, to_height = self.found.items[link.end]
            between = [point for step in way for point in self._points(*step)]
            ends = (x + width, y + height / 2), (to_x, to_y + to_height / 2)
            self.found.ways.append([ends[0], *between, ends[1]])

    def _number(self, group: int, child: Child) -> int:
        known = self.children.setdefault(group, {})
        return known.setdefault(child, len(known))

    def _way(self, start: int, end: int) -> list[tuple[int, Child, Child]]:
        """Return a link's steps: out of boxes around its start, across, into those of its end."""
        out, into = self.chains[start], self.chains[end]
        shared = next(
            at for at, (one, other) in enumerate(zip(out, into, strict=False)) if one != other
        )
        leaving = [
            (out[at][1], out[at + 1], ("out", end)) for at in reversed(range(shared, len(out) - 1))
        ]
        entering = [
            (into[at][1], ("in", start), into[at + 1]) for at in range(shared, len(into) - 1)
        ]
        meeting = out[shared - 1][1] if shared else -1
        return [*leaving, (meeting, out[shared], into[shared]), *entering]

    def _arrange(self, group: int) -> Layout:
        rooms = [self._room(*child) for child in self.children[group]]
        gates = [number for (kind, _), number in self.children[group].items() if kind == "in"]
        self.layouts[group] = layered(rooms, self.edges[group], gates)
        return self.layouts[group]

    def _room(self, kind: str, which: int) -> Point:
        if kind == "item":
            return self.sizes[which]
        if kind != "box":
            return (0.0, 0.0)
        width, height = self._arrange(which).size
        return (width + 2 * MARGIN, height + 2 * MARGIN + TITLE)

    def _put(self, group: int, origin: Point) -> None:
        self.origins[group] = origin
        layout = self.layouts[group]
        for (kind, which), corner in zip(self.children[group], layout.corners, strict=True):
            left, top = _moved(corner, origin)
            if kind == "item":
                self.found.items[which] = (left, top, *self.sizes[which])
            elif kind == "box":
                width, height = self.layouts[which].size
                size = (width + 2 * MARGIN, height + 2 * MARGIN + TITLE)
                self.found.boxes[which] = (left, top, *size)
                self._put(which, (left + MARGIN, top + MARGIN + TITLE))

    def _points(self, group: int, start: Child, end: Child) -> list[Point]:
        """Return where a step bends, and the gates at its ends."""
        layout, number = self.layouts[group], self.children[group]
        points = [*layout.routes.get((number[start], number[end]), ())]
        if start[0] == "in":
            points.insert(0, layout.corners[number[start]])
        if end[0] == "out":
            points.append(layout.corners[number[end]])
        return [_moved(point, self.origins[group]) for point in points]


def _moved(point: Point, origin: Point) -> Point:
    return (point[0] + origin[0], point[1] + origin[1])
