"""Choices within choices by the same condition.

Masks that travel with cotangents (``clew.calculus.transpose``) zero again what is already zero
there: ``where(c, where(c, x, 0), 0)``.
"""

from __future__ import annotations

import numpy as np

from clew.core.graph import Atom, Equation, Literal, Var
from clew.simplify.rewriting import MadeBy


def without_repeats(equation: Equation, made_by: MadeBy) -> list[Equation] | None:
    """Look through a choice whose outcome the condition of this one implies.

    >>> import clew
    >>> f = lambda x: np.where(x > 0, np.where(x > 0, x, 0.0), 0.0)
    >>> graph = clew.simplify.simplify(clew.trace(f)(np.ones(3)))
    >>> [e.primitive.name for e in graph.equations]
    ['greater', 'where']
    """
    condition, taken, other = equation.inputs
    made = made_by(taken) if type(taken) is Var else None
    if made is None or made.primitive.name != "where":
        return None
    inner, value, rest = made.inputs
    if value.type.shape != equation.outputs[0].type.shape or not _implies(
        condition, inner, made_by
    ):
        return None
    if not _same(rest, other):
        return None
    return [equation.remade((condition, value, other), {}, equation.outputs)]


def _implies(condition: Atom, inner: Atom, made_by: MadeBy) -> bool:
    """Whether a condition is another one, or that and more."""
    if condition is inner:
        return True
    made = made_by(condition) if type(condition) is Var else None
    if made is None or made.primitive.name != "logical_and":
        return False
    return any(_implies(atom, inner, made_by) for atom in made.inputs)


def _same(left: Atom, right: Atom) -> bool:
    if left is right:
        return True
    if type(left) is not Literal or type(right) is not Literal:
        return False
    a, b = np.asarray(left.value), np.asarray(right.value)
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()
