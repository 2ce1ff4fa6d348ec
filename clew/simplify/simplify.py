"""Fold constants, share equal equations, drop what does nothing, drop what nobody reads.

Every rewrite leaves the results the same to the last bit, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from clew.core.graph import Atom, Equation, Graph, Literal, Var
from clew.core.primitive import PRIMITIVES
from clew.simplify.choices import without_repeats
from clew.simplify.ones import without_ones
from clew.simplify.pads import side_by_side
from clew.simplify.rewriting import repeated

_REWRITES = {
    "add": side_by_side,
    "contract": without_ones,
    "conv": without_ones,
    "where": without_repeats,
}
_FOLD_ELEMENTS = 2**12
"""Constants larger than this are not computed ahead: that would trade time for memory."""


def simplify(graph: Graph) -> Graph:
    """Return an equivalent graph with at most as many equations.

    >>> import clew
    >>> graph = clew.trace(lambda x: (x * x) + (x * x) * 1.0)(3.0)
    >>> print(simplify(graph))  # doctest: +ELLIPSIS
    graph(x: f64) {
      a: f64 = multiply x x  # ...
      b: f64 = add a a       # ...
      return b
    }
    """
    return _Simplifier(graph).run()


class _Simplifier:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._constants = dict(graph.constants)
        self._replaced: dict[Var, Atom] = {}
        self._seen: dict[Hashable, tuple[Var, ...]] = {}
        self._made_by: dict[Var, Equation] = {}
        self._equations: list[Equation] = []

    def run(self) -> Graph:
        for equation in self._graph.with_live_equations().equations:
            self._visit(equation)
        outputs = [self._resolve(atom) for atom in self._graph.outputs]
        whole = Graph(
            self._graph.inputs, self._equations, outputs, self._constants, self._graph.names
        )
        return whole.with_live_equations()

    def _resolve(self, atom: Atom) -> Atom:
        return self._replaced.get(atom, atom) if type(atom) is Var else atom

    def _visit(self, equation: Equation) -> None:
        inputs = tuple(self._resolve(atom) for atom in equation.inputs)
        if inputs != equation.inputs:
            equation = Equation(
                equation.primitive,
                inputs,
                equation.params,
                equation.outputs,
                equation.scope,
                equation.where,
            )
        if self._fold(equation) or self._forward(equation):
            return
        equation = self._with_sign_outside(equation)
        rewrite = _REWRITES.get(equation.primitive.name)
        replacement = None if rewrite is None else rewrite(equation, self._made_by.get)
        if replacement is not None:
            for each in replacement:
                self._visit(each)
            return
        key = (
            equation.primitive,
            tuple(_atom_key(atom) for atom in equation.inputs),
            tuple((name, _value_key(value)) for name, value in equation.params.items()),
        )
        known = self._seen.get(key)
        if known is not None:
            self._replaced.update(zip(equation.outputs, map(self._resolve, known), strict=True))
            return
        self._seen[key] = equation.outputs
        self._replaced.update(equation.primitive.twins(equation))
        self._made_by.update(dict.fromkeys(equation.outputs, equation))
        self._equations.append(equation)

    def _fold(self, equation: Equation) -> bool:
        """Compute an equation of constants now, if what it gives is small."""
        if not equation.outputs or sum(v.type.size for v in equation.outputs) > _FOLD_ELEMENTS:
            return False
        if equation.primitive.name == "broadcast_to" and equation.outputs[0].type.shape:
            return False  # one number says more than an array of it
        operands = []
        for atom in equation.inputs:
            if type(atom) is Var and atom not in self._constants:
                return False
            operands.append(self._constants[atom] if type(atom) is Var else atom.value)
        with np.errstate(all="ignore"):
            result = equation.primitive.eval(np, *operands, **equation.params)
        results = result if equation.primitive.multiple else (result,)
        for var, value in zip(equation.outputs, results, strict=True):
            if var.type.shape == ():
                self._replaced[var] = Literal(np.asarray(value)[()])
            else:
                self._constants[var] = np.array(value)
        return True

    def _forward(self, equation: Equation) -> bool:
        """Replace an equation that gives its operand back by the operand."""
        if len(equation.outputs) != 1:
            return False
        same = self._same_as(equation)
        if same is None or same.type != equation.outputs[0].type:
            return False
        self._replaced[equation.outputs[0]] = same
        return True

    def _same_as(self, equation: Equation) -> Atom | None:
        name = equation.primitive.name
        inputs = equation.inputs
        if name in ("reshape", "broadcast_to", "convert", "positive"):
            return inputs[0]
        if name == "multiply":
            if self._is_one(inputs[0]):
                return inputs[1]
            return inputs[0] if self._is_one(inputs[1]) else None
        if name == "divide":
            return inputs[0] if self._is_one(inputs[1]) else None
        if name == "transpose":
            return self._untransposed(equation)
        return self._undone(equation, name)

    def _untransposed(self, equation: Equation) -> Atom | None:
        axes = equation.params["axes"]
        if axes == tuple(range(len(axes))):
            return equation.inputs[0]
        before = self._before(equation, "transpose")
        if before is None:
            return None
        chained = tuple(before.params["axes"][axis] for axis in axes)
        return before.inputs[0] if chained == tuple(range(len(axes))) else None

    def _undone(self, equation: Equation, name: str) -> Atom | None:
        if name not in ("negative", "conjugate"):
            return None
        before = self._before(equation, name)
        return None if before is None else before.inputs[0]

    def _with_sign_outside(self, equation: Equation) -> Equation:
        """Move a negation out of a product, and into a sum: ``x + (-y) a`` is ``x - y a``.

        Derivatives are full of both; in real arithmetic it is exact.
        """
        name = equation.primitive.name
        if name not in ("multiply", "divide", "add", "subtract"):
            return equation
        if equation.outputs[0].type.dtype.kind != "f":
            return equation
        left, right = equation.inputs
        positive_left, positive_right = self._negated(left), self._negated(right)
        if name in ("multiply", "divide"):
            if positive_left is None and positive_right is None:
                return equation
            factors = (positive_left or left, positive_right or right)
            if positive_left is not None and positive_right is not None:
                return self._like(equation, name, *factors)
            product = self._new(equation, name, *factors)
            self._visit(product)
            return self._like(equation, "negative", self._resolve(product.outputs[0]))
        opposite = {"add": "subtract", "subtract": "add"}[name]
        if positive_right is not None:
            return self._like(equation, opposite, left, positive_right)
        if positive_left is not None and name == "add":
            return self._like(equation, opposite, right, positive_left)
        return equation

    def _negated(self, atom: Atom) -> Atom | None:
        """Return what an atom is the negative of."""
        made = self._made_by.get(atom) if type(atom) is Var else None
        return made.inputs[0] if made is not None and made.primitive.name == "negative" else None

    def _like(self, equation: Equation, name: str, *inputs: Atom) -> Equation:
        primitive = PRIMITIVES[name]
        where = equation.where
        return Equation(primitive, inputs, {}, equation.outputs, equation.scope, where)

    def _new(self, equation: Equation, name: str, *inputs: Atom) -> Equation:
        outputs = (Var(equation.outputs[0].type),)
        where = equation.where
        return Equation(PRIMITIVES[name], inputs, {}, outputs, equation.scope, where)

    def _is_one(self, atom: Atom) -> bool:
        return repeated(atom, self._made_by.get) == 1

    def _before(self, equation: Equation, name: str) -> Equation | None:
        atom = equation.inputs[0]
        before = self._made_by.get(atom) if type(atom) is Var else None
        return before if before is not None and before.primitive.name == name else None


def _atom_key(atom: Atom) -> Hashable:
    if type(atom) is Var:
        return atom
    value = np.asarray(atom.value)
    return value.dtype.str, value.tobytes()


def _value_key(value: Any) -> Hashable:
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, tuple):
        return tuple(_value_key(item) for item in value)
    return type(value).__name__, value
