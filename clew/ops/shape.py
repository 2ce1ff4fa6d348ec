"""Moving elements without changing them: reshape, transpose, broadcast, join, flip, pad."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import linear, zeros
from clew.core.types import Type, type_of
from clew.ops.reduce import sum

Array = Any
Shape = tuple[int, ...]

# --- reshape -----------------------------------------------------------------------------


def _reshape_type(x: Type, *, shape: Shape) -> Type:
    if math.prod(shape) != x.size:
        raise ShapeError(
            f"reshape: cannot make shape {shape} of shape {x.shape}",
            f"give a shape of {x.size} elements",
        )
    return Type(shape, x.dtype)


reshape = linear(
    "reshape",
    eval=lambda xp, x, *, shape: xp.reshape(x, shape),
    type=_reshape_type,
    transpose=lambda t, x, *, shape: (reshape(t, shape=x.shape),),
    batch=lambda size, x, batched, *, shape: reshape(x[0], shape=(size, *shape)),
    moves=True,
)

# --- transpose ---------------------------------------------------------------------------


def _inverse(axes: Shape) -> Shape:
    return tuple(int(axis) for axis in np.argsort(axes))


transpose = linear(
    "transpose",
    eval=lambda xp, x, *, axes: xp.transpose(x, axes),
    type=lambda x, *, axes: Type(tuple(x.shape[axis] for axis in axes), x.dtype),
    transpose=lambda t, x, *, axes: (transpose(t, axes=_inverse(axes)),),
    batch=lambda size, x, batched, *, axes: transpose(x[0], axes=(0, *(axis + 1 for axis in axes))),
    moves=True,
)


def moveaxis(x: Array, source: int, destination: int) -> Array:
    """Move one axis, leaving the others in order.

    >>> moveaxis(np.ones((2, 3, 4)), 0, 2).shape
    (3, 4, 2)
    """
    rank = type_of(x).ndim
    axes = [axis for axis in range(rank) if axis != source % rank]
    axes.insert(destination % rank, source % rank)
    return x if axes == sorted(axes) else transpose(x, axes=tuple(axes))


# --- broadcast ---------------------------------------------------------------------------


def _broadcast_type(x: Type, *, shape: Shape) -> Type:
    try:
        fits = np.broadcast_shapes(x.shape, shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"broadcast_to: shape {x.shape} does not broadcast to {shape}",
            "each axis must be equal or 1, counted from the last",
        )
    return Type(tuple(shape), x.dtype)


def _broadcast_transpose(t: Array, x: Type, *, shape: Shape) -> tuple[Array]:
    extra = len(shape) - x.ndim
    stretched = tuple(
        axis
        for axis in range(len(shape))
        if axis < extra or (x.shape[axis - extra] == 1 and shape[axis] != 1)
    )
    t = sum(t, axis=stretched) if stretched else t
    return (t if type_of(t).shape == x.shape else reshape(t, shape=x.shape),)


def _broadcast_batch(size: int, x: Any, batched: Any, *, shape: Shape) -> Array:
    own = type_of(x[0]).shape[1:]
    aligned = reshape(x[0], shape=(size, *(1,) * (len(shape) - len(own)), *own))
    return broadcast_to(aligned, shape=(size, *shape))


broadcast_to = linear(
    "broadcast_to",
    eval=lambda xp, x, *, shape: xp.broadcast_to(x, shape),
    type=_broadcast_type,
    transpose=_broadcast_transpose,
    batch=_broadcast_batch,
    moves=True,
)


def with_batch(x: Array, size: int, is_batched: bool) -> Array:
    """Give a value a batch on axis 0 by repeating it, if it has none."""
    if is_batched:
        return x
    return broadcast_to(x, shape=(size, *type_of(x).shape))


# --- concatenate -------------------------------------------------------------------------


def _concatenate_type(*x: Type, axis: int) -> Type:
    first = x[0]
    for other in x[1:]:
        same = [a == b for a, b in zip(first.shape, other.shape, strict=False)]
        if other.ndim != first.ndim or not all(same[:axis] + same[axis + 1 :]):
            shapes = ", ".join(str(each.shape) for each in x)
            raise ShapeError(
                f"concatenate: shapes {shapes} differ in an axis other than {axis}",
                "make all axes but the joined one equal",
            )
    length = int(np.sum([each.shape[axis] for each in x]))
    shape = (*first.shape[:axis], length, *first.shape[axis + 1 :])
    return Type(shape, np.result_type(*(each.dtype for each in x)))


def _concatenate_transpose(t: Array, *x: Any, axis: int) -> list[Array]:
    from clew.ops.index import basic_slice

    result = []
    start = 0
    for each in x:
        length = type_of(each).shape[axis]
        part = (slice(None),) * axis + (slice(start, start + length, 1),)
        result.append(basic_slice(t, index=part) if type(each) is Type else None)
        start += length
    return result


def _concatenate_batch(size: int, x: Any, batched: Any, *, axis: int) -> Array:
    full = [with_batch(each, size, flag) for each, flag in zip(x, batched, strict=True)]
    return concatenate(*full, axis=axis + 1)


concatenate = linear(
    "concatenate",
    eval=lambda xp, *x, axis: xp.concatenate(x, axis),
    type=_concatenate_type,
    transpose=_concatenate_transpose,
    batch=_concatenate_batch,
    linear_in=None,
    moves=True,
)

# --- pad ---------------------------------------------------------------------------------


def pad_zeros(x: Array, widths: tuple[tuple[int, int], ...]) -> Array:
    """Surround an array with zeros, ``(before, after)`` for each axis.

    >>> pad_zeros(np.ones(2), ((1, 0),))
    array([0., 1., 1.])
    """
    from clew.ops.index import update

    kind = type_of(x)
    shape = tuple(n + before + after for n, (before, after) in zip(kind.shape, widths, strict=True))
    inside = tuple(
        slice(before, before + n, 1) for n, (before, _) in zip(kind.shape, widths, strict=True)
    )
    return update(zeros(Type(shape, kind.dtype)), x, index=inside)
