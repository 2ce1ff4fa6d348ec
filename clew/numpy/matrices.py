"""Traced forms of ``numpy.linalg``."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of
from clew.numpy.support import Array, axes_of, axis_of, flat, inexact, operand, traced_form
from clew.ops import elementwise as e
from clew.ops import linalg as l

_np = np.linalg


def _matrix(a: Any, whole: bool = False) -> Array:
    x = operand(a) if whole else inexact(operand(a))
    if type_of(x).ndim < 2:
        raise ShapeError(
            f"linalg: shape {type_of(x).shape} is not a stack of matrices", "give at least two axes"
        )
    return x


@traced_form(_np.solve)
def solve(a: Any, b: Any) -> Array:
    """The x with ``a x = b``."""
    return l.solve(_matrix(a), inexact(operand(b)))


@traced_form(_np.inv)
def inv(a: Any) -> Array:
    """The inverse."""
    return l.inv(_matrix(a))


@traced_form(_np.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Array:
    """The Moore-Penrose pseudo-inverse; its derivative is that at constant rank."""
    x = _matrix(a)
    if rtol is not np._NoValue:
        rcond = _precision(x) if rtol is None else rtol
    return l.pinv(x, rcond=None if rcond is None else float(rcond))


def _precision(x: Array) -> float:
    """The relative size below which NumPy takes singular values for rounding errors."""
    kind = type_of(x)
    return float(np.finfo(kind.dtype).eps) * max(kind.shape[-2:])


@traced_form(_np.det)
def det(a: Any) -> Array:
    """The determinant."""
    return l.det(_matrix(a))


@traced_form(_np.slogdet)
def slogdet(a: Any) -> Any:
    """Sign and logarithm of the determinant."""
    from numpy.linalg._linalg import SlogdetResult

    return SlogdetResult(*l.slogdet(_matrix(a)))


@traced_form(_np.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """The lower (or upper) triangular factor."""
    x = _matrix(a)
    return l.adjoint(l.cholesky(l.adjoint(x))) if upper else l.cholesky(x)


@traced_form(_np.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """Orthogonal and upper triangular factor."""
    from numpy.linalg._linalg import QRResult

    if mode not in ("reduced", "r", "complete"):
        raise InputError(f"qr: mode={mode!r} has no traced form", "use mode='reduced'")
    q, r = l.qr(_matrix(a), complete=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


@traced_form(_np.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues and vectors of a Hermitian matrix."""
    from numpy.linalg._linalg import EighResult

    return EighResult(*l.eigh(_matrix(a), lower=UPLO.upper() != "U"))


