"""Sums, products, extremes, means, variances, norms of traced arrays."""

from __future__ import annotations

import builtins
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
    floating,
    inexact,
    operand,
    traced_form,
)
from clew.ops import elementwise as e
from clew.ops import reduce as r
from clew.ops.cumulative import cummax as _cummax
from clew.ops.cumulative import cummin as _cummin
from clew.ops.cumulative import cumprod as _cumprod
from clew.ops.cumulative import cumsum as _cumsum
from clew.ops.shape import broadcast_to


def _finish(y: Array, x: Array, axes: tuple[int, ...], keepdims: Any) -> Array:
    return r.keep(y, type_of(x).shape, axes) if keepdims is True else y


def _chosen(x: Array, where: Any, neutral: Any) -> Array:
    return x if where is True or where is np._NoValue else e.where(where, x, neutral)


def _given(value: Any) -> bool:
    return value is not None and value is not np._NoValue


def _accumulator(dtype: np.dtype) -> Any:
    """NumPy sums narrow integers in the widest of their kind."""
    if dtype.kind in "bi" and dtype.itemsize < 8:
        return np.int64
    if dtype.kind == "u" and dtype.itemsize < 8:
        return np.uint64
    return None


def _fold(record: Any, pair: Any, neutral: int) -> Any:
    def fold(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        keepdims: Any = False,
        initial: Any = neutral,
        where: Any = True,
    ) -> Array:
        x = operand(a)
        x = _chosen(x, where, neutral)
        x = as_dtype(x, dtype or _accumulator(type_of(x).dtype))
        axes = axes_of(axis, type_of(x).ndim)
        y = _finish(record(x, axis=axes), x, axes, keepdims)
        if not _given(initial) or _is(initial, neutral):
            return y
        return pair(y, as_dtype(operand(initial), type_of(y).dtype))

    return fold


sum = traced_form(np.sum)(_fold(r.sum, e.add, 0))
prod = traced_form(np.prod)(_fold(r.prod, e.multiply, 1))


def _is(value: Any, number: int) -> bool:
    return isinstance(value, (int, float)) and value == number


def _extreme(record: Any, pair: Any) -> Any:
    def extreme(
        a: Any, axis: Any = None, keepdims: Any = False, initial: Any = None, where: Any = True
    ) -> Array:
        x = operand(a)
        if where is not True and where is not np._NoValue:
            if not _given(initial):
                raise InputError("max/min: where= needs initial=", "give the value to start from")
            x = e.where(where, x, as_dtype(operand(initial), type_of(x).dtype))
        axes = axes_of(axis, type_of(x).ndim)
        if builtins.any(type_of(x).shape[i] == 0 for i in axes) and not _given(initial):
            raise InputError(
                "the largest or smallest of no elements is not defined", "give initial="
            )
        y = _finish(record(x, axis=axes), x, axes, keepdims)
        return pair(y, as_dtype(operand(initial), type_of(y).dtype)) if _given(initial) else y

    return extreme


max = traced_form(np.max, np.amax)(_extreme(r.max, e.maximum))
min = traced_form(np.min, np.amin)(_extreme(r.min, e.minimum))


@traced_form(np.any)
def any(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True) -> Array:
    """Whether some element is true."""
    x = _chosen(operand(a), where, False)
    axes = axes_of(axis, type_of(x).ndim)
    return _finish(r.any(e.not_equal(x, 0), axis=axes), x, axes, keepdims)


@traced_form(np.all)
def all(a: Any, axis: Any = None, keepdims: Any = False, where: Any = True) -> Array:
    """Whether every element is true."""
    x = _chosen(operand(a), where, True)
    axes = axes_of(axis, type_of(x).ndim)
    return _finish(r.all(e.not_equal(x, 0), axis=axes), x, axes, keepdims)


def _position(record: Any) -> Any:
    def position(a: Any, axis: Any = None, keepdims: Any = False) -> Array:
        x = operand(a)
        if axis is None:
            y = record(flat(x), axis=0)
            return (
                r.keep(y, type_of(x).shape, axes_of(None, type_of(x).ndim))
                if keepdims is True
                else y
            )
        place = axis_of(axis, type_of(x).ndim)
        return _finish(record(x, axis=place), x, (place,), keepdims)

    return position


