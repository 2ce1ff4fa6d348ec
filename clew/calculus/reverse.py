"""The two halves put together: linearise a graph, run the linear part either way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus.push import push
from clew.calculus.transpose import split, transpose
from clew.core.graph import Equation, Graph, Var
from clew.trace import run


def pull_graph(
    graph: Graph, seeded: Sequence[int], wanted: Sequence[int] | None = None
) -> tuple[Graph, list[bool], list[bool]]:
    """Return the graph of values and cotangents together.

    Its inputs are the graph's, then a cotangent for each of the ``wanted`` outputs (all, if
    not given) that has a path; its outputs are the graph's, then a cotangent for each seeded
    input that has a path. The two lists say which outputs and which seeded inputs those are.

    >>> import clew
    >>> print(pull_graph(clew.trace(lambda x: x * x)(3.0), (0,))[0])  # doctest: +ELLIPSIS
    graph(x: f64, a: f64) {
      b: f64 = multiply x x  # ...
      c: f64 = multiply x a  # ...
      d: f64 = multiply x a  # ...
      e: f64 = add c d       # ...
      return b, e
    }
    """
    pushed = push(graph, seeded)
    if wanted is not None:
        pushed = pushed.only(wanted)
    seeds = pushed.graph.inputs[len(graph.inputs) :]
    outputs = [atom for atom in pushed.tangents if atom is not None]
    whole, has_path = transpose(pushed.graph, seeds, outputs, graph.outputs)
    return whole, [tangent is not None for tangent in pushed.tangents], has_path


@dataclass(frozen=True)
class TwoStage:
    """A graph cut in two: the first stage's last outputs are what the second stage needs."""

    first: Graph
    second: Graph

    def start(self, arguments: Sequence[Any], count: int) -> tuple[list[Any], list[Any]]:
        """Run the first stage; return its ``count`` results, and what is carried over."""
        with np.errstate(all="ignore"):
            values = run(self.first, arguments)
        return values[:count], values[count:]

    def finish(self, carried: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Run the second stage."""
        with np.errstate(all="ignore"):
            return run(self.second, [*carried, *arguments])


def cut(graph: Graph, late: Sequence[Var], early_outputs: int) -> TwoStage:
    """Cut a graph into what does not depend on the inputs ``late``, and what does.

    The first ``early_outputs`` outputs belong to the first stage.
    """
    parts = split(graph, late)
    outputs = graph.outputs[early_outputs:]
    carried = _read_from_outside(parts.linear, outputs, {*late, *graph.constants})
    early = [var for var in graph.inputs if var not in set(late)]
    first = Graph(early, parts.primal, (*graph.outputs[:early_outputs], *carried), graph.constants)
    second = Graph((*carried, *late), parts.linear, outputs, graph.constants)
    return TwoStage(first.with_live_equations(), second.with_live_equations())


def _read_from_outside(
    equations: Sequence[Equation], outputs: Sequence[Any], known: set[Var]
) -> list[Var]:
    defined = set(known)
    found: dict[Var, None] = {}
    for equation in equations:
        for atom in equation.inputs:
            if type(atom) is Var and atom not in defined:
                found[atom] = None
        defined.update(equation.outputs)
    for atom in outputs:
        if type(atom) is Var and atom not in defined:
            found[atom] = None
    return list(found)