@traced_form(_np.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Array:
    """Eigenvalues of a Hermitian matrix."""
    return eigh(a, UPLO)[0]


@traced_form(_np.eig)
def eig(a: Any) -> Any:
    """Eigenvalues and vectors (always complex when traced)."""
    from numpy.linalg._linalg import EigResult

    return EigResult(*l.eig(_matrix(a)))


@traced_form(_np.eigvals)
def eigvals(a: Any) -> Array:
    """Eigenvalues (always complex when traced)."""
    return l.eig(_matrix(a))[0]


@traced_form(_np.svd)
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """Singular value decomposition."""
    from numpy.linalg._linalg import SVDResult

    if not compute_uv:
        return l.svd(_matrix(a))[1]
    return SVDResult(*l.svd(_matrix(a), full_matrices=full_matrices))


@traced_form(_np.svdvals)
def svdvals(x: Any, /) -> Array:
    """Singular values."""
    return l.svd(_matrix(x))[1]


@traced_form(_np.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Array:
    """The number of singular values that are not rounding errors: an integer."""
    x = _matrix(A)
    values = l.svd(x)[1]
    if tol is None:
        relative = _precision(x) if rtol is None else np.expand_dims(operand(rtol), -1)
        tol = np.max(values, axis=-1, keepdims=True) * relative
    else:
        tol = np.expand_dims(operand(tol), -1)
    return np.sum(e.greater(values, tol), axis=-1)


@traced_form(_np.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Least-squares solution of least size, residual, rank and singular values.

    The residual is given wherever there are more rows than columns.
    """
    a, b = e.divide.promoted((operand(a), operand(b)))
    a = _matrix(a)
    cut = _precision(a) if rcond is None else float(rcond)
    x = l.matmul(l.pinv(a, rcond=cut), b)
    apart = l.matmul(a, x) - b
    m, n = type_of(a).shape
    squares = np.sum(e.square(e.absolute(apart)), axis=0, keepdims=type_of(b).ndim == 1)
    rank = e.convert(matrix_rank(a, rtol=cut), dtype=np.dtype(np.int32))
    return x, squares if m > n else np.empty(0), rank, l.svd(a)[1]


@traced_form(_np.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Array:
    """The inverse of a tensor as a map between its first and its last axes."""
    x = operand(a)
    shape = type_of(x).shape
    size = math.prod(shape[ind:])
    return np.reshape(inv(np.reshape(x, (-1, size))), shape[ind:] + shape[:ind])


@traced_form(_np.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Array:
    """The x whose tensor product with ``a``, over all axes of x, is ``b``."""
    x, y = operand(a), operand(b)
    ndim = type_of(x).ndim
    if axes is not None:
        last = [axis_of(axis, ndim) for axis in axes]
        x = np.transpose(x, [i for i in range(ndim) if i not in last] + last)
    shape = type_of(x).shape[type_of(y).ndim :]
    return np.reshape(solve(np.reshape(x, (-1, math.prod(shape))), flat(y)), shape)


@traced_form(_np.matrix_power)
def matrix_power(a: Any, n: int) -> Array:
    """Integer power by repeated squaring."""
    x = _matrix(a, whole=n >= 0)
    if n < 0:
        x, n = l.inv(x), -n
    result = None
    while n:
        if n & 1:
            result = x if result is None else l.matmul(result, x)
        x, n = l.matmul(x, x), n >> 1
    if result is None:
        kind = type_of(x)
        return np.zeros_like(x) + np.eye(kind.shape[-1], dtype=kind.dtype)
    return result


@traced_form(_np.multi_dot)
def multi_dot(arrays: Any) -> Array:
    """Product of several matrices."""
    result = operand(arrays[0])
    for other in arrays[1:]:
        result = np.dot(result, operand(other))
    return result


def _root_of_squares(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    squares = e.square(e.absolute(x)) if type_of(x).dtype.kind == "c" else e.square(x)
    total = np.sum(squares, axis=axes, keepdims=keepdims)
    # At zero the norm has a kink; of its slopes there the gradient is 0.
    zero = e.equal(total, 0)
    return e.where(zero, 0, e.sqrt(e.where(zero, 1, total)))


@traced_form(_np.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """Vector or matrix norm."""
    x = inexact(operand(x))
    ndim = type_of(x).ndim
    if axis is None and (ord is None or ndim == 1):
        if ord is None:
            y = _root_of_squares(flat(x), (0,), False)
            return np.reshape(y, (1,) * ndim) if keepdims else y
        axis = 0
    axes = axes_of(axis, ndim)
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], keepdims=keepdims, ord=2 if ord is None else ord)
    return _matrix_norm(x, ord, axes, keepdims)


@traced_form(_np.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Array:
    """Norm of vectors."""
    x = inexact(operand(x))
    axes = axes_of(axis, type_of(x).ndim)
    if ord == 2:
        return _root_of_squares(x, axes, keepdims)
    size = e.absolute(x)
    if ord == math.inf:
        return np.max(size, axis=axes, keepdims=keepdims)
    if ord == -math.inf:
        return np.min(size, axis=axes, keepdims=keepdims)
    if ord == 0:
        return np.sum(
            e.convert(e.not_equal(x, 0), dtype=type_of(size).dtype), axis=axes, keepdims=keepdims
        )
    if ord == 1:
        return np.sum(size, axis=axes, keepdims=keepdims)
    return np.sum(size**ord, axis=axes, keepdims=keepdims) ** (1.0 / ord)


@traced_form(_np.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Norm of the matrices of a stack."""
    x = _matrix(x)
    return _matrix_norm(x, ord, (type_of(x).ndim - 2, type_of(x).ndim - 1), keepdims)


def _matrix_norm(x: Array, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Array:
    if ord in (None, "fro", "f"):
        return _root_of_squares(x, axes, keepdims)
    x = np.moveaxis(x, axes, (-2, -1))
    if ord in (1, -1, math.inf, -math.inf):
        lines = np.sum(e.absolute(x), axis=-2 if builtins.abs(ord) == 1 else -1)
        y = np.max(lines, axis=-1) if ord > 0 else np.min(lines, axis=-1)
    elif ord in (2, -2, "nuc"):
        values = l.svd(x)[1]
        y = {2: np.max, -2: np.min, "nuc": np.sum}[ord](values, axis=-1)
    else:
        raise InputError(f"norm: ord={ord!r} of a matrix", "use 'fro', 'nuc', 1, 2, inf")
    return np.expand_dims(y, tuple(axes)) if keepdims else y


@traced_form(_np.cond)
def cond(x: Any, p: Any = None) -> Array:
    """Condition number."""
    x = _matrix(x)
    if p in (None, 2):
        values = l.svd(x)[1]
        return values[..., 0] / values[..., -1]
    return _np.norm(x, p, axis=(-2, -1)) * _np.norm(l.inv(x), p, axis=(-2, -1))


# The standard's linalg namespace repeats these; NumPy's dispatch reaches their traced forms.


def _same(name: str) -> None:
    traced_form(getattr(_np, name))(lambda *args, **kwargs: getattr(np, name)(*args, **kwargs))


for _name in (
    "matmul",
    "matrix_transpose",
    "outer",
    "tensordot",
    "vecdot",
    "cross",
    "trace",
    "diagonal",
):
    if getattr(_np, _name) is not getattr(np, _name):
        _same(_name)
