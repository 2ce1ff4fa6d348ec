"""gammaln: the logarithm of the gamma function's size.

From 5/2 on Stirling's formula with a polynomial of 1/x for the rest; below, a polynomial of
``log gamma(2 + u) / u`` about 2, less the logarithm of what the recurrence
``gamma(x + 1) = x gamma(x)`` brings in (DLMF 5.5.1, 5.11.1). Both share one logarithm in two parts,
so the zeros at 1 and 2 and the cancellation in Stirling's formula do no harm. Minimax
coefficients were computed for this file.
"""

from __future__ import annotations

import math

from clew.evaluate.native.emitter import FLOAT32, FLOAT64
from clew.evaluate.native.math.logarithm import log
from clew.evaluate.native.math.number import (
    Number,
    fast_two_sum,
    floor,
    fma,
    horner,
    polynomial,
    select,
    two_product,
    two_sum,
)
from clew.evaluate.native.math.power import log_of_normal
from clew.evaluate.native.math.rare import rare_case
from clew.evaluate.native.math.trigonometric import sin_of_small

# log(gamma(2 + u))/u, -5/8 <= u <= 1/2: its value at 0, what that lacks, what the first of the
# other coefficients lacks, and those; relative errors 2^-28.6 and 2^-57.4.
_AT_TWO = {
    4: (0.42278432846069336, 6.807001184938599e-09, 1.456560649870653e-08),
    8: (0.42278433509846713, 3.330107491944474e-18, 4.766926615850845e-18),
}
_NEAR_TWO = {
    4: (
        0.32246702909469604,
        -0.06735231727361679,
        0.020580284297466278,
        -0.0073853847570717335,
        0.002897933591157198,
        -0.0011911278124898672,
        0.00046979766921140254,
        -0.00024297402705997229,
        0.0001768258080119267,
    ),
    8: (
        0.3224670334241132,
        -0.0673523010531971,
        0.020580808427787346,
        -0.007385551028774822,
        0.0028905103305187315,
        -0.0011927539077747629,
        0.0005096695327564362,
        -0.00022315483484950735,
        9.94573582008455e-05,
        -4.4925408207737416e-05,
        2.0508946471636726e-05,
        -9.44468637572765e-06,
        4.363211414980312e-06,
        -2.020879555151908e-06,
        1.0015259664819414e-06,
        -4.805346629831409e-07,
        1.1049825882013041e-07,
        -9.038141197261448e-08,
        1.4576661097696317e-07,
    ),
}
# What Stirling's formula lacks, times x, in powers of 1/x: errors 2^-31.8 and 2^-57.4.
_STIRLING = {
    4: (
        0.08333278447389603,
        1.1392584383429494e-05,
        -0.002865757094696164,
        0.00031339560518972576,
        0.0003244644030928612,
    ),
    8: (
        0.08333333333345422,
        -2.1081952602056264e-11,
        -0.00277777659494142,
        -3.368630281439424e-08,
        0.0007942293086728216,
        -6.526607577991589e-06,
        -0.0005446289440805099,
        -0.0002749759428365717,
        0.0018824198828920747,
        -0.0026180503749937117,
        0.001785162985017456,
        -0.0005191700604059541,
    ),
}
_HALF_LOG_TWO_PI = {
    4: (0.9189385175704956, 1.563417661998301e-08),
    8: (0.9189385332046728, -3.8782941580672414e-17),
}


def _positive(x: Number) -> Number:
    """Return ``log gamma(x)``, x positive and far from the ends of its range."""
    size = x.value.dtype.itemsize
    low_end, far = x < 0.375, x >= 2.5
    middle = (x >= 1.375) & ~far
    # The logarithm's argument: x (x + 1), x, 1 or x.
    raised = x + 1.0
    product, lost = two_product(x, raised)
    lost = lost + x * ((1.0 - raised) + x)
    argument = select(low_end, product, select(middle, 1.0, x))
    high, low = log_of_normal(argument, lost=select(low_end, lost, 0.0))

    u = x - select(low_end, 0.0, select(middle, x.like(2.0), 1.0))
    first, rest, more = _AT_TWO[size]
    # Horner's rule rounds once where even and odd terms apart do twice, and u slope may cancel.
    slope = fma(horner(u, _NEAR_TWO[size]), u, fma(u, more, rest))
    slope, lost = fast_two_sum(u.like(first), slope)
    near = fma(u, slope, -high) + fma(u, lost, -low)

    factor = x - 0.5
    stirling, one = two_product(factor, high)
    stirling, two = two_sum(stirling, -x)
    stirling, three = two_sum(stirling, _HALF_LOG_TWO_PI[size][0])
    inverse = 1.0 / x
    lost = fma(factor, low, one) + (two + three) + _HALF_LOG_TWO_PI[size][1]
    stirling = stirling + fma(polynomial(inverse, _STIRLING[size]), inverse, lost)
    return select(far, stirling, near)


def _other(x: Number) -> Number:
    """Return the function where x is not positive, tiny, huge, infinite or NaN."""
    if not x.wide:
        wider = Number(x.e, x.e.convert(x.value, FLOAT64))
        inner = (wider > 0.0) & (wider < 2.0**100)
        result = select(inner, _positive(wider), _other(wider))
        return Number(x.e, x.e.convert(result.value, FLOAT32))
    size = abs(x)
    whole = floor(size)
    part = size - whole
    sine = sin_of_small(select(part > 0.5, 1.0 - part, part))
    # log(pi / (|x| sin(pi |x|))) - log gamma(|x|), DLMF 5.5.3
    reflected = -log(size * sine * (1.0 / math.pi)) - _positive(select(size < 2.0**60, size, 1.0))
    huge = size * (log(size) - 1.0)
    positive = select(size < 1.0, -log(size), select(size < math.inf, huge, size))
    poles = select(whole.equals(size), math.inf, select(size < 2.0**-60, positive, reflected))
    return select(x > 0.0, positive, select(x > -math.inf, poles, x))


def gammaln(x: Number) -> Number:
    """Return ``log |gamma(x)|``."""
    usual = (x > 2.0**-60) & (x < (2.0**100 if x.wide else 2.0**60))
    other = rare_case(~usual, "gammaln", _other, x)
    return select(usual, _positive(x), other)
