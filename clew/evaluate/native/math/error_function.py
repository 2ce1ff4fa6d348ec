"""erf, erfc and the normal distribution function.

Up to 3/4 a polynomial of erf; beyond, ``erfc(x) = e^(-x^2) u P(t)`` with ``u = 1/(x + c)``, on
which t depends linearly (Schonfelder, Math. Comp. 32, 1978; Shepherd and Laframboise, Math. Comp.
36, 1981), with the rounding errors of ``x^2`` and of ``u`` corrected in the exponential's
polynomial. Minimax coefficients were computed for this file.
"""

from __future__ import annotations

import math

from clew.evaluate.native.math.exponential import exp_in_range, exp_times
from clew.evaluate.native.math.number import (
    Number,
    Operand,
    copysign,
    fma,
    horner,
    polynomial,
    select,
    smallest,
    two_product,
)

# erf(x)/x - 1, powers of x^2, up to 3/4: relative errors of erf 2^-29.2 and 2^-56.3.
_ERF = {
    4: (
        0.12837916612625122,
        -0.3761261999607086,
        0.11283379048109055,
        -0.026834335178136826,
        0.005113157443702221,
        -0.0006737596704624593,
    ),
    8: (
        0.1283791670955126,
        -0.3761263890318417,
        0.1128379167097835,
        -0.026866170650132446,
        0.005223977679778367,
        -0.0008548330369627351,
        0.00012055455228103579,
        -1.4928265160567389e-05,
        1.6491153522749499e-06,
        -1.6438133156300232e-07,
        1.3217603438834661e-08,
    ),
}
# c, and the line that takes u to t, which runs from -1 to 1.
_LINE = {
    4: (3.0, 10.243529319763184, -1.7316806316375732),
    8: (3.5, 9.825420824143764, -1.3119181214013893),
}
# erfc(x) e^(x^2) / u, powers of t, from 3/4 to where erfc is 0: relative errors 2^-26.6, 2^-55.5
# with what the first coefficient lacks.
_ERFC = {
    4: (
        1.0867674350738525,
        0.5274404883384705,
        0.20712164044380188,
        0.06377653032541275,
        0.014295114204287529,
        0.0018412513891234994,
        -6.225812103366479e-05,
        -7.271098729688674e-05,
        -5.997763310006121e-06,
        2.014980736930738e-06,
    ),
    8: (
        1.0286256495569523,
        0.6072989093713331,
        0.3118122753648066,
        0.1374308272838402,
        0.05081485814853751,
        0.015091876305737334,
        0.003259371176188558,
        0.0003494798404321066,
        -5.950186765162876e-05,
        -3.1714885178139e-05,
        -3.033202670248264e-06,
        1.3945254554257898e-06,
        4.001012237348809e-07,
        -4.717347514735926e-08,
        -3.358904182712918e-08,
        1.0420585562918056e-09,
        2.706659361977909e-09,
        1.0942225636020593e-11,
        -2.159815949375607e-10,
        -1.968303521434833e-12,
        1.2904194774823165e-11,
    ),
}
_ERFC_REST = {4: -4.864669378434883e-08, 8: 8.183476896165056e-17}
_ROOT_HALF = {
    4: (0.7071067690849304, 1.2101617485882343e-08),
    8: (0.7071067811865476, -4.833646656726457e-17),
}
# The relative change of erfc(x) e^(x^2) for one of u, to a few in 100; powers of t.
_SENSITIVITY = (1.81, 0.85, 0.23)


def _tail(x: Number, more: Operand, square: Number, low: Number, factor: float) -> Number:
    """Return ``factor erfc(x + more)``, x not below 3/4, given the square in two parts, too."""
    size = x.value.dtype.itemsize
    c, slope, start = _LINE[size]
    below = x + c
    u = 1.0 / below
    t = fma(u, slope, start)
    lost = fma(-u, below, 1.0) - u * (((c - below) + x) + more)
    # Horner's rule: even and odd terms apart would cancel near t = -1. The last step in two parts.
    first, *others = _ERFC[size]
    inner = horner(t, others)
    outer = fma(inner, t, first)
    rest = fma(inner, t, first - outer) + _ERFC_REST[size]
    u = u * factor
    value = outer * u
    rest = fma(rest, u, fma(outer, u, -value))
    return exp_times(-square, -low, value, lost * horner(t, _SENSITIVITY), rest)


def _rough_tail(x: Number) -> Number:
    """Return ``erfc(x)`` to a few units in the last place, x from 3/4 to where it is tiny."""
    size = x.value.dtype.itemsize
    c, slope, start = _LINE[size]
    below = x + c
    u = 1.0 / below
    t = fma(u, slope, start)
    lost = fma(-u, below, 1.0) - u * ((c - below) + x)
    grown = exp_in_range(-(x * x), lost * horner(t, _SENSITIVITY))
    return horner(t, _ERFC[size]) * u * grown


def _near(x: Number) -> Number:
    """Return ``erf(x) - x``, x up to 3/4."""
    return polynomial(x * x, _ERF[x.value.dtype.itemsize]) * x


def erf(x: Number) -> Number:
    """Return the error function."""
    # Beyond, 1 - erf is below half a unit in the last place.
    size = smallest(abs(x), 6.0 if x.wide else 4.0)
    far = copysign(1.0 - _rough_tail(size), x)
    return select(size < 0.75, x + _near(x), far)


def erfc(x: Number) -> Number:
    """Return the complementary error function."""
    size = smallest(abs(x), 28.0 if x.wide else 11.0)
    tail = _tail(size, 0.0, *two_product(size, size), 1.0)
    far = select(x < 0.0, 2.0 - tail, tail)
    high = 1.0 - x
    return select(size < 0.75, high + (((1.0 - high) - x) - _near(x)), far)


def ndtr(x: Number) -> Number:
    """Return the normal distribution function, ``erfc(-x / sqrt 2) / 2``."""
    size = smallest(abs(x), 40.0 if x.wide else 15.0)
    square, low = two_product(size, size)
    high, rest = _ROOT_HALF[x.value.dtype.itemsize]
    scaled = size * high
    more = fma(size, rest, fma(size, high, -scaled))
    tail = _tail(scaled, more, square * 0.5, low * 0.5, 0.5)
    far = select(x > 0.0, 1.0 - tail, tail)
    middle = fma(x, math.sqrt(0.125), 0.5) + _near(x * math.sqrt(0.5)) * 0.5
    return select(scaled < 0.75, middle, far)
