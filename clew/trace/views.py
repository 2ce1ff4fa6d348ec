"""Views by reshape and transpose: reading applies them, writing goes back through them.

Whether a reshape is a view depends, as in NumPy, on how the elements lie in memory. A traced
array is thought of as contiguous; its views are followed on a stand-in that has NumPy's
strides and no memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.primitive import Traced
from clew.core.types import type_of
from clew.ops.shape import reshape, transpose


def transposed_view(x: Any, axes: tuple[int, ...]) -> Any:
    """Return a view with the axes permuted."""
    if not isinstance(x, Traced):
        return np.transpose(x, axes)
    back = tuple(int(axis) for axis in np.argsort(axes))
    return x.view(  # type: ignore[attr-defined]
        lambda parent: transpose(parent, axes=axes),
        lambda parent, value: transpose(value, axes=back),
        lambda array: np.transpose(array, axes),
    )


def reshaped_view(x: Any, shape: tuple[int, ...]) -> Any:
    """Return a view of another shape."""
    return x.view(
        lambda parent: reshape(parent, shape=shape),
        lambda parent, value: reshape(value, shape=type_of(parent).shape),
        lambda array: np.reshape(array, shape, copy=False),
    )


def is_reshape_view(x: Any, shape: tuple[int, ...]) -> bool:
    """Say whether NumPy would make a view of this shape rather than a copy."""
    try:
        np.reshape(x.layout(), shape, copy=False)
    except ValueError:
        return False
    return True
