"""The flow as plain data, for whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.paths.ends import End, Ends, Leaf
from clew.paths.naming import node_name, steps_of
from clew.paths.net import Net
from clew.paths.scopes import Instance, depth_of, instances, paths_of
from clew.paths.summary import Summary
from clew.paths.text import in_digits


def picture_of(net: Net, ends: Ends, title: str, asked: End, summary: Summary) -> dict[str, Any]:
    """Return the flow from a sink as plain data (numbers, text, lists, dicts)."""
    sink = ends.sink(asked)
    drawing = _Drawing(net, ends.leaves, sink.values[0], summary)
    value = None if summary.norms is None else float(net.run.values[sink.values[0]])
    boxes, around = _boxes(net)
    return {
        "title": title,
        "sink": {"node": drawing.sink_id, "name": sink.name, "value": value},
        "nodes": drawing.nodes(sink.name, around),
        "boxes": boxes,
        "edges": drawing.edges(),
        "lengths": {leaf.label: _lengths(summary, leaf) for leaf in ends.differentiated},
        "table": _table(drawing, summary, ends.differentiated),
    }


class _Drawing:
    """Nodes and edges as they are drawn.

    A node of the net keeps its number; the argument leaves follow, and the sink is last.
    """

    def __init__(self, net: Net, leaves: Sequence[Leaf], sink: int, summary: Summary) -> None:
        self._net = net
        self._leaves = leaves
        self._sink = sink
        self._norms = summary.norms
        self._counts = summary.counts
        self.place = {leaf.value: len(net.nodes) + n for n, leaf in enumerate(leaves)}
        self.sink_id = len(net.nodes) + len(leaves)

    def nodes(self, sink_name: str, around: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Return all nodes; ``around`` has the boxes around each node of the net."""
        made = [self._node(number, around[number]) for number in range(len(self._net.nodes))]
        made += [self._leaf(leaf) for leaf in self._leaves]
        end = self._described(self.sink_id, sink_name, "sink", (self._sink,))
        if self._norms is not None:
            end["norm"] = 1.0
        return [*made, end]

    def edges(self) -> list[dict[str, Any]]:
        """Return all edges, those without a gradient too; they have no norm."""
        made = []
        for number, node in enumerate(self._net.nodes):
            for edge in node.edges:
                norm = None if self._norms is None else self._norms.of(edge)
                gain = None if norm is None or self._norms is None else self._norms.gain(edge)
                made.append(self._edge(edge.value, number, norm, gain))
            carrying = {edge.value for edge in node.edges}
            read = [value for value in self._read(number) if value not in carrying]
            made += [self._edge(value, number, None, None) for value in read]
        one = None if self._norms is None else 1.0
        made.append(self._edge(self._sink, self.sink_id, one, one))
        return [edge for edge in made if edge["from"] is not None]

    def _node(self, number: int, boxes: Sequence[str]) -> dict[str, Any]:
        net = self._net
        node = net.nodes[number]
        results = list(dict.fromkeys(each for edge in node.edges for each in edge.results))
        kind = "equation" if node.instance is None else "scope"
        if not results:
            results = list(net.run.results[node.stop - 1])
            kind = "constant" if node.instance is None else kind
        made = self._described(number, node_name(net, number), kind, results)
        made["boxes"] = list(boxes)
        made["where"] = str(net.run.equations[node.start].where)
        made["steps"] = list(steps_of(net, number))
        return made

    def _leaf(self, leaf: Leaf) -> dict[str, Any]:
        kind = "source" if leaf.chosen and leaf.type.inexact else "constant"
        return self._described(self.place[leaf.value], leaf.label, kind, (leaf.value,))

    def _described(
        self, number: int, name: str, kind: str, values: Sequence[int]
    ) -> dict[str, Any]:
        paths = sum(self._counts.get(each, 0) for each in values)
        norm = None
        if self._norms is not None and paths:
            norm = float(np.hypot.reduce([self._norms.values.get(each, 0.0) for each in values]))
        return {
            "id": number,
            "name": name,
            "kind": kind,
            "boxes": [],
            "type": str(self._net.run.types[values[0]]),
            "where": "",
            "steps": [],
            "norm": norm,
            "paths": in_digits(paths),
        }

    def _read(self, number: int) -> list[int]:
        """Return the values that a node reads from outside, each once."""
        node = self._net.nodes[number]
        read: dict[int, None] = {}
        for written in range(node.start, node.stop):
            for value in self._net.run.operands[written]:
                if self._net.owner(value) != number:
                    read[value] = None
        return list(read)

    def _edge(
        self, value: int, reader: int, norm: float | None, gain: float | None
    ) -> dict[str, Any]:
        owner = self._net.owner(value)
        return {
            "from": owner if owner >= 0 else self.place.get(value),
            "to": reader,
            "norm": norm,
            "gain": gain,
            "type": str(self._net.run.types[value]),
        }


def _boxes(net: Net) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Return the boxes, and for each node the keys of those around it, outermost first."""
    run = net.run
    boxes: dict[str, dict[str, Any]] = {}
    around: list[list[str]] = [[] for _ in net.nodes]
    deepest = max((depth_of(path) for path in paths_of(run)), default=0)
    for deep in range(1, deepest + 1):
        found = instances(run, lambda path, deep=deep: deep if depth_of(path) >= deep else 0)
        for each in found:
            inside = {net.node_of[written] for written in range(each.start, each.stop)}
            inside = {number for number in inside if _within(net, number, each)}
            for number in inside:
                parent = around[number][-1] if around[number] else None
                key = each.name if each.number == 1 else f"{each.name}#{each.number}"
                key = f"{parent}/{key}" if parent else key
                boxes[key] = {"key": key, "name": each.name, "parent": parent}
                around[number].append(key)
    return list(boxes.values()), around


def _within(net: Net, number: int, scope: Instance) -> bool:
    """Say whether a node is inside a scope, and not that scope itself."""
    node = net.nodes[number]
    if node.instance is None:
        return True
    return depth_of(node.instance.path) > depth_of(scope.path)


def _lengths(summary: Summary, leaf: Leaf) -> dict[str, Any]:
    counts = summary.lengths.get(leaf.value, {})
    shares = summary.shares.get(leaf.value, {})
    return {
        "count": [[length, in_digits(count)] for length, count in sorted(counts.items())],
        "share": [[length, norm, share] for length, (norm, share) in sorted(shares.items())],
    }


def _table(drawing: _Drawing, summary: Summary, leaves: Sequence[Leaf]) -> list[dict[str, Any]]:
    return [
        {
            "source": row.source,
            "node": drawing.place[leaf.value],
            "paths": in_digits(row.paths),
            "shortest": row.shortest,
            "gradient": row.gradient,
            "ratio": row.ratio,
            "verdict": row.verdict,
            "advice": row.advice,
        }
        for row, leaf in zip(summary.table().rows, leaves, strict=True)
    ]
