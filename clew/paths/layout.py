"""Layered drawing of a graph, after Sugiyama, Tagawa and Toda (1981).

Four steps: layers by the longest way to the end, one point in each layer that an edge crosses,
an order within layers by barycentres, and heights as near to the neighbours' as the order allows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
ACROSS = 44.0  # free space between layers, for the edges
BETWEEN = 14.0  # free space between neighbours in a layer
SWEEPS = 8


@dataclass
class Layout:
    """Where nodes are, by their top left corners, which points edges pass, and the size of all.

    ``routes[edge]`` are the points between the two ends, none between neighbouring layers.

    >>> Layout([(0.0, 0.0)], {}, (10.0, 10.0)).routes
    {}
    """

    corners: list[Point]
    routes: dict[tuple[int, int], list[Point]]
    size: Point


def layered(
    sizes: Sequence[Point], edges: Sequence[tuple[int, int]], first: Sequence[int] = ()
) -> Layout:
    """Return the layout of nodes of these widths and heights, from left to right.

    Nodes stand as near to their readers as can be, but for those that are to be ``first``. Edges
    that close a cycle place nothing.

    >>> layered([(10, 10), (10, 10), (10, 10)], [(0, 1), (1, 2), (0, 2)]).corners
    [(0.0, 9.5), (54.0, 0.0), (108.0, 9.5)]
    """
    if not sizes:
        return Layout([], {}, (0.0, 0.0))
    graph = _Layers(sizes, edges, first)
    graph.sort()
    left = graph.lefts()
    middle = graph.middles()
    corners = [
        (left[graph.layer[node]], middle[node] - height / 2)
        for node, (_, height) in enumerate(sizes)
    ]
    top = min(y for _, y in corners)
    if graph.bends:
        top = min(top, min(middle[len(sizes) :]))
    routes = {
        edge: [
            (x, middle[bend] - top)
            for bend in way
            for x in (left[graph.layer[bend]], left[graph.layer[bend]] + graph.wide(bend))
        ]
        for edge, way in graph.bends.items()
    }
    corners = [(x, y - top) for x, y in corners]
    width = max(x + size[0] for (x, _), size in zip(corners, sizes, strict=True))
    low = [y + size[1] for (_, y), size in zip(corners, sizes, strict=True)]
    low += [y for way in routes.values() for _, y in way]
    return Layout(corners, routes, (width, max(low)))


class _Layers:
    """The nodes in layers, with bends: numbers above those of nodes, where edges cross layers."""

    def __init__(
        self, sizes: Sequence[Point], edges: Sequence[tuple[int, int]], first: Sequence[int]
    ) -> None:
        self.sizes = list(sizes)
        forward = _without_cycles(len(sizes), edges)
        self.layer = _layers(len(sizes), forward)
        for node in first:
            self.layer[node] = 0
        self.before: list[list[int]] = [[] for _ in sizes]
        self.after: list[list[int]] = [[] for _ in sizes]
        self.bends: dict[tuple[int, int], list[int]] = {}
        for start, end in forward:
            self._route(start, end)
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for node, layer in enumerate(self.layer):
            self.rows[layer].append(node)
        self.widths = [max((self.sizes[node][0] for node in row), default=0.0) for row in self.rows]

    def _route(self, start: int, end: int) -> None:
        way = [start]
        for layer in range(self.layer[start] + 1, self.layer[end]):
            way.append(len(self.layer))
            self.layer.append(layer)
            self.sizes.append((0.0, 0.0))
            self.before.append([])
            self.after.append([])
        way.append(end)
        for one, other in pairwise(way):
            self.after[one].append(other)
            self.before[other].append(one)
        if len(way) > 2:
            self.bends[start, end] = way[1:-1]

    def sort(self) -> None:
        """Order layers by the mean places of neighbours; keep the order of least crossings."""
        best = [list(row) for row in self.rows]
        fewest = self.crossings()
        for sweep in range(SWEEPS):
            near = self.before if sweep % 2 == 0 else self.after
            for row in self.rows if sweep % 2 == 0 else self.rows[::-1]:
                place = {node: at for each in self.rows for at, node in enumerate(each)}
                means = {node: _mean([place[n] for n in near[node]], place[node]) for node in row}
                row.sort(key=means.__getitem__)
            found = self.crossings()
            if found < fewest:
                fewest, best = found, [list(row) for row in self.rows]
        self.rows = best

    def crossings(self) -> int:
        """Return how many pairs of edges cross."""
        total = 0
        for row, following in zip(self.rows, self.rows[1:], strict=False):
            place = {node: at for at, node in enumerate(following)}
            ends: list[int] = []
            for node in row:
                mine = [place[end] for end in self.after[node]]
                total += sum(len(ends) - bisect_right(ends, end) for end in mine)
                for end in mine:
                    insort(ends, end)
        return total

    def lefts(self) -> list[float]:
        """Return where each layer begins."""
        found = [0.0]
        for width in self.widths[:-1]:
            found.append(found[-1] + width + ACROSS)
        return found

    def wide(self, node: int) -> float:
        """Return the width of a node's layer."""
        return self.widths[self.layer[node]]

    def middles(self) -> list[float]:
        """Return the heights of the nodes' middles: near their neighbours', apart, in order."""
        middle = [0.0] * len(self.layer)
        for row in self.rows:
            for node, at in zip(row, self._spread(row, [0.0] * len(row)), strict=True):
                middle[node] = at
        for sweep in range(2 * SWEEPS):
            for row in self.rows if sweep % 2 else self.rows[::-1]:
                near = [self.before[node] + self.after[node] for node in row]
                wanted = [
                    _mean([middle[each] for each in around], middle[node])
                    for node, around in zip(row, near, strict=True)
                ]
                for node, at in zip(row, self._spread(row, wanted), strict=True):
                    middle[node] = at
        return middle

    def _spread(self, row: Sequence[int], wanted: Sequence[float]) -> list[float]:
        """Return the least squares answer to these wishes that keeps the row apart."""
        offset = [0.0]
        for one, other in pairwise(row):
            gap = (self.sizes[one][1] + self.sizes[other][1]) / 2 + BETWEEN
            offset.append(offset[-1] + gap)
        level = _isotonic([wish - shift for wish, shift in zip(wanted, offset, strict=True)])
        return [at + shift for at, shift in zip(level, offset, strict=True)]


