"""Concatenate, stack, split, tile, pad, roll."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from clew.core.errors import InputError, ShapeError
from clew.core.types import type_of
from clew.numpy.shaping import atleast_1d, atleast_2d, atleast_3d, moveaxis, reshape
from clew.numpy.support import Array, as_dtype, axes_of, axis_of, flat, operand, traced_form
from clew.ops.shape import concatenate as _concatenate
from clew.ops.shape import pad_zeros
from clew.ops.shape import reshape as _reshape


def _common(arrays: Sequence[Array], dtype: Any = None) -> list[Array]:
    common = dtype or np.result_type(*(type_of(x).dtype for x in arrays))
    return [as_dtype(x, common) for x in arrays]


@traced_form(np.concatenate, np.concat)
def concatenate(
    arrays: Any, /, axis: Any = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """Join arrays along an axis they have; None joins the flattened arrays."""
    values = [operand(x) for x in arrays]
    if not values:
        raise InputError("concatenate: no arrays were given", "give at least one")
    if axis is None:
        values, axis = [flat(x) for x in values], 0
    if any(type_of(x).ndim == 0 for x in values):
        raise ShapeError("concatenate: a scalar has no axis to join along", "use np.stack")
    return _concatenate(*_common(values, dtype), axis=axis_of(axis, type_of(values[0]).ndim))


@traced_form(np.stack)
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Join arrays of one shape along a new axis."""
    values = [operand(x) for x in arrays]
    if not values:
        raise InputError("stack: no arrays were given", "give at least one")
    shapes = {type_of(x).shape for x in values}
    if len(shapes) > 1:
        raise ShapeError(
            f"stack: shapes {', '.join(map(str, sorted(shapes)))} differ",
            "give arrays of one shape, or use np.concatenate",
        )
    shape = shapes.pop()
    place = axis_of(axis, len(shape) + 1)
    new = (*shape[:place], 1, *shape[place:])
    return _concatenate(*(_reshape(x, shape=new) for x in _common(values, dtype)), axis=place)


