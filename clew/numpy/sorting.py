"""Order of traced arrays: sort, argsort, median, quantile, and sets by their actual values."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.numpy.support import (
    Array,
    as_dtype,
    axes_of,
    axis_of,
    flat,
    inexact,
    is_traced,
    operand,
    traced_form,
)
from clew.ops import elementwise as e
from clew.ops import sort as s


def _flattened(a: Any, axis: Any) -> tuple[Array, int]:
    x = operand(a)
    if axis is None:
        return flat(x), 0
    return x, axis_of(axis, type_of(x).ndim)


@traced_form(np.sort)
def sort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    """Sort along an axis."""
    x, place = _flattened(a, axis)
    return s.sort(x, axis=place)


@traced_form(np.argsort)
def argsort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> Array:
    """Positions in sorted order (stable)."""
    x, place = _flattened(a, axis)
    return s.argsort(x, axis=place)


@traced_form(np.partition)
def partition(
    a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None
) -> Array:
    """Put the k-th smallest in its place; the traced form sorts fully."""
    return sort(a, axis)


@traced_form(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Array:
    """Places where values belong in a sorted array."""
    x = operand(a)
    x = x if sorter is None else x[sorter]
    return s.searchsorted(x, operand(v), side=side)


@traced_form(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Array:
    """Numbers of the bins that values fall into (increasing bins)."""
    return searchsorted(bins, x, side="left" if right else "right")


_PYTHON_NUMBERS = (int, float)  # they take the dtype of the array (NEP 50)


def _ranked(a: Any, axis: Any) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """Sort over several axes as one, moved to the end."""
    x = operand(a)
    shape = type_of(x).shape
    axes = axes_of(axis, len(shape))
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    rows = np.reshape(np.transpose(x, (*kept, *axes)), (*(shape[i] for i in kept), -1))
    return s.sort(rows, axis=len(kept)), axes, shape


def _with_nan(rows: Array, value: Array) -> Array:
    """NaN sorts last, and makes the whole row NaN."""
    return e.where(e.isnan(rows[..., -1]), np.nan, value)


@traced_form(np.median)
def median(
    a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """Middle value, or the mean of the middle two."""
    rows, axes, shape = _ranked(inexact(operand(a)), axis)
    count = type_of(rows).shape[-1]
    middle = (rows[..., (count - 1) // 2] + rows[..., count // 2]) / 2
    y = _with_nan(rows, middle)
    return np.reshape(y, [1 if i in axes else n for i, n in enumerate(shape)]) if keepdims else y


@traced_form(np.quantile)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    **kwargs: Any,
) -> Array:
    """Quantiles by linear interpolation."""
    if method != "linear" or kwargs.get("weights") is not None:
        raise InputError("quantile: only method='linear' has a traced form", "leave method out")
    rows, axes, shape = _ranked(inexact(operand(a)), axis)
    place = e.multiply(operand(q), type_of(rows).shape[-1] - 1)
    below = as_dtype(e.floor(place), np.int64)
    above = as_dtype(e.ceil(place), np.int64)
    rows_first = np.moveaxis(rows, -1, 0)
    low, high = rows_first[below], rows_first[above]
    weight = e.subtract(place, below)
    if type(q) in _PYTHON_NUMBERS:
        weight = as_dtype(weight, type_of(rows).dtype)
    weight = np.reshape(weight, (*type_of(weight).shape, *(1,) * (type_of(rows).ndim - 1)))
    y = _with_nan(rows, e.add(low, e.multiply(weight, e.subtract(high, low))))
    if keepdims:
        lead = type_of(operand(q)).shape
        y = np.reshape(y, [*lead, *(1 if i in axes else n for i, n in enumerate(shape))])
    return y


@traced_form(np.percentile)
def percentile(a: Any, q: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Array:
    """Quantiles in percent."""
    part = q / 100.0 if type(q) in _PYTHON_NUMBERS else e.divide(operand(q), 100.0)
    return quantile(a, part, axis, *args, **kwargs)


@traced_form(np.isin)
def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Array:
    """Whether elements are among others."""
    x, others = operand(element), flat(operand(test_elements))
    found = np.any(e.equal(np.expand_dims(x, -1), others), axis=-1)
    return e.logical_not(found) if invert else found


def _actual(x: Array) -> np.ndarray:
    """How many different values there are decides shapes: a condition on the inputs."""
    return x.guarded() if is_traced(x) else x


@traced_form(np.unique)
def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The different values, sorted, for the actual inputs (guarded)."""
    x = operand(ar)
    if axis is not None:
        raise InputError("unique: axis= has no traced form", "flatten the array")
    _, index, inverse, counts = np.unique(_actual(x), True, True, True, equal_nan=equal_nan)
    extra = [
        part
        for part, wanted in (
            (index, return_index), (inverse, return_inverse), (counts, return_counts)
        )
        if wanted
    ]  # fmt: skip
    values = flat(x)[index]
    return (values, *extra) if extra else values


@traced_form(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Array:
    """Sum of weights for each integer."""
    index = operand(x)
    plain = _actual(index)
    length = max(int(plain.max(initial=-1)) + 1, minlength)
    weight = np.ones(plain.shape) if weights is None else as_dtype(operand(weights), np.float64)
    total = np.zeros_like(weight, shape=(length,))
    if not is_traced(total):
        return np.bincount(plain, weight, minlength)
    np.add.at(total, plain, weight)
    return total


@traced_form(np.histogram)
def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> Any:
    """Counts in bins: integers, so no derivative; for the actual inputs (guarded)."""
    if weights is not None:
        raise InputError("histogram: weights have no traced form", "use np.bincount")
    return np.histogram(_actual(operand(a)), bins, range, density)
