"""Reduction of angles: ``x - n pi/2`` as a sum of two numbers, and n's last bits.

Cody and Waite's subtraction with fused multiply-adds: ``x - n P1`` is exact, as its last place is
not below that of P1 and it is below 1; three constants together hold pi/2 to 160 bits (72 for
float32). Huge angles need the bits of 2/pi that their exponent selects (Payne and Hanek, SIGNUM
Newsletter 18, 1983). See Muller, Elementary Functions (3rd ed.), chapter 11.
"""

from __future__ import annotations

from itertools import pairwise

from clew.evaluate.native.emitter import BOOL, INT64, UINT64, Emitter, Value
from clew.evaluate.native.math.number import (
    Number,
    bits_of,
    fast_two_sum,
    fma,
    from_bits,
    rounding_constant,
    select,
    two_product,
    two_sum,
)

HALF_PI = {
    4: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    8: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
TWO_BY_PI = 0.6366197723675814


def reduce(x: Number) -> tuple[Number, Number, Number]:
    """Return ``n`` (in the low bits of an integer), ``r`` and a small ``s``: x = n pi/2 + r + s."""
    first, second, third = HALF_PI[x.value.dtype.itemsize]
    offset = rounding_constant(x)
    shifted = fma(x, TWO_BY_PI, offset)
    n = shifted - offset
    product, lost = two_product(n, second)
    r, low = two_sum(fma(n, -first, x), -product)
    return bits_of(shifted), r, fma(n, -third, low - lost)


# 2/pi as words of 64 bits after sixteen zero bits, enough for the largest double.
_ZEROS = 16
_WORDS = (
    0x0000A2F9836E4E44,
    0x1529FC2757D1F534,
    0xDDC0DB6295993C43,
    0x9041FE5163ABDEBB,
    0xC561B7246E3A424D,
    0xD2E006492EEA09D1,
    0x921CFE1DEB1CB129,
    0xA73EE88235F52EBB,
    0x4484E99C7026B45F,
    0x7E413991D6398353,
    0x39F49C845F8BBDF9,
    0x283B1FF897FFDE05,
    0x980FEF2F118B5A0A,
    0x6D1F6D367ECF27CB,
    0x09B74F463F669E5F,
    0xEA2D7527BAC7EBE5,
    0xF17B3D0739F78A52,
    0x92EA6BFB5FB11F8D,
    0x5D0856033046FC7B,
    0x6BABF0CFBC209AF4,
)


def _wide(e: Emitter, text: str, x: str, y: str | int) -> str:
    """Write an operation on 128 bits."""
    return e.assign(f"{text} i128 {x}, {y}")


def _window(e: Emitter, start: Value) -> list[str]:
    """Return 192 bits of 2/pi from bit ``start``, as three words extended to 128 bits."""
    table = e.module.table("math.two_by_pi", UINT64, _WORDS)
    word = e.shr(start, e.like(start, 6))
    shift = e.and_(start, e.like(start, 63))
    loaded = [e.load(table, UINT64, e.add(word, e.like(word, k))) for k in range(4)]
    words = []
    for high, low in pairwise(loaded):
        arguments = (f"i64 {x.name}" for x in (high, low, shift))
        words.append(e.intrinsic("llvm.fshl.i64", "i64", *arguments))
    return [e.assign(f"zext i64 {word} to i128") for word in words]


def reduce_huge(x: Number) -> tuple[Number, Number, Number]:
    """Return what :func:`reduce` does, for finite doubles of at least 2^40 in size; not vectorised.

    With ``x = m 2^k``, bits of 2/pi that count at least 4 after multiplication by 2^k are left
    out; m times the next 192 bits is x 2/pi modulo 4 with an error below 2^-136.
    """
    e = x.e
    bits = bits_of(x) & ((1 << 63) - 1)
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    # The first bit of 2/pi is worth 2^-1, the first of the window 2^(1-k).
    start = (bits >> 52) - (1075 + 2 - _ZEROS)
    top, middle, low = _window(e, start.value)
    factor = e.assign(f"zext i64 {mantissa.value.name} to i128")
    carried = _wide(e, "lshr", _wide(e, "mul", low, factor), 64)
    carried = _wide(e, "add", _wide(e, "mul", middle, factor), carried)
    # The upper 128 bits of the product: two of the integer, 126 of the fraction; a half added.
    product = _wide(e, "add", _wide(e, "shl", _wide(e, "mul", top, factor), 64), carried)
    raised = _wide(e, "add", product, 1 << 125)
    n = e.assign(f"trunc i128 {_wide(e, 'lshr', raised, 126)} to i64")
    # The fraction with its sign, in units of 2^-128.
    fraction = _wide(e, "sub", _wide(e, "shl", raised, 2), 1 << 127)
    negative = e.assign(f"icmp slt i128 {fraction}, 0")
    size = e.intrinsic("llvm.abs.i128", "i128", f"i128 {fraction}", "i1 false")
    zeros = e.intrinsic("llvm.ctlz.i128", "i128", f"i128 {size}", "i1 false")
    shifted = _wide(e, "shl", size, zeros)
    high = _as_double(x, _wide(e, "lshr", shifted, 128 - 53))
    rest = _as_double(x, _wide(e, "lshr", _wide(e, "shl", shifted, 53), 128 - 53))
    count = Number(e, Value(UINT64, e.assign(f"trunc i128 {zeros} to i64")))
    unit = from_bits((1023 - 53 - count) << 52)
    backwards = x < 0.0
    quarters = Number(e, Value(UINT64, n))
    quarters = select(backwards, 0 - quarters, quarters)
    signed = select(Number(e, Value(BOOL, negative)) ^ backwards, -unit, unit)
    first, second = high * signed, rest * (signed * 2.0**-53)
    r, lost = two_product(first, HALF_PI[8][0])
    r, lost = fast_two_sum(r, lost + fma(first, HALF_PI[8][1], second * HALF_PI[8][0]))
    return quarters, r, lost


def _as_double(x: Number, integer: str) -> Number:
    """Return an integer of 128 bits, below 2^53, as a double."""
    narrow = x.e.assign(f"trunc i128 {integer} to i64")
    return Number(x.e, x.e.convert(Value(INT64, narrow), x.value.dtype))
