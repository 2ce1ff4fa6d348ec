"""Linear systems, inverses and determinants of stacks of matrices.

Push-forwards are written with operations that are linear in the tangents, so that reverse
mode follows by transposing. Transposes pair by ``Re(sum(a * b))``, without a conjugate.

Sources: M. B. Giles (2008), "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation"; G. H. Golub, V. Pereyra (1973), "The differentiation of
pseudo-inverses and nonlinear least squares problems whose variables separate".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import general, unbroadcast
from clew.core.types import Type, type_of
from clew.ops.dot import matmul
from clew.ops.elementwise import add, convert, divide, imag, multiply, negative, real, subtract
from clew.ops.matrix import (
    adjoint,
    as_column,
    diagonal,
    is_complex,
    lower,
    matrices,
    real_type,
    square,
    swap,
    upper,
)
from clew.ops.reduce import sum
from clew.ops.shape import reshape, transpose

Array = Any

# --- linear systems ----------------------------------------------------------------------

_FLIPPED = {"general": "general", "lower": "upper", "upper": "lower"}


def _solve_eval(xp: Any, a: Any, b: Any, *, form: str) -> Any:
    if form == "general":
        return xp.linalg.solve(a, b)
    if xp is np and a.ndim == b.ndim == 2 and b.size:
        import scipy.linalg

        return scipy.linalg.solve_triangular(a, b, lower=form == "lower", check_finite=False)
    return xp.linalg.solve(xp.tril(a) if form == "lower" else xp.triu(a), b)


def _solve_type(a: Type, b: Type, *, form: str) -> Type:
    square("solve", a)
    matrices("solve", b)
    if a.shape[-1] == b.shape[-2]:
        try:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            return Type((*lead, *b.shape[-2:]), np.result_type(a.dtype, b.dtype))
        except ValueError:
            pass
    raise ShapeError(
        f"solve: matrices of shape {a.shape} and right-hand sides of shape {b.shape}",
        "give right-hand sides with as many rows as the matrices; leading axes broadcast",
    )


def _push_solve(primals: Any, tangents: Any, x: Array, *, form: str) -> Array:
    """``a x = b`` moves by ``a dx = db - da x``."""
    (a, _), (da, db) = primals, tangents
    if da is not None:
        if form != "general":
            da = lower(da) if form == "lower" else upper(da)
        moved = negative(matmul(da, x))
        db = moved if db is None else add(db, moved)
    return _solve(a, db, form=form)


def _solve_transpose(t: Array, a: Array, b: Type, *, form: str) -> tuple[None, Array]:
    return None, unbroadcast(_solve(swap(a), t, form=_FLIPPED[form]), b.shape)


def _solve_batch(size: int, operands: Any, batched: Any, *, form: str) -> Array:
    a, b = operands
    if not batched[0] and type_of(a).ndim == 2 and type_of(b).ndim == 3:
        # One matrix, many right-hand sides: factor it once.
        n, columns = type_of(b).shape[1:]
        wide = reshape(transpose(b, axes=(1, 0, 2)), shape=(n, size * columns))
        x = reshape(_solve(a, wide, form=form), shape=(n, size, columns))
        return transpose(x, axes=(1, 0, 2))
    rank = max(type_of(x).ndim - flag for x, flag in zip(operands, batched, strict=True))
    aligned = []
    for x, flag in zip(operands, batched, strict=True):
        shape = type_of(x).shape
        if flag:
            x = reshape(x, shape=(size, *(1,) * (rank + 1 - len(shape)), *shape[1:]))
        aligned.append(x)
    return _solve(*aligned, form=form)


_solve = general(
    "solve",
    eval=_solve_eval,
    type=_solve_type,
    push=_push_solve,
    transpose=_solve_transpose,
    batch=_solve_batch,
    source="Giles (2008), 2.3.1",
)


def _solved(a: Array, b: Array, form: str) -> Array:
    dtype = np.result_type(type_of(a).dtype, type_of(b).dtype)
    a, b = (x if type_of(x).dtype == dtype else convert(x, dtype=dtype) for x in (a, b))
    vector = type_of(b).ndim == 1
    b = as_column(b) if vector else b
    _solve_type(type_of(a), type_of(b), form=form)
    x = _solve(a, b, form=form)
    return reshape(x, shape=type_of(x).shape[:-1]) if vector else x


def solve(a: Array, b: Array) -> Array:
    """Return the x with ``a x = b``, as ``numpy.linalg.solve``.

    Parameters
    ----------
    a : array, (..., n, n)
    b : array, (n,) or (..., n, k)
        Leading axes broadcast with those of ``a``.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    numpy.linalg.LinAlgError
        If a matrix is singular, when it is evaluated.

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    array([1. , 0.5])
    """
    return _solved(a, b, "general")


def triangular_solve(a: Array, b: Array, *, lower: bool) -> Array:
    """Return the x with ``a x = b``, reading one triangle of ``a``.

    Shapes and errors are those of :func:`solve`.

    >>> triangular_solve(np.array([[2.0, 9.0], [1.0, 1.0]]), np.array([2.0, 2.0]), lower=True)
    array([1., 1.])
    """
    return _solved(a, b, "lower" if lower else "upper")


def inv(a: Array) -> Array:
    """Return the inverse, as ``numpy.linalg.inv``.

    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    kind = square("inv", type_of(a))
    return solve(a, np.eye(kind.shape[-1], dtype=kind.dtype))


