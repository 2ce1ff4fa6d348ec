"""Functions made of an exponential and a logarithm: expit, logit, logaddexp, xlogy."""

from __future__ import annotations

import math

from clew.evaluate.native.math.exponential import exp
from clew.evaluate.native.math.logarithm import guarded, log, log1p, log_of_sum, normalised
from clew.evaluate.native.math.number import Number, fma, select, two_sum


def expit(x: Number) -> Number:
    """Return ``1 / (1 + e^-x)``, without overflow."""
    small = exp(-abs(x))
    above, below = select(x < 0.0, small, 1.0), small + 1.0
    inverse = 1.0 / below
    quotient = above * inverse
    lost = fma(-quotient, below, above) - quotient * ((1.0 - below) + small)
    return fma(lost, inverse, quotient)


def logit(p: Number) -> Number:
    """Return ``log(p / (1 - p))``, the quotient with its rounding error."""
    below = 1.0 - p
    inverse = 1.0 / below
    quotient = p * inverse
    lost = fma(-quotient, below, p) - quotient * ((1.0 - below) - p)
    scaled, more = normalised(quotient)
    return guarded(quotient, log_of_sum(scaled, lost * inverse, -more))


def logaddexp(x: Number, y: Number) -> Number:
    """Return ``log(e^x + e^y)``."""
    larger = select(x < y, y, x)
    # The difference with its rounding error, which is one of the exponential.
    difference, lost = two_sum(select(x < y, x, y), -larger)
    more = log1p(exp(difference, select(difference > -1000.0, lost, 0.0)))
    return larger + select(x.equals(y), math.log(2.0), more)


def xlogy(x: Number, y: Number) -> Number:
    """Return ``x log y``, 0 where x is 0 and y is a number."""
    nothing = x.equals(0.0) & y.equals(y)
    return select(nothing, 0.0, x * log(y))
