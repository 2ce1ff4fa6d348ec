"""The type of a value in a graph: a static shape and a NumPy dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_SHORT = {"b": "bool", "i": "i", "u": "u", "f": "f", "c": "c"}


class Type:
    """A static shape and a dtype.

    >>> Type((3, 2), np.float32)
    f32[3,2]
    >>> Type((), bool)
    bool
    """

    __slots__ = ("dtype", "shape")

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", np.dtype(dtype))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Type is immutable")

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def inexact(self) -> bool:
        """Whether values of this type can carry a derivative (float or complex)."""
        return self.dtype.kind in "fc"

    def __eq__(self, other: object) -> bool:
        if type(other) is not Type:
            return NotImplemented
        return self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        kind = _SHORT.get(self.dtype.kind, self.dtype.name)
        name = kind if kind == "bool" else f"{kind}{8 * self.dtype.itemsize}"
        return f"{name}[{','.join(map(str, self.shape))}]" if self.shape else name


def type_of(value: Any) -> Type:
    """Return the :class:`Type` of an array, a scalar or a traced value (a Type is its own).

    >>> type_of(np.ones((2, 3)))
    f64[2,3]
    >>> type_of(1)
    i64
    """
    kind = type(value)
    if kind is np.ndarray:
        return Type(value.shape, value.dtype)
    if isinstance(value, Type):
        return value
    known = getattr(value, "type", None)
    if isinstance(known, Type):
        return known
    if kind in (float, int, bool, complex):
        return Type((), np.dtype(kind))
    array = np.asarray(value)
    return Type(array.shape, array.dtype)
