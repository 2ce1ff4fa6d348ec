"""Operands for comparing native code with the reference: every dtype, many shapes, odd values."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.primitive import Interval

DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16")
SHAPES = [(), (1,), (3,), (5,), (17,), (4, 4), (100,), (33, 7), (2, 3, 4, 5), (0,), (3, 0, 2)]
_REALS = Interval(-3.0, 3.0)
_PARTS = (0.0, -0.0, 1, -1, 0.5, -2, np.inf, np.nan)
_FLOATS = (
    *(0.0, -0.0, 1, -1, 0.5, -0.5, 2, 3, -2, 1.5, 2.5, 7.3, -19.7, 88.0, 150),
    *(np.inf, -np.inf, np.nan, 1e-30, -1e30),
)


def special(dtype: Any) -> np.ndarray:
    """Return values at which rules go wrong: zeros, infinities, extremes, shifts by the width."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        return np.array(_FLOATS, dtype)
    if dtype.kind == "c":
        return np.array([complex(a, b) for a in _PARTS for b in _PARTS], dtype)
    limits, width = np.iinfo(dtype), 8 * dtype.itemsize
    values = [0, 1, 2, 3, 5, 7, width - 1, width, width + 1, limits.max, limits.max - 1]
    if dtype.kind == "i":
        values += [-1, -2, -7, limits.min, limits.min + 1]
    return np.array(values, dtype)


def ordinary(
    generator: np.random.Generator, dtype: Any, shape: Any, domain: Interval = _REALS
) -> np.ndarray:
    """Return random values of a dtype; floating ones in a domain."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.asarray(generator.random(shape) < 0.5)
    if dtype.kind in "iu":
        return np.asarray(generator.integers(1, 12, shape)).astype(dtype)
    values = np.asarray(generator.uniform(domain.low, domain.high, shape))
    if dtype.kind == "c":
        values = values + 1j * generator.uniform(-1, 1, shape)
    return values.astype(dtype)
