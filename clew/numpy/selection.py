"""Choosing by condition or position; diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.numpy.support import Array, as_dtype, axis_of, flat, is_traced, operand, traced_form
from clew.ops import elementwise as e
from clew.ops.index import gather
from clew.trace.indexing import pick
from clew.trace.protocols import write_result


@traced_form(np.where)
def where(condition: Any, x: Any = np._NoValue, y: Any = np._NoValue, /) -> Any:
    """Choose element by element; a branch not taken never reaches the gradient."""
    condition = operand(condition)
    if x is np._NoValue:
        return nonzero(condition)
    condition = condition if type_of(condition).dtype.kind == "b" else e.not_equal(condition, 0)
    return e.where(condition, _number(x), _number(y))


def _number(x: Any) -> Any:
    return x if isinstance(x, (int, float, complex)) else operand(x)


@traced_form(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Array:
    """The choice of the first condition that holds."""
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return result


@traced_form(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Array:
    """A function given by pieces."""
    x = operand(x)
    conditions = [operand(c) for c in (condlist if isinstance(condlist, list) else [condlist])]
    functions = list(funclist)
    result: Any = np.zeros_like(x)
    if len(functions) == len(conditions) + 1:
        result = _piece(functions.pop(), x, args, kw)
    for condition, function in zip(conditions, functions, strict=True):
        result = where(condition, _piece(function, x, args, kw), result)
    return as_dtype(operand(result), type_of(x).dtype)


def _piece(function: Any, x: Array, args: Any, kw: Any) -> Any:
    return function(x, *args, **kw) if callable(function) else function


@traced_form(np.clip)
def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
) -> Array:
    """Limit to an interval."""
    x = operand(a)
    for bound, pair in ((a_min, e.maximum), (min, e.maximum), (a_max, e.minimum), (max, e.minimum)):
        if bound is not None and bound is not np._NoValue:
            x = pair(x, _number(bound))
    return x


@traced_form(np.choose)
def choose(a: Any, choices: Any, mode: str = "raise") -> Array:
    """The choice that each index names."""
    index = operand(a)
    options = np.stack(np.broadcast_arrays(*choices))
    shape = np.broadcast_shapes(type_of(index).shape, type_of(options).shape[1:])
    index = np.broadcast_to(index, shape)
    options = np.broadcast_to(options, (type_of(options).shape[0], *shape))
    grid = np.indices(shape)
    return gather(options, index, *grid, axes=tuple(range(len(shape) + 1)))


# --- positions -------------------------------------------------------------------------------


def _truth(x: Array) -> np.ndarray:
    """Which elements are nonzero decides shapes, so it is a condition on the inputs."""
    chosen = e.not_equal(x, 0)
    return chosen.guarded() if is_traced(chosen) else chosen


@traced_form(np.nonzero)
def nonzero(a: Any) -> tuple[np.ndarray, ...]:
    """Positions of the elements that are not zero, for the actual inputs (guarded)."""
    return np.nonzero(_truth(operand(a)))


@traced_form(np.flatnonzero)
def flatnonzero(a: Any) -> np.ndarray:
    """Flat positions of the elements that are not zero (guarded)."""
    return np.flatnonzero(_truth(operand(a)))


@traced_form(np.argwhere)
def argwhere(a: Any) -> np.ndarray:
    """Positions of the elements that are not zero, one a row (guarded)."""
    return np.argwhere(_truth(operand(a)))


@traced_form(np.compress)
def compress(condition: Any, a: Any, axis: Any = None) -> Array:
    """The parts where a condition holds."""
    x = operand(a)
    if axis is None:
        x, axis = flat(x), 0
    index = np.nonzero(_truth(operand(condition)))[0]
    return take(x, index, axis)


@traced_form(np.extract)
def extract(condition: Any, arr: Any) -> Array:
    """The elements where a condition holds."""
    return compress(np.ravel(condition), np.ravel(arr))


@traced_form(np.take)
def take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Array:
    """Elements at positions along an axis."""
    x = operand(a)
    if axis is None:
        x, axis = flat(x), 0
    place = axis_of(axis, type_of(x).ndim)
    index = operand(indices)
    length = type_of(x).shape[place]
    if mode == "wrap":
        index = e.remainder(index, length)
    elif mode == "clip":
        index = clip(index, 0, length - 1)
    return pick(x, (*(slice(None),) * place, index))


def _along(x: Array, indices: Array, axis: int) -> tuple[Any, ...]:
    shape = list(type_of(x).shape)
    shape[axis] = type_of(indices).shape[axis]
    full = np.broadcast_shapes(tuple(shape), type_of(indices).shape)
    grid: list[Any] = list(np.indices(full, sparse=True))
    grid[axis] = indices
    return tuple(grid)


@traced_form(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Array:
    """For each row along an axis, the elements at that row's positions."""
    x, index = operand(arr), operand(indices)
    if axis is None:
        x, axis = flat(x), 0
    place = axis_of(axis, type_of(x).ndim)
    return pick(x, _along(x, index, place))


