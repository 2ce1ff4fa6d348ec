"""A differential equation over the leaves of a state, with the direction of time taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import DtypeError, InputError, ShapeError, TraceError
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.loops import check
from clew.loops.bodies import Carry

Leaves = list[Any]


@dataclass(frozen=True)
class System:
    """``slope`` takes a time and the leaves of a state; ``tree`` puts the leaves together."""

    slope: Callable[[Any, Sequence[Any]], Leaves]
    start: Leaves
    tree: Callable[[Sequence[Any]], Any]

    @classmethod
    def of(cls, slope: Callable[[Any, Any], Any], start: Any, what: str) -> System:
        """Flatten a state; whole numbers become floating-point ones."""
        carry = Carry.of(start, what)
        if not carry.leaves:
            raise InputError(f"{what}: the state holds no arrays", "start with at least one number")
        leaves = [x if type_of(x).inexact else x * 1.0 for x in carry.leaves]
        types = [type_of(x) for x in leaves]
        tree = carry.structure.unflatten

        def flat(time: Any, state: Sequence[Any]) -> Leaves:
            found = Carry.of(slope(time, tree(list(state))), f"{what}: slope")
            _check(what, carry.structure.names, types, found)
            return [like(x, kind) for x, kind in zip(found.leaves, types, strict=True)]

        return cls(flat, leaves, tree)


def _check(what: str, names: Sequence[str], types: Sequence[Type], found: Carry) -> None:
    if len(found.types) != len(types):
        raise InputError(
            f"{what}: slope returned {len(found.types)} arrays for a state of {len(types)}",
            "return the rate of change in the structure of the state",
        )
    for name, kind, its in zip(names, types, found.types, strict=True):
        label = f" of {name}" if name else ""
        if its.shape != kind.shape:
            raise ShapeError(
                f"{what}: the slope{label} has shape {its.shape}, the state {kind.shape}",
                "return a rate of change of the state's shape",
            )
        if its.dtype.kind == "c" and kind.dtype.kind == "f":
            raise DtypeError(
                f"{what}: the slope{label} is {its.dtype}, the state {kind.dtype}",
                "start with a complex state",
            )


def moved(state: Sequence[Any], size: Any, slopes: Sequence[Any]) -> Leaves:
    """Return ``state + size slope``, in the state's dtypes.

    >>> moved([1.0], 0.5, [2.0])
    [2.0]
    """
    return [like(x + size * slope, type_of(x)) for x, slope in zip(state, slopes, strict=True)]


def like(value: Any, kind: Type) -> Any:
    """Return a value in the dtype of a type.

    >>> like(np.float64(0.5), Type((), np.float32))
    np.float32(0.5)
    """
    if type_of(value).dtype == kind.dtype:
        return value
    return (value if hasattr(value, "astype") else np.asarray(value)).astype(kind.dtype)


def combined(weights: Sequence[float], stages: Sequence[Sequence[Any]]) -> Leaves:
    """Return the weighted sum of stages; weights of 0 are left out.

    >>> combined([2.0, 0.0, 1.0], [[1.0], [5.0], [3.0]])
    [5.0]
    """
    total: Leaves | None = None
    for weight, stage in zip(weights, stages, strict=True):
        if weight == 0.0:
            continue
        part = [weight * leaf for leaf in stage]
        total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
    assert total is not None
    return total


def increasing(what: str, times: Any, least: int = 2) -> tuple[Any, float]:
    """Return times in double precision, and the sign (1 or -1) that makes them increase.

    Raises
    ------
    InputError
        If they are too few, or neither increase nor decrease.
    """
    if isinstance(times, (list, tuple)):
        times = np.stack(times) if any(isinstance(t, Traced) for t in times) else np.asarray(times)
    kind = type_of(times)
    if kind.ndim != 1 or kind.shape[0] < least:
        raise InputError(
            f"{what}: times has shape {kind.shape}",
            f"give at least {least} times, the first that of the start",
        )
    times = like(times, Type(kind.shape, np.float64))
    steps = times[1:] - times[:-1]
    try:
        sign = 1.0 if bool(np.all(steps >= 0)) else -1.0
    except TraceError:  # they differ from turn to turn of a loop around
        check(np.all(steps >= 0), f"{what}: in a loop, times must increase", "sort them")
        return times, 1.0
    if not bool(np.all(np.isfinite(times))):
        raise InputError(f"{what}: times are not all finite", "give finite times")
    if not bool(np.all(steps * sign >= 0)):
        raise InputError(f"{what}: times neither increase nor decrease", "sort them")
    return times, sign
