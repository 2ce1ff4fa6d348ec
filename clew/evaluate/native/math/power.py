"""Powers: the logarithm as a sum of two numbers, times the exponent, and exp of that.

The logarithm has a relative error of some 2^-65 (2^-33 for float32), since the exponential
turns an absolute error of ``y log x``, up to 745, into a relative one of the result. Special
cases are those of C99, section F.9.4.4, and of ``numpy.power``.
"""

from __future__ import annotations

import math

from clew.evaluate.native.math.exponential import exp, exp_in_range
from clew.evaluate.native.math.logarithm import normalised, split
from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    copysign,
    fast_two_sum,
    floor,
    fma,
    from_bits,
    polynomial,
    select,
    two_product,
)
from clew.evaluate.native.math.rare import rare_case

# log 2 in two parts, the first short enough for its product with an exponent to be exact.
_LOG2 = {
    4: (0.693145751953125, 1.428606765330187e-06),
    8: (0.6931471805598903, 5.497923018708371e-14),
}
_TWO_THIRDS = {
    4: (0.6666666865348816, -1.9868215517249155e-08),
    8: (0.6666666666666666, 3.700743415417188e-17),
}
# (log((1+s)/(1-s))/s - 2 - 2/3 z)/z^2, z = s^2, relative errors 2^-35.8 and 2^-72.5.
_TAIL = {
    4: (0.40000152587890625, 0.2854709029197693, 0.23419654369354248),
    8: (
        0.3999999999999998,
        0.2857142857144387,
        0.22222222217778598,
        0.18181818845736222,
        0.15384558290703398,
        0.13336270360089064,
        0.1167565274822131,
        0.11982880097498429,
    ),
}


def log_in_parts(x: Number) -> tuple[Number, Number]:
    """Return ``log x``, x positive, as a sum of two numbers."""
    return log_of_normal(*normalised(x))


def log_of_normal(
    x: Number, more: Number | float = 0.0, lost: Number | None = None
) -> tuple[Number, Number]:
    """Return ``log(x + lost) - more log 2`` as a sum of two numbers, x positive and normal."""
    size = x.value.dtype.itemsize
    n, m = split(x, more)
    f = m - 1.0
    below = m + 1.0
    inverse = 1.0 / below
    s = f * inverse
    s_low = (fma(-s, below, f) - s * ((1.0 - below) + m)) * inverse
    if lost is not None:
        part = lost * from_bits(bits_of(m) - bits_of(x) + x.format.one)
        s_low = fma(part * inverse, inverse + inverse, s_low)
    z, z_low = two_product(s, s)
    z_low = fma(s + s, s_low, z_low)
    w, w_low = fast_two_sum(x.like(_TWO_THIRDS[size][0]), z * polynomial(z, _TAIL[size]))
    v, v_low = two_product(z, w)
    v_low = v_low + fma(z_low, w, z * (w_low + _TWO_THIRDS[size][1]))
    u, u_low = two_product(s, v)
    u_low = u_low + fma(s_low, v, s * v_low)
    total, first = fast_two_sum(n * _LOG2[size][0], s + s)
    total, second = fast_two_sum(total, u)
    low = fma(n, _LOG2[size][1], first) + second + (u_low + (s_low + s_low))
    return fast_two_sum(total, low)


def _with_sign(result: Number, x: Number, y: Number) -> Number:
    """Return ``|x|^y`` with the sign of ``x^y``, NaN if that is not real."""
    whole = floor(y).equals(y)
    half = y * 0.5
    odd = whole & floor(half).differs(half)
    result = select(odd, copysign(result, x), result)
    return select((x < 0.0) & (x > -math.inf) & ~whole, math.nan, result)


def power(x: Number, y: Number) -> Number:
    """Return ``x^y``; what could leave the range of normal numbers, out of line."""
    size = abs(x)
    form = x.format
    lowest = 1 << form.digits
    ordinary = (bits_of(size) - lowest) < (((2 * form.bias + 1) << form.digits) - lowest)
    n, _ = split(size)
    # More than |y log2 x|, and not a number if y is not.
    usual = ordinary & (abs(y) * (abs(n) + 1.0) < (1000.0 if x.wide else 120.0))
    other = rare_case(~usual, "power", _general, x, y)
    high, low = log_of_normal(size)
    product = y * high
    result = exp_in_range(product, fma(y, low, fma(y, high, -product)))
    return select(usual, _with_sign(result, x, y), other)


def _general(x: Number, y: Number) -> Number:
    """Return ``x^y`` for any operands."""
    size = abs(x)
    high, low = log_in_parts(size)
    high = select(size.equals(0.0), -math.inf, select(size < math.inf, high, size))
    product = y * high
    limit = 1000.0 if x.wide else 200.0
    rest = select(abs(product) < limit, fma(y, high, -product) + y * low, 0.0)
    result = exp(product, rest)
    result = select(x.differs(x), x, _with_sign(result, x, y))
    one = y.equals(0.0) | x.equals(1.0) | (size.equals(1.0) & abs(y).equals(math.inf))
    return select(one, 1.0, result)
