"""Emit rules for complex functions, whole-number divisors and neighbouring floating numbers.

Special values of complex functions are those of C (ISO/IEC 9899:2018, Annex G), which NumPy calls.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clew.evaluate.native.emitter import BOOL, Emitter, Value

# --- complex functions ------------------------------------------------------------------------


def function(e: Emitter, name: str, x: Value) -> Value | None:
    """Write a function of one real or complex number; None where it has no native form."""
    if x.dtype.kind != "c":
        return e.sqrt(x) if name == "sqrt" and x.dtype.kind == "f" else e.math(name, x)
    rule = _COMPLEX.get(name)
    return None if rule is None else rule(e, x)


def _written(e: Emitter, name: str, *operands: Value) -> Value:
    found = e.math(name, *operands)
    assert found is not None
    return found


def _is_infinite(e: Emitter, x: Value) -> Value:
    return e.eq(e.abs(x), e.like(x, math.inf))


def _is_finite(e: Emitter, x: Value) -> Value:
    return e.lt(e.abs(x), e.like(x, math.inf))


def _exp(e: Emitter, z: Value) -> Value:
    """``exp(a) (cos b + i sin b)``, in two factors where ``exp(a)`` alone would overflow."""
    a, b = e.parts(z)
    zero, one, infinity = e.like(a, 0.0), e.like(a, 1.0), e.like(a, math.inf)
    large = e.gt(a, e.like(a, 0.98 * math.log(float(np.finfo(a.dtype).max))))
    large = e.and_(large, e.lt(a, infinity))
    first = _written(e, "exp", e.select(large, e.mul(a, e.like(a, 0.5)), a))
    second = e.select(large, first, one)
    real = e.mul(e.mul(first, _written(e, "cos", b)), second)
    imag = e.mul(e.mul(first, _written(e, "sin", b)), second)
    odd = e.not_(_is_finite(e, b))
    gone = e.and_(odd, e.eq(a, e.neg(infinity)))
    real, imag = e.select(gone, zero, real), e.select(gone, zero, imag)
    real = e.select(e.and_(odd, e.eq(a, infinity)), infinity, real)
    level = e.eq(b, zero)
    return e.joined(z.dtype, e.select(level, first, real), e.select(level, b, imag))


def _log(e: Emitter, z: Value) -> Value:
    """``log |z| + i arctan2(b, a)``; near ``|z| = 1`` from ``|z|^2 - 1``, far away scaled."""
    a, b = e.parts(z)
    x, y = e.abs(a), e.abs(b)
    big, small = e.maximum(x, y), e.minimum(x, y)
    far = e.gt(big, e.like(a, 2.0 ** (100 if a.dtype.itemsize == 4 else 1000)))
    scale = e.select(far, e.like(a, 0.25), e.like(a, 1.0))
    size = _written(e, "hypot", e.mul(a, scale), e.mul(b, scale))
    real = e.add(_written(e, "log", size), e.select(far, e.like(a, math.log(4)), e.like(a, 0.0)))
    one = e.like(a, 1.0)
    excess = e.add(e.mul(e.sub(big, one), e.add(big, one)), e.mul(small, small))
    near = e.and_(e.gt(big, e.like(a, 0.5)), e.lt(big, e.like(a, 2.0)))
    close = e.mul(_written(e, "log1p", e.select(near, excess, one)), e.like(a, 0.5))
    return e.joined(z.dtype, e.select(near, close, real), _written(e, "arctan2", b, a))


def _sqrt(e: Emitter, z: Value) -> Value:
    """``t + i b/2t`` with ``t^2 = (|a| + |z|)/2``, the parts exchanged where a < 0."""
    a, b = e.parts(z)
    zero, half, infinity = e.like(a, 0.0), e.like(a, 0.5), e.like(a, math.inf)
    limit = float(np.finfo(a.dtype).max) / 8
    far = e.gt(e.maximum(e.abs(a), e.abs(b)), e.like(a, limit))
    scale = e.select(far, e.like(a, 0.0625), e.like(a, 1.0))
    x, y = e.mul(a, scale), e.mul(b, scale)
    size = _written(e, "hypot", x, y)
    t = e.sqrt(e.mul(e.add(e.abs(x), size), half))
    back = e.select(far, e.like(a, 4.0), e.like(a, 1.0))
    other = e.select(e.eq(t, zero), zero, e.div(e.mul(e.abs(y), half), t))
    t, other = e.mul(t, back), e.mul(other, back)
    left = e.lt(a, zero)
    real, imag = e.select(left, other, t), e.select(left, t, other)
    # Infinite parts.
    endless = _is_infinite(e, a)
    real = e.select(endless, e.select(left, e.select(e.isnan(b), b, zero), infinity), real)
    imag = e.select(endless, e.select(left, infinity, e.select(e.isnan(b), b, zero)), imag)
    vertical = _is_infinite(e, b)
    real, imag = e.select(vertical, infinity, real), e.select(vertical, infinity, imag)
    return e.joined(z.dtype, real, e.copysign(imag, b))


def _sign(e: Emitter, z: Value) -> Value:
    """``z / |z|``; of an infinite part alone, its sign."""
    a, b = e.parts(z)
    zero, one = e.like(a, 0.0), e.like(a, 1.0)
    size = _written(e, "hypot", a, b)
    endless = _is_infinite(e, size)
    parts = []
    for own, other in ((a, b), (b, a)):
        plain = e.select(e.eq(size, zero), zero, e.div(own, size))
        whole = e.select(_is_infinite(e, own), e.copysign(one, own), zero)
        both = e.and_(_is_infinite(e, own), _is_infinite(e, other))
        whole = e.select(both, e.like(a, math.nan), whole)
        parts.append(e.select(endless, whole, plain))
    return e.joined(z.dtype, *parts)


def _sinh(e: Emitter, z: Value) -> Value:
    """``sinh a cos b + i cosh a sin b``."""
    a, b = e.parts(z)
    zero, odd = e.like(a, 0.0), e.not_(_is_finite(e, b))
    real = e.mul(_written(e, "sinh", a), _written(e, "cos", b))
    imag = e.mul(_written(e, "cosh", a), _written(e, "sin", b))
    real = e.select(e.and_(odd, e.or_(_is_infinite(e, a), e.eq(a, zero))), a, real)
    level = e.eq(b, zero)
    real = e.select(level, _written(e, "sinh", a), real)
    return e.joined(z.dtype, real, e.select(level, b, imag))


def _cosh(e: Emitter, z: Value) -> Value:
    """``cosh a cos b + i sinh a sin b``."""
    a, b = e.parts(z)
    zero, odd = e.like(a, 0.0), e.not_(_is_finite(e, b))
    real = e.mul(_written(e, "cosh", a), _written(e, "cos", b))
    imag = e.mul(_written(e, "sinh", a), _written(e, "sin", b))
    real = e.select(e.and_(odd, _is_infinite(e, a)), e.like(a, math.inf), real)
    level = e.eq(b, zero)
    real = e.select(level, _written(e, "cosh", a), real)
    flat = e.or_(level, e.eq(a, zero))
    return e.joined(z.dtype, real, e.select(flat, e.copysign(zero, e.mul(a, b)), imag))


def _tanh(e: Emitter, z: Value) -> Value:
    """From tan b and sinh a (Kahan, "Branch cuts for complex elementary functions", 1987)."""
    a, b = e.parts(z)
    zero, one = e.like(a, 0.0), e.like(a, 1.0)
    far = e.gt(e.abs(a), e.like(a, 20.0))
    s = _written(e, "sinh", e.select(far, one, a))
    t = _written(e, "tan", b)
    beta = e.add(one, e.mul(t, t))
    below = e.add(one, e.mul(beta, e.mul(s, s)))
    root = e.sqrt(e.add(one, e.mul(s, s)))
    real, imag = e.div(e.mul(e.mul(beta, root), s), below), e.div(t, below)
    odd = e.not_(_is_finite(e, b))
    decay = _written(e, "exp", e.mul(e.abs(a), e.like(a, -2.0)))
    turn = e.mul(_written(e, "sin", b), _written(e, "cos", b))
    small = e.mul(e.mul(e.like(a, 4.0), turn), decay)
    small = e.select(e.and_(odd, _is_infinite(e, a)), zero, small)
    edge = e.select(e.and_(odd, _is_finite(e, a)), e.add(b, e.neg(b)), e.copysign(one, a))
    real, imag = e.select(far, edge, real), e.select(far, small, imag)
    real = e.select(e.and_(odd, e.eq(a, zero)), a, real)
    level = e.eq(b, zero)
    real = e.select(level, _written(e, "tanh", a), real)
    return e.joined(z.dtype, real, e.select(level, b, imag))


def _turned(rule: Any) -> Any:
    """Return ``-i f(i z)``."""

    def turned(e: Emitter, z: Value) -> Value:
        a, b = e.parts(z)
        real, imag = e.parts(rule(e, e.joined(z.dtype, e.neg(b), a)))
        return e.joined(z.dtype, imag, e.neg(real))

    return turned


def _cos(e: Emitter, z: Value) -> Value:
    a, b = e.parts(z)
    return _cosh(e, e.joined(z.dtype, e.neg(b), a))


_COMPLEX: dict[str, Any] = {
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "sign": _sign,
    "sin": _turned(_sinh),
    "cos": _cos,
    "tan": _turned(_tanh),
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _tanh,
}

# --- whole numbers ----------------------------------------------------------------------------


def gcd(e: Emitter, x: Value, y: Value) -> Value | None:
    """The greatest common divisor, by Euclid's algorithm."""
    if x.dtype.kind not in "iu":
        return None
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    left, right = e.slot(unsigned), e.slot(unsigned)
    e.set(left, e.bitcast(e.abs(x), unsigned))
    e.set(right, e.bitcast(e.abs(y), unsigned))
    head, body, after = (e.new_label(word) for word in ("euclid", "divide", "divided"))
    e.start(head)
    divisor = e.get(right)
    goes_on = e.ne(divisor, e.like(divisor, 0))
    e.line(f"br i1 {goes_on.name}, label %{body}, label %{after}")
    e.start(body, falls_through=False)
    rest = e.remaindered(e.get(left), divisor)
    e.set(left, divisor)
    e.set(right, rest)
    e.line(f"br label %{head}")
    e.start(after, falls_through=False)
    return e.bitcast(e.get(left), x.dtype)


