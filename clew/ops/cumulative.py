"""Running sums, products and extremes along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general, linear
from clew.core.types import type_of
from clew.ops.elementwise import equal, multiply, where
from clew.ops.index import basic_slice, gather
from clew.ops.shape import broadcast_to, concatenate

Array = Any


def reverse(x: Array, axis: int) -> Array:
    """Return the array with one axis reversed.

    >>> reverse(np.array([1, 2, 3]), 0)
    array([3, 2, 1])
    """
    return basic_slice(x, index=(*(slice(None),) * axis, slice(None, None, -1)))


cumsum = linear(
    "cumsum",
    eval=lambda xp, x, *, axis: xp.cumsum(x, axis=axis, dtype=x.dtype),
    type=lambda x, *, axis: x,
    transpose=lambda t, x, *, axis: (reverse(cumsum(reverse(t, axis), axis=axis), axis),),
    batch=lambda size, x, batched, *, axis: cumsum(x[0], axis=axis + 1),
    moves=True,
)


def _push_cumprod(primals: Any, tangents: Any, y: Array, *, axis: int) -> Array:
    """Solve ``t_i = t_(i-1) x_i + y_(i-1) dx_i`` by doubling, which is exact at zeros.

    A pair (a, b) stands for ``t -> a t + b``; pairs are composed over ever longer stretches.
    """
    (x,), (dx,) = primals, tangents
    length = type_of(x).shape[axis]
    factor, offset = x, multiply(_shifted(y, axis, 1, 1), dx)
    step = 1
    while step < length:
        before = _shifted(offset, axis, step, 0)
        offset = offset + multiply(factor, before)
        factor = multiply(factor, _shifted(factor, axis, step, 1))
        step *= 2
    return offset


def _shifted(x: Array, axis: int, step: int, fill: int) -> Array:
    """Return the array moved ``step`` places on, with ``fill`` in the places left behind."""
    kind = type_of(x)
    length = kind.shape[axis]
    count = min(step, length)
    shape = (*kind.shape[:axis], count, *kind.shape[axis + 1 :])
    blank = broadcast_to(kind.dtype.type(fill), shape=shape)
    kept = basic_slice(x, index=(*(slice(None),) * axis, slice(0, length - count, 1)))
    return concatenate(blank, kept, axis=axis)


cumprod = general(
    "cumprod",
    eval=lambda xp, x, *, axis: xp.cumprod(x, axis=axis, dtype=x.dtype),
    type=lambda x, *, axis: x,
    push=_push_cumprod,
    batch=lambda size, x, batched, *, axis: cumprod(x[0], axis=axis + 1),
)


def _push_running(primals: Any, tangents: Any, y: Array, *, axis: int) -> Array:
    """The tangent is that of the latest element which equals the running extreme."""
    (x,), (dx,) = primals, tangents
    shape = type_of(x).shape
    place = _along(axis, shape)
    latest = cummax(where(equal(x, y), np.broadcast_to(place, shape), 0), axis=axis)
    grid = [
        latest if i == axis else np.broadcast_to(_along(i, shape), shape) for i in range(len(shape))
    ]
    return gather(dx, *grid, axes=tuple(range(len(shape))))


def _along(axis: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])


cummax = general(
    "cummax",
    eval=lambda xp, x, *, axis: xp.maximum.accumulate(x, axis=axis),
    type=lambda x, *, axis: x,
    push=_push_running,
    batch=lambda size, x, batched, *, axis: cummax(x[0], axis=axis + 1),
)
cummin = general(
    "cummin",
    eval=lambda xp, x, *, axis: xp.minimum.accumulate(x, axis=axis),
    type=lambda x, *, axis: x,
    push=_push_running,
    batch=lambda size, x, batched, *, axis: cummin(x[0], axis=axis + 1),
)
