"""The run at a level: equations as nodes, and whole scopes contracted to one node each.

A contracted scope is not a black box: which of the values it reads reaches which of the values it
gives is found by following the gradient paths inside, so that paths through it are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from clew.paths.scopes import Instance
from clew.paths.written import OUTSIDE, Written


class Edge:
    """A value and a node that reads it: one step of a path.

    ``results`` are the values of the node that gradients come back from along this edge;
    ``operand`` is the place of the value in an equation (0 for a scope). ``in_scope`` says that
    the node is a contracted scope.
    """

    __slots__ = ("in_scope", "node", "operand", "results", "value")

    def __init__(
        self, value: int, node: int, operand: int, results: tuple[int, ...], in_scope: bool
    ) -> None:
        self.value = value
        self.node = node
        self.operand = operand
        self.results = results
        self.in_scope = in_scope

    def __repr__(self) -> str:
        return f"Edge(value {self.value} -> node {self.node})"


class Node:
    """An equation, or a contracted scope: the nodes ``start`` to ``stop`` of the written run."""

    __slots__ = ("edges", "instance", "start", "stop")

    def __init__(self, start: int, stop: int, instance: Instance | None) -> None:
        self.start = start
        self.stop = stop
        self.instance = instance
        self.edges: list[Edge] = []


class Net:
    """A run at a level.

    Parameters
    ----------
    run : Written
    scopes : sequence of Instance
        The scopes to contract, in order, none within another.

    >>> import clew
    >>> from clew.paths.scopes import instances
    >>> from clew.paths.writing import written_out
    >>> def model(x):
    ...     with clew.scope("square"):
    ...         y = x * x
    ...     return x + y
    >>> run = written_out(clew.trace(model)(3.0), [3.0], [0])
    >>> [len(node.edges) for node in Net(run, []).nodes]
    [2, 2]
    >>> [len(node.edges) for node in Net(run, instances(run, lambda path: 1 if path else 0)).nodes]
    [1, 2]
    """

    def __init__(self, run: Written, scopes: Sequence[Instance]) -> None:
        self.run = run
        self.nodes: list[Node] = []
        self.node_of: list[int] = []
        self.inner: set[int] = set()
        """Values within a contracted scope that nothing outside reads."""
        last = _last_readers(run) if scopes else []
        position = 0
        for scope in scopes:
            self._equations(position, scope.start)
            self._scope(scope, last)
            position = scope.stop
        self._equations(position, len(run))

    def owner(self, value: int) -> int:
        """Return the node that made a value, or -1 for arguments and constants."""
        producer = self.run.producers[value]
        return producer if producer == OUTSIDE else self.node_of[producer]

    def _equations(self, start: int, stop: int) -> None:
        run = self.run
        for written in range(start, stop):
            number = len(self.nodes)
            node = Node(written, written + 1, None)
            self.nodes.append(node)
            self.node_of.append(number)
            rule = run.rules[written]
            if rule is None:
                continue
            results = run.results[written]
            pairs = zip(run.operands[written], rule.reaches, strict=True)
            for operand, (value, reached) in enumerate(pairs):
                if reached and run.active[value]:
                    whole = results if len(results) == 1 else tuple([results[i] for i in reached])
                    node.edges.append(Edge(value, number, operand, whole, False))

    def _scope(self, scope: Instance, last: Sequence[int]) -> None:
        run = self.run
        number = len(self.nodes)
        node = Node(scope.start, scope.stop, scope)
        self.nodes.append(node)
        self.node_of += [number] * (scope.stop - scope.start)
        read: list[int] = []
        reach: dict[int, int] = {}  # for each value inside: a bit for each value read from outside
        for written in range(scope.start, scope.stop):
            rule = run.rules[written]
            if rule is None:
                continue
            for value, reached in zip(run.operands[written], rule.reaches, strict=True):
                if not reached or not run.active[value]:
                    continue
                if value not in reach:
                    reach[value] = 1 << len(read)
                    read.append(value)
                for place in reached:
                    result = run.results[written][place]
                    reach[result] = reach.get(result, 0) | reach[value]
        made = [value for value in reach if run.producers[value] >= scope.start]
        given = sorted(value for value in made if last[value] >= scope.stop)
        self.inner.update(value for value in made if last[value] < scope.stop)
        for bit, value in enumerate(read):
            results = tuple(result for result in given if reach[result] >> bit & 1)
            if results:
                node.edges.append(Edge(value, number, 0, results, True))


def _last_readers(run: Written) -> list[int]:
    """Return the last node that reads each value; for outputs, one beyond all."""
    last = [-1] * len(run.values)
    for node, operands in enumerate(run.operands):
        for value in operands:
            last[value] = node
    for value in run.outputs:
        last[value] = len(run)
    return last
