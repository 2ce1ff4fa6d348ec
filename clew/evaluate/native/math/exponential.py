"""exp, exp2, expm1: powers of two times a polynomial on half of log 2 to either side.

``x = n log 2 + r``; with a fused multiply-add ``x - n high`` is exact for the nearest double to
log 2 (its last place is not above the result's), so two constants are enough. Minimax
coefficients were computed for this file (Remez exchange, 60 digits) of ``(e^r - 1 - r) / r^2``.
See Muller, Elementary Functions (3rd ed.), chapters 3 and 11.
"""

from __future__ import annotations

from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    fma,
    from_bits,
    largest,
    polynomial,
    rounding_constant,
    select,
    smallest,
)

LOG2 = {
    4: (0.6931471824645996, -1.9046542121259336e-09),
    8: (0.6931471805599453, 2.3190468138462996e-17),
}
INVERSE_LOG2 = 1.4426950408889634

# Relative errors of e^r 2^-28.2 and 2^-56.4.
_EXP = {
    4: (
        0.4999999403953552,
        0.16666516661643982,
        0.04166810214519501,
        0.008369205519557,
        0.001383933355100453,
    ),
    8: (
        0.5000000000000011,
        0.16666666666666413,
        0.04166666666653006,
        0.008333333333494489,
        0.0013888888943661998,
        0.00019841269506603207,
        2.4801493062118066e-05,
        2.755758628028682e-06,
        2.763026259216492e-07,
        2.500011328081132e-08,
    ),
}
# Relative errors of e^r - 1 2^-30.9 and 2^-56.2.
_EXPM1 = {
    4: (
        0.5,
        0.1666666567325592,
        0.04166646674275398,
        0.008333643898367882,
        0.001393498620018363,
        0.00019660824909806252,
    ),
    8: (
        0.5000000000000001,
        0.1666666666666667,
        0.04166666666665228,
        0.008333333333326148,
        0.0013888888895601304,
        0.0001984126987478509,
        2.4801574532723058e-05,
        2.755725543645462e-06,
        2.7567929507274507e-07,
        2.5105204708709156e-08,
        1.7687664672346836e-09,
    ),
}


def _clamped(x: Number) -> Number:
    """Return the nearest number whose exponential is what that of x is, and n in its range."""
    return largest(smallest(x, 710.0 if x.wide else 89.0), -746.0 if x.wide else -104.0)


def split_by_log2(x: Number) -> tuple[Number, Number, Number]:
    """Return ``n`` (plus twice the bias) in an integer's low bits, ``x - n log 2``, its error."""
    offset = rounding_constant(x, 2 * x.format.bias)
    shifted = fma(x, INVERSE_LOG2, offset)
    n = shifted - offset
    high, low = LOG2[x.value.dtype.itemsize]
    near = fma(n, -high, x)
    r = fma(n, -low, near)
    return bits_of(shifted), r, fma(n, -low, near - r)


def scale(x: Number, bits: Number) -> Number:
    """Return ``x 2^n``, ``n`` plus twice the bias being the low part of ``bits``.

    In two factors, so that it overflows and underflows with one rounding where it should.
    """
    digits = x.format.digits
    half = bits >> 1
    return x * from_bits(half << digits) * from_bits((bits - half) << digits)


def _near_zero(r: Number) -> Number:
    """Return ``e^r - 1``, to the precision of ``e^r``, for r up to half of log 2."""
    square = r * r
    return fma(polynomial(r, _EXP[r.value.dtype.itemsize], square), square, r)


def exp(x: Number, low: Number | None = None) -> Number:
    """Return ``e^(x + low)``, low being below 2^-16."""
    bits, r, _ = split_by_log2(_clamped(x))
    return scale(_near_zero(r if low is None else r + low) + 1.0, bits)


def exp_in_range(x: Number, low: Number) -> Number:
    """Return ``e^(x + low)`` where that is a normal number, low below 2^-16."""
    bits, r, _ = split_by_log2(x)
    power = from_bits((bits - x.format.bias) << x.format.digits)
    return (_near_zero(r + low) + 1.0) * power


def exp_times(x: Number, low: Number, factor: Number, more: Number, rest: Number) -> Number:
    """Return ``(factor (1 + more) + rest) e^(x + low)``; more and rest are rounding errors.

    Only the last addition rounds more than a third of a unit in the last place.
    """
    bits, r, lost = split_by_log2(_clamped(x))
    square = r * r
    near = polynomial(r, _EXP[r.value.dtype.itemsize], square) * square
    # Errors grow by the exponential, 1 + r + near, as the factor does.
    errors = fma(factor, more + (lost + low), rest)
    grown = fma(errors, 1.0 + r + near, factor * near)
    return scale(factor + fma(factor, r, grown), bits)


def exp2(x: Number) -> Number:
    """Return ``2^x``."""
    x = largest(smallest(x, 1025.0 if x.wide else 129.0), -1076.0 if x.wide else -151.0)
    offset = rounding_constant(x, 2 * x.format.bias)
    shifted = x + offset
    r = (x - (shifted - offset)) * LOG2[x.value.dtype.itemsize][0]
    return scale(_near_zero(r) + 1.0, bits_of(shifted))


def expm1_parts(x: Number) -> tuple[Number, Number, Number]:
    """Return ``s, r, t`` with ``(e^x - 1) / 2 = (s - 1/2) + s r + s t``, s a power of two.

    The first two terms are exact; ``t`` is small beside ``r``.
    """
    bits, r, lost = split_by_log2(x)
    square = r * r
    rest = fma(polynomial(r, _EXPM1[x.value.dtype.itemsize], square), square, lost)
    s = from_bits((bits - (x.format.bias + 1)) << x.format.digits)
    return s, r, rest


def expm1(x: Number) -> Number:
    """Return ``e^x - 1``."""
    clamped = largest(smallest(x, 710.0 if x.wide else 89.0), -40.0 if x.wide else -18.0)
    s, r, t = expm1_parts(clamped)
    half = fma(s, t, fma(s, r, s - 0.5))
    return select(abs(x) < 2.0**-54, x, half + half)
