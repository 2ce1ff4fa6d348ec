"""Arithmetic, exponentials, trigonometry: one record each, the derivative on its line.

A partial is a function of the output and the operands, ``(y, x, ...) -> dy/dx``: with the
output at hand nothing is computed twice. It is written with ordinary operators, so it builds
graph and can be differentiated again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.core.kinds import elementwise
from clew.core.primitive import Interval, NoDerivative, Traced
from clew.core.types import Type, type_of

Array = Any
POSITIVE = Interval(0.2, 3.0)
UNIT = Interval(-0.9, 0.9)
LOG2 = math.log(2.0)
LOG10 = math.log(10.0)

# --- arithmetic ------------------------------------------------------------------------

add = elementwise(
    "add",
    eval=lambda xp, x, y: xp.add(x, y),
    partials=(lambda z, x, y: 1, lambda z, x, y: 1),
    linear_in=(0, 1),
    operands="same",
    emit=lambda e, x, y: e.add(x, y),
)
subtract = elementwise(
    "subtract",
    eval=lambda xp, x, y: xp.subtract(x, y),
    partials=(lambda z, x, y: 1, lambda z, x, y: -1),
    linear_in=(0, 1),
    operands="same",
    emit=lambda e, x, y: e.sub(x, y),
)
multiply = elementwise(
    "multiply",
    eval=lambda xp, x, y: xp.multiply(x, y),
    partials=(lambda z, x, y: y, lambda z, x, y: x),
    linear_in=(0, 1),
    operands="same",
    emit=lambda e, x, y: e.mul(x, y),
)
divide = elementwise(
    "divide",
    eval=lambda xp, x, y: xp.divide(x, y),
    partials=(lambda z, x, y: 1 / y, lambda z, x, y: -z / y),
    linear_in=(0,),
    domain=(Interval(-3.0, 3.0), POSITIVE),
    emit=lambda e, x, y: e.divided(x, y),
)
negative = elementwise(
    "negative",
    eval=lambda xp, x: xp.negative(x),
    partials=lambda y, x: -1,
    linear_in=(0,),
    operands="same",
    emit=lambda e, x: e.neg(x),
)
positive = elementwise(
    "positive",
    eval=lambda xp, x: xp.positive(x),
    partials=lambda y, x: 1,
    linear_in=(0,),
    operands="same",
    emit=lambda e, x: x,
)


def _power_in_base(y: Array, x: Array, p: Array) -> Array:
    """Return ``p x^(p-1)``, which is 0 for p = 0 also where x = 0."""
    if not isinstance(p, Traced) and type_of(p).size == 1:
        exponent = complex(np.asarray(p).reshape(()))
        if exponent == 0:
            return x * 0
        if exponent == 1:
            return 1
        if exponent == 2:
            return x * 2
        return p * power(x, p - 1)
    zero = equal(p, 0)
    return where(zero, 0, p * power(x, where(zero, 1, p) - 1))


def _power_in_exponent(y: Array, x: Array, p: Array) -> Array:
    """Return ``y log x``, whose limit at x = 0 is 0 for p > 0."""
    zero = equal(x, 0)
    return where(zero, 0, y * log(where(zero, 1, x)))


power = elementwise(
    "power",
    eval=lambda xp, x, p: xp.power(x, p),
    partials=(_power_in_base, _power_in_exponent),
    operands="same",
    domain=(POSITIVE, Interval(-2.0, 3.0)),
    emit=lambda e, x, p: e.power(x, p),
)
square = elementwise(
    "square",
    eval=lambda xp, x: xp.square(x),
    partials=lambda y, x: x * 2,
    operands="same",
    emit=lambda e, x: e.mul(x, x),
)
reciprocal = elementwise(
    "reciprocal",
    eval=lambda xp, x: xp.reciprocal(x),
    partials=lambda y, x: -y * y,
    operands="same",
    domain=POSITIVE,
    emit=lambda e, x: e.div(e.like(x, 1), x) if x.dtype.kind in "fc" else None,
)
sqrt = elementwise(
    "sqrt",
    eval=lambda xp, x: xp.sqrt(x),
    partials=lambda y, x: 0.5 / y,
    domain=POSITIVE,
    emit=lambda e, x: e.function("sqrt", x),
)
cbrt = elementwise(
    "cbrt",
    eval=lambda xp, x: xp.cbrt(x),
    partials=lambda y, x: 1 / (3 * y * y),
    domain=POSITIVE,
    emit=lambda e, x: e.math("cbrt", x),
)
floor_divide = elementwise(
    "floor_divide",
    eval=lambda xp, x, y: xp.floor_divide(x, y),
    partials=NoDerivative("piecewise constant"),
    operands="same",
    emit=lambda e, x, y: e.floor_divide(x, y),
)
remainder = elementwise(
    "remainder",
    eval=lambda xp, x, y: xp.remainder(x, y),
    partials=(lambda z, x, y: 1, lambda z, x, y: -floor_divide(x, y)),
    operands="same",
    domain=(Interval(1.1, 1.9), Interval(0.6, 0.9)),
    emit=lambda e, x, y: e.remainder(x, y),
)
fmod = elementwise(
    "fmod",
    eval=lambda xp, x, y: xp.fmod(x, y),
    partials=(lambda z, x, y: 1, lambda z, x, y: -trunc(x / y)),
    operands="same",
    domain=(Interval(1.1, 1.9), Interval(0.6, 0.9)),
    emit=lambda e, x, y: e.fmod(x, y),
)

# --- exponentials and logarithms (DLMF 4.7, 4.8) -----------------------------------------

exp = elementwise(
    "exp",
    eval=lambda xp, x: xp.exp(x),
    partials=lambda y, x: y,
    emit=lambda e, x: e.function("exp", x),
)
exp2 = elementwise(
    "exp2",
    eval=lambda xp, x: xp.exp2(x),
    partials=lambda y, x: y * LOG2,
    emit=lambda e, x: e.math("exp2", x),
)
expm1 = elementwise(
    "expm1",
    eval=lambda xp, x: xp.expm1(x),
    partials=lambda y, x: y + 1,
    emit=lambda e, x: e.math("expm1", x),
)
log = elementwise(
    "log",
    eval=lambda xp, x: xp.log(x),
    partials=lambda y, x: 1 / x,
    domain=POSITIVE,
    emit=lambda e, x: e.function("log", x),
)
log2 = elementwise(
    "log2",
    eval=lambda xp, x: xp.log2(x),
    partials=lambda y, x: 1 / (x * LOG2),
    domain=POSITIVE,
    emit=lambda e, x: e.math("log2", x),
)
log10 = elementwise(
    "log10",
    eval=lambda xp, x: xp.log10(x),
    partials=lambda y, x: 1 / (x * LOG10),
    domain=POSITIVE,
    emit=lambda e, x: e.math("log10", x),
)
log1p = elementwise(
    "log1p",
    eval=lambda xp, x: xp.log1p(x),
    partials=lambda y, x: 1 / (1 + x),
    domain=POSITIVE,
    emit=lambda e, x: e.math("log1p", x),
)
logaddexp = elementwise(
    "logaddexp",
    eval=lambda xp, x, y: xp.logaddexp(x, y),
    partials=(
        lambda z, x, y: exp(_minus(x, z)),
        lambda z, x, y: exp(_minus(y, z)),
    ),
    emit=lambda e, x, y: e.math("logaddexp", x, y),
)


def _minus(x: Array, z: Array) -> Array:
    """Return ``x - z``, and 0 where both are the same infinity."""
    return where(equal(x, z), 0, subtract(x, z))


# --- trigonometric and hyperbolic (DLMF 4.20, 4.24, 4.34, 4.38) ----------------------------

sin = elementwise(
    "sin",
    eval=lambda xp, x: xp.sin(x),
    partials=lambda y, x: cos(x),
    emit=lambda e, x: e.function("sin", x),
)
cos = elementwise(
    "cos",
    eval=lambda xp, x: xp.cos(x),
    partials=lambda y, x: -sin(x),
    emit=lambda e, x: e.function("cos", x),
)
tan = elementwise(
    "tan",
    eval=lambda xp, x: xp.tan(x),
    partials=lambda y, x: 1 + y * y,
    domain=Interval(-1.3, 1.3),
    emit=lambda e, x: e.function("tan", x),
)
arcsin = elementwise(
    "arcsin",
    eval=lambda xp, x: xp.arcsin(x),
    partials=lambda y, x: 1 / sqrt(1 - x * x),
    domain=UNIT,
    emit=lambda e, x: e.math("arcsin", x),
)
arccos = elementwise(
    "arccos",
    eval=lambda xp, x: xp.arccos(x),
    partials=lambda y, x: -1 / sqrt(1 - x * x),
    domain=UNIT,
    emit=lambda e, x: e.math("arccos", x),
)
arctan = elementwise(
    "arctan",
    eval=lambda xp, x: xp.arctan(x),
    partials=lambda y, x: 1 / (1 + x * x),
    emit=lambda e, x: e.math("arctan", x),
)
arctan2 = elementwise(
    "arctan2",
    eval=lambda xp, y, x: xp.arctan2(y, x),
    partials=(
        lambda z, y, x: x / (x * x + y * y),
        lambda z, y, x: -y / (x * x + y * y),
    ),
    domain=POSITIVE,
    emit=lambda e, y, x: e.math("arctan2", y, x),
)
hypot = elementwise(
    "hypot",
    eval=lambda xp, x, y: xp.hypot(x, y),
    partials=(lambda z, x, y: x / z, lambda z, x, y: y / z),
    domain=POSITIVE,
    emit=lambda e, x, y: e.math("hypot", x, y),
)
sinh = elementwise(
    "sinh",
    eval=lambda xp, x: xp.sinh(x),
    partials=lambda y, x: cosh(x),
    emit=lambda e, x: e.function("sinh", x),
)
cosh = elementwise(
    "cosh",
    eval=lambda xp, x: xp.cosh(x),
    partials=lambda y, x: sinh(x),
    emit=lambda e, x: e.function("cosh", x),
)
tanh = elementwise(
    "tanh",
    eval=lambda xp, x: xp.tanh(x),
    partials=lambda y, x: 1 - y * y,
    emit=lambda e, x: e.function("tanh", x),
)
arcsinh = elementwise(
    "arcsinh",
    eval=lambda xp, x: xp.arcsinh(x),
    partials=lambda y, x: 1 / sqrt(1 + x * x),
    emit=lambda e, x: e.math("arcsinh", x),
)
arccosh = elementwise(
    "arccosh",
    eval=lambda xp, x: xp.arccosh(x),
    partials=lambda y, x: 1 / (sqrt(x - 1) * sqrt(x + 1)),
    domain=Interval(1.2, 3.0),
    emit=lambda e, x: e.math("arccosh", x),
)
arctanh = elementwise(
    "arctanh",
    eval=lambda xp, x: xp.arctanh(x),
    partials=lambda y, x: 1 / (1 - x * x),
    domain=UNIT,
    emit=lambda e, x: e.math("arctanh", x),
)

# --- selection ---------------------------------------------------------------------------


def _share(chosen: Array, x: Array, y: Array) -> Array:
    """Return the weight of ``x`` in a choice: 1 where chosen, 1/2 where both are equal."""
    dtype = type_of(x).dtype.type
    return where(equal(x, y), dtype(0.5), convert(equal(chosen, x), dtype=np.dtype(dtype)))


maximum = elementwise(
    "maximum",
    eval=lambda xp, x, y: xp.maximum(x, y),
    partials=(lambda z, x, y: _share(z, x, y), lambda z, x, y: _share(z, y, x)),
    operands="same",
    emit=lambda e, x, y: e.maximum(x, y),
)
minimum = elementwise(
    "minimum",
    eval=lambda xp, x, y: xp.minimum(x, y),
    partials=(lambda z, x, y: _share(z, x, y), lambda z, x, y: _share(z, y, x)),
    operands="same",
    emit=lambda e, x, y: e.minimum(x, y),
)
fmax = elementwise(
    "fmax",
    eval=lambda xp, x, y: xp.fmax(x, y),
    partials=(lambda z, x, y: _share(z, x, y), lambda z, x, y: _share(z, y, x)),
    operands="same",
    emit=lambda e, x, y: e.fmax(x, y),
)
fmin = elementwise(
    "fmin",
    eval=lambda xp, x, y: xp.fmin(x, y),
    partials=(lambda z, x, y: _share(z, x, y), lambda z, x, y: _share(z, y, x)),
    operands="same",
    emit=lambda e, x, y: e.fmin(x, y),
)


def _branches(mask: Array, c: Array, x: Any, y: Any) -> tuple[Array, Array, Array]:
    """A cotangent reaches a branch only where the branch is taken."""
    taken, other = c, logical_not(c)
    if mask is None:
        return None, taken, other
    return None, logical_and(mask, taken), logical_and(mask, other)


where = elementwise(
    "where",
    eval=lambda xp, c, x, y: xp.where(c, x, y),
    transpose=lambda t, c, x, y: (
        None,
        where(c, t, 0) if type(x) is Type else None,
        where(c, 0, t) if type(y) is Type else None,
    ),
    linear_in=(1, 2),
    operands="select",
    masks=_branches,
    emit=lambda e, c, x, y: e.select(c, x, y),
)
copysign = elementwise(
    "copysign",
    eval=lambda xp, x, y: xp.copysign(x, y),
    partials=(lambda z, x, y: sign(x) * sign(z), NoDerivative("piecewise constant")),
    emit=lambda e, x, y: e.copysign(x, y),
)


# --- complex numbers, absolute value -------------------------------------------------------


def _push_absolute(primals: Any, tangents: Any, y: Array) -> Array:
    (x,), (dx,) = primals, tangents
    return real(multiply(conjugate(sign(x)), dx))


def _push_sign(primals: Any, tangents: Any, y: Array) -> Array:
    """For complex x, ``y = x/|x|`` turns by the part of dx across x."""
    (x,), (dx,) = primals, tangents
    if type_of(x).dtype.kind != "c":
        return None
    across = imag(multiply(conjugate(y), dx)) / absolute(x)
    return multiply(multiply(y, 1j), across)


absolute = elementwise(
    "absolute",
    eval=lambda xp, x: xp.abs(x),
    push=_push_absolute,
    operands="same",
    domain=POSITIVE,
    emit=lambda e, x: e.abs(x),
)
sign = elementwise(
    "sign",
    eval=lambda xp, x: xp.sign(x),
    push=_push_sign,
    operands="same",
    domain=POSITIVE,
    emit=lambda e, x: e.sign(x),
)
conjugate = elementwise(
    "conjugate",
    eval=lambda xp, x: xp.conj(x),
    transpose=lambda t, x: (conjugate(t),),
    linear_in=(0,),
    operands="same",
    emit=lambda e, x: e.conjugate(x),
)
real = elementwise(
    "real",
    eval=lambda xp, x: xp.real(x),
    transpose=lambda t, x: (convert(t, dtype=x.dtype),),
    linear_in=(0,),
    operands="same",
    emit=lambda e, x: e.parts(x)[0] if x.dtype.kind == "c" else x,
)
imag = elementwise(
    "imag",
    eval=lambda xp, x: xp.imag(x),
    transpose=lambda t, x: (multiply(convert(t, dtype=x.dtype), -1j),),
    linear_in=(0,),
    operands="same",
    emit=lambda e, x: e.parts(x)[1] if x.dtype.kind == "c" else e.like(x, 0),
)


def _convert(xp: Any, x: Any, *, dtype: np.dtype) -> Any:
    return xp.asarray(x).astype(dtype)


def _convert_transpose(t: Array, x: Any, *, dtype: np.dtype) -> tuple[Array]:
    if dtype.kind == "c" and x.dtype.kind == "f":
        t = real(t)
    return (t if type_of(t).dtype == x.dtype else convert(t, dtype=x.dtype),)


convert = elementwise(
    "convert",
    eval=_convert,
    transpose=_convert_transpose,
    linear_in=(0,),
    operands="any",
    emit=lambda e, x, *, dtype: e.convert(x, dtype),
)

stop_gradient_of = elementwise(
    "stop_gradient",
    eval=lambda xp, x: x,
    partials=NoDerivative("stopped"),
    operands="same",
    emit=lambda e, x: x,
)

# --- rounding, signs, neighbours: constant between jumps -------------------------------------


def _without_derivative(
    name: str, reason: NoDerivative, operands: Any = "same", emit: Any = None
) -> Any:
    """Make the record of a function of NumPy's that no gradient flows through."""
    return elementwise(
        name,
        eval=lambda xp, *x: getattr(xp, name)(*x),
        partials=reason,
        operands=operands,
        emit=emit,
    )


