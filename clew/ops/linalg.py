"""Linear algebra on stacks of matrices: what ``numpy.linalg`` has, and the exponential.

Systems and determinants are in ``ops.inverse``, factorisations in ``ops.factor``; here they
have one address.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general, zeros
from clew.core.types import Type, type_of
from clew.ops.dot import matmul
from clew.ops.elementwise import add
from clew.ops.factor import cholesky, eig, eigh, qr, svd
from clew.ops.inverse import adjugate, det, inv, pinv, slogdet, solve, triangular_solve
from clew.ops.matrix import adjoint, block, diagonal, square, swap
from clew.ops.shape import concatenate, with_batch

Array = Any

# --- the matrix exponential --------------------------------------------------------------


def _expm_eval(xp: Any, a: Any) -> Any:
    import scipy.linalg

    return xp.asarray(scipy.linalg.expm(np.asarray(a))).astype(a.dtype)


expm = general(
    "expm",
    eval=_expm_eval,
    type=lambda a: square("expm", a),
    push=lambda primals, tangents, y: expm_derivative(primals[0], tangents[0]),
    batch=lambda size, x, batched: expm(x[0]),
    source="Al-Mohy & Higham (2009), by scipy.linalg.expm",
)


def _expm_derivative_eval(xp: Any, a: Any, e: Any) -> Any:
    """Read it off ``exp [[A, E], [0, A]]``, with E brought to size 1 first."""
    n = a.shape[-1]
    size = np.max(np.abs(e), axis=(-2, -1), keepdims=True, initial=0)
    size = np.where(size == 0, 1, size)
    whole = np.zeros((*a.shape[:-2], 2 * n, 2 * n), np.result_type(a, e))
    whole[..., :n, :n] = whole[..., n:, n:] = a
    whole[..., :n, n:] = e / size
    return xp.asarray(_expm_eval(np, whole)[..., :n, n:] * size).astype(whole.dtype)


def _push_expm_derivative(primals: Any, tangents: Any, y: Array) -> Array:
    """The derivative of ``exp [[A, E], [0, A]]``, of which this is the upper right block."""
    (a, e), (da, de) = primals, tangents
    along = None if de is None else expm_derivative(a, de)
    if da is None:
        return along
    n = type_of(a).shape[-1]
    blank = zeros(type_of(a))
    moved = expm_derivative(_two_by_two(a, e, blank, a), _two_by_two(da, blank, blank, da))
    moved = block(moved, slice(0, n, 1), slice(n, 2 * n, 1))
    return moved if along is None else add(moved, along)


def _two_by_two(a: Array, b: Array, c: Array, d: Array) -> Array:
    last = type_of(a).ndim - 1
    return concatenate(concatenate(a, b, axis=last), concatenate(c, d, axis=last), axis=last - 1)


def _expm_derivative_batch(size: int, operands: Any, batched: Any) -> Array:
    full = [with_batch(x, size, flag) for x, flag in zip(operands, batched, strict=True)]
    return expm_derivative(*full)


def _expm_derivative_type(a: Type, e: Type) -> Type:
    return square("expm_derivative", a)


expm_derivative = general(
    "expm_derivative",
    eval=_expm_derivative_eval,
    type=_expm_derivative_type,
    push=_push_expm_derivative,
    transpose=lambda t, a, e: (None, expm_derivative(swap(a), t)),
    batch=_expm_derivative_batch,
    source="Mathias (1996), a chain rule for matrix functions",
)


__all__ = [
    "adjoint",
    "adjugate",
    "cholesky",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "expm",
    "expm_derivative",
    "inv",
    "matmul",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "swap",
    "triangular_solve",
]