@traced_form(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Join along the first axis; vectors are rows."""
    return concatenate([atleast_2d(operand(x)) for x in tup], 0, dtype=dtype)


@traced_form(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Join along the second axis; vectors along their only one."""
    values = [atleast_1d(operand(x)) for x in tup]
    return concatenate(values, 0 if type_of(values[0]).ndim == 1 else 1, dtype=dtype)


@traced_form(np.dstack)
def dstack(tup: Any) -> Array:
    """Join along the third axis."""
    return concatenate([atleast_3d(operand(x)) for x in tup], 2)


@traced_form(np.column_stack)
def column_stack(tup: Any) -> Array:
    """Join vectors as columns."""
    values = [operand(x) for x in tup]
    return concatenate([x if type_of(x).ndim >= 2 else reshape(x, (-1, 1)) for x in values], 1)


@traced_form(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Array:
    """Join two arrays."""
    return concatenate([operand(arr), operand(values)], axis)


@traced_form(np.block)
def block(arrays: Any) -> Array:
    """Put nested lists of blocks together; the innermost lists join the last axis."""

    def depth(node: Any) -> int:
        return 1 + max(depth(each) for each in node) if isinstance(node, list) else 0

    levels = depth(arrays)

    def joined(node: Any, level: int) -> Array:
        if not isinstance(node, list):
            x = operand(node)
            missing = levels - type_of(x).ndim
            return reshape(x, (1,) * missing + type_of(x).shape) if missing > 0 else x
        return concatenate([joined(each, level + 1) for each in node], level - levels)

    return joined(arrays, 0)


# --- split ---------------------------------------------------------------------------------


@traced_form(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Split into parts, as equal as can be: views."""
    x = operand(ary)
    place = axis_of(axis, type_of(x).ndim)
    length = type_of(x).shape[place]
    if isinstance(indices_or_sections, (int, np.integer)):
        each, extra = divmod(length, int(indices_or_sections))
        sizes = [each + 1] * extra + [each] * (int(indices_or_sections) - extra)
        bounds = [0, *np.cumsum(sizes).tolist()]
    else:
        bounds = [0, *(int(i) for i in indices_or_sections), length]
    before = (slice(None),) * place
    return [x[(*before, slice(a, b))] for a, b in pairwise(bounds)]


@traced_form(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Split into equal parts, or at places: views."""
    x = operand(ary)
    length = type_of(x).shape[axis_of(axis, type_of(x).ndim)]
    if isinstance(indices_or_sections, (int, np.integer)) and length % int(indices_or_sections):
        raise ShapeError(
            f"split: an axis of length {length} does not split into {indices_or_sections} equal "
            "parts",
            "use np.array_split",
        )
    return array_split(x, indices_or_sections, axis)


@traced_form(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Split along the second axis."""
    return split(ary, indices_or_sections, 0 if type_of(operand(ary)).ndim == 1 else 1)


@traced_form(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Split along the first axis."""
    return split(ary, indices_or_sections, 0)


@traced_form(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Split along the third axis."""
    return split(ary, indices_or_sections, 2)


@traced_form(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the parts along an axis, which disappears."""
    return tuple(moveaxis(operand(x), axis, 0))


# --- repeat, tile, roll, pad -----------------------------------------------------------------


@traced_form(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Array:
    """Repeat each element along an axis."""
    x = operand(a)
    if axis is None:
        x, axis = flat(x), 0
    place = axis_of(axis, type_of(x).ndim)
    counts = np.broadcast_to(np.asarray(repeats), (type_of(x).shape[place],))
    index = np.repeat(np.arange(type_of(x).shape[place]), counts)
    return x[(*(slice(None),) * place, index)]


@traced_form(np.tile)
def tile(A: Any, reps: Any) -> Array:
    """Repeat the whole array along its axes."""
    x = operand(A)
    counts = (reps,) if isinstance(reps, (int, np.integer)) else tuple(int(r) for r in reps)
    ndim = max(len(counts), type_of(x).ndim)
    counts = (1,) * (ndim - len(counts)) + tuple(counts)
    x = reshape(x, (1,) * (ndim - type_of(x).ndim) + type_of(x).shape)
    for axis, count in enumerate(counts):
        if count != 1:
            length = type_of(x).shape[axis]
            x = x[(*(slice(None),) * axis, np.tile(np.arange(length), count))]
    return x


@traced_form(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Array:
    """Move elements on, the last coming in again at the front."""
    x = operand(a)
    if axis is None:
        return reshape(roll(flat(x), shift, 0), type_of(x).shape)
    shifts, axes = np.broadcast_arrays(np.atleast_1d(shift), np.atleast_1d(axis))
    for count, each in zip(shifts.tolist(), axes.tolist(), strict=True):
        place = axis_of(each, type_of(x).ndim)
        length = type_of(x).shape[place]
        if length and count % length:
            before = (slice(None),) * place
            cut = length - count % length
            x = concatenate([x[(*before, slice(cut, None))], x[(*before, slice(0, cut))]], place)
    return x


@traced_form(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Array:
    """Surround an array: constant, edge, reflect, symmetric, wrap."""
    x = operand(array)
    shape = type_of(x).shape
    if isinstance(pad_width, dict):
        given = {axis_of(axis, len(shape)): w for axis, w in pad_width.items()}
        pad_width = [given.get(i, 0) for i in range(len(shape))]
        pad_width = [(w, w) if isinstance(w, int) else tuple(w) for w in pad_width]
    widths = tuple(
        (int(before), int(after))
        for before, after in np.broadcast_to(np.asarray(pad_width), (len(shape), 2))
    )
    if mode == "constant":
        filled = kwargs.get("constant_values", 0)
        y = pad_zeros(x, widths)
        if isinstance(filled, (int, float)) and filled == 0:
            return y
        inside = pad_zeros(np.ones(shape, bool), widths)
        values = np.pad(np.zeros(shape, type_of(x).dtype), widths, constant_values=filled)
        return np.where(inside, y, values)
    # Every other mode picks existing elements: find out which on their numbers.
    for axis, width in enumerate(widths):
        if width != (0, 0):
            index = np.pad(np.arange(shape[axis]), width, mode=mode, **kwargs)
            x = x[(*(slice(None),) * axis, index)]
    return x


@traced_form(np.diff)
def diff(
    a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue
) -> Array:
    """Differences of neighbours, n times."""
    x = operand(a)
    place = axis_of(axis, type_of(x).ndim)
    ends = []
    for value in (prepend, append):
        if value is np._NoValue:
            ends.append(None)
            continue
        end = operand(value)
        shape = list(type_of(x).shape)
        shape[place] = 1
        ends.append(np.broadcast_to(end, shape) if type_of(end).ndim == 0 else end)
    joined = [part for part in (ends[0], x, ends[1]) if part is not None]
    x = concatenate(joined, place) if len(joined) > 1 else x
    before = (slice(None),) * place
    for _ in range(n):
        upper, lower = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = np.not_equal(upper, lower) if type_of(x).dtype.kind == "b" else upper - lower
    return x


@traced_form(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    """Differences of neighbours of the flattened array."""
    x = flat(operand(ary))
    parts = [to_begin, x[1:] - x[:-1], to_end]
    return concatenate([flat(operand(part)) for part in parts if part is not None])


@traced_form(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """Integrate by the trapezoidal rule."""
    values = moveaxis(operand(y), axis, -1)
    if x is None:
        steps = dx
    else:
        place = operand(x)
        steps = diff(place if type_of(place).ndim == 1 else moveaxis(place, axis, -1))
    return np.sum((values[..., 1:] + values[..., :-1]) * steps, axis=-1) / 2.0


@traced_form(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided at the ends (uniform spacing per axis)."""
    x = operand(f)
    axes = axes_of(axis, type_of(x).ndim)
    steps = list(varargs) or [1.0]
    steps = steps * len(axes) if len(steps) == 1 else steps
    if len(steps) != len(axes) or any(type_of(operand(h)).ndim for h in steps) or edge_order != 1:
        raise InputError(
            "gradient: traced arrays take one number as spacing for each axis, and edge_order=1",
            "write the differences with slices",
        )
    found = []
    for place, step in zip(axes, steps, strict=True):
        y = moveaxis(x, place, -1)
        inner = (y[..., 2:] - y[..., :-2]) / (2.0 * step)
        first, last = (y[..., 1:2] - y[..., :1]) / step, (y[..., -1:] - y[..., -2:-1]) / step
        found.append(moveaxis(concatenate([first, inner, last], -1), -1, place))
    return found[0] if len(found) == 1 else tuple(found)
