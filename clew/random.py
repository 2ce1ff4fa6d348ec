"""Random numbers from keys: the same key gives the same numbers, on any machine, in any order.

A key is an array of two 32-bit words. Split it for every independent use. Distributions are
smooth functions of their parameters, so gradients flow through samples.

>>> import clew
>>> import clew.random as random
>>> noise, start = random.split(random.key(0))
>>> clew.grad(lambda scale: np.mean(random.normal(noise, (1000,), scale=scale) ** 2))(2.0).round(1)
np.float64(3.7)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.types import type_of
from clew.numpy.support import operand
from clew.ops import elementwise as e
from clew.ops.random import random_bits
from clew.ops.sort import argsort
from clew.ops.special import erfinv

Array = Any
Shape = int | tuple[int, ...]


def key(seed: int) -> np.ndarray:
    """Return the key of a seed: an integer of up to 64 bits.

    >>> key(7)
    array([7, 0], dtype=uint32)
    """
    if not 0 <= seed < 2**64:
        raise InputError(f"random.key: seed {seed}", "give an integer of 0..2^64-1")
    return np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32)


def split(key: Array, count: int = 2) -> Array:
    """Return keys that are independent of each other, shape (count, 2).

    >>> split(key(0), 3).shape
    (3, 2)
    """
    bits = random_bits(_folded(key, 0x5EED), shape=(count,))
    low = e.convert(e.bitwise_and(bits, np.uint64(0xFFFFFFFF)), dtype=np.dtype(np.uint32))
    high = e.convert(e.right_shift(bits, np.uint64(32)), dtype=np.dtype(np.uint32))
    return np.stack([low, high], axis=-1)


def fold_in(key: Array, number: int) -> Array:
    """Return the key of one of many uses, numbered.

    >>> bool(np.any(fold_in(key(0), 1) != fold_in(key(0), 2)))
    True
    """
    return split(_folded(key, number), 1)[0]


def _folded(key: Array, number: int) -> Array:
    words = np.array([number & 0xFFFFFFFF, (number >> 32) ^ 0xA5A5A5A5], np.uint32)
    return e.bitwise_xor(key, words)


def bits(key: Array, shape: Shape = ()) -> Array:
    """Return random integers of 64 bits.

    >>> bits(key(0), 2).dtype
    dtype('uint64')
    """
    return random_bits(key, shape=_shape(shape))


def _shape(shape: Shape) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(map(int, shape))


def _unit(key: Array, shape: Shape, dtype: Any) -> Array:
    """Multiples of 2^-53 in [0, 1)."""
    mantissa = e.right_shift(bits(key, shape), np.uint64(11))
    return e.convert(
        e.convert(mantissa, dtype=np.dtype(np.float64)) * 2.0**-53, dtype=np.dtype(dtype)
    )


def _inside(key: Array, shape: Shape, dtype: Any) -> Array:
    """As ``_unit`` but never 0: in (0, 1)."""
    mantissa = e.right_shift(bits(key, shape), np.uint64(12))
    middle = (e.convert(mantissa, dtype=np.dtype(np.float64)) + 0.5) * 2.0**-52
    return e.convert(middle, dtype=np.dtype(dtype))


def uniform(
    key: Array, shape: Shape = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = np.float64
) -> Array:
    """Return numbers even between ``low`` (included) and ``high``.

    >>> uniform(key(1), 3).round(3)
    array([0.895, 0.711, 0.874])
    """
    return low + (high - low) * _unit(key, shape, dtype)


def normal(
    key: Array, shape: Shape = (), mean: Any = 0.0, scale: Any = 1.0, dtype: Any = np.float64
) -> Array:
    """Return normally distributed numbers: ``mean + scale * sqrt(2) erfinv(2 u - 1)``.

    >>> abs(float(np.mean(normal(key(1), 10000)))) < 0.03
    True
    """
    u = _inside(key, shape, np.float64)
    standard = erfinv(2.0 * u - 1.0) * np.sqrt(2.0)
    return mean + scale * e.convert(standard, dtype=np.dtype(dtype))


def exponential(key: Array, shape: Shape = (), scale: Any = 1.0, dtype: Any = np.float64) -> Array:
    """Return exponentially distributed numbers, ``-scale log(u)``.

    >>> bool(np.all(exponential(key(1), 100) > 0))
    True
    """
    return -scale * e.log(_inside(key, shape, dtype))


def bernoulli(key: Array, probability: Any = 0.5, shape: Shape | None = None) -> Array:
    """Return true with a probability; no gradient flows to it.

    >>> bool(np.mean(bernoulli(key(1), 0.25, 10000)) < 0.27)
    True
    """
    shape = type_of(operand(probability)).shape if shape is None else shape
    return e.less(_unit(key, shape, np.float64), probability)


def integers(key: Array, low: int, high: int, shape: Shape = ()) -> Array:
    """Return integers even in ``low .. high - 1``.

    By the high word of a 64-bit product, biased by less than ``(high - low) / 2^53``.

    >>> sorted(set(integers(key(1), 2, 5, 100).tolist()))
    [2, 3, 4]
    """
    if high <= low:
        raise InputError(f"random.integers: from {low} to {high}", "give low < high")
    scaled = e.floor(_unit(key, shape, np.float64) * float(high - low))
    return e.convert(scaled, dtype=np.dtype(np.int64)) + low


def permutation(key: Array, count: int) -> Array:
    """Return ``0 .. count - 1`` in random order.

    >>> sorted(permutation(key(1), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return argsort(bits(key, count), axis=0)


def categorical(key: Array, logits: Array, shape: Shape = ()) -> Array:
    """Return positions drawn with probabilities ``softmax(logits)`` along the last axis.

    By the largest of ``logits`` plus Gumbel noise (Gumbel 1954).

    >>> int(categorical(key(1), np.array([0.0, 50.0])))
    1
    """
    full = (*_shape(shape), *type_of(operand(logits)).shape)
    noise = -e.log(-e.log(_inside(key, full, np.float64)))
    return np.argmax(logits + noise, axis=-1)
