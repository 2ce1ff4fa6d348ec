"""Primitives that are written as graphs of others: pseudo-inverses and adjugates."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.core.types import type_of
from clew.evaluate.native.control import write_remat
from clew.ops.dot import matmul
from clew.ops.elementwise import convert, divide, greater, multiply, where
from clew.ops.factor import svd
from clew.ops.inverse import det
from clew.ops.matrix import adjoint, as_column, as_row
from clew.ops.reduce import max, prod
from clew.trace.recording import record

_USUAL_CUTOFF = 1e-15
"""Of the largest singular value: what ``numpy.linalg.pinv`` counts as 0."""


def write_composed(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the graph of other primitives that a primitive is made of."""
    expression = {"pinv": _pinv, "adjugate": _adjugate}[equation.primitive.name]
    (atom,) = equation.inputs
    if not atom.type.size:
        return False
    body = record(lambda a: expression(a, **equation.params), [atom.type], abstract=True).graph
    whole = equation.remade(equation.inputs, {"body": body}, equation.outputs)
    return write_remat(program, frame, whole)


def _pinv(a: Any, rcond: float | None = None) -> Any:
    """``V S^+ U^H``, small singular values left out."""
    u, s, vh = svd(a)
    last = (type_of(s).ndim - 1,)
    limit = multiply(max(s, axis=last), _USUAL_CUTOFF if rcond is None else rcond)
    kept = greater(s, as_column(limit))
    inverse = where(kept, divide(1.0, where(kept, s, 1.0)), 0.0)
    return matmul(adjoint(vh), multiply(as_column(inverse), adjoint(u)))


def _adjugate(a: Any) -> Any:
    """``det(U) det(V^H) V S' U^H``: each entry of S' is the product of the others of S."""
    u, s, vh = svd(a)
    n = type_of(s).shape[-1]
    others = where(np.eye(n, dtype=bool), 1.0, as_row(s))
    products = prod(others, axis=(type_of(others).ndim - 1,))
    sign = multiply(det(u), det(vh))
    scaled = multiply(convert(products, dtype=type_of(a).dtype), as_column(sign))
    return matmul(multiply(adjoint(vh), as_row(scaled)), adjoint(u))