def lcm(e: Emitter, x: Value, y: Value) -> Value | None:
    """The least common multiple; 0 if both are 0."""
    shared = gcd(e, x, y)
    if shared is None:
        return None
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    size, by = e.bitcast(e.abs(x), unsigned), e.bitcast(shared, unsigned)
    zero = e.like(by, 0)
    safe = e.select(e.eq(by, zero), e.like(by, 1), by)
    return e.bitcast(e.mul(e.div(size, safe), e.bitcast(e.abs(y), unsigned)), x.dtype)


# --- neighbours -------------------------------------------------------------------------------


def nextafter(e: Emitter, x: Value, y: Value) -> Value | None:
    """The next number from x towards y: bits, read as whole numbers, are in order of size."""
    if x.dtype.kind != "f":
        return None
    bits = np.dtype(f"i{x.dtype.itemsize}")
    zero, number = e.like(x, 0.0), e.bitcast(x, bits)
    one = e.like(number, 1)
    outwards = e.eq(_as_int(e, e.lt(x, y)), _as_int(e, e.gt(x, zero)))
    moved = e.bitcast(e.select(outwards, e.add(number, one), e.sub(number, one)), x.dtype)
    smallest = e.copysign(e.bitcast(e.constant(bits, 1), x.dtype), y)
    found = e.select(e.eq(x, zero), smallest, moved)
    found = e.select(e.eq(x, y), y, found)
    return e.select(e.or_(e.isnan(x), e.isnan(y)), e.add(x, y), found)


def _as_int(e: Emitter, truth: Value) -> Value:
    assert truth.dtype == BOOL
    return e.convert(truth, np.int8)
