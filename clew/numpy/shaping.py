"""Reshape, transpose and their kin: views, as in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.types import type_of
from clew.numpy.support import Array, axes_of, axis_of, is_traced, operand, traced_form
from clew.ops import elementwise as e
from clew.ops.shape import broadcast_to as _broadcast_to
from clew.ops.shape import reshape as _reshape
from clew.trace.views import is_reshape_view, reshaped_view, transposed_view


def _target(x: Array, shape: Any) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    shape = tuple(int(length) for length in shape)
    size = type_of(x).size
    if shape.count(-1) == 1:
        known = math.prod(length for length in shape if length != -1)
        if known == 0 or size % known:
            raise ShapeError(
                f"reshape: cannot make shape {shape} of shape {type_of(x).shape}",
                f"give a shape of {size} elements",
            )
        shape = tuple(size // known if length == -1 else length for length in shape)
    return shape


def reshaped(x: Array, shape: tuple[int, ...]) -> Array:
    """Return a view of another shape, or a copy where NumPy makes one."""
    if not is_traced(x):
        return np.reshape(x, shape)
    if math.prod(shape) != type_of(x).size:
        return _reshape(x, shape=shape)
    return reshaped_view(x, shape) if is_reshape_view(x, shape) else _reshape(x, shape=shape)


@traced_form(np.reshape)
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> Array:
    """Give an array a new shape."""
    x = operand(a)
    target = _target(x, newshape if shape is None else shape)
    if order == "F":
        return transpose(reshaped(transpose(x), target[::-1]))
    y = reshaped(x, target)
    return e.positive(y) if copy else y


@traced_form(np.ravel)
def ravel(a: Any, order: str = "C") -> Array:
    """Return the elements in one axis."""
    x = operand(a)
    return reshape(x, (type_of(x).size,), order=order)


@traced_form(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Array:
    """Permute the axes; reverse them if none are given."""
    x = operand(a)
    ndim = type_of(x).ndim
    order = tuple(range(ndim))[::-1] if axes is None else axes_of(tuple(axes), ndim)
    if len(order) != ndim:
        raise ShapeError(
            f"transpose: axes {tuple(order)} for an array of {ndim} axes", "name every axis once"
        )
    return transposed_view(x, order)


@traced_form(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Array:
    """Swap the last two axes."""
    return swapaxes(x, -1, -2)


@traced_form(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """Exchange two axes."""
    x = operand(a)
    ndim = type_of(x).ndim
    first, second = axis_of(axis1, ndim), axis_of(axis2, ndim)
    order = list(range(ndim))
    order[first], order[second] = order[second], order[first]
    return transposed_view(x, tuple(order))


@traced_form(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Array:
    """Move axes to new places, the others staying in order."""
    x = operand(a)
    ndim = type_of(x).ndim
    sources, targets = axes_of(source, ndim), axes_of(destination, ndim)
    order = [axis for axis in range(ndim) if axis not in sources]
    for target, each in sorted(zip(targets, sources, strict=True)):
        order.insert(target, each)
    return transposed_view(x, tuple(order))


@traced_form(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """Move one axis back until it stands before ``start``."""
    x = operand(a)
    ndim = type_of(x).ndim
    place = axis_of(axis, ndim)
    start = start + ndim if start < 0 else start
    return moveaxis(x, place, start - 1 if place < start else start)


@traced_form(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Array:
    """Insert axes of length 1."""
    x = operand(a)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    total = type_of(x).ndim + len(given)
    places = axes_of(tuple(given), total)
    rest = iter(type_of(x).shape)
    return reshaped(x, tuple(1 if i in places else next(rest) for i in range(total)))


@traced_form(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Array:
    """Leave out axes of length 1."""
    x = operand(a)
    shape = type_of(x).shape
    if axis is None:
        axes = tuple(i for i, length in enumerate(shape) if length == 1)
    else:
        axes = axes_of(axis, len(shape))
        if any(shape[i] != 1 for i in axes):
            raise ShapeError(
                f"squeeze: axis {axis} of shape {shape} has not length 1",
                "squeeze axes of length 1 only",
            )
    return reshaped(x, tuple(length for i, length in enumerate(shape) if i not in axes))


@traced_form(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Array:
    """Repeat an array, without a copy, to a shape."""
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return _broadcast_to(operand(array), shape=tuple(int(n) for n in shape))


@traced_form(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Array, ...]:
    """Broadcast arrays against each other."""
    arrays = [operand(x) for x in args]
    shape = np.broadcast_shapes(*(type_of(x).shape for x in arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


@traced_form(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Give scalars one axis."""
    done = tuple(reshaped(x, (1,)) if not type_of(x).ndim else x for x in map(operand, arys))
    return done[0] if len(done) == 1 else done


@traced_form(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Give arrays at least two axes, new ones in front."""
    done = []
    for x in map(operand, arys):
        shape = type_of(x).shape
        done.append(x if len(shape) >= 2 else reshaped(x, (1,) * (2 - len(shape)) + shape))
    return done[0] if len(done) == 1 else tuple(done)


@traced_form(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Give arrays at least three axes."""
    done = []
    for x in map(operand, arys):
        shape = type_of(x).shape
        full = {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}.get(len(shape), shape)
        done.append(reshaped(x, full))
    return done[0] if len(done) == 1 else tuple(done)


@traced_form(np.flip)
def flip(m: Any, axis: Any = None) -> Array:
    """Reverse axes."""
    x = operand(m)
    ndim = type_of(x).ndim
    axes = axes_of(axis, ndim)
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(ndim))]


@traced_form(np.flipud)
def flipud(m: Any) -> Array:
    """Reverse the first axis."""
    return flip(m, 0)


@traced_form(np.fliplr)
def fliplr(m: Any) -> Array:
    """Reverse the second axis."""
    return flip(m, 1)


@traced_form(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Turn by quarter turns in the plane of two axes."""
    first, second = axes_of(tuple(axes), type_of(operand(m)).ndim)
    turns = k % 4
    if turns == 0:
        return operand(m)[...]
    if turns == 2:
        return flip(flip(m, first), second)
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


@traced_form(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Array:
    """Return an array of its own with the same values."""
    x = operand(a)
    return e.convert(x, dtype=type_of(x).dtype)


@traced_form(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """Convert to a dtype."""
    return e.convert(operand(x), dtype=np.dtype(dtype))


def part_view(x: Array, read: Any, put: Any) -> Array:
    """Return a view of the real or imaginary part."""
    return x.view(read, put) if is_traced(x) else read(x)


@traced_form(np.real)
def real(val: Any) -> Array:
    """The real part: a view."""
    x = operand(val)
    if type_of(x).dtype.kind != "c":
        return x
    return part_view(x, e.real, lambda parent, v: e.add(v, e.multiply(e.imag(parent), 1j)))


@traced_form(np.imag)
def imag(val: Any) -> Array:
    """The imaginary part: a view."""
    x = operand(val)
    if type_of(x).dtype.kind != "c":
        return e.multiply(x, 0)
    return part_view(x, e.imag, lambda parent, v: e.add(e.real(parent), e.multiply(v, 1j)))
