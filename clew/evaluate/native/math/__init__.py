"""Mathematical functions written inline, so that LLVM makes vector code of loops over them.

Each is a formula without branches on :class:`~clew.evaluate.native.math.number.Number`, in the
operand's own precision, without fast-math flags: results do not depend on whether a loop was
vectorised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clew.evaluate.native.emitter import FLOAT32, Emitter, Value
from clew.evaluate.native.math import (
    composed,
    digamma,
    error_function,
    exponential,
    gamma,
    hyperbolic,
    inverse,
    logarithm,
    polygamma,
    power,
    roots,
    special,
    trigonometric,
)
from clew.evaluate.native.math.number import Number

_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "arcsin": inverse.arcsin,
    "arccos": inverse.arccos,
    "arctan": inverse.arctan,
    "arctan2": inverse.arctan2,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "tanh": hyperbolic.tanh,
    "arcsinh": hyperbolic.arcsinh,
    "arccosh": hyperbolic.arccosh,
    "arctanh": hyperbolic.arctanh,
    "power": power.power,
    "cbrt": roots.cbrt,
    "hypot": roots.hypot,
    "erf": error_function.erf,
    "erfc": error_function.erfc,
    "ndtr": error_function.ndtr,
    "gammaln": gamma.gammaln,
    "psi": digamma.psi,
    "expit": composed.expit,
    "logit": composed.logit,
    "logaddexp": composed.logaddexp,
    "xlogy": composed.xlogy,
}
MATH = frozenset(_FUNCTIONS)
"""The functions that are formulas, accurate to 2 units in the last place."""
_OTHERS: dict[str, Callable[..., Number]] = {
    "polygamma": polygamma.polygamma,
    **{name: special.special(name) for name in special.NAMES},
}


def has_math(name: str, dtype: np.dtype) -> bool:
    """Say whether a function can be written for operands of a dtype.

    >>> has_math("exp", np.dtype(np.float32)), has_math("exp", np.dtype(np.complex128))
    (True, False)
    """
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        return False
    if name in special.NAMES:
        return special.symbol(name) is not None
    return name in MATH or name in _OTHERS


def emit_math(e: Emitter, name: str, operands: Sequence[Value]) -> Value:
    """Write a function of floating operands of one dtype, of half precision in float32."""
    dtype = operands[0].dtype
    if dtype.itemsize == 2:
        wider = [e.convert(x, FLOAT32) for x in operands]
        return e.convert(emit_math(e, name, wider), dtype)
    with e.exactly():
        function = _FUNCTIONS.get(name) or _OTHERS[name]
        return function(*(Number(e, x) for x in operands)).value
