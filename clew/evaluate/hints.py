"""What to do about the common ways in which a NaN or an infinity is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.blame import Origin

_DOMAINS = {
    "log": "log needs numbers above 0: clip from below, or use np.log1p for 1 + x",
    "log2": "log2 needs numbers above 0: clip from below",
    "log10": "log10 needs numbers above 0: clip from below",
    "log1p": "log1p needs numbers above -1: clip from below",
    "sqrt": "sqrt needs numbers of 0 or more: clip from below",
    "arcsin": "arcsin needs numbers between -1 and 1: clip",
    "arccos": "arccos needs numbers between -1 and 1: clip",
    "arctanh": "arctanh needs numbers between -1 and 1, ends excluded: clip",
    "arccosh": "arccosh needs numbers of 1 or more: clip from below",
    "exp": "exp overflows above 709.78 (float32: 88.72): subtract the largest value first",
    "exp2": "exp2 overflows above 1024 (float32: 128): subtract the largest value first",
    "expm1": "expm1 overflows above 709.78: bound its argument",
    "sinh": "sinh overflows above 710.47: bound its argument",
    "cosh": "cosh overflows above 710.47: bound its argument",
    "divide": "a division by 0, or by a number too small: choose a divisor away from 0 "
    "with np.where, then divide",
    "power": "a power of a negative number by a fraction, of 0 by a negative, or too large: "
    "bound the base",
    "subtract": "inf - inf: bound both before",
    "multiply": "0 times inf, or a product too large: bound the factors",
    "square": "too large: scale the argument down",
    "cholesky": "the matrix is not positive definite: add a multiple of the identity",
    "solve": "the matrix is singular: add a multiple of the identity, or use np.linalg.lstsq",
    "inv": "the matrix is singular: add a multiple of the identity",
}
_SLOPES = {
    "sqrt": "the slope of a root is infinite at 0: add a small number under it",
    "cbrt": "the slope of a root is infinite at 0: keep its argument away from 0",
    "power": "the slope of a power below 1 is infinite at 0: add a small number to the base",
    "abs": "the magnitude has no slope at 0: add a small number, np.sqrt(x * x + 1e-12)",
    "arcsin": "its slope is infinite at -1 and 1: clip a little inside",
    "arccos": "its slope is infinite at -1 and 1: clip a little inside",
    "log": "the slope of log is infinite at 0: clip from below",
    "hypot": "its slope at the origin is 0 / 0: add a small number to one argument",
    "eigh": "the slope of eigenvectors is infinite where eigenvalues are equal: perturb the matrix",
    "svd": "the slope of singular vectors is infinite where two are equal: perturb the matrix",
    "divide": "the divisor is 0 or too small: choose one away from 0 with np.where, then divide",
}


def hint_for(name: str, equation: Equation, origin: Origin) -> str:
    """Return what to do about an origin, or nothing if that is not known.

    >>> from clew.evaluate.blame import Origin
    >>> import clew
    >>> equation = clew.trace(np.log)(1.0).equations[0]
    >>> origin = Origin(equation, (0.0,), -np.inf, (), 1, frozenset({0}))
    >>> hint_for("log", equation, origin)
    'log needs numbers above 0: clip from below, or use np.log1p for 1 + x'
    """
    if origin.given:
        return "the constant that the function closes over holds the bad value: clean it"
    marker = "the derivative of "
    if name.startswith(marker):
        hints = [_SLOPES[word] for word in name[len(marker) :].split(" or ") if word in _SLOPES]
        return hints[0] if hints else ""
    if name == "subtract" and _all_finite(origin.operands):
        return "too large: scale the arguments down"
    return _DOMAINS.get(name, "")


def _all_finite(values: Any) -> bool:
    return all(bool(np.all(np.isfinite(value))) for value in values)
