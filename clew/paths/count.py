"""Count the paths that a gradient takes back through a graph: one sweep over (+, x) of integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.core.errors import InputError
from clew.core.graph import Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.primitive import NoDerivative
from clew.loops.spec import spec_of


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
    start = [int(number == source) for number in range(len(graph.inputs))]
    return _swept(graph, start)[sink]


def _swept(graph: Graph, start: Sequence[int]) -> list[int]:
    """Return the number of paths to each output, given those to each input."""
    counts: dict[Any, int] = dict(zip(graph.inputs, start, strict=True))
    for equation in graph.equations:
        if not _differentiable(equation):
            continue
        incoming = [counts.get(atom, 0) if type(atom) is Var else 0 for atom in equation.inputs]
        if not any(incoming):
            continue
        if equation.primitive.name == "loop":
            found = _through_loop(equation, incoming)
        elif isinstance(equation.primitive, Control) and equation.primitive.name != "remat":
            raise InputError(
                f"count_paths: {equation.primitive.name} at {equation.where} takes one of several "
                "ways, or runs along another loop",
                "count the paths of the branch that is taken, of the value not its gradient",
            )
        elif equation.primitive.name == "remat":
            found = _swept(equation.params["body"], incoming)
        else:
            found = [sum(incoming)] * len(equation.outputs)
        counts.update(zip(equation.outputs, found, strict=True))
    return [counts.get(atom, 0) if type(atom) is Var else 0 for atom in graph.outputs]


def _through_loop(equation: Equation, incoming: Sequence[int]) -> list[int]:
    """Sweep the body once for each step; what it stacks is one value, like what it scans."""
    spec = spec_of(equation)
    if spec.length is None:
        raise InputError(
            f"count_paths: the {spec.policy.spelling} at {equation.where} has no fixed length",
            "count the paths of a clew.scan with that many steps",
        )
    given = spec.operands(incoming)
    carries = given.carries
    stacked = [0] * len(spec.body_stacked)
    for _ in range(spec.length):
        found = _swept(spec.body, [*carries, *given.scanned, *given.held])
        carries = found[: spec.carries]
        added = found[spec.carries :]
        stacked = [total + more for total, more in zip(stacked, added, strict=True)]
    return spec.results([*carries, *stacked]).flat()


def _differentiable(equation: Equation) -> bool:
    rules = (getattr(equation.primitive, name, None) for name in ("partials", "push_rule"))
    if any(isinstance(rule, NoDerivative) for rule in rules):
        return False
    return any(var.type.inexact for var in equation.outputs)
