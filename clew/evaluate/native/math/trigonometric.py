"""sin, cos, tan: polynomials on a quarter of pi to either side of zero.

Both polynomials are written for either function, and the reduction alike, so that LLVM computes
them once where sine and cosine of one angle are wanted. Minimax coefficients were computed for
this file; the arrangement is FDLIBM's (k_sin.c, k_cos.c, Sun Microsystems 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from clew.evaluate.native.emitter import FLOAT32, FLOAT64
from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    fast_two_sum,
    fma,
    from_bits,
    polynomial,
    select,
)
from clew.evaluate.native.math.rare import rare_case
from clew.evaluate.native.math.reduction import reduce, reduce_huge

# Below these, x 2/pi is rounded to the right integer but for 2^-12 or so.
_LIMIT = {4: 2.0**12, 8: 2.0**40}

# (sin(x)/x - 1)/x^2, relative errors 2^-28.0 and 2^-58.0.
_SIN = {
    4: (-0.16666655242443085, 0.008332191035151482, -0.00019518600311130285),
    8: (
        -0.16666666666666632,
        0.008333333333322472,
        -0.00019841269829835647,
        2.755731369732175e-06,
        -2.5050758486450022e-08,
        1.589679620061734e-10,
    ),
}
# (cos(x) - 1 + x^2/2)/x^4, errors 2^-33.1 and 2^-64.2.
_COS = {
    4: (0.04166664555668831, -0.00138873013202101, 2.443066841806285e-05),
    8: (
        0.0416666666666666,
        -0.0013888888888874457,
        2.480158728965281e-05,
        -2.7557314393839804e-07,
        2.0875728105144625e-09,
        -1.1359864602068374e-11,
    ),
}


def _terms(r: Number, s: Number) -> tuple[Number, Number, Number, Number]:
    """Return the sine and cosine of ``r + s``, up to pi/4, each as two terms to be added."""
    size = r.value.dtype.itemsize
    z = r * r
    rest = fma(polynomial(z, _SIN[size]), z * r, s)
    half = z * 0.5
    near = 1.0 - half
    tail = fma(polynomial(z, _COS[size]), z * z, -(r * s))
    return r, rest, near, ((1.0 - near) - half) + tail


def _sine_and_cosine(r: Number, s: Number) -> tuple[Number, Number]:
    """Return the sine and cosine of ``r + s``, up to pi/4."""
    r, rest, near, tail = _terms(r, s)
    return r + rest, near + tail


def _sine_of(n: Number, r: Number, s: Number) -> Number:
    """Return ``sin(n pi/2 + r + s)``, n in the low bits of an integer."""
    sine, cosine = _sine_and_cosine(r, s)
    chosen = select((n & 1).equals(0), sine, cosine)
    top = r.format.bits.itemsize * 8 - 1
    return from_bits(bits_of(chosen) ^ ((n & 2) << (top - 1)))


def _tangent_of(n: Number, r: Number, s: Number) -> Number:
    """Return ``tan(n pi/2 + r + s)``, n in the low bits of an integer."""
    r, rest, near, tail = _terms(r, s)
    sine, sine_low = fast_two_sum(r, rest)
    cosine, cosine_low = fast_two_sum(near, tail)
    odd = (n & 1).differs(0)
    above, above_low = select(odd, -cosine, sine), select(odd, -cosine_low, sine_low)
    below, below_low = select(odd, sine, cosine), select(odd, sine_low, cosine_low)
    inverse = 1.0 / below
    quotient = above * inverse
    lost = fma(-quotient, below, above) + fma(-quotient, below_low, above_low)
    return fma(lost, inverse, quotient)


def sin_of_small(t: Number) -> Number:
    """Return ``sin(pi t)``, t from 0 to 1/2."""
    turned = t > 0.25
    sine, cosine = _sine_and_cosine(select(turned, 0.5 - t, t) * math.pi, t.like(0.0))
    return select(turned, cosine, sine)


def _of_huge(x: Number, formula: Callable[..., Number], quarters: int) -> Number:
    """Return a function of a huge angle, of one that is not a number, or infinite."""
    if not x.wide:
        wider = Number(x.e, x.e.convert(x.value, FLOAT64))
        n, r, s = reduce(wider)
        usual = formula(n + quarters, r, s)
        huge = _of_huge(wider, formula, quarters)
        result = select(abs(wider) < _LIMIT[8], usual, huge)
        return Number(x.e, x.e.convert(result.value, FLOAT32))
    valid = (abs(x) < math.inf) & (abs(x) >= _LIMIT[8])
    n, r, s = reduce_huge(select(valid, x, _LIMIT[8]))
    return select(valid, formula(n + quarters, r, s), math.nan)


def _function(x: Number, name: str, formula: Callable[..., Number], quarters: int = 0) -> Number:
    """Return a formula of the reduced angle, ``quarters`` of a turn added."""
    usual = abs(x) < _LIMIT[x.value.dtype.itemsize]
    other = rare_case(~usual, name, lambda huge: _of_huge(huge, formula, quarters), x)
    n, r, s = reduce(x)
    result = select(usual, formula(n + quarters, r, s), other)
    # Of minus zero, which the reduction loses.
    return result if quarters else select(x.equals(0.0), x, result)


def sin(x: Number) -> Number:
    """Return the sine."""
    return _function(x, "sin", _sine_of)


def cos(x: Number) -> Number:
    """Return the cosine."""
    return _function(x, "cos", _sine_of, 1)


def tan(x: Number) -> Number:
    """Return the tangent."""
    return _function(x, "tan", _tangent_of)
