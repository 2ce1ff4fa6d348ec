"""Reading and writing parts of arrays.

Basic indexing (slices with integers) and advanced indexing (integer arrays) are separate
primitives; ``trace.indexing`` composes every form of NumPy index from them. Writing is
functional: the result is a new array.

``gather`` takes index arrays of one common shape, one for each axis in ``axes``; the result
has the index axes first, then the axes of ``x`` that were not indexed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import linear, zeros
from clew.core.types import Type, type_of
from clew.ops.elementwise import equal, where
from clew.ops.shape import moveaxis, with_batch

Array = Any
Index = tuple[Any, ...]

# --- basic -------------------------------------------------------------------------------


def _picked(shape: tuple[int, ...], index: Index) -> tuple[int, ...]:
    lengths = []
    for axis, length in enumerate(shape):
        part = index[axis] if axis < len(index) else slice(None)
        if isinstance(part, slice):
            lengths.append(len(range(*part.indices(length))))
    return tuple(lengths)


basic_slice = linear(
    "basic_slice",
    eval=lambda xp, x, *, index: x[index],
    type=lambda x, *, index: Type(_picked(x.shape, index), x.dtype),
    transpose=lambda t, x, *, index: (update(zeros(Type(x.shape, x.dtype)), t, index=index),),
    batch=lambda size, x, batched, *, index: basic_slice(x[0], index=(slice(None), *index)),
    moves=True,
)


def _update_eval(xp: Any, x: Any, v: Any, *, index: Index) -> Any:
    if xp is np:
        result = np.array(x)
        result[index] = v
        return result
    return xp.asarray(x).at[index].set(v)


def _update_type(x: Type, v: Type, *, index: Index) -> Type:
    slot = _picked(x.shape, index)
    if v.shape != slot:
        raise ShapeError(
            f"update: the value has shape {v.shape}, the place has shape {slot}",
            "broadcast or reshape the value",
        )
    return x


def _update_transpose(t: Array, x: Any, v: Any, *, index: Index) -> tuple[Array, Array]:
    outside = None
    if type(x) is Type:
        outside = update(t, zeros(Type(type_of(v).shape, type_of(t).dtype)), index=index)
    return outside, basic_slice(t, index=index) if type(v) is Type else None


def _update_batch(size: int, x: Any, batched: Any, *, index: Index) -> Array:
    full = [with_batch(each, size, flag) for each, flag in zip(x, batched, strict=True)]
    return update(*full, index=(slice(None), *index))


update = linear(
    "update",
    eval=_update_eval,
    type=_update_type,
    transpose=_update_transpose,
    batch=_update_batch,
    linear_in=(0, 1),
    moves=True,
)

# --- gather ------------------------------------------------------------------------------


def _front(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return xp.moveaxis(x, axes, tuple(range(len(axes))))


def _gather_type(x: Type, *indices: Type, axes: tuple[int, ...]) -> Type:
    kept = tuple(length for axis, length in enumerate(x.shape) if axis not in axes)
    return Type((*indices[0].shape, *kept), x.dtype)


def _with_example(size: int, indices: Any, batched: Any) -> tuple[Any, list[Array]]:
    """Return the example number, and index arrays that all carry the batch."""
    full = [with_batch(each, size, flag) for each, flag in zip(indices, batched, strict=True)]
    shape = type_of(full[0]).shape
    number = np.arange(size).reshape((size, *(1,) * (len(shape) - 1)))
    return np.broadcast_to(number, shape), full


def _gather_batch(size: int, x: Any, batched: Any, *, axes: tuple[int, ...]) -> Array:
    source, *indices = x
    if not any(batched[1:]):
        moved = tuple(axis + 1 for axis in axes)
        return moveaxis(gather(source, *indices, axes=moved), type_of(indices[0]).ndim, 0)
    number, full = _with_example(size, indices, batched[1:])
    if not batched[0]:
        return gather(source, *full, axes=axes)
    return gather(source, number, *full, axes=(0, *(axis + 1 for axis in axes)))


gather = linear(
    "gather",
    eval=lambda xp, x, *indices, axes: _front(xp, x, axes)[tuple(indices)],
    type=_gather_type,
    transpose=lambda t, x, *indices, axes: (
        scatter_add(zeros(Type(x.shape, type_of(t).dtype)), t, *indices, axes=axes),
        *(None for _ in indices),
    ),
    batch=_gather_batch,
    moves=True,
)

# --- scatter -----------------------------------------------------------------------------


def _scatter_type(x: Type, v: Type, *indices: Type, axes: tuple[int, ...]) -> Type:
    slot = _gather_type(x, *indices, axes=axes).shape
    if v.shape != slot:
        raise ShapeError(
            f"scatter: the values have shape {v.shape}, the places have shape {slot}",
            "broadcast or reshape the values",
        )
    return x


def _scatter_add_eval(xp: Any, x: Any, v: Any, *indices: Any, axes: tuple[int, ...]) -> Any:
    if xp is np:
        result = np.array(x)
        np.add.at(_front(np, result, axes), tuple(indices), v)
        return result
    moved = _front(xp, xp.asarray(x), axes).at[tuple(indices)].add(v)
    return xp.moveaxis(moved, tuple(range(len(axes))), axes)


def _scatter_set_eval(xp: Any, x: Any, v: Any, *indices: Any, axes: tuple[int, ...]) -> Any:
    if xp is np:
        result = np.array(x)
        _front(np, result, axes)[tuple(indices)] = v
        return result
    moved = _front(xp, xp.asarray(x), axes).at[tuple(indices)].set(v)
    return xp.moveaxis(moved, tuple(range(len(axes))), axes)


def _scatter_batch(primitive: str) -> Any:
    def batch(size: int, x: Any, batched: Any, *, axes: tuple[int, ...]) -> Array:
        record = scatter_add if primitive == "scatter_add" else scatter_set
        target = with_batch(x[0], size, batched[0])
        values = with_batch(x[1], size, batched[1])
        number, full = _with_example(size, x[2:], batched[2:])
        moved = (0, *(axis + 1 for axis in axes))
        return record(target, values, number, *full, axes=moved)

    return batch


scatter_add = linear(
    "scatter_add",
    eval=_scatter_add_eval,
    type=_scatter_type,
    transpose=lambda t, x, v, *indices, axes: (
        t if type(x) is Type else None,
        gather(t, *indices, axes=axes) if type(v) is Type else None,
        *(None for _ in indices),
    ),
    batch=_scatter_batch("scatter_add"),
    linear_in=(0, 1),
    moves=True,
)


def _scatter_set_transpose(
    t: Array, x: Any, v: Any, *indices: Any, axes: tuple[int, ...]
) -> tuple[Array, ...]:
    """Where one place is written several times, only the last write counts."""
    slot = type_of(v)
    for_x = None
    if type(x) is Type:
        blank = zeros(Type(slot.shape, type_of(t).dtype))
        for_x = scatter_set(t, blank, *indices, axes=axes)
    for_v = None
    if type(v) is Type:
        number = np.arange(slot.size).reshape(slot.shape)
        shape = type_of(t).shape
        owner = scatter_set(np.full(shape, -1), number, *indices, axes=axes)
        won = equal(gather(owner, *indices, axes=axes), number)
        for_v = where(won, gather(t, *indices, axes=axes), 0)
    return (for_x, for_v, *(None for _ in indices))


scatter_set = linear(
    "scatter_set",
    eval=_scatter_set_eval,
    type=_scatter_type,
    transpose=_scatter_set_transpose,
    batch=_scatter_batch("scatter_set"),
    linear_in=(0, 1),
    moves=True,
)
