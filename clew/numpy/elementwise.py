"""Traced forms of ufuncs whose name is no primitive's, and of their relatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.types import type_of
from clew.numpy.selection import clip
from clew.numpy.sorting import searchsorted
from clew.numpy.support import Array, as_dtype, floating, inexact, operand, traced_form
from clew.ops import elementwise as e
from clew.ops.special import i0 as bessel
from clew.trace.indexing import pick
from clew.trace.protocols import HANDLERS
from clew.trace.tracer import power


def _power(base: Any, exponent: Any) -> Array:
    """``base ** exponent``; of truth values, which have a square of int8, also that is int64."""
    return (e.power if type_of(base).dtype.kind == "b" else power)(base, exponent)


HANDLERS[np.power] = _power
HANDLERS[np.conjugate] = e.conjugate
HANDLERS[np.arctan2] = e.arctan2
HANDLERS[np.bitwise_invert] = e.bitwise_invert


@traced_form(np.float_power)
def float_power(x: Any, y: Any) -> Array:
    """Power in float64, or complex128, at least."""
    x = operand(x)
    return e.power(as_dtype(x, np.result_type(type_of(x).dtype, np.float64)), y)


@traced_form(np.fabs)
def fabs(x: Any) -> Array:
    """Absolute value of a real number."""
    return e.absolute(floating(operand(x), "fabs"))


@traced_form(np.divmod)
def divmod(x: Any, y: Any) -> tuple[Array, Array]:
    """Quotient and remainder."""
    return e.floor_divide(x, y), e.remainder(x, y)


@traced_form(np.modf)
def modf(x: Any) -> tuple[Array, Array]:
    """Fractional and whole part."""
    x = floating(operand(x), "modf")
    whole = e.trunc(x)
    return e.subtract(x, whole), whole


@traced_form(np.ldexp)
def ldexp(x: Any, exponent: Any) -> Array:
    """``x 2^exponent``."""
    x = floating(operand(x), "ldexp")
    return e.multiply(x, as_dtype(e.exp2(operand(exponent)), type_of(x).dtype))


@traced_form(np.deg2rad, np.radians)
def deg2rad(x: Any) -> Array:
    """Degrees to radians."""
    return e.multiply(floating(operand(x), "deg2rad"), math.pi / 180.0)


@traced_form(np.rad2deg, np.degrees)
def rad2deg(x: Any) -> Array:
    """Radians to degrees."""
    return e.multiply(floating(operand(x), "rad2deg"), 180.0 / math.pi)


@traced_form(np.logaddexp2)
def logaddexp2(x: Any, y: Any) -> Array:
    """``log2(2^x + 2^y)``."""
    x, y = e.logaddexp.promoted((x, y))
    return e.divide(e.logaddexp(e.multiply(x, e.LOG2), e.multiply(y, e.LOG2)), e.LOG2)


@traced_form(np.i0)
def i0(x: Any) -> Array:
    """Modified Bessel function of the first kind, order 0."""
    x = inexact(operand(x))
    return as_dtype(bessel(x), type_of(x).dtype)


@traced_form(np.sinc)
def sinc(x: Any) -> Array:
    """``sin(pi x) / (pi x)``, smooth at 0: there its series is used."""
    angle = e.multiply(inexact(operand(x)), math.pi)
    small = e.less(e.absolute(angle), 1e-3)
    square = e.square(angle)
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    safe = e.where(small, 1.0, angle)
    return e.where(small, series, e.sin(safe) / safe)


@traced_form(np.round, np.around)
def round(a: Any, decimals: int = 0) -> Array:
    """Round to a number of decimals."""
    x = operand(a)
    if type_of(x).dtype.kind in "iub":
        return x
    if decimals == 0:
        return e.rint(x)
    return e.divide(e.rint(e.multiply(x, 10.0**decimals)), 10.0**decimals)


@traced_form(np.fix)
def fix(x: Any) -> Array:
    """Round towards zero."""
    return e.trunc(operand(x))


@traced_form(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Array:
    """Replace NaN and infinities by numbers."""
    x = operand(x)
    if not type_of(x).inexact:
        return x
    limits = np.finfo(type_of(x).dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    y = e.where(e.isnan(x), nan, x)
    y = e.where(e.equal(x, np.inf), high, y)
    return e.where(e.equal(x, -np.inf), low, y)


@traced_form(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Array:
    """Whether elements agree within tolerances."""
    a, b = operand(a), inexact(operand(b))
    near = e.less_equal(e.absolute(e.subtract(a, b)), atol + rtol * e.absolute(b))
    result = e.logical_or(e.equal(a, b), e.logical_and(e.isfinite(b), near))
    if equal_nan:
        result = e.logical_or(result, e.logical_and(e.isnan(a), e.isnan(b)))
    return result


@traced_form(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements agree within tolerances."""
    return np.all(isclose(a, b, rtol, atol, equal_nan))


