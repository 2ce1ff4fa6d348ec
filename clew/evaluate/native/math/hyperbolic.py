"""sinh, cosh, tanh and their inverses.

With ``|x| = n log 2 + r``, sinh and cosh are sums of ``sinh r`` and ``cosh r`` times powers of two
that cancel exactly; the inverses are logarithms of a sum whose rounding error is kept.
Minimax coefficients were computed for this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from clew.evaluate.native.math.exponential import expm1_parts, split_by_log2
from clew.evaluate.native.math.logarithm import guarded, log_of_sum
from clew.evaluate.native.math.number import (
    Number,
    copysign,
    fast_two_sum,
    fma,
    from_bits,
    polynomial,
    select,
    smallest,
    sqrt,
    two_sum,
)

# (sinh(r)/r - 1)/r^2 and (cosh(r) - 1)/r^2, |r| <= log(2)/2, errors below 2^-33 and 2^-61.
_SINH = {
    4: (0.1666666716337204, 0.00833317544311285, 0.00019974069437012076),
    8: (
        0.16666666666666677,
        0.008333333333321386,
        0.00019841269886816074,
        2.7557243451230314e-06,
        2.5109321382177788e-08,
    ),
}
_COSH = {
    4: (0.5, 0.041666459292173386, 0.0013935437891632318),
    8: (
        0.5,
        0.041666666666666685,
        0.0013888888888873283,
        2.4801587349202374e-05,
        2.7557251820053124e-07,
        2.0921769260925674e-09,
    ),
}


class _Parts(NamedTuple):
    """The terms of sinh and cosh: ``|x| = n log 2 + r``, a = 2^(n-2), b = 2^(-n-2)."""

    r: Number
    odd: Number  # sinh r - r
    even: Number  # cosh r - 1
    total: Number  # a + b
    total_lost: Number
    difference: Number  # a - b
    difference_lost: Number


def _parts(size: Number) -> _Parts:
    """Return the terms for an argument that is not negative."""
    item = size.value.dtype.itemsize
    x = smallest(size, 710.6 if size.wide else 89.6)
    form = x.format
    bits, r, lost = split_by_log2(x)
    z = r * r
    odd = fma(polynomial(z, _SINH[item]), z * r, lost)
    even = polynomial(z, _COSH[item]) * z
    grown = from_bits((bits - (form.bias + 2)) << form.digits)
    shrunk = from_bits(((3 * form.bias - 2) - bits) << form.digits)
    # Where that power would leave its range it is nothing beside the other.
    shrunk = select(x < form.digits + 10.0, shrunk, 0.0)
    return _Parts(r, odd, even, *fast_two_sum(grown, shrunk), *fast_two_sum(grown, -shrunk))


def sinh(x: Number) -> Number:
    """Return the hyperbolic sine."""
    p = _parts(abs(x))
    rest = fma(p.odd, p.total, fma(p.even, p.difference, p.difference_lost))
    half = fma(p.r, p.total, p.difference) + rest
    return select(abs(x) < 2.0**-30, x, copysign(half + half, x))


def cosh(x: Number) -> Number:
    """Return the hyperbolic cosine."""
    p = _parts(abs(x))
    rest = fma(p.odd, p.difference, fma(p.even, p.total, p.total_lost))
    half = fma(p.r, p.difference, p.total) + rest
    return half + half


def tanh(x: Number) -> Number:
    """Return the hyperbolic tangent, ``t / (t + 2)`` with ``t = e^(2x) - 1``."""
    size = abs(x)
    s, r, t = expm1_parts(smallest(size + size, 40.0 if x.wide else 20.0))
    half, lost = fast_two_sum(s - 0.5, s * r)
    half, low = fast_two_sum(half, fma(s, t, lost))
    below = half + 1.0
    inverse = 1.0 / below
    quotient = half * inverse
    low = low - quotient * (low + ((1.0 - below) + half))
    rest = fma(-quotient, below, half) + low
    return copysign(fma(rest, inverse, quotient), x)


def log1p_of_sum(w: Number, low: Number, more: Number | float = 0.0) -> Number:
    """Return ``log(1 + w + low) + more log 2``, w not negative, low small beside it."""
    u, c = two_sum(w.like(1.0), w)
    return guarded(u, log_of_sum(u, c + low, more))


def _inverse(x: Number, larger: Number, smaller: Number) -> Number:
    """Return ``log(1 + larger + smaller)``; of huge x, whose square overflows, ``log(2 x)``."""
    w, low = fast_two_sum(larger, smaller)
    huge = x > (2.0**500 if x.wide else 2.0**60)
    return log1p_of_sum(select(huge, x, w), select(huge, 0.0, low), select(huge, x.like(1.0), 0.0))


def arcsinh(x: Number) -> Number:
    """Return the inverse hyperbolic sine, ``log(1 + x + x^2 / (1 + sqrt(1 + x^2)))``."""
    size = abs(x)
    root = sqrt(fma(size, size, 1.0))
    return copysign(_inverse(size, size, (size * size) / (root + 1.0)), x)


def arccosh(x: Number) -> Number:
    """Return the inverse hyperbolic cosine, ``log(1 + t + sqrt(2 t + t^2))``, t = x - 1."""
    t = x - 1.0
    result = _inverse(x, sqrt(fma(t, t, t + t)), t)
    return select(x < 1.0, math.nan, result)


def arctanh(x: Number) -> Number:
    """Return the inverse hyperbolic tangent, half of ``log(1 + 2 x / (1 - x))``."""
    size = abs(x)
    twice = size + size
    below = 1.0 - size
    inverse = 1.0 / below
    quotient = twice * inverse
    lost = fma(-quotient, below, twice) - quotient * ((1.0 - below) - size)
    result = log1p_of_sum(quotient, lost * inverse) * 0.5
    edge = select(size.equals(1.0), x.like(math.inf), math.nan)
    return copysign(select(size < 1.0, result, edge), x)
