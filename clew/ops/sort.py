"""Order: sort, argsort, places in sorted arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general
from clew.core.primitive import NoDerivative
from clew.core.types import Type, type_of
from clew.ops.index import gather
from clew.ops.shape import with_batch

Array = Any


def along(x: Array, order: Array, axis: int) -> Array:
    """Return, for each row along an axis, its elements in an order.

    >>> along(np.array([[3, 1], [5, 7]]), np.array([[1, 0], [0, 1]]), 1)
    array([[1, 3],
           [5, 7]])
    """
    shape = type_of(order).shape
    grid: list[Any] = []
    for place, length in enumerate(shape):
        if place == axis:
            grid.append(order)
            continue
        number = np.arange(length).reshape([-1 if i == place else 1 for i in range(len(shape))])
        grid.append(np.broadcast_to(number, shape))
    return gather(x, *grid, axes=tuple(range(len(shape))))


argsort = general(
    "argsort",
    eval=lambda xp, x, *, axis: xp.argsort(x, axis=axis, stable=True),
    type=lambda x, *, axis: Type(x.shape, np.int64),
    push=NoDerivative("an order is made of integers"),
    batch=lambda size, x, batched, *, axis: argsort(x[0], axis=axis + 1),
)
sort = general(
    "sort",
    eval=lambda xp, x, *, axis: xp.sort(x, axis=axis),
    type=lambda x, *, axis: x,
    push=lambda primals, tangents, y, *, axis: along(
        tangents[0], argsort(primals[0], axis=axis), axis
    ),
    batch=lambda size, x, batched, *, axis: sort(x[0], axis=axis + 1),
)


def _searchsorted_eval(xp: Any, sorted_: Any, values: Any, *, side: str) -> Any:
    if sorted_.ndim == 1:
        return xp.searchsorted(sorted_, values, side=side)
    rows = sorted_.reshape(-1, sorted_.shape[-1])
    wanted = values.reshape(rows.shape[0], -1)
    found = [xp.searchsorted(a, v, side=side) for a, v in zip(rows, wanted, strict=True)]
    return xp.stack(found).reshape(values.shape) if found else xp.zeros(values.shape, xp.int64)


def _searchsorted_batch(size: int, operands: Any, batched: Any, *, side: str) -> Array:
    sorted_, values = operands
    if not batched[0]:
        return searchsorted(sorted_, values, side=side)
    return searchsorted(sorted_, with_batch(values, size, batched[1]), side=side)


searchsorted = general(
    "searchsorted",
    eval=_searchsorted_eval,
    type=lambda sorted_, values, *, side: Type(values.shape, np.int64),
    push=NoDerivative("a position is an integer"),
    batch=_searchsorted_batch,
)