argmax = traced_form(np.argmax)(_position(r.argmax))
argmin = traced_form(np.argmin)(_position(r.argmin))


@traced_form(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Array:
    """Count the elements that are not zero."""
    return sum(as_dtype(e.not_equal(operand(a), 0), np.int64), axis, keepdims=keepdims)


def _count(x: Array, axes: tuple[int, ...], where: Any) -> Any:
    shape = type_of(x).shape
    if where is True or where is np._NoValue:
        return int(np.prod([shape[i] for i in axes], dtype=int))
    mask = as_dtype(broadcast_to(operand(where), shape=shape), np.float64)
    return r.sum(mask, axis=axes)


@traced_form(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False, where: Any = True
) -> Array:
    """Average over axes."""
    x = as_dtype(inexact(operand(a)), dtype)
    axes = axes_of(axis, type_of(x).ndim)
    total = r.sum(_chosen(x, where, 0), axis=axes)
    return _finish(_per(total, _count(x, axes, where)), x, axes, keepdims)


def _per(total: Array, count: Any) -> Array:
    """A total for each that was counted, in the total's dtype."""
    return as_dtype(e.divide(total, count), type_of(total).dtype)


@traced_form(np.average)
def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    """Average with weights."""
    x = inexact(operand(a))
    if weights is None:
        y = mean(x, axis, keepdims=keepdims)
        return (y, e.add(e.multiply(y, 0), type_of(x).size / type_of(y).size)) if returned else y
    w = operand(weights)
    if type_of(w).shape != type_of(x).shape:
        place = axis_of(axis, type_of(x).ndim)
        shape = [1] * type_of(x).ndim
        shape[place] = type_of(w).size
        w = broadcast_to(w.reshape(shape), shape=type_of(x).shape)
    total = sum(w, axis, keepdims=keepdims)
    y = e.divide(sum(e.multiply(x, w), axis, keepdims=keepdims), total)
    return (y, total) if returned else y


@traced_form(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Array:
    """Mean squared distance from the mean, over ``n - ddof``."""
    x = as_dtype(inexact(operand(a)), dtype)
    axes = axes_of(axis, type_of(x).ndim)
    ddof = correction if _given(correction) else ddof
    count = _count(x, axes, where)
    centre = mean
    if not _given(centre):
        total = r.keep(r.sum(_chosen(x, where, 0), axis=axes), type_of(x).shape, axes)
        count_kept = count if isinstance(count, int) else r.keep(count, type_of(x).shape, axes)
        centre = _per(total, count_kept)
    apart = e.subtract(x, centre)
    if type_of(x).dtype.kind == "c":
        squares = e.add(e.square(e.real(apart)), e.square(e.imag(apart)))
    else:
        squares = e.square(apart)
    total = r.sum(_chosen(squares, where, 0), axis=axes)
    return _finish(_per(total, count - ddof), x, axes, keepdims)


@traced_form(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    *,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Array:
    """Square root of the variance; of a single element it is constantly 0."""
    x = inexact(operand(a))
    if _count(x, axes_of(axis, type_of(x).ndim), True) == 1 and ddof == 0 and where is True:
        return sum(e.multiply(e.absolute(x), 0), axis, dtype, keepdims)
    return e.sqrt(
        var(a, axis, dtype, ddof, keepdims, where=where, mean=mean, correction=correction)
    )


@traced_form(np.ptp)
def ptp(a: Any, axis: Any = None, *, keepdims: Any = False) -> Array:
    """Largest minus smallest."""
    return e.subtract(max(a, axis, keepdims), min(a, axis, keepdims))


@traced_form(np.logaddexp.reduce)
def logaddexp_reduce(
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Array:
    """``log(sum(exp(x)))``, the largest taken out first so that nothing overflows."""
    x = as_dtype(floating(operand(array), "logaddexp"), dtype)
    x = _chosen(x, where, -np.inf)
    axes = axes_of(axis, type_of(x).ndim)
    largest = e.stop_gradient_of(r.max(x, axis=axes))
    largest = e.where(e.isfinite(largest), largest, 0)
    apart = e.subtract(x, r.keep(largest, type_of(x).shape, axes))
    y = e.add(e.log(r.sum(e.exp(apart), axis=axes)), largest)
    y = e.logaddexp(y, initial) if _given(initial) else y
    return _finish(y, x, axes, keepdims)


# --- NaN left out ------------------------------------------------------------------------


def _without_nan(a: Any, fill: Any) -> tuple[Array, Any]:
    x = operand(a)
    if not type_of(x).inexact:
        return x, True
    bad = e.isnan(x)
    return e.where(bad, fill, x), e.logical_not(bad)


@traced_form(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Array:
    """Sum, NaN counting as 0."""
    return sum(_without_nan(a, 0)[0], axis, dtype, keepdims)


@traced_form(np.nanprod)
def nanprod(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Array:
    """Product, NaN counting as 1."""
    return prod(_without_nan(a, 1)[0], axis, dtype, keepdims)


@traced_form(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Array:
    """Average of the elements that are not NaN."""
    x, good = _without_nan(a, 0)
    return mean(x, axis, dtype, keepdims, where=good)


@traced_form(np.nanvar)
def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False
) -> Array:
    """Variance of the elements that are not NaN."""
    x, good = _without_nan(a, 0)
    return var(x, axis, dtype, ddof, keepdims, where=good)


@traced_form(np.nanstd)
def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: Any = False
) -> Array:
    """Standard deviation of the elements that are not NaN."""
    return e.sqrt(nanvar(a, axis, dtype, ddof, keepdims))


@traced_form(np.nanmax)
def nanmax(a: Any, axis: Any = None, keepdims: Any = False) -> Array:
    """Largest element that is not NaN."""
    return max(_without_nan(a, -np.inf)[0], axis, keepdims)


@traced_form(np.nanmin)
def nanmin(a: Any, axis: Any = None, keepdims: Any = False) -> Array:
    """Smallest element that is not NaN."""
    return min(_without_nan(a, np.inf)[0], axis, keepdims)


# --- running -----------------------------------------------------------------------------


def _running(record: Any, accumulator: Any) -> Any:
    def running(a: Any, axis: Any = None, dtype: Any = None) -> Array:
        x = operand(a)
        x = as_dtype(x, dtype or accumulator(type_of(x).dtype))
        if axis is None:
            x, axis = flat(x), 0
        return record(x, axis=axis_of(axis, type_of(x).ndim))

    return running


traced_form(np.maximum.accumulate)(_running(_cummax, np.dtype))
traced_form(np.minimum.accumulate)(_running(_cummin, np.dtype))
cumsum = traced_form(np.cumsum)(_running(_cumsum, _accumulator))
cumprod = traced_form(np.cumprod)(_running(_cumprod, _accumulator))


@traced_form(np.cumulative_sum)
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Running sum (Array API), with a leading 0 if asked for."""
    return _with_initial(cumsum, operand(x), axis, dtype, 0 if include_initial else None)


@traced_form(np.cumulative_prod)
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Running product (Array API), with a leading 1 if asked for."""
    return _with_initial(cumprod, operand(x), axis, dtype, 1 if include_initial else None)


def _with_initial(running: Any, x: Array, axis: Any, dtype: Any, initial: Any) -> Array:
    if axis is None and type_of(x).ndim != 1:
        raise InputError("a running sum of several axes needs axis=", "name the axis")
    place = axis_of(0 if axis is None else axis, type_of(x).ndim)
    y = running(x, place, dtype)
    if initial is None:
        return y
    kind = type_of(y)
    shape = (*kind.shape[:place], 1, *kind.shape[place + 1 :])
    first = broadcast_to(kind.dtype.type(initial), shape=shape)
    return np.concatenate([first, y], axis=place)
