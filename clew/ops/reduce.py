"""Reductions: sum, product, extremes, any and all, positions of extremes.

``axis`` is a tuple of non-negative axes; the reduced axes disappear.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.kinds import general, linear
from clew.core.primitive import PRIMITIVES, NoDerivative
from clew.core.types import Type, type_of

Array = Any
Axes = tuple[int, ...]


def _reduced(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    return tuple(length for i, length in enumerate(shape) if i not in axis)


def _kept(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    return tuple(1 if i in axis else length for i, length in enumerate(shape))


def keep(y: Array, shape: tuple[int, ...], axis: Axes) -> Array:
    """Give a reduced value its reduced axes back, with length 1."""
    return PRIMITIVES["reshape"](y, shape=_kept(shape, axis))


def _behind_batch(axis: Axes) -> Axes:
    return tuple(i + 1 for i in axis)


def _sum_transpose(t: Array, x: Type, *, axis: Axes) -> tuple[Array]:
    return (PRIMITIVES["broadcast_to"](keep(t, x.shape, axis), shape=x.shape),)


sum = linear(
    "sum",
    eval=lambda xp, x, *, axis: xp.sum(x, axis=axis, dtype=xp.asarray(x).dtype),
    type=lambda x, *, axis: Type(_reduced(x.shape, axis), x.dtype),
    transpose=_sum_transpose,
    batch=lambda size, x, batched, *, axis: sum(x[0], axis=_behind_batch(axis)),
    moves=True,
)

# --- product -----------------------------------------------------------------------------


def _others(x: Array, shape: tuple[int, ...], axis: Axes) -> Array:
    """Return, for each element, the product of the others along ``axis``, exact at zeros.

    The product of what stands before times the product of what stands after.
    """
    cumulative = PRIMITIVES["cumprod"]
    order = (*(i for i in range(len(shape)) if i not in axis), *axis)
    moved = PRIMITIVES["transpose"](x, axes=order)
    outer = _reduced(shape, axis)
    rows = PRIMITIVES["reshape"](moved, shape=(*outer, int(np.prod([shape[i] for i in axis]))))
    last = len(outer)
    length = type_of(rows).shape[last]
    first = (slice(None),) * last
    cut = PRIMITIVES["basic_slice"]
    one = PRIMITIVES["broadcast_to"](type_of(x).dtype.type(1), shape=(*outer, 1))
    join = PRIMITIVES["concatenate"]
    before = cumulative(cut(rows, index=(*first, slice(0, length - 1, 1))), axis=last)
    before = join(one, before, axis=last)
    reverse = (*first, slice(None, None, -1))
    backward = cut(cut(rows, index=reverse), index=(*first, slice(0, length - 1, 1)))
    after = cut(join(one, cumulative(backward, axis=last), axis=last), index=reverse)
    product = PRIMITIVES["reshape"](before * after, shape=tuple(shape[i] for i in order))
    return PRIMITIVES["transpose"](product, axes=tuple(int(i) for i in np.argsort(order)))


def _push_prod(primals: Any, tangents: Any, y: Array, *, axis: Axes) -> Array:
    (x,), (dx,) = primals, tangents
    shape = type_of(x).shape
    if 0 in [shape[i] for i in axis]:
        return None
    return sum(PRIMITIVES["multiply"](_others(x, shape, axis), dx), axis=axis)


prod = general(
    "prod",
    eval=lambda xp, x, *, axis: xp.prod(x, axis=axis, dtype=xp.asarray(x).dtype),
    type=lambda x, *, axis: Type(_reduced(x.shape, axis), x.dtype),
    push=_push_prod,
    batch=lambda size, x, batched, *, axis: prod(x[0], axis=_behind_batch(axis)),
)

# --- extremes ----------------------------------------------------------------------------


def _push_extreme(primals: Any, tangents: Any, y: Array, *, axis: Axes) -> Array:
    """Where several elements tie, each has an equal share."""
    (x,), (dx,) = primals, tangents
    kind = type_of(x)
    hit = PRIMITIVES["equal"](x, keep(y, kind.shape, axis))
    hit = PRIMITIVES["convert"](hit, dtype=kind.dtype)
    count = keep(sum(hit, axis=axis), kind.shape, axis)
    return sum(PRIMITIVES["multiply"](hit / count, dx), axis=axis)


def _extreme(name: str) -> Any:
    record = general(
        name,
        eval=lambda xp, x, *, axis: getattr(xp, name)(x, axis=axis),
        type=lambda x, *, axis: Type(_reduced(x.shape, axis), x.dtype),
        push=_push_extreme,
        batch=lambda size, x, batched, *, axis: record(x[0], axis=_behind_batch(axis)),
    )
    return record


max = _extreme("max")
min = _extreme("min")

# --- truth and position ------------------------------------------------------------------


def _truth(name: str) -> Any:
    record = general(
        name,
        eval=lambda xp, x, *, axis: getattr(xp, name)(x, axis=axis),
        type=lambda x, *, axis: Type(_reduced(x.shape, axis), np.bool_),
        push=NoDerivative("true or false"),
        batch=lambda size, x, batched, *, axis: record(x[0], axis=_behind_batch(axis)),
    )
    return record


def _position(name: str) -> Any:
    record = general(
        name,
        eval=lambda xp, x, *, axis: getattr(xp, name)(x, axis=axis),
        type=lambda x, *, axis: Type(_reduced(x.shape, (axis,)), np.int64),
        push=NoDerivative("a position is an integer"),
        batch=lambda size, x, batched, *, axis: record(x[0], axis=axis + 1),
    )
    return record


any = _truth("any")
all = _truth("all")
argmax = _position("argmax")
argmin = _position("argmin")