@traced_form(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """Write, for each row along an axis, at that row's positions."""
    if not is_traced(arr):
        write_result(arr, values)
    arr[_along(arr, operand(indices), axis_of(axis, arr.ndim))] = values


@traced_form(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Write at flat positions."""
    if not is_traced(a):
        write_result(a, v)
    places = np.unravel_index(np.asarray(ind), a.shape)
    values = np.resize(np.ravel(v), places[0].size) if not is_traced(v) else np.ravel(v)
    a[tuple(np.ravel(p) for p in places)] = values


@traced_form(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    """Write where a mask holds."""
    if not is_traced(a):
        write_result(a, values)
    value = operand(values)
    if type_of(value).size != 1 and type_of(value).shape != type_of(a).shape:
        raise InputError("putmask: values of another shape", "give values of the array's shape")
    a[...] = where(mask, values, a)


@traced_form(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """Write one array into another."""
    if not is_traced(dst):
        write_result(dst, src)
    dst[...] = src if where is True else np.where(where, src, dst)


# --- diagonals and triangles ---------------------------------------------------------------


@traced_form(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of a plane of two axes, on a new last axis."""
    x = operand(a)
    ndim = type_of(x).ndim
    first, second = axis_of(axis1, ndim), axis_of(axis2, ndim)
    rows, columns = type_of(x).shape[first], type_of(x).shape[second]
    start = max(-offset, 0)
    count = max(min(rows - start, columns - max(offset, 0)), 0)
    index = np.arange(count)
    y = gather(x, index + start, index + max(offset, 0), axes=(first, second))
    return np.moveaxis(y, 0, -1)


@traced_form(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Array:
    """The sum of a diagonal."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@traced_form(np.diag)
def diag(v: Any, k: int = 0) -> Array:
    """A matrix with a diagonal, or the diagonal of a matrix."""
    x = operand(v)
    return diagflat(x, k) if type_of(x).ndim == 1 else diagonal(x, k)


@traced_form(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Array:
    """A matrix with the flattened elements on a diagonal."""
    x = flat(operand(v))
    count = type_of(x).size
    result = np.zeros_like(x, shape=(count + abs(k), count + abs(k)))
    index = np.arange(count)
    result[index + max(-k, 0), index + max(k, 0)] = x
    return result


@traced_form(np.tril)
def tril(m: Any, k: int = 0) -> Array:
    """The lower triangle, zero above."""
    x = operand(m)
    return where(np.tri(*type_of(x).shape[-2:], k=k, dtype=bool), x, type_of(x).dtype.type(0))


@traced_form(np.triu)
def triu(m: Any, k: int = 0) -> Array:
    """The upper triangle, zero below."""
    x = operand(m)
    return where(np.tri(*type_of(x).shape[-2:], k=k - 1, dtype=bool), type_of(x).dtype.type(0), x)


@traced_form(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Write the main diagonal."""
    if not is_traced(a):
        write_result(a, val)
    index = np.arange(min(a.shape))
    a[(index,) * a.ndim] = val


@traced_form(np.vander)
def vander(x: Any, N: Any = None, increasing: bool = False) -> Array:
    """Columns of powers."""
    x = operand(x)
    powers = np.arange(type_of(x).size if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])