@traced_form(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and all elements are equal."""
    a, b = operand(a1), operand(a2)
    if type_of(a).shape != type_of(b).shape:
        return False
    return np.all(e.equal(a, b))


@traced_form(np.angle)
def angle(z: Any, deg: bool = False) -> Array:
    """Argument of a complex number."""
    z = operand(z)
    result = e.arctan2(np.imag(z), np.real(z))
    return rad2deg(result) if deg else result


@traced_form(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * math.pi) -> Array:
    """Take out jumps of whole periods."""
    p = operand(p)
    jumps = np.diff(p, axis=axis)
    limit = period / 2 if discont is None else max(discont, period / 2)
    turns = e.where(e.less(e.absolute(jumps), limit), 0.0, e.rint(jumps / period))
    whole = np.cumsum(turns, axis=axis) * period
    widths = [(0, 0)] * type_of(p).ndim
    widths[axis] = (1, 0)
    return p - np.pad(whole, widths)


@traced_form(np.interp)
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Array:
    """Piecewise linear interpolation."""
    x, xp, fp = operand(x), operand(xp), operand(fp)
    if period is not None:
        x, xp = e.remainder(x, period), e.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    last = type_of(xp).size - 1
    upper = clip(searchsorted(xp, x, side="right"), 1, last)
    x0, x1, y0, y1 = (pick(a, i) for a in (xp, fp) for i in (upper - 1, upper))
    inside = y0 + (x - x0) / (x1 - x0) * (y1 - y0)
    below = fp[0] if left is None else left
    above = fp[last] if right is None else right
    return e.where(e.less(x, xp[0]), below, e.where(e.greater(x, xp[last]), above, inside))


@traced_form(np.heaviside)
def heaviside(x: Any, at_zero: Any) -> Array:
    """Step function."""
    x, at_zero = (floating(each, "heaviside") for each in e.heaviside.promoted((x, at_zero)))
    return e.where(e.equal(x, 0), at_zero, as_dtype(e.greater(x, 0), type_of(x).dtype))


@traced_form(np.real_if_close)
def real_if_close(a: Any, tol: Any = 100) -> Array:
    """The real part, where all imaginary parts are within rounding of 0 (guarded)."""
    x = operand(a)
    if type_of(x).dtype.kind != "c":
        return x
    limit = tol * np.finfo(type_of(x).dtype).eps if tol > 1 else tol
    return np.real(x) if bool(np.all(np.abs(np.imag(x)) < limit)) else x


@traced_form(np.isreal)
def isreal(x: Any) -> Array:
    """Whether the imaginary part is zero."""
    return e.equal(np.imag(operand(x)), 0)


@traced_form(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex."""
    return type_of(x).dtype.kind == "c"


@traced_form(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is real."""
    return type_of(x).dtype.kind != "c"


@traced_form(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """The lengths of the axes."""
    return type_of(operand(a)).shape


@traced_form(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes."""
    return type_of(operand(a)).ndim


@traced_form(np.size)
def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or the length of an axis."""
    kind = type_of(operand(a))
    return kind.size if axis is None else kind.shape[axis]


@traced_form(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype that operands promote to."""
    plain = [type_of(x).dtype if hasattr(x, "builder") else x for x in arrays_and_dtypes]
    return np.result_type(*plain)


@traced_form(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a dtype converts to another."""
    return np.can_cast(type_of(from_).dtype if hasattr(from_, "builder") else from_, to, casting)
