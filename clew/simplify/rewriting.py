"""What the rules of rewriting have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clew.core.graph import Atom, Equation, Literal, Var
from clew.core.primitive import PRIMITIVES

MadeBy = Callable[[Any], Equation | None]
"""Gives the equation that a variable was assigned by, if it is not an input or a constant."""


def repeated(atom: Atom, made_by: MadeBy) -> Any:
    """Return the number that an atom, or each element of it, is known to be; None if it is not.

    >>> import clew, numpy as np
    >>> repeated(Literal(np.float64(2.0)), {}.get)
    np.float64(2.0)
    """
    made = made_by(atom) if type(atom) is Var else None
    while made is not None and made.primitive.name in ("broadcast_to", "reshape"):
        atom = made.inputs[0]
        made = made_by(atom) if type(atom) is Var else None
    return atom.value if type(atom) is Literal else None


def equation_of(
    like: Equation,
    name: str,
    inputs: Sequence[Atom],
    params: dict[str, Any],
    outputs: tuple[Var, ...],
) -> Equation:
    """Return an equation of another primitive with the scope and line of this one."""
    return Equation(PRIMITIVES[name], tuple(inputs), params, outputs, like.scope, like.where)
