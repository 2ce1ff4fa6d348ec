"""Factorisations and spectra of stacks of matrices.

Push-forwards are written with operations that are linear in the tangents, so that reverse
mode follows by transposing. Where LAPACK reads one triangle of a matrix, only that triangle
has a derivative: the gradient is that of the program as it is evaluated.

Vectors are determined up to a sign or phase, which is held: what a function makes of them
must not depend on it. Where two eigenvalues (or singular values) coincide, the vectors turn
infinitely fast and their derivative is not finite; the values alone stay differentiable.

Sources: I. Murray (2016), "Differentiation of the Cholesky decomposition"; S. F. Walter,
L. Lehmann, R. Lamour (2012), "On evaluating higher-order derivatives of the QR decomposition
of tall matrices with full column rank"; J. Townsend (2016), "Differentiating the singular
value decomposition"; M. B. Giles (2008), "Collected matrix derivative results".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general
from clew.core.types import Type, type_of
from clew.ops.dot import matmul
from clew.ops.elementwise import (
    absolute,
    add,
    conjugate,
    convert,
    divide,
    equal,
    imag,
    multiply,
    negative,
    real,
    subtract,
    where,
)
from clew.ops.inverse import solve, triangular_solve
from clew.ops.matrix import (
    adjoint,
    as_column,
    as_row,
    block,
    diagonal,
    hermitian_of_lower,
    is_complex,
    lower,
    matrices,
    on_diagonal,
    real_type,
    square,
    swap,
    upper,
)
from clew.ops.reduce import max, sum
from clew.ops.shape import concatenate, pad_zeros

Array = Any

# --- Cholesky and QR ---------------------------------------------------------------------


def _push_cholesky(primals: Any, tangents: Any, factor: Array) -> Array:
    """``dL = L Phi(L^-1 dA L^-H)``, where Phi takes the lower triangle, its diagonal halved."""
    inner = triangular_solve(factor, hermitian_of_lower(tangents[0]), lower=True)
    inner = adjoint(triangular_solve(factor, adjoint(inner), lower=True))
    n = type_of(factor).shape[-1]
    half = np.where(np.eye(n, dtype=bool), 0.5, np.tri(n))
    half = half.astype(real_type(type_of(factor), ()).dtype)
    return matmul(factor, multiply(inner, half))


cholesky = general(
    "cholesky",
    eval=lambda xp, a: xp.linalg.cholesky(a),
    type=lambda a: square("cholesky", a),
    push=_push_cholesky,
    batch=lambda size, x, batched: cholesky(x[0]),
    source="Murray (2016), 3.1; reads the lower triangle",
)


def _qr_type(a: Type, *, complete: bool = False) -> tuple[Type, Type]:
    *lead, m, n = matrices("qr", a).shape
    k = m if complete else min(m, n)
    return Type((*lead, m, k), a.dtype), Type((*lead, k, n), a.dtype)


def _push_qr(primals: Any, tangents: Any, outputs: Any, *, complete: bool = False) -> Any:
    """``dA = dQ R + Q dR`` with ``W = Q^H dQ`` skew and dR upper triangular.

    With ``C = dA R^-1`` the lower triangle of ``Q^H C`` is that of W. R's diagonal is real,
    as LAPACK makes it. Columns of Q beyond the rank are held as far as they are free.
    """
    (q, r), (da,) = outputs, tangents
    m, n = type_of(da).shape[-2:]
    k, rank = type_of(q).shape[-1], min(m, n)
    leading = slice(0, rank, 1)
    first = block(da, slice(None), leading)
    corner = swap(block(r, leading, leading))
    apart = swap(triangular_solve(corner, swap(first), lower=True))
    inner = matmul(adjoint(q), apart)
    if k > rank:
        widths = [(0, 0)] * type_of(inner).ndim
        widths[-1] = (0, k - rank)
        inner = pad_zeros(inner, tuple(widths))
    below = lower(inner, -1)
    turn = subtract(below, adjoint(below))
    if is_complex(q):
        turn = add(turn, on_diagonal(multiply(imag(diagonal(inner)), 1j)))
    dq = matmul(q, turn)
    if m > k:
        dq = add(dq, subtract(apart, matmul(q, inner)))
    return dq, upper(subtract(matmul(adjoint(q), da), matmul(turn, r)))


qr = general(
    "qr",
    eval=lambda xp, a, *, complete=False: tuple(
        xp.linalg.qr(a, "complete" if complete else "reduced")
    ),
    type=_qr_type,
    push=_push_qr,
    batch=lambda size, x, batched, **params: qr(x[0], **params),
    multiple=True,
    source="Walter, Lehmann & Lamour (2012); the leading columns must be independent",
)

# --- eigenvalues -------------------------------------------------------------------------


def _inverse_gaps(values: Array) -> Array:
    """``1 / (w_j - w_i)`` off the diagonal, 0 on it."""
    same = np.eye(type_of(values).shape[-1], dtype=bool)
    gaps = subtract(as_row(values), as_column(values))
    return where(same, 0, divide(1.0, where(same, 1, gaps)))


def _push_eigh(primals: Any, tangents: Any, outputs: Any, *, lower: bool = True) -> Any:
    """``V^H dA V`` has the moves of the eigenvalues on its diagonal and the turns beside it."""
    w, v = outputs
    da = tangents[0] if lower else adjoint(tangents[0])
    inner = matmul(adjoint(v), matmul(hermitian_of_lower(da), v))
    dw = diagonal(inner)
    dv = matmul(v, multiply(_inverse_gaps(w), inner))
    return (real(dw) if is_complex(dw) else dw), dv


eigh = general(
    "eigh",
    eval=lambda xp, a, *, lower=True: tuple(xp.linalg.eigh(a, "L" if lower else "U")),
    type=lambda a, *, lower=True: (real_type(square("eigh", a), a.shape[:-1]), a),
    push=_push_eigh,
    batch=lambda size, x, batched, **params: eigh(x[0], **params),
    multiple=True,
    source="Giles (2008), 3.1; reads one triangle",
)


def _eig_type(a: Type) -> tuple[Type, Type]:
    dtype = np.result_type(square("eig", a).dtype, np.complex64)
    return Type(a.shape[:-1], dtype), Type(a.shape, dtype)


def _eig_eval(xp: Any, a: Any) -> Any:
    w, v = xp.linalg.eig(a)
    dtype = np.result_type(a.dtype, np.complex64)
    return w.astype(dtype), v.astype(dtype)


def _push_eig(primals: Any, tangents: Any, outputs: Any) -> Any:
    """The vectors keep length 1, and their largest component stays real as LAPACK makes it."""
    w, v = outputs
    last = type_of(v).ndim - 2
    inner = solve(v, matmul(convert(tangents[0], dtype=type_of(v).dtype), v))
    dv = matmul(v, multiply(_inverse_gaps(w), inner))
    along = multiply(conjugate(v), dv)
    stretch = real(sum(along, axis=(last,)))
    size = absolute(v)
    largest = equal(size, as_row(max(size, axis=(last,))))
    weight = where(largest, multiply(size, size), 0)
    phase = divide(sum(where(largest, imag(along), 0), axis=(last,)), sum(weight, axis=(last,)))
    back = add(stretch, multiply(phase, 1j))
    return diagonal(inner), subtract(dv, multiply(v, as_row(back)))


eig = general(
    "eig",
    eval=_eig_eval,
    type=_eig_type,
    push=_push_eig,
    batch=lambda size, x, batched: eig(x[0]),
    multiple=True,
    source="Giles (2008), 3.1; always complex, for the type may not depend on values",
)

# --- singular values ---------------------------------------------------------------------


def _svd_type(a: Type, *, full_matrices: bool = False) -> tuple[Type, Type, Type]:
    *lead, m, n = matrices("svd", a).shape
    k = min(m, n)
    return (
        Type((*lead, m, m if full_matrices else k), a.dtype),
        real_type(a, (*lead, k)),
        Type((*lead, n if full_matrices else k, n), a.dtype),
    )


def _push_svd(primals: Any, tangents: Any, outputs: Any, *, full_matrices: bool = False) -> Any:
    """``U^H dA V`` has the moves of the singular values on its diagonal.

    For complex matrices the free phase is put into U. The vectors beyond the singular values
    (``full_matrices``) turn only as far as they must to stay orthogonal to the others.
    """
    (u, s, vh), (da,) = outputs, tangents
    m, n = type_of(da).shape[-2:]
    leading = slice(0, type_of(s).shape[-1], 1)
    u1, v1 = block(u, slice(None), leading), adjoint(block(vh, leading, slice(None)))
    right = matmul(da, v1)
    inner = matmul(adjoint(u1), right)
    turn_u, turn_v = _turns(inner, s)
    ds = diagonal(inner)
    if is_complex(u):
        turn_u = add(turn_u, on_diagonal(divide(multiply(imag(ds), 1j), s)))
        ds = real(ds)
    du, dv = matmul(u1, turn_u), matmul(v1, turn_v)
    if m > n:
        du = _with_complement(u, u1, du, subtract(right, matmul(u1, inner)), s)
    if n > m:
        left = subtract(matmul(adjoint(da), u1), matmul(v1, adjoint(inner)))
        dv = _with_complement(adjoint(vh), v1, dv, left, s)
    return du, ds, adjoint(dv)


def _turns(inner: Array, s: Array) -> tuple[Array, Array]:
    """Return the skew matrices ``U^H dU`` and ``V^H dV``, off the diagonal."""
    row, column, other = as_row(s), as_column(s), adjoint(inner)
    weight = divide(_inverse_gaps(s), add(row, column))
    turn_u = multiply(weight, add(multiply(inner, row), multiply(column, other)))
    turn_v = multiply(weight, add(multiply(column, inner), multiply(other, row)))
    return turn_u, turn_v


def _with_complement(u: Array, u1: Array, du: Array, outside: Array, s: Array) -> Array:
    """Add the part of dU outside the span of U, and the answer of the vectors beyond it."""
    leaving = divide(outside, as_row(s))
    du = add(du, leaving)
    width = type_of(u).shape[-1]
    start = type_of(u1).shape[-1]
    if width == start:
        return du
    u2 = block(u, slice(None), slice(start, width, 1))
    du2 = negative(matmul(u1, matmul(adjoint(leaving), u2)))
    return concatenate(du, du2, axis=type_of(u).ndim - 1)


svd = general(
    "svd",
    eval=lambda xp, a, *, full_matrices=False: tuple(xp.linalg.svd(a, full_matrices=full_matrices)),
    type=_svd_type,
    push=_push_svd,
    batch=lambda size, x, batched, **params: svd(x[0], **params),
    multiple=True,
    source="Townsend (2016)",
)
