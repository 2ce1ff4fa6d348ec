"""Passes for the colours of a pattern, together: a linear graph, and which elements are seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.graph import Graph, Var
from clew.core.types import Type
from clew.ops.shape import broadcast_to
from clew.trace import Builder


@dataclass(frozen=True, eq=False)
class Sweep:
    """Passes that run as one batch.

    ``graph`` is linear in its last inputs; their elements of colour p are set to one in pass p.
    Its other inputs are what is carried over, and then the constants.
    """

    graph: Graph
    colours: tuple[np.ndarray, ...]
    dtypes: tuple[np.dtype, ...]
    count: int

    @classmethod
    def of(cls, graph: Graph, late: int, colours: Sequence[np.ndarray], count: int) -> Sweep:
        """Make the seeds of the last inputs as small as their colours allow."""
        first = len(graph.inputs) - late
        kinds = [var.type for var in graph.inputs[first:]]
        small = [narrowed(each, kind.shape) for each, kind in zip(colours, kinds, strict=True)]
        return cls(
            _spread(graph, first, [each.shape for each in small]),
            tuple(small),
            tuple(kind.dtype for kind in kinds),
            count,
        )

    def directions(self, start: int, size: int) -> list[np.ndarray]:
        """Return the seeds of some passes, on axis 0."""
        numbers = range(start, start + size)
        return [
            np.stack([(each == number).astype(dtype) for number in numbers])
            for each, dtype in zip(self.colours, self.dtypes, strict=True)
        ]


def narrowed(colours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Keep one of each axis along which colours do not change; -1 stands for any colour.

    >>> narrowed(np.array([0, 1, 0, -1]), (2, 2))
    array([[0, 1]])
    """
    colours = colours.reshape(shape)
    for axis in range(colours.ndim):
        if colours.shape[axis] > 1:
            common = colours.max(axis=axis, keepdims=True)
            if ((colours == common) | (colours == -1)).all():
                colours = common
    return colours


def _spread(graph: Graph, first: int, shapes: Sequence[tuple[int, ...]]) -> Graph:
    """Have a graph broadcast its inputs from ``first`` on from these shapes."""
    late = graph.inputs[first:]
    builder = Builder()
    inputs: list[Var] = []
    known: dict[Any, Any] = {}
    with builder.recording():
        for var, shape in zip(late, shapes, strict=True):
            seed = builder.input(Type(shape, var.type.dtype))
            inputs.append(builder.inputs[-1])
            wide = seed if shape == var.type.shape else broadcast_to(seed, shape=var.type.shape)
            known[var] = builder.atom(wide)
    equations = [
        each if known.keys().isdisjoint(each.inputs) else each.reading(known, each.outputs)
        for each in graph.equations
    ]
    outputs = [known.get(atom, atom) if type(atom) is Var else atom for atom in graph.outputs]
    whole = (*graph.inputs[:first], *inputs)
    return Graph(whole, (*builder.equations, *equations), outputs, graph.constants)
