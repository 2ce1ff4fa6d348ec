"""Linear algebra on stacks of matrices: factorisations, solves, spectra.

Each push-forward is written with operations that are linear in the tangents; reverse mode
follows by transposing. Sources: Giles (2008), "Collected matrix derivative results"; Murray
(2016), "Differentiation of the Cholesky decomposition"; Townsend (2016), "Differentiating the
SVD"; Golub & Pereyra (1973) for the pseudo-inverse. Where NumPy reads one triangle of a
matrix, only that triangle has a derivative.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import general
from clew.core.types import Type, type_of
from clew.ops.dot import matmul
from clew.ops.elementwise import conjugate, convert, divide, imag, multiply, real, where
from clew.ops.index import gather
from clew.ops.reduce import sum
from clew.ops.shape import reshape, transpose, with_batch

Array = Any


# --- pieces ------------------------------------------------------------------------------


def swap(a: Array) -> Array:
    """Return the transposed matrices of a stack.

    >>> swap(np.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    ndim = type_of(a).ndim
    return transpose(a, axes=(*range(ndim - 2), ndim - 1, ndim - 2))


def adjoint(a: Array) -> Array:
    """Return the conjugate-transposed matrices of a stack.

    >>> adjoint(np.ones((2, 3))).shape
    (3, 2)
    """
    return conjugate(swap(a)) if type_of(a).dtype.kind == "c" else swap(a)


def diagonal(a: Array) -> Array:
    """Return the diagonals of a stack of matrices.

    >>> diagonal(np.eye(2))
    array([1., 1.])
    """
    shape = type_of(a).shape
    index = np.arange(min(shape[-2:]))
    ndim = len(shape)
    picked = gather(a, index, index, axes=(ndim - 2, ndim - 1))
    return transpose(picked, axes=(*range(1, ndim - 1), 0))


def _row(v: Array) -> Array:
    shape = type_of(v).shape
    return reshape(v, shape=(*shape[:-1], 1, shape[-1]))


def _column(v: Array) -> Array:
    return reshape(v, shape=(*type_of(v).shape, 1))


def _triangle(a: Array, k: int, lower: bool = True) -> Array:
    inside = np.tri(*type_of(a).shape[-2:], k=k, dtype=bool)
    return where(inside, a, 0) if lower else where(inside, 0, a)


def _from_lower(a: Array) -> Array:
    """The Hermitian matrix that NumPy makes of the lower triangle."""
    below = _triangle(a, -1)
    middle = where(np.eye(type_of(a).shape[-1], dtype=bool), _real_as(a), 0)
    return below + adjoint(below) + middle


def _real_as(a: Array) -> Array:
    kind = type_of(a)
    return convert(real(a), dtype=kind.dtype) if kind.dtype.kind == "c" else a


def _square(name: str, a: Type) -> Type:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(
            f"{name}: shape {a.shape} is not a stack of square matrices",
            "make the last two axes equal",
        )
    return a


def _matching(name: str, a: Type, b: Type) -> Type:
    _square(name, a)
    if b.shape[:-1] != a.shape[:-1]:
        raise ShapeError(
            f"{name}: matrices of shape {a.shape} and right-hand sides of shape {b.shape}",
            "give right-hand sides with as many rows as the matrices",
        )
    return Type(b.shape, np.result_type(a.dtype, b.dtype))


def _stacked(record: Any) -> Any:
    def batch(size: int, operands: Any, batched: Any, **params: Any) -> Any:
        full = [with_batch(x, size, flag) for x, flag in zip(operands, batched, strict=True)]
        return record()(*full, **params)

    return batch


def _real_type(a: Type, shape: tuple[int, ...]) -> Type:
    return Type(shape, np.empty(0, a.dtype).real.dtype)


# --- solves --------------------------------------------------------------------------------


def _push_solve(again: Any) -> Any:
    """``x = A^-1 b`` moves by ``A^-1 (db - dA x)``."""

    def push(primals: Any, tangents: Any, x: Array, **params: Any) -> Array:
        a, _ = primals
        da, db = tangents
        right = db
        if da is not None:
            if "lower" in params:
                da = _triangle(da, 0) if params["lower"] else _triangle(da, -1, lower=False)
            moved = -matmul(da, x)
            right = moved if db is None else db + moved
        return again()(a, right, **params)

    return push


def _triangular_eval(xp: Any, a: Any, b: Any, *, lower: bool) -> Any:
    import scipy.linalg

    if a.ndim == 2:
        return scipy.linalg.solve_triangular(a, b, lower=lower, check_finite=False)
    flat_a, flat_b = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
    pairs = zip(flat_a, flat_b, strict=True)
    found = [scipy.linalg.solve_triangular(x, y, lower=lower, check_finite=False) for x, y in pairs]
    return np.stack(found).reshape(b.shape) if found else np.empty(b.shape, b.dtype)


solve = general(
    "solve",
    eval=lambda xp, a, b: xp.linalg.solve(a, b),
    type=lambda a, b: _matching("solve", a, b),
    push=_push_solve(lambda: solve),
    transpose=lambda t, a, b: (None, solve(swap(a), t)),
    batch=_stacked(lambda: solve),
)
triangular_solve = general(
    "triangular_solve",
    eval=_triangular_eval,
    type=lambda a, b, *, lower: _matching("triangular_solve", a, b),
    push=_push_solve(lambda: triangular_solve),
    transpose=lambda t, a, b, *, lower: (None, triangular_solve(swap(a), t, lower=not lower)),
    batch=_stacked(lambda: triangular_solve),
)


def _push_inv(primals: Any, tangents: Any, y: Array) -> Array:
    return -matmul(y, matmul(tangents[0], y))


inv = general(
    "inv",
    eval=lambda xp, a: xp.linalg.inv(a),
    type=lambda a: _square("inv", a),
    push=_push_inv,
    batch=_stacked(lambda: inv),
)


def _push_pinv(primals: Any, tangents: Any, p: Array) -> Array:
    """Golub & Pereyra (1973): for constant rank."""
    (a,), (da,) = primals, tangents
    h = adjoint(da)
    left = matmul(matmul(p, adjoint(p)), h - matmul(h, matmul(a, p)))
    right = matmul(h - matmul(p, matmul(a, h)), matmul(adjoint(p), p))
    return left + right - matmul(p, matmul(da, p))


pinv = general(
    "pinv",
    eval=lambda xp, a: xp.linalg.pinv(a),
    type=lambda a: Type((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype),
    push=_push_pinv,
    batch=_stacked(lambda: pinv),
)

# --- determinants ----------------------------------------------------------------------------


def _log_change(a: Array, da: Array) -> Array:
    """The trace of ``A^-1 dA``."""
    return sum(diagonal(solve(a, da)), axis=(type_of(a).ndim - 2,))


def _push_slogdet(primals: Any, tangents: Any, outputs: Any) -> Any:
    change = _log_change(primals[0], tangents[0])
    if type_of(change).dtype.kind != "c":
        return None, change
    return multiply(outputs[0], multiply(imag(change), 1j)), real(change)


det = general(
    "det",
    eval=lambda xp, a: xp.linalg.det(a),
    type=lambda a: Type(_square("det", a).shape[:-2], a.dtype),
    push=lambda primals, tangents, y: multiply(y, _log_change(primals[0], tangents[0])),
    batch=_stacked(lambda: det),
)
slogdet = general(
    "slogdet",
    eval=lambda xp, a: tuple(xp.linalg.slogdet(a)),
    type=lambda a: (
        Type(_square("slogdet", a).shape[:-2], a.dtype),
        _real_type(a, a.shape[:-2]),
    ),
    push=_push_slogdet,
    batch=_stacked(lambda: slogdet),
    multiple=True,
)

# --- factorisations ----------------------------------------------------------------------------


def _push_cholesky(primals: Any, tangents: Any, l: Array) -> Array:  # noqa: E741
    """Murray (2016): ``dL = L Phi(L^-1 dA L^-H)``, Phi halving the diagonal."""
    inner = triangular_solve(l, _from_lower(tangents[0]), lower=True)
    inner = adjoint(triangular_solve(l, adjoint(inner), lower=True))
    half = np.where(np.eye(type_of(l).shape[-1], dtype=bool), 0.5, 1.0)
    return matmul(l, _triangle(multiply(inner, half.astype(_real_dtype(l))), 0))


def _real_dtype(a: Array) -> np.dtype:
    return np.empty(0, type_of(a).dtype).real.dtype


cholesky = general(
    "cholesky",
    eval=lambda xp, a: xp.linalg.cholesky(a),
    type=lambda a: _square("cholesky", a),
    push=_push_cholesky,
    batch=_stacked(lambda: cholesky),
)


def _push_qr(primals: Any, tangents: Any, outputs: Any) -> Any:
    """For at least as many rows as columns, with full column rank."""
    (q, r), (da,) = outputs, tangents
    apart = swap(triangular_solve(swap(r), swap(da), lower=True))
    inner = matmul(adjoint(q), apart)
    below = _triangle(inner, -1)
    turn = below - adjoint(below)
    if type_of(q).dtype.kind == "c":
        middle = multiply(imag(inner), 1j)
        turn = turn + where(np.eye(type_of(r).shape[-1], dtype=bool), middle, 0)
    return apart + matmul(q, turn - inner), matmul(inner - turn, r)


qr = general(
    "qr",
    eval=lambda xp, a: tuple(xp.linalg.qr(a)),
    type=lambda a: (
        Type((*a.shape[:-1], min(a.shape[-2:])), a.dtype),
        Type((*a.shape[:-2], min(a.shape[-2:]), a.shape[-1]), a.dtype),
    ),
    push=_push_qr,
    batch=_stacked(lambda: qr),
    multiple=True,
)

# --- spectra ---------------------------------------------------------------------------------


def _inverse_gaps(values: Array) -> Array:
    """``1 / (w_j - w_i)`` off the diagonal, 0 on it."""
    gaps = _row(values) - _column(values)
    same = np.eye(type_of(values).shape[-1], dtype=bool)
    return where(same, 0, divide(1.0, where(same, 1, gaps)))


def _push_eigh(primals: Any, tangents: Any, outputs: Any) -> Any:
    """Eigenvalues must be distinct for the vectors to have a derivative."""
    w, v = outputs
    inner = matmul(adjoint(v), matmul(_from_lower(tangents[0]), v))
    dw = diagonal(inner)
    dv = matmul(v, multiply(_inverse_gaps(w), inner))
    return (real(dw) if type_of(dw).dtype.kind == "c" else dw), dv


eigh = general(
    "eigh",
    eval=lambda xp, a: tuple(xp.linalg.eigh(a)),
    type=lambda a: (_real_type(_square("eigh", a), a.shape[:-1]), a),
    push=_push_eigh,
    batch=_stacked(lambda: eigh),
    multiple=True,
)


def _eig_type(a: Type) -> tuple[Type, Type]:
    single = a.dtype in (np.dtype(np.float32), np.dtype(np.complex64))
    dtype = np.dtype(np.complex64 if single else np.complex128)
    return Type(_square("eig", a).shape[:-1], dtype), Type(a.shape, dtype)


def _eig_eval(xp: Any, a: Any) -> Any:
    w, v = xp.linalg.eig(a)
    dtype = np.result_type(a.dtype, np.complex64)
    return w.astype(dtype), v.astype(dtype)


def _push_eig(primals: Any, tangents: Any, outputs: Any) -> Any:
    """The vectors keep length 1; their phase is LAPACK's choice and is held."""
    w, v = outputs
    inner = solve(v, matmul(convert(tangents[0], dtype=type_of(v).dtype), v))
    dv = matmul(v, multiply(_inverse_gaps(w), inner))
    length = real(sum(multiply(conjugate(v), dv), axis=(type_of(v).ndim - 2,)))
    return diagonal(inner), dv - multiply(v, _row(length))


eig = general(
    "eig",
    eval=_eig_eval,
    type=_eig_type,
    push=_push_eig,
    batch=_stacked(lambda: eig),
    multiple=True,
)


def _svd_type(a: Type) -> tuple[Type, Type, Type]:
    *lead, m, n = a.shape
    k = min(m, n)
    return (
        Type((*lead, m, k), a.dtype),
        _real_type(a, (*lead, k)),
        Type((*lead, k, n), a.dtype),
    )


def _push_svd(primals: Any, tangents: Any, outputs: Any) -> Any:
    """Townsend (2016): singular values must be distinct and not zero.

    For complex matrices the free phase is put into U.
    """
    (u, s, vh), (da,) = outputs, tangents
    m, n = type_of(da).shape[-2:]
    right = matmul(da, adjoint(vh))
    inner = matmul(adjoint(u), right)
    ds = diagonal(inner)
    squares = multiply(s, s)
    gaps = _inverse_gaps(squares)
    inner_h = adjoint(inner)
    for_u = multiply(gaps, multiply(inner, _row(s)) + multiply(_column(s), inner_h))
    for_v = multiply(gaps, multiply(_column(s), inner) + multiply(inner_h, _row(s)))
    if type_of(u).dtype.kind == "c":
        ds = real(ds)
        phase = multiply(imag(diagonal(inner)), 1j) / s
        for_u = for_u + where(np.eye(min(m, n), dtype=bool), _row(phase), 0)
    du = matmul(u, for_u)
    dvh = matmul(adjoint(for_v), vh)
    if m > n:
        du = du + multiply(right - matmul(u, inner), _row(divide(1.0, s)))
    if n > m:
        left = matmul(adjoint(u), da)
        dvh = dvh + multiply(left - matmul(matmul(left, adjoint(vh)), vh), _column(divide(1.0, s)))
    return du, ds, dvh


svd = general(
    "svd",
    eval=lambda xp, a: tuple(xp.linalg.svd(a, full_matrices=False)),
    type=_svd_type,
    push=_push_svd,
    batch=_stacked(lambda: svd),
    multiple=True,
)
