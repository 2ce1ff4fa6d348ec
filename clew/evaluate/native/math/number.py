"""Numbers with operators: formulas in this package read as formulas and write LLVM IR.

The building blocks below them are the usual ones: polynomials, error-free sums and products
(Knuth; Dekker, Numer. Math. 18, 1971; with a fused multiply-add where there is one), rounding by
a large constant, and the fields of an IEEE number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clew.evaluate.native.emitter import Emitter, Value, literal


@final
@dataclass(frozen=True)
class Format:
    """An IEEE binary format: stored bits of the significand, exponent bias, type of the bits."""

    digits: int
    bias: int
    bits: np.dtype

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.digits


FORMATS = {
    4: Format(23, 127, np.dtype(np.uint32)),
    8: Format(52, 1023, np.dtype(np.uint64)),
}


@final
class Number:
    """A value and the emitter that operations on it are written with.

    Other operands may be Python numbers. Comparisons give truth values, joined by ``&``, ``|``,
    ``~``. Shifts to the right fill with zeros, as :func:`bits_of` is unsigned.
    """

    __slots__ = ("e", "value")

    def __init__(self, e: Emitter, value: Value) -> None:
        self.e = e
        self.value = value

    @property
    def format(self) -> Format:
        """The IEEE format of a floating number."""
        return FORMATS[self.value.dtype.itemsize]

    @property
    def wide(self) -> bool:
        """Whether this is a double."""
        return self.value.dtype.itemsize == 8

    def like(self, number: Operand) -> Number:
        """Return an operand as a number of this one's dtype."""
        if isinstance(number, Number):
            return number
        return Number(self.e, _constant(self.value.dtype, number))

    def _of(self, other: Operand) -> Value:
        return other.value if isinstance(other, Number) else _constant(self.value.dtype, other)

    def __add__(self, other: Operand) -> Number:
        return Number(self.e, self.e.add(self.value, self._of(other)))

    def __radd__(self, other: float) -> Number:
        return Number(self.e, self.e.add(self._of(other), self.value))

    def __sub__(self, other: Operand) -> Number:
        return Number(self.e, self.e.sub(self.value, self._of(other)))

    def __rsub__(self, other: float) -> Number:
        return Number(self.e, self.e.sub(self._of(other), self.value))

    def __mul__(self, other: Operand) -> Number:
        return Number(self.e, self.e.mul(self.value, self._of(other)))

    def __rmul__(self, other: float) -> Number:
        return Number(self.e, self.e.mul(self._of(other), self.value))

    def __truediv__(self, other: Operand) -> Number:
        return Number(self.e, self.e.div(self.value, self._of(other)))

    def __rtruediv__(self, other: float) -> Number:
        return Number(self.e, self.e.div(self._of(other), self.value))

    def __neg__(self) -> Number:
        return Number(self.e, self.e.neg(self.value))

    def __abs__(self) -> Number:
        return Number(self.e, self.e.abs(self.value))

    def __lt__(self, other: Operand) -> Number:
        return Number(self.e, self.e.lt(self.value, self._of(other)))

    def __le__(self, other: Operand) -> Number:
        return Number(self.e, self.e.le(self.value, self._of(other)))

    def __gt__(self, other: Operand) -> Number:
        return Number(self.e, self.e.gt(self.value, self._of(other)))

    def __ge__(self, other: Operand) -> Number:
        return Number(self.e, self.e.ge(self.value, self._of(other)))

    def equals(self, other: Operand) -> Number:
        """Say whether both are equal."""
        return Number(self.e, self.e.eq(self.value, self._of(other)))

    def differs(self, other: Operand) -> Number:
        """Say whether both are not equal; true of NaN."""
        return Number(self.e, self.e.ne(self.value, self._of(other)))

    def __and__(self, other: Operand) -> Number:
        return Number(self.e, self.e.and_(self.value, self._of(other)))

    def __or__(self, other: Operand) -> Number:
        return Number(self.e, self.e.or_(self.value, self._of(other)))

    def __xor__(self, other: Operand) -> Number:
        return Number(self.e, self.e.xor(self.value, self._of(other)))

    def __invert__(self) -> Number:
        return Number(self.e, self.e.not_(self.value))

    def __lshift__(self, other: Operand) -> Number:
        return Number(self.e, self.e.shl(self.value, self._of(other)))

    def __rshift__(self, other: Operand) -> Number:
        return Number(self.e, self.e.shr(self.value, self._of(other)))