# --- pseudo-inverse ----------------------------------------------------------------------


def _push_pinv(primals: Any, tangents: Any, p: Array, *, rcond: float | None = None) -> Array:
    """``dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P``."""
    (a,), (da,) = primals, tangents
    h, q = adjoint(da), adjoint(p)
    left = matmul(matmul(p, q), subtract(h, matmul(h, matmul(a, p))))
    right = matmul(subtract(h, matmul(p, matmul(a, h))), matmul(q, p))
    return subtract(add(left, right), matmul(p, matmul(da, p)))


def _pinv_type(a: Type, *, rcond: float | None = None) -> Type:
    *lead, m, n = matrices("pinv", a).shape
    return Type((*lead, n, m), a.dtype)


pinv = general(
    "pinv",
    eval=lambda xp, a, *, rcond=None: xp.linalg.pinv(a, rcond),
    type=_pinv_type,
    push=_push_pinv,
    batch=lambda size, x, batched, **params: pinv(x[0], **params),
    source="Golub & Pereyra (1973), (4.12); for a rank that does not change",
)

# --- determinants ------------------------------------------------------------------------


def _adjugate_eval(xp: Any, a: Any) -> Any:
    """For ``A = U S V^H`` it is ``det(U) det(V^H) V S' U^H``, with no division.

    Each entry of S' is the product of the other singular values, so singular matrices
    are no exception.
    """
    n = a.shape[-1]
    u, s, vh = xp.linalg.svd(a)
    others = xp.where(xp.eye(n, dtype=bool), 1, s[..., None, :])
    factor = xp.linalg.det(u) * xp.linalg.det(vh)
    scaled = xp.prod(others, axis=-1) * factor[..., None]
    product = xp.matmul(
        xp.conj(xp.swapaxes(vh, -1, -2)) * scaled[..., None, :], xp.conj(xp.swapaxes(u, -1, -2))
    )
    return product.astype(a.dtype)


def _push_adjugate(primals: Any, tangents: Any, y: Array) -> Array:
    """``d adj = (tr(adj dA) adj - adj dA adj) / det``, for regular matrices."""
    (a,), (da,) = primals, tangents
    trace = as_column(as_column(_trace_of_product(y, da)))
    turned = subtract(multiply(y, trace), matmul(y, matmul(da, y)))
    return divide(turned, as_column(as_column(det(a))))


def _trace_of_product(x: Array, y: Array) -> Array:
    last = type_of(x).ndim - 2
    return sum(multiply(swap(x), y), axis=(last, last + 1))


adjugate = general(
    "adjugate",
    eval=_adjugate_eval,
    type=lambda a: square("adjugate", a),
    push=_push_adjugate,
    batch=lambda size, x, batched: adjugate(x[0]),
    source="Jacobi's formula, differentiated once more",
)
det = general(
    "det",
    eval=lambda xp, a: xp.linalg.det(a),
    type=lambda a: Type(square("det", a).shape[:-2], a.dtype),
    push=lambda primals, tangents, y: _trace_of_product(adjugate(primals[0]), tangents[0]),
    batch=lambda size, x, batched: det(x[0]),
    source="Jacobi's formula; finite at singular matrices too",
)


def _push_slogdet(primals: Any, tangents: Any, outputs: Any) -> Any:
    """``d log det = tr(A^-1 dA)``: its real part moves the size, the rest turns the sign."""
    change = sum(diagonal(solve(primals[0], tangents[0])), axis=(type_of(primals[0]).ndim - 2,))
    if not is_complex(change):
        return None, change
    return multiply(outputs[0], multiply(imag(change), 1j)), real(change)


slogdet = general(
    "slogdet",
    eval=lambda xp, a: tuple(xp.linalg.slogdet(a)),
    type=lambda a: (
        Type(square("slogdet", a).shape[:-2], a.dtype),
        real_type(a, a.shape[:-2]),
    ),
    push=_push_slogdet,
    batch=lambda size, x, batched: slogdet(x[0]),
    multiple=True,
    source="Giles (2008), 2.2.4",
)
