"""Every form of NumPy index on traced values, composed of ``basic_slice`` and ``gather``.

An index is taken apart once into a :class:`Plan`: slices and integers first, then index
arrays, then new axes. Reading and writing follow the same plan in opposite directions.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import IndexingError
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.ops import elementwise as e
from clew.ops.index import basic_slice, gather, scatter_add, scatter_set, update
from clew.ops.shape import broadcast_to, reshape, transpose
from clew.trace.tracer import Tracer, fitted

_FULL = slice(None)


@dataclass(frozen=True)
class Plan:
    """An index taken apart.

    ``basic`` has a slice or integer for every axis; ``axes`` are the axes, after that, that
    ``indices`` (of one shape) pick from; ``front`` is where the index axes stand among the
    result's; ``shape`` is the result's shape, new axes included.
    """

    basic: tuple[Any, ...]
    axes: tuple[int, ...]
    indices: tuple[Any, ...]
    order: tuple[int, ...]
    picked: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def trivial(self) -> bool:
        """Whether the slices take everything."""
        return all(isinstance(part, slice) and part == _FULL for part in self.basic)

    @property
    def scalar(self) -> bool:
        """Whether the result is a NumPy scalar rather than a view."""
        return not self.shape and all(not isinstance(part, slice) for part in self.basic)


def get_item(x: Any, key: Any) -> Any:
    """Return ``x[key]``: a view for slices and integers, as in NumPy."""
    plan = make_plan(x, key)
    if plan.axes:
        return _read(plan, x)
    if plan.scalar and key is not Ellipsis and not _has_ellipsis(key):
        return _read(plan, x)
    return x.view(
        lambda parent: _read(plan, parent),
        lambda parent, value: _write(plan, parent, value),
        lambda array: array[key],
        key,
    )


def pick(x: Any, key: Any) -> Any:
    """Return ``x[key]``, not as a view; ``x`` may be eager and the index traced."""
    return _read(make_plan(x, key), x)


def set_item(x: Any, key: Any, value: Any) -> None:
    """Do ``x[key] = value``."""
    from clew.trace.protocols import as_array

    if isinstance(value, Tracer) and value.is_part(x, key):
        return  # the second half of ``x[key] += v``: the view has written itself already
    value = as_array(value)
    if _is_bool_of(key, x) and type_of(value).ndim == 0:
        x.write(e.where(key, fitted(value, Type((), x.dtype)), x))
        return
    plan = make_plan(x, key)
    x.write(_write(plan, x, fitted(value, Type(plan.shape, x.dtype))))


def add_at(x: Any, key: Any, value: Any) -> None:
    """Do ``np.add.at(x, key, value)``: repeated places accumulate."""
    plan = make_plan(x, key)
    value = fitted(value, Type(plan.shape, x.dtype))
    if not plan.axes:
        x.write(_write(plan, x, e.add(_read(plan, x), value)))
        return
    x.write(_write(plan, x, value, scatter_add))


def _has_ellipsis(key: Any) -> bool:
    return isinstance(key, tuple) and any(part is Ellipsis for part in key)


def _is_bool_of(key: Any, x: Any) -> bool:
    return (
        isinstance(key, (Traced, np.ndarray))
        and type_of(key).dtype.kind == "b"
        and type_of(key).shape == x.shape
    )


def _read(plan: Plan, x: Any) -> Any:
    if not plan.trivial:
        x = basic_slice(x, index=plan.basic)
    if plan.axes:
        x = gather(x, *plan.indices, axes=plan.axes)
        if plan.order != tuple(range(len(plan.order))):
            x = transpose(x, axes=plan.order)
    if type_of(x).shape != plan.shape:
        x = reshape(x, shape=plan.shape)
    return x


def _write(plan: Plan, x: Any, value: Any, scatter: Any = scatter_set) -> Any:
    """Return ``x`` with ``value``, of the plan's shape, in its place."""
    if plan.axes:
        value = reshape(value, shape=tuple(plan.picked[axis] for axis in plan.order))
        value = transpose(value, axes=tuple(int(i) for i in np.argsort(plan.order)))
        part = x if plan.trivial else basic_slice(x, index=plan.basic)
        value = scatter(part, value, *plan.indices, axes=plan.axes)
        return value if plan.trivial else update(x, value, index=plan.basic)
    slot = plan.picked
    if type_of(value).shape != slot:
        value = reshape(value, shape=slot)
    return value if plan.trivial else update(x, value, index=plan.basic)


# --- taking an index apart -------------------------------------------------------------


