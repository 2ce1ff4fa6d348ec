"""The verifier: what must hold of every graph, checked after every transform under test."""

from __future__ import annotations

from clew.core.errors import GraphError
from clew.core.graph import Atom, Equation, Graph, Var


def verify(graph: Graph) -> Graph:
    """Return the graph if it is well formed, else raise.

    Every variable is assigned exactly once and before it is read; every equation's output
    types are what its primitive says of its input types.

    >>> import clew
    >>> graph = clew.trace(lambda x: x * 2.0)(1.0)
    >>> verify(graph) is graph
    True
    """
    defined: set[Var] = set()
    for var in (*graph.inputs, *graph.constants):
        _define(var, defined, "input")
    for equation in graph.equations:
        for atom in equation.inputs:
            _require(atom, defined, f"{equation.primitive.name} at {equation.where}")
        for var in equation.outputs:
            _define(var, defined, equation.primitive.name)
        _check_types(equation)
    for atom in graph.outputs:
        _require(atom, defined, "return")
    return graph


def _define(var: Var, defined: set[Var], what: str) -> None:
    if var in defined:
        raise GraphError(f"{what}: a variable is assigned twice", "make a new Var for each value")
    defined.add(var)


def _require(atom: Atom, defined: set[Var], what: str) -> None:
    if type(atom) is Var and atom not in defined:
        raise GraphError(
            f"{what}: reads a variable that was not assigned before",
            "order equations so that each follows the ones it reads",
        )


def _check_types(equation: Equation) -> None:
    types = [atom.type for atom in equation.inputs]
    expected = equation.primitive.result_type(types, equation.params)
    expected = tuple(expected) if equation.primitive.multiple else (expected,)
    actual = tuple(var.type for var in equation.outputs)
    if expected != actual:
        raise GraphError(
            f"{equation.primitive.name}: outputs are {actual}, the primitive says {expected}",
            "let the builder record the equation instead of making it by hand",
            equation.where,
        )
