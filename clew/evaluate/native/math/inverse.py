"""arcsin, arccos, arctan, arctan2.

Half-angle formula for arcsin beyond 1/2, as in FDLIBM (e_asin.c); for arctan one division brings
every quotient below tan(pi/8). Minimax coefficients were computed for this file.
"""

from __future__ import annotations

import math

from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    copysign,
    fast_two_sum,
    fma,
    polynomial,
    select,
    sqrt,
)
from clew.evaluate.native.math.reduction import HALF_PI

# (arcsin(x)/x - 1)/x^2, |x| <= 1/2, relative errors of the arcsine 2^-27.6 and 2^-55.9.
_ARCSIN = {
    4: (
        0.16666753590106964,
        0.07495249062776566,
        0.04547666013240814,
        0.024148136377334595,
        0.04221976175904274,
    ),
    8: (
        0.16666666666665375,
        0.07500000000344946,
        0.04464285682185437,
        0.03038195940057845,
        0.022371751813360673,
        0.017359797555277882,
        0.013884331123550576,
        0.012175072507679538,
        0.006502942253704213,
        0.019595963106183757,
        -0.01632929823912862,
        0.03198351463446754,
    ),
}
# (arctan(x)/x - 1)/x^2, |x| <= tan(pi/8), relative errors 2^-30.5 and 2^-59.5.
_ARCTAN = {
    4: (
        -0.33333316445350647,
        0.1999852955341339,
        -0.14244422316551208,
        0.10599357634782791,
        -0.060903605073690414,
    ),
    8: (
        -0.333333333333332,
        0.1999999999995377,
        -0.14285714280212522,
        0.11111110784171999,
        -0.09090897776028722,
        0.07692060503548334,
        -0.06663106913864263,
        0.058479071084651384,
        -0.05039371291890848,
        0.03806591209872972,
        -0.017908325704956873,
    ),
}
_TANGENT = math.sqrt(2.0) - 1.0


def _halved(x: Number) -> tuple[Number, Number, Number]:
    """Return whether ``|x| > 1/2``, the number whose arcsine is taken, and arcsine / it - 1."""
    size = abs(x)
    beyond = size > 0.5
    z = select(beyond, (1.0 - size) * 0.5, size * size)
    return beyond, select(beyond, sqrt(z), size), z * polynomial(z, _ARCSIN[x.value.dtype.itemsize])


def arcsin(x: Number) -> Number:
    """Return the arcsine."""
    beyond, s, rest = _halved(x)
    high, low, _ = HALF_PI[x.value.dtype.itemsize]
    s = select(beyond, s * -2.0, s)
    base = select(beyond, x.like(high), 0.0)
    total, lost = fast_two_sum(base, s)
    return copysign(total + fma(s, rest, select(beyond, x.like(low), 0.0) + lost), x)


def arccos(x: Number) -> Number:
    """Return the arccosine."""
    beyond, s, rest = _halved(x)
    high, low, _ = HALF_PI[x.value.dtype.itemsize]
    s = copysign(select(beyond, s * 2.0, -s), x)
    s = select(beyond, s, copysign(s, -x))
    quarters = select(beyond, select(x < 0.0, x.like(2.0), 0.0), 1.0)
    return fma(quarters, high, s) + fma(s, rest, quarters * low)


def _arctan(above: Number, below: Number, swapped: Number, backwards: Number | None) -> Number:
    """Return the angle of ``above / below``, up to 1; swapped, from pi/2; backwards, from pi."""
    size = above.value.dtype.itemsize
    # Scaled, so that the sum cannot overflow and nothing compared is subnormal.
    unit = select(below > 1.0, below.like(0.25), 2.0**60 if below.wide else 2.0**30)
    near, far = above * unit, below * unit
    middle = near > far * _TANGENT
    t = select(middle, near - far, above) / select(middle, near + far, below)
    eighths = select(middle, t.like(1.0), 0.0)
    eighths = select(swapped, 2.0 - eighths, eighths)
    turned = swapped
    if backwards is not None:
        eighths = select(backwards, 4.0 - eighths, eighths)
        turned = swapped ^ backwards
    t = select(turned, -t, t)
    z = t * t
    high, low, _ = HALF_PI[size]
    base = eighths * (high / 2.0)
    lost = fma(eighths, high / 2.0, -base)
    rest = fma(t * z, polynomial(z, _ARCTAN[size]), fma(eighths, low / 2.0, lost))
    total, beyond = fast_two_sum(base, t)
    return total + (beyond + rest)


def arctan(x: Number) -> Number:
    """Return the arctangent."""
    size = abs(x)
    swapped = size > 1.0
    angle = _arctan(select(swapped, 1.0, size), select(swapped, size, 1.0), swapped, None)
    return copysign(angle, x)


def arctan2(y: Number, x: Number) -> Number:
    """Return the angle of the point ``(x, y)``."""
    rise, run = abs(y), abs(x)
    swapped = rise > run
    above, below = select(swapped, run, rise), select(swapped, rise, run)
    # 0/0 counts as 0 and infinity/infinity as 1; NaN stays.
    infinite = below.equals(math.inf)
    above = select(infinite, select(above.equals(math.inf), 1.0, above * 0.0), above)
    below = select(infinite | below.equals(0.0), 1.0, below)
    top = x.format.bits.itemsize * 8 - 1
    angle = _arctan(above, below, swapped, (bits_of(x) >> top).differs(0))
    return copysign(angle, y)