def make_plan(x: Any, key: Any) -> Plan:
    """Take an index apart for an array."""
    shape = type_of(x).shape
    parts = _expanded(shape, key)
    advanced = [i for i, part in enumerate(parts) if _is_array(part)]
    if advanced:
        # Beside index arrays an integer is an index array too (NumPy's rule).
        parts = [np.asarray(p) if isinstance(p, int) else p for p in parts]
        advanced = [i for i, part in enumerate(parts) if _is_array(part)]
    basic: list[Any] = []
    axes: list[int] = []
    after = 0
    for part in parts:
        if part is None:
            continue
        length = shape[len(basic)]
        if _is_array(part):
            _check_bounds(part, length, len(basic))
            axes.append(after)
            basic.append(_FULL)
        elif isinstance(part, int):
            _check_bounds(np.asarray(part), length, len(basic))
            basic.append(part)
            continue
        else:
            basic.append(part)
        after += 1
    lengths = [
        len(range(*part.indices(length)))
        for part, length in zip(basic, shape, strict=True)
        if isinstance(part, slice)
    ]
    indices = _common_shape([part for part in parts if _is_array(part)])
    return _finish(parts, advanced, tuple(basic), tuple(axes), indices, lengths)


def _finish(
    parts: list[Any],
    advanced: list[int],
    basic: tuple[Any, ...],
    axes: tuple[int, ...],
    indices: tuple[Any, ...],
    lengths: list[int],
) -> Plan:
    rows = type_of(indices[0]).shape if indices else ()
    kept = [length for axis, length in enumerate(lengths) if axis not in axes]
    picked = (*rows, *kept)
    # Where the index axes go: in place if the index arrays stand together, else in front.
    together = bool(advanced) and advanced[-1] - advanced[0] == len(advanced) - 1
    lead = [p for p in parts[: advanced[0]] if isinstance(p, slice)] if together else []
    count = len(lead)
    order = (
        *range(len(rows), len(rows) + count),
        *range(len(rows)),
        *range(len(rows) + count, len(picked)),
    )
    shape: list[int] = []
    kept_left = list(kept)
    placed = not advanced
    if advanced and not together:
        shape += rows
        placed = True
    for part in parts:
        if part is None:
            shape.append(1)
        elif isinstance(part, slice):
            shape.append(kept_left.pop(0))
        elif _is_array(part) and not placed:
            shape += rows
            placed = True
    return Plan(basic, axes, indices, order, picked, tuple(shape))


def _expanded(shape: tuple[int, ...], key: Any) -> list[Any]:
    """Return one part per axis (and per new axis): slice, int, index array or None."""
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        parts.extend(_normal(part))
    used = sum(1 for part in parts if part is not None and part is not Ellipsis)
    if used > len(shape):
        raise IndexingError(
            f"too many indices: the array has {len(shape)} axes, {used} were indexed",
            "index at most one per axis",
        )
    missing = [_FULL] * (len(shape) - used)
    places = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(places) > 1:
        raise IndexingError("an index can have only one ellipsis (...)", "leave the others out")
    if places:
        return parts[: places[0]] + missing + parts[places[0] + 1 :]
    return parts + missing


def _normal(part: Any) -> list[Any]:
    if part is None or part is Ellipsis:
        return [part]
    if isinstance(part, slice):
        bounds = (part.start, part.stop, part.step)
        return [slice(*(None if b is None else operator.index(b) for b in bounds))]
    if isinstance(part, (bool, np.bool_)):
        part = np.asarray(part)
    if isinstance(part, (list, tuple)):
        from clew.trace.protocols import as_array

        part = as_array(part)
        if type_of(part).size == 0 and not isinstance(part, Traced):
            part = part.astype(np.int64)
    if isinstance(part, (int, np.integer)):
        return [int(part)]
    if not isinstance(part, (np.ndarray, Traced)):
        raise IndexingError(
            f"an index of type {type(part).__name__} is not an integer, slice or array",
            "use integers, slices, ..., None, or arrays of integers or booleans",
        )
    kind = type_of(part)
    if kind.dtype.kind == "b":
        # Which elements are chosen decides the shape, so it is a condition on the inputs.
        mask = part.guarded() if isinstance(part, Traced) else part  # type: ignore[attr-defined]
        return list(np.nonzero(mask)) if mask.ndim else [None, np.zeros(int(mask), np.int64)]
    if kind.dtype.kind not in "iu":
        raise IndexingError(
            f"an index array must be of integers or booleans, not {kind.dtype}",
            "convert it with .astype(int)",
        )
    if kind.ndim == 0 and not isinstance(part, Traced):
        return [int(part)]
    return [part]


def _is_array(part: Any) -> bool:
    return isinstance(part, (np.ndarray, Traced))


def _check_bounds(index: Any, length: int, axis: int) -> None:
    if isinstance(index, Traced) or index.size == 0:
        return
    low, high = int(index.min()), int(index.max())
    if low < -length or high >= length:
        worst = low if low < -length else high
        raise IndexingError(
            f"index {worst} is out of bounds for axis {axis} with size {length}",
            f"use an index from {-length} to {length - 1}",
        )


def _common_shape(indices: list[Any]) -> tuple[Any, ...]:
    if not indices:
        return ()
    shapes = [type_of(index).shape for index in indices]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise IndexingError(
            f"index arrays of shapes {', '.join(map(str, shapes))} do not broadcast",
            "give them one shape",
        ) from None
    return tuple(
        index if type_of(index).shape == shape else broadcast_to(index, shape=shape)
        for index in indices
    )
