"""Graphs that are linear in their first input, as operators on concrete vectors.

Everything here works on *lanes*: independent problems of one size, solved together (``vmap``
makes them). A lane is a row of an array of shape ``(lanes, n)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.batch import batch
from clew.calculus.push import push
from clew.calculus.reverse import TwoStage, cut
from clew.calculus.transpose import transpose
from clew.core.graph import Graph
from clew.core.kinds import zeros
from clew.core.program import program
from clew.ops.shape import with_batch
from clew.trace import Builder

Rows = np.ndarray
Apply = Callable[[Rows], Rows]


def kept_with(graph: Graph, key: Any, make: Callable[[], Any]) -> Any:
    """Return what ``make`` gives, made once for this graph."""
    known = graph.programs.get(key)
    if known is None:
        known = graph.programs[key] = make()
    return known


# --- graphs from graphs ------------------------------------------------------------------------


def linear_part(graph: Graph) -> Graph | None:
    """Return the graph ``(v, *inputs) -> J v``, J the Jacobian in the first input.

    None where the output does not depend on that input.

    >>> import clew
    >>> graph = linear_part(clew.trace(lambda x, a: a * x)(1.0, 2.0))
    >>> [equation.primitive.name for equation in graph.equations]
    ['multiply']
    """
    found = kept_with(graph, "linear_part", lambda: (tangent_graph(graph, (0,)),))[0]
    if found is None:
        return None
    *inputs, v = found.inputs
    make = lambda: Graph((v, *inputs), found.equations, found.outputs, found.constants)  # noqa: E731
    return kept_with(graph, "linear_part_first", make)


def tangent_graph(graph: Graph, moving: Sequence[int]) -> Graph | None:
    """Return the graph ``(*inputs, *tangents of the moving inputs) -> tangent``, or None."""

    def make() -> tuple[Graph | None]:
        pushed = push(graph, moving)
        tangent = pushed.tangents[0]
        if tangent is None:
            return (None,)
        whole = pushed.graph
        only = Graph(whole.inputs, whole.equations, (tangent,), whole.constants)
        return (only.with_live_equations(),)

    return kept_with(graph, ("tangent", tuple(moving)), make)[0]


def transposed(graph: Graph) -> Graph:
    """Return the transpose of a graph that is linear in its first input; the rest is held."""

    def make() -> Graph:
        backward, has_path = transpose(graph, graph.inputs[:1], graph.outputs, ())
        *held, w = backward.inputs
        if has_path[0]:
            return Graph((w, *held), backward.equations, backward.outputs, backward.constants)
        with Builder.transforming(backward) as builder:
            nothing = builder.atom(zeros(graph.inputs[0].type))
        return builder.transformed((w, *held), (nothing,), ())

    return kept_with(graph, "transposed", make)


def widened(graph: Graph, size: int, batched: Sequence[bool]) -> Graph:
    """Return the graph with a batch on the flagged inputs and on every output."""

    def make() -> Graph:
        wide, flags = batch(graph, size, batched)
        if not all(flags):
            with Builder.transforming(wide) as builder:
                builder.equations += wide.equations
                outputs = [
                    builder.atom(with_batch(builder.operand(atom), size, flag))
                    for atom, flag in zip(wide.outputs, flags, strict=True)
                ]
            wide = builder.transformed(wide.inputs, outputs, wide.names)
        return wide.with_live_equations()

    return kept_with(graph, ("widened", size, tuple(batched)), make)


# --- operators ---------------------------------------------------------------------------------


class Operator:
    """A graph linear in its first input, at concrete values of the others.

    ``lanes`` are the leading axes that the graph works over.
    """

    def __init__(self, graph: Graph, held: Sequence[Any], lanes: tuple[int, ...]) -> None:
        self._stages: TwoStage = kept_with(graph, "stages", lambda: cut(graph, graph.inputs[:1], 0))
        self._carried = program(self._stages.first)(np, *held)
        self._lanes = lanes
        self._kind = graph.inputs[0].type
        self.count = math.prod(lanes)
        self.size = self._kind.shape[-1]

    def apply(self, rows: Rows) -> Rows:
        """Apply to one vector a lane, ``(lanes, n)``; or several, ``(columns * lanes, n)``."""
        columns = len(rows) // max(self.count, 1)
        if len(rows) == self.count:
            shaped = rows.reshape((*self._lanes, self.size))
            return self._run(self._stages.second, shaped).reshape(rows.shape)
        shaped = rows.reshape((columns, *self._lanes, self.size))
        return self._run(self._for_columns(columns), shaped).reshape(rows.shape)

    def dense(self) -> np.ndarray:
        """Return the matrices, ``(lanes, n, n)``, by applying to every unit vector at once."""
        n = self.size
        unit = np.eye(n, dtype=self._kind.dtype).reshape((n, *(1,) * len(self._lanes), n))
        basis = np.broadcast_to(unit, (n, *self._lanes, n))
        columns = self._run(self._for_columns(n), basis).reshape((n, self.count, n))
        return np.ascontiguousarray(np.moveaxis(columns, 0, -1))

    def _for_columns(self, count: int) -> Graph:
        second = self._stages.second
        return widened(second, count, [*(False for _ in self._carried), True])

    def _run(self, graph: Graph, value: np.ndarray) -> np.ndarray:
        value = value.astype(self._kind.dtype, copy=False)
        return np.asarray(program(graph)(np, *self._carried, value)[0])


def rows_of(value: Any) -> Rows:
    """Return an array as rows, one per lane."""
    value = np.asarray(value)
    return value.reshape((math.prod(value.shape[:-1]), value.shape[-1]))


def largest(rows: Rows) -> np.ndarray:
    """Return the largest magnitude in each row; 0 for no elements."""
    return np.max(np.abs(rows), axis=-1, initial=0.0)


def named_lane(lane: int, count: int) -> str:
    """Say which example of a batch is meant, if there is a batch.

    >>> named_lane(2, 8), named_lane(0, 1)
    (' (example 2 of 8)', '')
    """
    return f" (example {lane} of {count})" if count > 1 else ""
