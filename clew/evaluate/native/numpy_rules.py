"""Scalar operations as NumPy defines them, written with the elementary ones of the emitter.

A rule returns None where a dtype has no native form.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.evaluate.native.module import INT32, INT64, Value, llvm_type

_KNOWN_POWERS = (0.0, 1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0, -2.0)


class NumpyRules:
    """What :class:`~clew.evaluate.native.emitter.Emitter` offers beyond elementary operations."""

    # The elementary operations, which the emitter defines.
    add: Any
    sub: Any
    mul: Any
    div: Any
    neg: Any
    abs: Any
    eq: Any
    ne: Any
    lt: Any
    le: Any
    gt: Any
    ge: Any
    and_: Any
    or_: Any
    not_: Any
    xor: Any
    shl: Any
    shr: Any
    select: Any
    like: Any
    constant: Any
    convert: Any
    bitcast: Any
    isnan: Any
    math: Any
    sqrt: Any
    parts: Any
    joined: Any
    copysign: Any
    floor: Any
    remaindered: Any
    _intrinsic: Any
    assign: Any
    intrinsic: Any

    # --- functions with rules of their own ---------------------------------------------

    def function(self, name: str, x: Any) -> Any:
        """A function of one real or complex number."""
        from clew.evaluate.native.scalar_rules import function

        return function(self, name, x)  # type: ignore[arg-type]

    def pairwise(self, name: str, x: Any, y: Any) -> Any:
        """``gcd``, ``lcm`` or ``nextafter``."""
        from clew.evaluate.native import scalar_rules

        return getattr(scalar_rules, name)(self, x, y)

    # --- powers and division -----------------------------------------------------------

    def power(self, x: Any, p: Any) -> Any:
        """``x ** p``; small known exponents as products and roots."""
        known = p.known
        if known is not None and complex(known).imag == 0 and known in _KNOWN_POWERS:
            found = self._known_power(x, float(complex(known).real))
            if found is not None:
                return found
        if x.dtype.kind != "f":
            return None
        return self.math("power", x, p)

    def _known_power(self, x: Any, p: float) -> Any:
        if p == 0.0:
            return self.like(x, 1)
        if p == 1.0:
            return x
        if p in (2.0, 3.0, 4.0):
            square = self.mul(x, x)
            if p == 2.0:
                return square
            return self.mul(square, x if p == 3.0 else square)
        if x.dtype.kind != "f":
            return None
        one = self.like(x, 1)
        if p == -1.0:
            return self.div(one, x)
        if p == -2.0:
            return self.div(one, self.mul(x, x))
        # pow(-0.0, 0.5) is 0 and pow(-inf, 0.5) is inf, where sqrt gives -0 and nan.
        root = self.abs(
            self.sqrt(self.select(self.eq(x, self.like(x, -float("inf"))), self.abs(x), x))
        )
        return root if p == 0.5 else self.div(one, root)

    def divided(self, x: Any, y: Any) -> Any:
        """``x / y``; by a complex zero each part is divided by the real 0."""
        found = self.div(x, y)
        if x.dtype.kind != "c":
            return found
        zero = self.abs(self.parts(y)[0])
        parts = [self.div(part, zero) for part in self.parts(x)]
        return self.select(self.eq(y, self.like(y, 0)), self.joined(x.dtype, *parts), found)

    def fmod(self, x: Any, y: Any) -> Any:
        """The remainder with the sign of x; of integers by 0, 0."""
        if x.dtype.kind == "f":
            return self.remaindered(x, y)
        if x.dtype.kind == "b":
            return None
        zero = self.like(y, 0)
        bad = self._undivided(x, y)
        rest = self.remaindered(x, self.select(bad, self.like(y, 1), y))
        return self.select(bad, zero, rest)

    def _undivided(self, x: Any, y: Any) -> Any:
        """Where an integer division is not defined: by 0, and by -1 where it may overflow."""
        bad = self.eq(y, self.like(y, 0))
        return self.or_(bad, self.eq(y, self.like(y, -1))) if y.dtype.kind == "i" else bad

    def remainder(self, x: Any, y: Any) -> Any:
        """The remainder with the sign of y."""
        rest = self.fmod(x, y)
        if rest is None or x.dtype.kind == "u":
            return rest
        zero = self.like(x, 0)
        differ = self.xor(self.lt(rest, zero), self.lt(y, zero))
        wrong = self.and_(self.ne(rest, zero), differ)
        found = self.select(wrong, self.add(rest, y), rest)
        if x.dtype.kind == "f":
            found = self.select(self.eq(rest, zero), self.copysign(zero, y), found)
        return found

    def floor_divide(self, x: Any, y: Any) -> Any:
        """The quotient rounded down; of integers by 0, 0."""
        if x.dtype.kind == "b":
            return None
        zero, one = self.like(x, 0), self.like(x, 1)
        if x.dtype.kind == "f":
            return self._floor_divided(x, y, zero, one)
        bad = self._undivided(x, y)
        safe = self.select(bad, one, y)
        quotient = self.div(x, safe)
        if x.dtype.kind == "i":
            rest = self.remaindered(x, safe)
            differ = self.xor(self.lt(rest, zero), self.lt(safe, zero))
            down = self.and_(self.ne(rest, zero), differ)
            quotient = self.select(down, self.sub(quotient, one), quotient)
            negated = self.select(self.eq(y, zero), zero, self.neg(x))
            return self.select(bad, negated, quotient)
        return self.select(bad, zero, quotient)

    def _floor_divided(self, x: Any, y: Any, zero: Any, one: Any) -> Any:
        """As ``npy_divmod``: from the exact remainder, so that the quotient is whole."""
        rest = self.remaindered(x, y)
        quotient = self.div(self.sub(x, rest), y)
        differ = self.xor(self.lt(rest, zero), self.lt(y, zero))
        down = self.and_(self.ne(rest, zero), differ)
        quotient = self.select(down, self.sub(quotient, one), quotient)
        whole = self.floor(quotient)
        far = self.gt(self.sub(quotient, whole), self.like(x, 0.5))
        whole = self.select(far, self.add(whole, one), whole)
        none = self.copysign(zero, self.div(x, y))
        found = self.select(self.eq(quotient, zero), none, whole)
        return self.select(self.eq(y, zero), self.div(x, y), found)

    # --- choices -----------------------------------------------------------------------

    def _extreme(self, x: Any, y: Any, word: str, keeps_nan: bool) -> Any:
        if x.dtype.kind == "b":
            return self.or_(x, y) if word == "gt" else self.and_(x, y)
        if x.dtype.kind in "iu":
            return self.select(self.gt(x, y) if word == "gt" else self.lt(x, y), x, y)
        if x.dtype.kind == "c":
            return None
        if not keeps_nan:
            better = self.ge(x, y) if word == "gt" else self.le(x, y)
            return self.select(self.or_(better, self.isnan(y)), x, y)
        return self._intrinsic("maximum" if word == "gt" else "minimum", x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        """The larger; NaN if one is."""
        return self._extreme(x, y, "gt", True)

    def minimum(self, x: Any, y: Any) -> Any:
        """The smaller; NaN if one is."""
        return self._extreme(x, y, "lt", True)

    def fmax(self, x: Any, y: Any) -> Any:
        """The larger; the other if one is NaN."""
        return self._extreme(x, y, "gt", False)

    def fmin(self, x: Any, y: Any) -> Any:
        """The smaller; the other if one is NaN."""
        return self._extreme(x, y, "lt", False)

    def sign(self, x: Any) -> Any:
        """-1, 0 or 1; NaN of NaN; of a complex value, the number of size 1 in its direction."""
        if x.dtype.kind == "c":
            return self.function("sign", x)
        if x.dtype.kind == "b":
            return None
        zero, one = self.like(x, 0), self.like(x, 1)
        found = self.select(self.gt(x, zero), one, zero)
        if x.dtype.kind == "u":
            return found
        found = self.select(self.lt(x, zero), self.like(x, -1), found)
        return self.select(self.isnan(x), x, found) if x.dtype.kind == "f" else found

    def heaviside(self, x: Any, y: Any) -> Any:
        """0 below zero, 1 above it, y at it; NaN of NaN."""
        if x.dtype.kind != "f":
            return None
        zero, one = self.like(x, 0), self.like(x, 1)
        found = self.select(self.lt(x, zero), zero, self.select(self.eq(x, zero), y, one))
        return self.select(self.isnan(x), x, found)

    def conjugate(self, x: Any) -> Any:
        """The complex conjugate."""
        if x.dtype.kind != "c":
            return x
        real, imag = self.parts(x)
        return self.joined(x.dtype, real, self.neg(imag))

    # --- truth -------------------------------------------------------------------------

    def compare(self, word: str, x: Any, y: Any) -> Any:
        """A comparison by name, in the common dtype; of complex values only for equality."""
        if x.dtype != y.dtype:
            common = np.result_type(x.dtype, y.dtype)
            if common.kind == "f" and x.dtype.kind + y.dtype.kind in ("iu", "ui"):
                return None
            x, y = self.convert(x, common), self.convert(y, common)
        if x.dtype.kind == "c" and word not in ("eq", "ne"):
            return None
        return getattr(self, word)(x, y)

    def truth(self, x: Any) -> Any:
        """Whether a value is not zero."""
        return x if x.dtype.kind == "b" else self.ne(x, self.like(x, 0))

    def isinf(self, x: Any) -> Any:
        """Whether a value is infinite."""
        if x.dtype.kind == "c":
            real, imag = self.parts(x)
            return self.or_(self.isinf(real), self.isinf(imag))
        if x.dtype.kind != "f":
            return self.constant("?", False)
        return self.eq(self.abs(x), self.like(x, float("inf")))

    def isfinite(self, x: Any) -> Any:
        """Whether a value is a finite number."""
        if x.dtype.kind == "c":
            real, imag = self.parts(x)
            return self.and_(self.isfinite(real), self.isfinite(imag))
        if x.dtype.kind != "f":
            return self.constant("?", True)
        return self.lt(self.abs(x), self.like(x, float("inf")))

    def signbit(self, x: Any) -> Any:
        """Whether the sign is negative, of zeros and NaN too."""
        if x.dtype.kind != "f":
            return self.lt(x, self.like(x, 0)) if x.dtype.kind in "iu" else None
        bits = self.bitcast(x, f"i{x.dtype.itemsize}")
        return self.lt(bits, self.like(bits, 0))

    def rounded(self, name: str, x: Any) -> Any:
        """Round by the operation of this name, each part of a complex value; whole numbers stay."""
        if x.dtype.kind == "c":
            return self.joined(x.dtype, *(self.rounded(name, part) for part in self.parts(x)))
        return getattr(self, name)(x) if x.dtype.kind == "f" else x

    def shifted(self, name: str, x: Any, y: Any) -> Any:
        """Shift; by the width or more, as if one bit at a time."""
        if x.dtype.kind == "b":
            return None
        width = 8 * x.dtype.itemsize
        bits = self.bitcast(y, f"u{y.dtype.itemsize}")
        fits = self.lt(bits, self.like(bits, width))
        moved = getattr(self, name)(x, self.select(fits, y, self.like(y, 0)))
        zero = self.like(x, 0)
        if name == "shr" and x.dtype.kind == "i":
            return self.select(fits, moved, self.select(self.lt(x, zero), self.like(x, -1), zero))
        return self.select(fits, moved, zero)

    # --- conversion --------------------------------------------------------------------

    def _converted(self, x: Value, dtype: np.dtype) -> Value:
        source, target = llvm_type(x.dtype), llvm_type(dtype)
        if x.dtype.kind == "f" and dtype.kind == "f":
            word = "fpext" if dtype.itemsize > x.dtype.itemsize else "fptrunc"
        elif dtype.kind == "f":
            word = "sitofp" if x.dtype.kind == "i" else "uitofp"
        elif x.dtype.kind == "f":
            return self._from_float(x, dtype)
        elif source == target:
            return Value(dtype, x.name)
        elif x.dtype.kind != "b" and x.dtype.itemsize > dtype.itemsize:
            word = "trunc"
        else:
            word = "sext" if x.dtype.kind == "i" else "zext"
        return Value(dtype, self.assign(f"{word} {source} {x.name} to {target}"))

    def _from_float(self, x: Value, dtype: np.dtype) -> Value:
        """Through 64 bits, as C compilers on the reference's machines do."""
        if dtype.kind == "u" and dtype.itemsize == 8:
            # Beyond 2^63 the signed conversion does not reach.
            half = self.like(x, 2.0**63)
            high = self.ge(x, half)
            low = self._from_float(self.select(high, self.sub(x, half), x), INT64)
            top = self.constant(INT64, -(2**63))
            return Value(dtype, self.select(high, self.xor(low, top), low).name)
        kind = llvm_type(x.dtype)
        bits = INT64 if dtype.itemsize > 4 or dtype.kind == "u" else INT32
        wide = llvm_type(bits)
        suffix = {"half": "f16", "float": "f32", "double": "f64"}[kind]
        limit = 2.0 ** (8 * bits.itemsize - 1)
        fits = self.and_(self.ge(x, self.like(x, -limit)), self.lt(x, self.like(x, limit)))
        raw = Value(
            bits, self.intrinsic(f"llvm.fptosi.sat.{wide}.{suffix}", wide, f"{kind} {x.name}")
        )
        lowest = self.constant(bits, -(2 ** (8 * bits.itemsize - 1)))
        return self.convert(self.select(fits, raw, lowest), dtype)