# Rounding, signs, neighbours: constant between jumps.

_STEPS = NoDerivative("piecewise constant")
floor = _without_derivative("floor", _STEPS, emit=lambda e, x: e.rounded("floor", x))
ceil = _without_derivative("ceil", _STEPS, emit=lambda e, x: e.rounded("ceil", x))
trunc = _without_derivative("trunc", _STEPS, emit=lambda e, x: e.rounded("trunc", x))
rint = _without_derivative("rint", _STEPS, emit=lambda e, x: e.rounded("rint", x))
signbit = _without_derivative("signbit", _STEPS, emit=lambda e, x: e.signbit(x))
heaviside = _without_derivative(
    "heaviside", _STEPS, "inexact", emit=lambda e, x, y: e.heaviside(x, y)
)
nextafter = elementwise(
    "nextafter",
    eval=lambda xp, x, y: xp.nextafter(x, y),
    partials=(lambda z, x, y: 1, _STEPS),
    emit=lambda e, x, y: e.pairwise("nextafter", x, y),
)

# Comparisons and logic.

_TRUTH = NoDerivative("true or false")
equal = _without_derivative("equal", _TRUTH, "any", emit=lambda e, x, y: e.compare("eq", x, y))
not_equal = _without_derivative(
    "not_equal", _TRUTH, "any", emit=lambda e, x, y: e.compare("ne", x, y)
)
less = _without_derivative("less", _TRUTH, "any", emit=lambda e, x, y: e.compare("lt", x, y))
less_equal = _without_derivative(
    "less_equal", _TRUTH, "any", emit=lambda e, x, y: e.compare("le", x, y)
)
greater = _without_derivative("greater", _TRUTH, "any", emit=lambda e, x, y: e.compare("gt", x, y))
greater_equal = _without_derivative(
    "greater_equal", _TRUTH, "any", emit=lambda e, x, y: e.compare("ge", x, y)
)
logical_and = _without_derivative(
    "logical_and", _TRUTH, "any", emit=lambda e, x, y: e.and_(e.truth(x), e.truth(y))
)
logical_or = _without_derivative(
    "logical_or", _TRUTH, "any", emit=lambda e, x, y: e.or_(e.truth(x), e.truth(y))
)
logical_xor = _without_derivative(
    "logical_xor", _TRUTH, "any", emit=lambda e, x, y: e.xor(e.truth(x), e.truth(y))
)
logical_not = _without_derivative(
    "logical_not", _TRUTH, "any", emit=lambda e, x: e.not_(e.truth(x))
)
isnan = _without_derivative("isnan", _TRUTH, "any", emit=lambda e, x: e.isnan(x))
isinf = _without_derivative("isinf", _TRUTH, "any", emit=lambda e, x: e.isinf(x))
isfinite = _without_derivative("isfinite", _TRUTH, "any", emit=lambda e, x: e.isfinite(x))

# Integers.

_INTEGER = NoDerivative("integer")
bitwise_and = _without_derivative("bitwise_and", _INTEGER, emit=lambda e, x, y: e.and_(x, y))
bitwise_or = _without_derivative("bitwise_or", _INTEGER, emit=lambda e, x, y: e.or_(x, y))
bitwise_xor = _without_derivative("bitwise_xor", _INTEGER, emit=lambda e, x, y: e.xor(x, y))
bitwise_invert = _without_derivative("bitwise_invert", _INTEGER, emit=lambda e, x: e.not_(x))
left_shift = _without_derivative(
    "left_shift", _INTEGER, emit=lambda e, x, y: e.shifted("shl", x, y)
)
right_shift = _without_derivative(
    "right_shift", _INTEGER, emit=lambda e, x, y: e.shifted("shr", x, y)
)
gcd = _without_derivative("gcd", _INTEGER, emit=lambda e, x, y: e.pairwise("gcd", x, y))
lcm = _without_derivative("lcm", _INTEGER, emit=lambda e, x, y: e.pairwise("lcm", x, y))
