"""Derivatives of the digamma function, as sums of powers.

``psi_n(x) = (-1)^(n+1) n! zeta(n+1, x)`` (DLMF 5.15.1, 25.11.12) with Hurwitz's zeta function by
the formula of Euler and Maclaurin (DLMF 25.11.5): a few terms, then an asymptotic series. Left of 0
the terms on either side of it are sums of the same kind. Single precision is computed in double.
"""

from __future__ import annotations

import math

from clew.evaluate.native.emitter import BOOL, FLOAT64
from clew.evaluate.native.math.digamma import psi
from clew.evaluate.native.math.exponential import exp
from clew.evaluate.native.math.gamma import gammaln
from clew.evaluate.native.math.number import Number, floor, fma, horner, select, smallest
from clew.evaluate.native.math.power import power
from clew.evaluate.native.math.rare import rare_case

_TERMS = 8
# B_2j/(2j)!, j = 1, 2, ...
_BERNOULLI = (
    0.08333333333333333,
    -0.001388888888888889,
    3.306878306878307e-05,
    -8.267195767195768e-07,
    2.08767569878681e-08,
    -5.284190138687493e-10,
    1.3382536530684679e-11,
    -3.3896802963225827e-13,
    8.586062056277845e-15,
    -2.174868698558062e-16,
)
_MOST_WRITTEN = 12
"""Orders up to which powers are products."""

_NOTHING_BEYOND = 1000.0
"""An order from which powers of numbers below 1/8 are 0."""

Order = int | Number


def polygamma(n: Number, x: Number) -> Number:
    """Return the n-th derivative of psi; NaN unless n is a natural number or 0."""
    order = n.value.known
    if order in range(1, _MOST_WRITTEN + 1):
        s = int(order) + 1
        return _as(x, _zeta_of_known(s, _as_double(x))) * ((-1.0) ** s * math.factorial(s - 1))
    every = Number(x.e, x.e.constant(BOOL, True))
    return rare_case(every, "polygamma", _of_any_order, n, x)


def _as_double(x: Number) -> Number:
    return Number(x.e, x.e.convert(x.value, FLOAT64))


def _as(like: Number, x: Number) -> Number:
    return Number(x.e, x.e.convert(x.value, like.value.dtype))


def _zeta_of_known(s: int, x: Number) -> Number:
    left = rare_case(x <= 0.0, f"zeta_{s}", lambda y: _left_of_zero(s, y), x)
    return select(x <= 0.0, left, _zeta(s, x))


def _of_any_order(n: Number, x: Number) -> Number:
    """Both factors are rounded to the operands' precision, where they may overflow."""
    s, y = _as_double(n + 1.0), _as_double(x)
    whole = (s >= 1.0) & s.equals(floor(s))
    s = select(whole, s, 2.0)
    zeta = select(y > 0.0, _zeta(s, y), _left_of_zero(s, y))
    zeta = select(s.equals(1.0), math.inf, zeta)
    size = _as(x, exp(gammaln(s)) * _sign(s)) * _as(x, zeta)
    return select(n.equals(0.0), psi(x), select(whole, size, math.nan))


def _sign(s: Number) -> Number:
    """Return ``(-1)^s``."""
    half = s * 0.5
    return select(half.equals(floor(half)), s.like(1.0), -1.0)


def _left_of_zero(s: Order, x: Number) -> Number:
    """Return ``zeta(s, x)`` for ``x = -y``, whose part behind the point is f.

    It is ``zeta(s, 1 - f)`` and the terms left of 0, ``(-1)^s (zeta(s, f) - zeta(s, y + 1))``;
    what cancels is taken first.
    """
    y = -x
    f = y - floor(y)
    right, left, beyond = _zeta(s, 1.0 - f), _zeta(s, f), _zeta(s, y + 1.0)
    if isinstance(s, Number):
        total = fma(_sign(s), left, right) - _sign(s) * beyond
    else:
        total = right - left + beyond if s % 2 else right + left - beyond
    return select(f.equals(0.0) | y.equals(math.inf), math.inf, total)


def _zeta(s: Order, x: Number) -> Number:
    """Return the sum of ``(x + k)^-s`` for k = 0, 1, ..., x positive and s from 2 on."""
    r = 1.0 / (x + float(_TERMS))
    z = r * r
    if isinstance(s, Number):
        near = smallest(s, _NOTHING_BEYOND)
        factor, series = near * r, x.like(0.0)
        for j, ratio in enumerate(_BERNOULLI, start=1):
            series = series + factor * ratio
            factor = factor * z * ((near + (2.0 * j - 1.0)) * (near + 2.0 * j))
        total = power(r, near - 1.0) * (1.0 / (near - 1.0) + r * (series + 0.5))
    else:
        rising = [math.prod(range(s, s + 2 * j - 1)) for j in range(1, len(_BERNOULLI) + 1)]
        series = r * horner(z, [a * b for a, b in zip(_BERNOULLI, rising, strict=True)])
        total = _product(r, s - 1) * (r * (series + 0.5) + 1.0 / (s - 1.0))
    for k in range(_TERMS - 1, -1, -1):
        inverse = 1.0 / (x + float(k))
        total = total + (power(inverse, s) if isinstance(s, Number) else _product(inverse, s))
    return total


def _product(x: Number, count: int) -> Number:
    """Return ``x^count``."""
    if count == 1:
        return x
    half = _product(x * x, count // 2)
    return half * x if count % 2 else half
