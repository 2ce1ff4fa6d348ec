"""Random bits from a counter: Philox 4x32-10, the same on every array library.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3",
Proc. SC'11. Checked against the known answers of their Random123 library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.errors import ShapeError
from clew.core.kinds import general
from clew.core.primitive import NoDerivative
from clew.core.types import Type

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10


def philox(xp: Any, counter: tuple[Any, ...], key: tuple[Any, Any]) -> tuple[Any, ...]:
    """Return four 32-bit words for each counter of four and key of two, all as uint64.

    >>> zero = np.zeros(1, np.uint64)
    >>> [hex(int(word[0])) for word in philox(np, (zero,) * 4, (zero, zero))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    mask, shift = np.uint64(_MASK), np.uint64(32)
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first = c0 * np.uint64(_MULTIPLIERS[0])
        second = c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            (second >> shift) ^ c1 ^ k0,
            second & mask,
            (first >> shift) ^ c3 ^ k1,
            first & mask,
        )
        k0 = (k0 + np.uint64(_WEYL[0])) & mask
        k1 = (k1 + np.uint64(_WEYL[1])) & mask
    return c0, c1, c2, c3


def _bits_eval(xp: Any, key: Any, *, shape: tuple[int, ...]) -> Any:
    """Two 64-bit results per counter; the key's axes, if any, come first."""
    count = math.prod(shape)
    blocks = (count + 1) // 2
    words = key.astype(np.uint64)[..., None]
    number = xp.arange(blocks, dtype=np.uint64)
    zero = number * np.uint64(0)
    counter = (number & np.uint64(_MASK), number >> np.uint64(32), zero, zero)
    parts = philox(xp, counter, (words[..., 0, :], words[..., 1, :]))
    low = parts[0] | (parts[1] << np.uint64(32))
    high = parts[2] | (parts[3] << np.uint64(32))
    pairs = xp.stack(xp.broadcast_arrays(low, high), axis=-1)
    lead = key.shape[:-1]
    return pairs.reshape((*lead, 2 * blocks))[..., :count].reshape((*lead, *shape))


def _bits_type(key: Type, *, shape: tuple[int, ...]) -> Type:
    if key.shape[-1:] != (2,) or key.dtype != np.uint32:
        raise ShapeError(f"random: {key} is not a key", "make one with clew.random.key(seed)")
    return Type((*key.shape[:-1], *shape), np.uint64)


random_bits = general(
    "random_bits",
    eval=_bits_eval,
    type=_bits_type,
    push=NoDerivative("random bits do not depend on parameters"),
    batch=lambda size, x, batched, *, shape: random_bits(x[0], shape=shape),
    source="Salmon et al. (2011)",
)