Operand = Number | float


_CONSTANTS: dict[tuple[np.dtype, float], Value] = {}


def _constant(dtype: np.dtype, number: float) -> Value:
    """Return a constant; writing its bits as text takes longer than any other instruction."""
    if not number:
        return Value(dtype, literal(dtype, number))  # minus zero is equal to zero
    key = (dtype, number)
    known = _CONSTANTS.get(key)
    if known is None:
        known = _CONSTANTS[key] = Value(dtype, literal(dtype, number))
    return known


def fma(x: Number, y: Operand, z: Operand) -> Number:
    """Return ``x y + z``, rounded once; what :meth:`Emitter.fma` writes, in a third of the time."""
    e, kind = x.e, "double" if x.wide else "float"
    name = "llvm.fma.f64" if x.wide else "llvm.fma.f32"
    e.module.declare(name, f"{kind} @{name}({kind}, {kind}, {kind})")
    a, b, c = x.value.name, x.like(y).value.name, x.like(z).value.name
    text = f"call {kind} @{name}({kind} {a}, {kind} {b}, {kind} {c})"
    return Number(e, Value(x.value.dtype, e.assign(text)))


def select(condition: Number, x: Operand, y: Operand) -> Number:
    """Return ``x`` where the condition holds, else ``y``; one of them is a :class:`Number`."""
    sample = x if isinstance(x, Number) else y
    assert isinstance(sample, Number)
    e = sample.e
    return Number(e, e.select(condition.value, sample.like(x).value, sample.like(y).value))


def sqrt(x: Number) -> Number:
    """Return the square root."""
    return Number(x.e, x.e.sqrt(x.value))


def floor(x: Number) -> Number:
    """Round down."""
    return Number(x.e, x.e.floor(x.value))


def copysign(x: Number, y: Number) -> Number:
    """Return the size of ``x`` with the sign of ``y``."""
    return Number(x.e, x.e.copysign(x.value, y.value))


def largest(x: Number, y: Operand) -> Number:
    """Return the larger; NaN in ``x`` stays."""
    return select(x < y, y, x)


def smallest(x: Number, y: Operand) -> Number:
    """Return the smaller; NaN in ``x`` stays."""
    return select(x > y, y, x)


def bits_of(x: Number) -> Number:
    """Return a floating number's bits as an unsigned integer."""
    return Number(x.e, x.e.bitcast(x.value, x.format.bits))


def from_bits(bits: Number) -> Number:
    """Return the floating number that has these bits."""
    return Number(bits.e, bits.e.bitcast(bits.value, f"f{bits.value.dtype.itemsize}"))


def polynomial(x: Number, coefficients: Sequence[float], square: Number | None = None) -> Number:
    """Return ``c0 + c1 x + c2 x^2 + ...``: even and odd terms apart, which halves the latency."""
    count = len(coefficients)
    if count < 5:
        return horner(x, coefficients)
    square = x * x if square is None else square
    return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[0::2]))


def horner(x: Number, coefficients: Sequence[float]) -> Number:
    """Return ``c0 + c1 x + c2 x^2 + ...`` with the fewest operations."""
    result = x.like(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = fma(result, x, coefficient)
    return result


def two_sum(x: Number, y: Operand) -> tuple[Number, Number]:
    """Return ``x + y`` rounded and the rounding error (Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (x.like(y) - part)


def fast_two_sum(x: Number, y: Number) -> tuple[Number, Number]:
    """Return ``x + y`` rounded and the rounding error, given ``|x| >= |y|`` (Dekker)."""
    total = x + y
    return total, y - (total - x)


def two_product(x: Number, y: Operand) -> tuple[Number, Number]:
    """Return ``x y`` rounded and the rounding error."""
    product = x * y
    return product, fma(x, y, -product)


def rounding_constant(x: Number, offset: int = 0) -> float:
    """Return 1.5 2^digits: added to a number, it leaves the nearest integer in the low bits.

    ``offset`` is added to that integer. Both conversions, to integers and back, are then
    additions, which every vector unit has also for 64 bits.
    """
    return 1.5 * 2.0**x.format.digits + offset
