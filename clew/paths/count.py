"""Count the paths that a gradient takes back through a graph: one sweep over (+, x) of integers."""

from __future__ import annotations

from typing import Any

from clew.core.graph import Equation, Graph, Var
from clew.core.primitive import NoDerivative


def count_paths(graph: Graph, source: int = 0, sink: int = 0) -> int:
    """Return the number of gradient paths from an output back to an input, exactly.

    Every use of a value is an edge: an operand that stands twice in an equation counts twice.
    Edges without a derivative (integers, stopped gradients, steps) do not count.

    >>> import clew
    >>> def twice(x):
    ...     for _ in range(100):
    ...         x = x + x * 0.5
    ...     return x
    >>> count_paths(clew.trace(twice)(1.0)) == 2**100
    True
    """
    counts: dict[Any, int] = {graph.inputs[source]: 1}
    for equation in graph.equations:
        if not _differentiable(equation):
            continue
        total = sum(counts.get(atom, 0) for atom in equation.inputs if type(atom) is Var)
        if total:
            counts.update(dict.fromkeys(equation.outputs, total))
    return counts.get(graph.outputs[sink], 0)


def _differentiable(equation: Equation) -> bool:
    rules = (getattr(equation.primitive, name, None) for name in ("partials", "push_rule"))
    if any(isinstance(rule, NoDerivative) for rule in rules):
        return False
    return any(var.type.inexact for var in equation.outputs)
