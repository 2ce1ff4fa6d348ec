"""Forward mode: replace each equation by its linearisation.

The push-forward of a graph computes, beside each value, its tangent. The equations of the
original graph stay as they are; the rules of the primitives append theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.kinds import Control
from clew.core.types import type_of
from clew.trace import Builder


@dataclass(frozen=True)
class Pushed:
    """A graph with its tangents: ``tangents[i]`` is None where output i has no path.

    ``graph`` has the primal inputs, then one tangent input for each primal in ``seeded``;
    its outputs are the primal outputs, then the tangents that are not None.
    """

    graph: Graph
    seeded: tuple[int, ...]
    tangents: tuple[Atom | None, ...]

    def only(self, wanted: Sequence[int]) -> Pushed:
        """Forget the tangents of the other outputs."""
        kept = [t if i in wanted else None for i, t in enumerate(self.tangents)]
        return Pushed(self.graph, self.seeded, tuple(kept))


def push(graph: Graph, seeded: Sequence[int]) -> Pushed:
    """Return the push-forward of a graph in the given inputs.

    >>> import clew
    >>> print(push(clew.trace(lambda x: x * x)(3.0), (0,)).graph)  # doctest: +ELLIPSIS
    graph(x: f64, a: f64) {
      b: f64 = multiply x x  # ...
      c: f64 = multiply x a  # ...
      d: f64 = multiply x a  # ...
      e: f64 = add c d       # ...
      return b, e
    }
    """
    tangents: dict[Var, Any] = {}
    with Builder.transforming(graph) as builder:
        for number in seeded:
            var = graph.inputs[number]
            tangents[var] = builder.input(var.type)
        for equation in graph.equations:
            _push_equation(builder, equation, tangents)
        outputs = tuple(
            builder.atom(tangents[atom]) if type(atom) is Var and atom in tangents else None
            for atom in graph.outputs
        )
    result = builder.transformed(
        (*graph.inputs, *builder.inputs),
        (*graph.outputs, *(atom for atom in outputs if atom is not None)),
        graph.names,
    )
    return Pushed(result, tuple(seeded), outputs)


def _push_equation(builder: Builder, equation: Equation, tangents: dict[Var, Any]) -> None:
    incoming = [tangents.get(atom) if type(atom) is Var else None for atom in equation.inputs]
    active = any(var.type.inexact for var in equation.outputs)
    if all(tangent is None for tangent in incoming) or not active:
        builder.equations.append(equation)
        return
    builder.standing_at(equation)
    if isinstance(equation.primitive, Control):
        found = equation.primitive.pushed(builder, equation, incoming)
        for var, tangent in zip(equation.outputs, found, strict=True):
            if tangent is not None:
                tangents[var] = tangent
        return
    builder.equations.append(equation)
    primals = [builder.operand(atom) for atom in equation.inputs]
    outputs = tuple(builder.value(var) for var in equation.outputs)
    multiple = equation.primitive.multiple
    result = equation.primitive.push(
        primals, incoming, outputs if multiple else outputs[0], equation.params
    )
    for var, tangent in zip(equation.outputs, result if multiple else (result,), strict=True):
        if tangent is not None and var.type.inexact:
            if type_of(tangent) != var.type:
                raise AssertionError(
                    f"push of {equation.primitive.name}: tangent {type_of(tangent)} "
                    f"for a value {var.type}"
                )
            tangents[var] = tangent
