"""cbrt and hypot: roots that must neither overflow nor underflow on the way."""

from __future__ import annotations

import math

from clew.evaluate.native.math.logarithm import is_usual, normalised, split
from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    copysign,
    fma,
    from_bits,
    polynomial,
    rounding_constant,
    select,
    sqrt,
    two_product,
)

# x^(-1/3) between the roots of 1/2 and of 2, relative errors 2^-14.7 and 2^-20.1.
_INVERSE_ROOT = {
    4: (
        1.8745344877243042,
        -1.8617823123931885,
        1.5610744953155518,
        -0.7021380066871643,
        0.12828753888607025,
    ),
    8: (
        2.1099957166007544,
        -3.15154135292444,
        4.437754397821674,
        -4.041711649229433,
        2.2528881194444703,
        -0.7005784716847151,
        0.09319401012776582,
    ),
}
_ROOTS_OF_TWO = (1.0, 0.7937005259840998, 0.6299605249474366)


def cbrt(x: Number) -> Number:
    """Return the cube root: ``x = v 8^k``, v below 6, and ``v y^2`` where ``y = v^(-1/3)``.

    A polynomial gives y, one step of third order all but the last bits, and the remainder of
    the cube the rest.
    """
    size = abs(x)
    scaled, more = normalised(size)
    n, m = split(scaled, more)
    offset = rounding_constant(x, x.format.bias)
    shifted = fma(n - 1.0, 1.0 / 3.0, offset)
    third = n - (shifted - offset) * 3.0
    one, two = third.equals(1.0), third.equals(2.0)
    v = m * select(one, x.like(2.0), select(two, x.like(4.0), 1.0))
    y = polynomial(m, _INVERSE_ROOT[x.value.dtype.itemsize])
    y = y * select(one, x.like(_ROOTS_OF_TWO[1]), select(two, x.like(_ROOTS_OF_TWO[2]), 1.0))
    rest = fma(v * (y * y), -y, 1.0)
    y = fma(y, rest * fma(rest, 2.0 / 9.0, 1.0 / 3.0), y)
    square = y * y
    root = v * square
    cube, lost = two_product(root, root)
    remainder = fma(-cube, root, v) - lost * root
    root = fma(remainder, square * (1.0 / 3.0), root)
    root = root * from_bits(bits_of(shifted) << x.format.digits)
    return select(is_usual(size), copysign(root, x), x)


def hypot(x: Number, y: Number) -> Number:
    """Return ``sqrt(x^2 + y^2)``; infinite if one is, even if the other is NaN."""
    x, y = abs(x), abs(y)
    swap = x < y
    long, short = select(swap, y, x), select(swap, x, y)
    unit = 2.0**600 if x.wide else 2.0**100
    big = long > (2.0**500 if x.wide else 2.0**60)
    small = long < (2.0**-400 if x.wide else 2.0**-50)
    scale = select(big, x.like(1.0 / unit), select(small, x.like(unit), 1.0))
    back = select(big, x.like(unit), select(small, x.like(1.0 / unit), 1.0))
    long, short = long * scale, short * scale
    root = sqrt(fma(long, long, short * short)) * back
    return select(x.equals(math.inf) | y.equals(math.inf), math.inf, root)
