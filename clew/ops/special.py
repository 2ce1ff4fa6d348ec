"""Special functions: evaluated by SciPy, each derivative on its line (DLMF)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.kinds import elementwise
from clew.core.primitive import Interval, NoDerivative
from clew.ops.elementwise import divide, equal, exp, log, where

POSITIVE = Interval(0.3, 3.0)
_TWO_BY_ROOT_PI = 2.0 / math.sqrt(math.pi)


def _special(xp: Any) -> Any:
    """Return the module of special functions that goes with an array namespace."""
    if xp is np:
        import scipy.special

        return scipy.special
    import importlib

    return importlib.import_module(f"{xp.__name__.split('.')[0]}.scipy.special")


erf = elementwise(
    "erf",
    eval=lambda xp, x: _special(xp).erf(x),
    partials=lambda y, x: _TWO_BY_ROOT_PI * exp(-x * x),
    source="DLMF 7.2.1",
    emit=lambda e, x: e.math("erf", x),
)
erfc = elementwise(
    "erfc",
    eval=lambda xp, x: _special(xp).erfc(x),
    partials=lambda y, x: -_TWO_BY_ROOT_PI * exp(-x * x),
    source="DLMF 7.2.2",
    emit=lambda e, x: e.math("erfc", x),
)
erfinv = elementwise(
    "erfinv",
    eval=lambda xp, x: _special(xp).erfinv(x),
    partials=lambda y, x: exp(y * y) / _TWO_BY_ROOT_PI,
    domain=Interval(-0.9, 0.9),
    emit=lambda e, x: e.math("erfinv", x),
)
ndtr = elementwise(
    "ndtr",
    eval=lambda xp, x: _special(xp).ndtr(x),
    partials=lambda y, x: exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    source="the normal distribution function",
    emit=lambda e, x: e.math("ndtr", x),
)
gammaln = elementwise(
    "gammaln",
    eval=lambda xp, x: _special(xp).gammaln(x),
    partials=lambda y, x: digamma(x),
    domain=POSITIVE,
    source="DLMF 5.2.2",
    emit=lambda e, x: e.math("gammaln", x),
)
digamma = elementwise(
    "psi",  # as SciPy names its ufunc
    eval=lambda xp, x: _special(xp).digamma(x),
    partials=lambda y, x: polygamma(1.0, x),
    domain=POSITIVE,
    source="DLMF 5.2.2",
    emit=lambda e, x: e.math("psi", x),
)
polygamma = elementwise(
    "polygamma",
    eval=lambda xp, n, x: _special(xp).polygamma(n, x),
    partials=(NoDerivative("the order is an integer"), lambda y, n, x: polygamma(n + 1, x)),
    domain=(Interval(1.0, 1.0), POSITIVE),
    source="DLMF 5.15",
    emit=lambda e, n, x: e.math("polygamma", n, x),
)
expit = elementwise(
    "expit",
    eval=lambda xp, x: _special(xp).expit(x),
    partials=lambda y, x: y * (1 - y),
    emit=lambda e, x: e.math("expit", x),
)
logit = elementwise(
    "logit",
    eval=lambda xp, x: _special(xp).logit(x),
    partials=lambda y, x: 1 / (x * (1 - x)),
    domain=Interval(0.1, 0.9),
    emit=lambda e, x: e.math("logit", x),
)
xlogy = elementwise(
    "xlogy",
    eval=lambda xp, x, y: _special(xp).xlogy(x, y),
    partials=(
        lambda z, x, y: log(y),
        lambda z, x, y: where(equal(x, 0), 0, divide(x, where(equal(x, 0), 1, y))),
    ),
    domain=POSITIVE,
    emit=lambda e, x, y: e.math("xlogy", x, y),
)
i0 = elementwise(
    "i0",
    eval=lambda xp, x: _special(xp).i0(x),
    partials=lambda y, x: i1(x),
    source="DLMF 10.29.3",
    emit=lambda e, x: e.math("i0", x),
)
i1 = elementwise(
    "i1",
    eval=lambda xp, x: _special(xp).i1(x),
    partials=lambda y, x: i0(x) - _by(y, x),
    source="DLMF 10.29.2",
    emit=lambda e, x: e.math("i1", x),
)


def _by(y: Any, x: Any) -> Any:
    """Return ``I1(x) / x``, which is 1/2 at 0."""
    zero = equal(x, 0)
    return where(zero, 0.5, divide(y, where(zero, 1, x)))
