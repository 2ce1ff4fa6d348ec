"""Reverse mode: run the linear part of a push-forward backwards.

A value used twice receives the sum of what flows back along both uses: that is the one
addition in this file.

A cotangent may come with a *mask*, outside which it is zero because a ``where`` did not take
that branch. Masks travel back with the cotangents, and every product is zeroed outside its
mask, so a NaN or infinity of the branch not taken does not reach the gradient. Operations
that mix elements (factorisations, transforms) carry a mask only as "some" or "none".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.kinds import Control, zeros
from clew.core.primitive import PRIMITIVES
from clew.core.tape import TapeType
from clew.core.types import type_of
from clew.trace import Builder


@dataclass(frozen=True)
class Linearized:
    """A push-forward split in two: what does not depend on tangents, and what does.

    ``linear`` reads variables of the primal equations; those it reads are the residuals.
    """

    primal: tuple[Equation, ...]
    linear: tuple[Equation, ...]
    seeds: tuple[Var, ...]


def split(graph: Graph, seeds: Sequence[Var]) -> Linearized:
    """Split equations by whether they depend on the tangent inputs ``seeds``."""
    dependent: set[Any] = set(seeds)
    primal: list[Equation] = []
    linear: list[Equation] = []
    for equation in graph.equations:
        flags = [type(atom) is Var and atom in dependent for atom in equation.inputs]
        if not any(flags):
            primal.append(equation)
            continue
        parts = None
        if isinstance(equation.primitive, Control):
            parts = equation.primitive.split(equation, flags)
        known, rest = ([], [equation]) if parts is None else parts
        primal += known
        linear += rest
        for each in rest:
            dependent.update(each.outputs)
    return Linearized(tuple(primal), tuple(linear), tuple(seeds))


class _Cotangents:
    """What has flowed back to each variable so far, with where it can be nonzero."""

    def __init__(self) -> None:
        self._values: dict[Var, Any] = {}
        self._masks: dict[Var, Any] = {}

    def add(self, var: Var, value: Any, mask: Any) -> None:
        if var not in self._values:
            self._values[var] = value
            self._masks[var] = mask
            return
        add = PRIMITIVES["add_tapes" if type(var.type) is TapeType else "add"]
        self._values[var] = add(self._values[var], value)
        before = self._masks[var]
        either = PRIMITIVES["logical_or"]
        self._masks[var] = None if before is None or mask is None else either(before, mask)

    def take(self, var: Var) -> tuple[Any, Any]:
        return self._values.pop(var, None), self._masks.pop(var, None)


def transpose(
    graph: Graph, seeds: Sequence[Var], outputs: Sequence[Atom], kept: Sequence[Atom]
) -> tuple[Graph, list[bool]]:
    """Transpose the part of a graph that is linear in its inputs ``seeds``.

    Returns a graph with the other inputs, then a cotangent for each of the linear
    ``outputs``; it gives the ``kept`` outputs, then the cotangent of each seed that has a
    path. The list says which seeds those are.
    """
    parts = split(graph, seeds)
    with Builder.transforming(graph) as builder:
        builder.equations += parts.primal
        cotangents = [builder.input(atom.type) for atom in outputs]
        found = _pull_back(builder, parts, outputs, cotangents)
        results = [builder.atom(value) for value in found if value is not None]
    early = [var for var in graph.inputs if var not in set(seeds)]
    whole = builder.transformed((*early, *builder.inputs), (*kept, *results), graph.names)
    return whole.with_live_equations(), [value is not None for value in found]


def _pull_back(
    builder: Builder,
    parts: Linearized,
    outputs: Sequence[Atom],
    cotangents: Sequence[Any],
) -> list[Any]:
    """Record the linear equations transposed; return one cotangent, or None, per seed."""
    dependent: set[Any] = set(parts.seeds)
    for equation in parts.linear:
        dependent.update(equation.outputs)
    flowing = _Cotangents()
    for atom, cotangent in zip(outputs, cotangents, strict=True):
        if atom in dependent:
            flowing.add(atom, cotangent, None)  # type: ignore[arg-type]
    for equation in reversed(parts.linear):
        taken = [flowing.take(var) for var in equation.outputs]
        if all(value is None for value, _ in taken):
            continue
        builder.standing_at(equation)
        # A linear operand is known by its type only; any other by its value.
        operands = [
            atom.type if atom in dependent else builder.operand(atom) for atom in equation.inputs
        ]
        values, masks = _pull(equation, taken, operands)
        for atom, value, mask in zip(equation.inputs, values, masks, strict=True):
            if value is not None and atom in dependent:
                flowing.add(atom, value, mask)  # type: ignore[arg-type]
    return [flowing.take(var)[0] for var in parts.seeds]


def _pull(equation: Equation, taken: Sequence[Any], operands: list[Any]) -> tuple[Any, Any]:
    primitive = equation.primitive
    if not primitive.multiple:
        value, mask = taken[0]
        return primitive.pull_masked(value, mask, operands, equation.params)
    cotangents = tuple(value for value, _ in taken)
    if not isinstance(primitive, Control):
        cotangents = tuple(
            zeros(var.type) if value is None else value
            for value, var in zip(cotangents, equation.outputs, strict=True)
        )
    values = primitive.pull(cotangents, operands, equation.params)
    return _masked_together(values, [mask for value, mask in taken if value is not None])


def _masked_together(values: Sequence[Any], masks: Sequence[Any]) -> tuple[Any, Any]:
    """Zero everything if every cotangent was masked out whole."""
    if any(mask is None for mask in masks):
        return values, [None] * len(values)
    some: Any = None
    for mask in masks:
        each = PRIMITIVES["any"](mask, axis=tuple(range(type_of(mask).ndim)))
        some = each if some is None else PRIMITIVES["logical_or"](some, each)
    where = PRIMITIVES["where"]
    found, known = [], []
    for value in values:
        whole = value is None or type(type_of(value)) is TapeType  # tapes carry no masks
        found.append(value if whole else where(some, value, 0))
        known.append(None if whole else some)
    return found, known
