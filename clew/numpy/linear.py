"""Products of arrays: dot, matmul, einsum, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.numpy.support import Array, as_dtype, axis_of, flat, operand, traced_form
from clew.ops import conv as c
from clew.ops import dot as d
from clew.ops import elementwise as e
from clew.ops.einsum import einsum as _einsum


@traced_form(np.matmul)
def matmul(
    x1: Any, x2: Any, /, *, axes: Any = None, axis: Any = None, keepdims: Any = False
) -> Array:
    """Matrix product over the last two axes."""
    if axes is not None or axis is not None or keepdims:
        raise InputError(
            "matmul: axes, axis and keepdims have no traced form", "move the axes with np.moveaxis"
        )
    return d.matmul(operand(x1), operand(x2))


@traced_form(np.dot)
def dot(a: Any, b: Any) -> Array:
    """Sum over the last axis of the first and the second-to-last of the second."""
    return d.dot(operand(a), operand(b))


@traced_form(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Array:
    """Sum of products over pairs of axes."""
    return d.tensordot(operand(a), operand(b), axes)


@traced_form(np.einsum)
def einsum(
    subscripts: Any, /, *operands: Any, optimize: Any = False, dtype: Any = None, **kwargs: Any
) -> Array:
    """Sum of products described by subscripts."""
    if isinstance(subscripts, str):
        operands = tuple(as_dtype(operand(x), dtype) for x in operands)
    return as_dtype(_einsum(subscripts, *operands, optimize=optimize), dtype)


@traced_form(np.inner)
def inner(a: Any, b: Any, /) -> Array:
    """Sum of products over the last axes."""
    a, b = operand(a), operand(b)
    if type_of(a).ndim == 0 or type_of(b).ndim == 0:
        return e.multiply(a, b)
    return d.tensordot(a, b, ((-1,), (-1,)))


@traced_form(np.outer)
def outer(a: Any, b: Any) -> Array:
    """All products of two flattened arrays."""
    return d.outer(operand(a), operand(b))


@traced_form(np.vdot)
def vdot(a: Any, b: Any, /) -> Array:
    """Sum of products of flattened arrays, the first conjugated."""
    return d.dot(_conjugate(flat(operand(a))), flat(operand(b)))


def _conjugate(x: Array) -> Array:
    return e.conjugate(x) if type_of(x).dtype.kind == "c" else x


@traced_form(np.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """Sum of products along one axis, the first conjugated."""
    return np.sum(e.multiply(_conjugate(operand(x1)), operand(x2)), axis=axis)


@traced_form(np.kron)
def kron(a: Any, b: Any) -> Array:
    """Every element of the first times the whole second."""
    a, b = operand(a), operand(b)
    ndim = max(type_of(a).ndim, type_of(b).ndim)
    left = (1,) * (ndim - type_of(a).ndim) + type_of(a).shape
    right = (1,) * (ndim - type_of(b).ndim) + type_of(b).shape
    wide = np.reshape(a, [n for length in left for n in (length, 1)])
    high = np.reshape(b, [n for length in right for n in (1, length)])
    return np.reshape(wide * high, [m * n for m, n in zip(left, right, strict=True)])


@traced_form(np.cross)
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Array:
    """Cross product of three-vectors."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x = np.moveaxis(operand(a), axisa, -1)
    y = np.moveaxis(operand(b), axisb, -1)
    parts = [x[..., i] * y[..., j] - x[..., j] * y[..., i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return np.moveaxis(np.stack(parts, axis=-1), -1, axisc)


@traced_form(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """Convolution of two vectors."""
    return c.convolve(operand(a), operand(v), mode)


@traced_form(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """Correlation of two vectors."""
    return c.correlate(operand(a), operand(v), mode)


@traced_form(np.polyval)
def polyval(p: Any, x: Any) -> Array:
    """Value of a polynomial, highest power first, by Horner's rule."""
    coefficients = operand(p)
    y: Any = np.zeros_like(operand(x))
    for number in range(type_of(coefficients).size):
        y = y * x + coefficients[number]
    return y


@traced_form(np.apply_along_axis)
def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Array:
    """Apply a function of vectors to each vector along an axis."""
    x = np.moveaxis(operand(arr), axis_of(axis, type_of(operand(arr)).ndim), -1)
    lead = type_of(x).shape[:-1]
    rows = np.reshape(x, (-1, type_of(x).shape[-1]))
    done = np.stack([operand(func1d(row, *args, **kwargs)) for row in rows])
    inner = type_of(done).shape[1:]
    result = np.reshape(done, (*lead, *inner))
    for offset in range(len(inner)):
        result = np.moveaxis(result, len(lead) + offset, axis % (len(lead) + 1) + offset)
    return result


@traced_form(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None) -> Array:
    """Covariance matrix of variables in rows."""
    x = np.atleast_2d(operand(m))
    x = x if rowvar or type_of(x).shape[0] == 1 else x.T
    if y is not None:
        x = np.concatenate([x, np.atleast_2d(operand(y))])
    x = as_dtype(x, np.result_type(type_of(x).dtype, np.float64))
    count = type_of(x).shape[1] - ((0 if bias else 1) if ddof is None else ddof)
    apart = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(apart @ _conjugate(apart).T / count)


@traced_form(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Array:
    """Correlation matrix of variables in rows."""
    c = cov(x, y, rowvar)
    scale = np.sqrt(np.diag(c))
    return c / scale[:, None] / scale[None, :]
