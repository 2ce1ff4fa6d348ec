"""The batching transform: one rule per primitive, applied where an operand has a batch."""

from __future__ import annotations

from collections.abc import Sequence

from clew.core.graph import Equation, Graph, Var
from clew.core.tape import batched_type
from clew.trace import Builder


def batch(graph: Graph, size: int, batched: Sequence[bool]) -> tuple[Graph, list[bool]]:
    """Give the flagged inputs a batch of ``size`` on axis 0; say which outputs then have one.

    Equations that meet no batch stay as they are.

    >>> import clew
    >>> print(batch(clew.trace(lambda x: x * x)(3.0), 5, [True])[0])  # doctest: +ELLIPSIS
    graph(x: f64[5]) {
      a: f64[5] = multiply x x  # ...
      return a
    }
    """
    mapped: dict[Var, Var] = {}
    for var, flag in zip(graph.inputs, batched, strict=True):
        if flag:
            mapped[var] = Var(batched_type(var.type, size))
    with Builder.transforming(graph) as builder:
        for equation in graph.equations:
            _batch_equation(builder, equation, size, mapped)
    inputs = [mapped.get(var, var) for var in graph.inputs]
    outputs = [mapped.get(atom, atom) if type(atom) is Var else atom for atom in graph.outputs]
    flags = [type(atom) is Var and atom in mapped for atom in graph.outputs]
    return builder.transformed(inputs, outputs, graph.names), flags


def _batch_equation(
    builder: Builder, equation: Equation, size: int, mapped: dict[Var, Var]
) -> None:
    flags = [type(atom) is Var and atom in mapped for atom in equation.inputs]
    if not any(flags):
        builder.equations.append(equation)
        return
    builder.standing_at(equation)
    operands = [
        builder.operand(mapped[atom] if type(atom) is Var and flag else atom)
        for atom, flag in zip(equation.inputs, flags, strict=True)
    ]
    result = equation.primitive.batched(size, operands, flags, equation.params)
    results = result if equation.primitive.multiple else (result,)
    for var, value in zip(equation.outputs, results, strict=True):
        mapped[var] = builder.variable(value)
