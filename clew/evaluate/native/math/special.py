"""Functions that SciPy has in compiled form, called for each element: erfinv and Bessel's I.

Single precision is computed in double. Where SciPy has no function of the expected signature there
is no native form.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from clew.evaluate.native.emitter import FLOAT64, Value
from clew.evaluate.native.math.number import Number
from clew.evaluate.native.outside import address, exported, signature

_SIGNATURE = "double (double, int __pyx_skip_dispatch)"
NAMES = ("erfinv", "i0", "i1")


@functools.cache
def symbol(name: str) -> str | None:
    """Return the symbol of a function of one double in native code, if there is one.

    >>> symbol("i0") in ("clew_special_i0", None), symbol("no_such_function")
    (True, None)
    """
    for full, capsule in exported("scipy.special.cython_special").items():
        fits = re.fullmatch(rf"(__pyx_fuse_\d+)?{name}", full)
        if fits and signature(capsule) == _SIGNATURE:
            from llvmlite import binding

            found = f"clew_special_{name}"
            binding.add_symbol(found, address(capsule))
            return found
    return None


def special(name: str) -> Callable[[Number], Number]:
    """Return what writes a call of a function."""

    def write(x: Number) -> Number:
        e, target = x.e, symbol(name)
        e.module.declare(str(target), f"double @{target}(double, i32) nounwind memory(none)")
        given = e.convert(x.value, FLOAT64).name
        found = Value(FLOAT64, e.assign(f"call double @{target}(double {given}, i32 0)"))
        return Number(e, e.convert(found, x.value.dtype))

    return write
