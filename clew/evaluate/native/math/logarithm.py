"""log, log2, log10, log1p: exponent and ``log m``, m between the roots of 1/2 and of 2.

``log m = 2 atanh s`` with ``s = (m - 1) / (m + 1)``, arranged as ``f - (f^2/2 - s (f^2/2 + R))``,
``f = m - 1`` (FDLIBM, e_log.c, Sun Microsystems 1993; Tang, ACM TOMS 16, 1990). Minimax
coefficients of ``R / s^2`` were computed for this file. ``log`` of a sum of two numbers serves
every function that must keep what is rounded off before the logarithm is taken.
"""

from __future__ import annotations

import math

from clew.evaluate.native.math.exponential import LOG2
from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    fast_two_sum,
    fma,
    from_bits,
    polynomial,
    select,
    two_sum,
)

# (log(1 + f) - f + f^2/2)/f^3 and (log(m)/s - 2)/s^2; relative errors of log m 2^-28.3, 2^-58.5.
_LOG32 = (
    0.3333331346511841,
    -0.25000008940696716,
    0.2000211924314499,
    -0.1666799634695053,
    0.1421954333782196,
    -0.12405575811862946,
    0.11888215690851212,
    -0.11675754189491272,
    0.06746641546487808,
)
_LOG64 = (
    0.6666666666666735,
    0.3999999999940938,
    0.28571428743678107,
    0.22222198430035517,
    0.1818357228970061,
    0.15313834086482098,
    0.14798237213827667,
)
_ROOT_HALF = {4: 0x3F3504F3, 8: 0x3FE6A09E667F3BCD}
_INVERSE_LOG2 = {
    4: (1.4426950216293335, 1.925963033500011e-08),
    8: (1.4426950408889634, 2.0355273740931033e-17),
}
_INVERSE_LOG10 = {
    4: (0.4342944920063019, -1.0103049952192578e-08),
    8: (0.4342944819032518, 1.098319650216765e-17),
}
_LOG10_OF_2 = {
    4: (0.3010300099849701, -1.432098883924482e-08),
    8: (0.3010299956639812, -2.8037281277851704e-18),
}


def split(x: Number, more: float | Number = 0.0) -> tuple[Number, Number]:
    """Return ``n`` and ``m`` with ``x = m 2^n``, x positive and normal, m within 1/sqrt 2, sqrt 2.

    ``more`` is subtracted from ``n``.
    """
    form = x.format
    root = _ROOT_HALF[x.value.dtype.itemsize]
    shifted = bits_of(x) + (form.one - root)
    # The exponent field, placed in the low bits of 2^digits, is a floating number.
    base = 2.0**form.digits
    field = (shifted >> form.digits) | ((form.bias + form.digits) << form.digits)
    n = from_bits(field) - (more + (base + form.bias))
    return n, from_bits((shifted & ((1 << form.digits) - 1)) + root)


def normalised(x: Number) -> tuple[Number, Number]:
    """Return a subnormal number times a power of two, and that power's exponent (else 0)."""
    small = x < 2.0 ** (1 - x.format.bias)
    power = x.format.digits + 2
    return select(small, x * 2.0**power, x), select(small, x.like(float(power)), 0.0)


def log_near_one(f: Number) -> Number:
    """Return ``log(1 + f) - f``; in float32 a longer polynomial is faster than a division."""
    square = f * f
    half = square * 0.5
    if not f.wide:
        return fma(square * f, polynomial(f, _LOG32, square), -half)
    s = f / (f + 2.0)
    z = s * s
    return fma(s, fma(z, polynomial(z, _LOG64), half), -half)


def is_usual(x: Number) -> Number:
    """Say whether a number is positive and finite, by one comparison of integers."""
    form = x.format
    return (bits_of(x) - 1) < (((2 * form.bias + 1) << form.digits) - 1)


def guarded(x: Number, result: Number) -> Number:
    """Put in what logarithms are at 0, below 0, at infinity and NaN."""
    other = select(x.equals(0.0), -math.inf, select(x < 0.0, x.like(math.nan), x))
    return select(is_usual(x), result, other)


def log(x: Number) -> Number:
    """Return the natural logarithm."""
    scaled, more = normalised(x)
    n, m = split(scaled, more)
    f = m - 1.0
    high, low = LOG2[x.value.dtype.itemsize]
    return guarded(x, fma(n, high, f + fma(n, low, log_near_one(f))))


def _log_by(x: Number, inverse: tuple[float, float], of_two: tuple[float, float] | None) -> Number:
    """Return ``log(x)`` over the logarithm of a base, whose inverse is given in two parts."""
    scaled, more = normalised(x)
    n, m = split(scaled, more)
    f = m - 1.0
    high, low = fast_two_sum(f, log_near_one(f))
    first = high * inverse[0]
    rest = fma(high, inverse[0], -first) + fma(high, inverse[1], low * inverse[0])
    if of_two is None:
        return guarded(x, n + (first + rest))
    return guarded(x, fma(n, of_two[0], first + fma(n, of_two[1], rest)))


def log2(x: Number) -> Number:
    """Return the logarithm to the base 2; exact for powers of two."""
    return _log_by(x, _INVERSE_LOG2[x.value.dtype.itemsize], None)


def log10(x: Number) -> Number:
    """Return the logarithm to the base 10."""
    size = x.value.dtype.itemsize
    return _log_by(x, _INVERSE_LOG10[size], _LOG10_OF_2[size])


def log_of_sum(u: Number, c: Number, more: Number | float = 0.0) -> Number:
    """Return ``log(u + c) + more log 2``, u positive and normal, c below u's last place or so.

    Where u is near 1, ``u - 1`` is exact and joined by c: the result is then as exact as
    ``log1p`` of what c completes.
    """
    n, m = split(u)
    if isinstance(more, Number):
        n = n + more
    # The power of two that took u to m takes c along.
    part = c * from_bits(bits_of(m) - bits_of(u) + u.format.one)
    # Where that power leaves its range c is nothing beside u.
    part = select(u < 2.0**60, part, 0.0)
    f, lost = two_sum(m - 1.0, part)
    high, low = LOG2[u.value.dtype.itemsize]
    return fma(n, high, f + (fma(n, low, log_near_one(f)) + lost))


def log1p(x: Number) -> Number:
    """Return ``log(1 + x)``."""
    u, c = two_sum(x.like(1.0), x)
    usual = abs(x) > 2.0**-54
    return select(usual, guarded(u, log_of_sum(u, c)), x)
