"""Count the gradient paths of a traced graph, without running it."""

from __future__ import annotations

from clew.core.graph import Graph
from clew.paths.semiring import counting
from clew.paths.sweep import sweep


def count_paths(graph: Graph, source: int = 0, sink: int = 0) -> int:
    """Return the number of gradient paths from an output back to an input, exactly.

    Every use of a value is an edge: an operand that stands twice in an equation counts twice.
    Edges without a derivative (integers, stopped gradients, steps) do not count. Loops of known
    length count every step.

    Raises
    ------
    InputError
        If the graph holds a branch, or a loop whose length is not known.

    >>> import clew
    >>> def twice(x):
    ...     for _ in range(100):
    ...         x = x + x * 0.5
    ...     return x
    >>> count_paths(clew.trace(twice)(1.0)) == 2**100
    True
    """
    return sweep(graph, counting(), source, sink)