def _isotonic(values: Sequence[float]) -> list[float]:
    """Return the nearest rising sequence, by pooling neighbours that fall (Ayer et al. 1955)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            more, number = pools.pop()
            total, count = total + more, count + number
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _without_cycles(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the edges, each once, without those that lead back to a node that is being visited."""
    after: list[list[int]] = [[] for _ in range(count)]
    for start, end in dict.fromkeys(edges):
        after[start].append(end)
    state = [0] * count  # 1 while a node is on the way, 2 behind it
    kept = []
    for root in range(count):
        waiting = [(root, iter(after[root]))] if not state[root] else []
        state[root] = state[root] or 1
        while waiting:
            node, rest = waiting[-1]
            end = next(rest, None)
            if end is None:
                state[node] = 2
                waiting.pop()
            elif state[end] != 1:
                kept.append((node, end))
                if not state[end]:
                    state[end] = 1
                    waiting.append((end, iter(after[end])))
    return kept


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return each node's layer, as late as its readers allow, so that sources stand beside them."""
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for start, end in edges:
        after[start].append(end)
        missing[end] += 1
    order = [node for node in range(count) if not missing[node]]
    for node in order:
        for end in after[node]:
            missing[end] -= 1
            if not missing[end]:
                order.append(end)
    away = [0] * count
    for node in reversed(order):
        away[node] = max((away[end] + 1 for end in after[node]), default=0)
    deepest = max(away)
    return [deepest - each for each in away]
