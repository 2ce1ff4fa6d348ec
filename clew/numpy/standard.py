"""What the Array API standard spells otherwise than NumPy, for eager and traced values."""

from __future__ import annotations

from typing import Any

import numpy as np


def sort(
    a: Any,
    /,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool = True,
    descending: bool = False,
) -> Any:
    """Return the elements sorted along an axis, also from the largest down.

    >>> sort(np.array([1, 3, 2]), descending=True)
    array([3, 2, 1])
    """
    result = np.sort(a, axis, kind, order, stable=None if kind else stable)
    return np.flip(result, -1 if axis is None else axis) if descending else result


def argsort(
    a: Any,
    /,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool = True,
    descending: bool = False,
) -> Any:
    """Return the positions of the elements in sorted order, also from the largest down.

    Equal elements keep their order, also when descending.

    >>> argsort(np.array([1, 3, 1]), descending=True)
    array([1, 0, 2])
    """
    chosen = None if kind else stable
    if not descending:
        return np.argsort(a, axis, kind, order, stable=chosen)
    if axis is None:
        a, axis = np.ravel(a), 0
    length = np.shape(a)[axis]
    backward = np.argsort(np.flip(a, axis), axis, kind, order, stable=chosen)
    return length - 1 - np.flip(backward, axis)


def clip(
    a: Any,
    /,
    min: Any = None,
    max: Any = None,
    out: Any = None,
    *,
    a_min: Any = None,
    a_max: Any = None,
    **kwargs: Any,
) -> Any:
    """Limit values to an interval; None leaves a side open.

    >>> clip(np.array([1, 5, 9]), max=6)
    array([1, 5, 6])
    """
    low = a_min if min is None else min
    high = a_max if max is None else max
    return np.clip(a, low, high, out=out, **kwargs)
