"""psi, the digamma function: from 2 on its asymptotic form, between 1 and 2 about its root.

``psi(x) = log x - 1/(2x) - S(1/x)/x^2`` with a polynomial for S, the logarithm in two parts since
the terms cancel near 2 (DLMF 5.11.2); ``psi(x + 1) = psi(x) + 1/x`` below 1 and the reflection
formula below 0 (DLMF 5.5.2, 5.5.4). Minimax coefficients were computed for this file.
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
    select,
)
from clew.evaluate.native.math.power import log_of_normal
from clew.evaluate.native.math.rare import rare_case
from clew.evaluate.native.math.trigonometric import tan

_ROOT = {
    4: (1.4616321325302124, 1.243815006546356e-08),
    8: (1.4616321449683622, 9.549995429965697e-17),
}
# psi(3/2 + v)/(3/2 + v - root), |v| <= 1/2: its value at 0, what that lacks, the others;
# relative errors 2^-26.9 and 2^-55.5.
_AT_CENTRE = {
    4: (0.9510558843612671, -8.728789246958968e-09),
    8: (0.951055876031833, -5.429839317836347e-17),
}
_ABOUT_CENTRE = {
    4: (
        -0.42362749576568604,
        0.24054262042045593,
        -0.14839878678321838,
        0.0949820801615715,
        -0.0620570182800293,
        0.04087937995791435,
        -0.02578129991889,
        0.016980227082967758,
        -0.016383623704314232,
        0.011118932627141476,
    ),
    8: (
        -0.4236274212814606,
        0.24054248424077398,
        -0.14840492305389,
        0.09498872445497301,
        -0.06192213327470121,
        0.040760833810777795,
        -0.02697579669103396,
        0.01790725248254906,
        -0.011908219424333816,
        0.007926943997166966,
        -0.005279946191047994,
        0.003519012354706112,
        -0.0023454213379971926,
        0.0015565979656882308,
        -0.0010368391357928322,
        0.0007234424617994978,
        -0.00048474030867882534,
        0.0002270132848048047,
        -0.0001469590592459784,
        0.0002598622039019067,
        -0.00017657792964021236,
    ),
}
# x^2 (log x - 1/(2x) - psi(x)), powers of 1/x, x >= 2: relative errors of psi 2^-32.3, 2^-56.1.
_ASYMPTOTIC = {
    4: (
        0.0833325907588005,
        1.597855589352548e-05,
        -0.008456801064312458,
        0.00039636713336221874,
        0.0037725521251559258,
        -0.0019305163295939565,
    ),
    8: (
        0.08333333333530067,
        -2.2547365346772884e-10,
        -0.00833332281533937,
        -2.719200751775757e-07,
        0.003972684291456341,
        -4.865041783179385e-05,
        -0.003793747665123193,
        -0.0020165535148646435,
        0.015119094722302563,
        -0.0179109771721272,
        -0.003282099518693039,
        0.03431463270206412,
        -0.04442508662584989,
        0.02712370670689389,
        -0.006866988403281396,
    ),
}


def _positive(x: Number) -> Number:
    """Return ``psi(x)``, x positive and far from the ends of its range."""
    size = x.value.dtype.itemsize
    first, far = x < 1.0, x >= 2.0
    inverse = 1.0 / x

    raised = select(first, x + 1.0, x)
    raised_low = select(first, (1.0 - raised) + x, 0.0)
    at_centre, lost = _AT_CENTRE[size]
    v = raised - 1.5
    slope = fma(horner(v, _ABOUT_CENTRE[size]), v, lost)
    slope, slope_low = fast_two_sum(v.like(at_centre), slope)
    root, root_low = _ROOT[size]
    distance, distance_low = raised - root, raised_low - root_low
    taken = select(first, inverse, 0.0)
    rest = fma(distance_low, slope, fma(inverse, x, -1.0) * taken)
    near = fma(distance, slope, -taken) + fma(distance, slope_low, rest)

    high, low = log_of_normal(x)
    total, rest = fast_two_sum(high, inverse * -0.5)
    tail = horner(inverse, _ASYMPTOTIC[size])
    return select(far, total + fma(-(inverse * inverse), tail, rest + low), near)


def _other(x: Number) -> Number:
    """Return the function where x is not positive, tiny, huge, infinite or NaN."""
    if not x.wide:
        wider = Number(x.e, x.e.convert(x.value, FLOAT64))
        inner = (wider > 0.0) & (wider < 2.0**100)
        result = select(inner, _positive(wider), _other(wider))
        return Number(x.e, x.e.convert(result.value, FLOAT32))
    size = abs(x)
    part = size - floor(size)
    # psi(x) = psi(1 - x) - pi / tan(pi x), near a pole by the distance from it.
    part = select(part > 0.5, part - 1.0, part)
    reflected = _positive(select(size < 2.0**60, size, 1.0) + 1.0) + math.pi / tan(part * math.pi)
    negative = select(part.equals(0.0) | x.equals(-math.inf), math.nan, reflected)
    tiny = size < 2.0**-59
    return select(tiny, -1.0 / x, select(x > 0.0, log(x), negative))


def psi(x: Number) -> Number:
    """Return the logarithmic derivative of the gamma function."""
    usual = (x > 2.0**-60) & (x < 2.0**60)
    other = rare_case(~usual, "psi", _other, x)
    return select(usual, _positive(x), other)
