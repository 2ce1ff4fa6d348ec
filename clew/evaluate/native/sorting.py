"""Order and random bits in native code: sort, argsort, places in sorted arrays, Philox.

Sorting is by merging runs from the bottom up (Knuth, The Art of Computer Programming 3, 5.2.4),
which is stable. NaN comes last, as NumPy has it.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import INT64, UINT64, Emitter, Value
from clew.evaluate.native.passing import Passing
from clew.ops.random import philox

_MOST_WORK = 1 << 12
"""Comparisons up to which sorting here is faster than calling NumPy, whose sorts use vectors."""


def before(e: Emitter, x: Value, y: Value) -> Value:
    """Return whether x comes before y in sorted order."""
    found = e.lt(x, y)
    if x.dtype.kind == "f":
        found = e.or_(found, e.and_(e.isnan(y), e.not_(e.isnan(x))))
    return found


# --- sorting ----------------------------------------------------------------------------------


def write_sort(program: Any, frame: Any, equation: Equation) -> bool:
    """Sort along an axis, or write the places that elements would be taken from."""
    (atom,), var = equation.inputs, equation.outputs[0]
    dtype, shape, axis = atom.type.dtype, atom.type.shape, equation.params["axis"]
    if dtype.kind not in "biuf" or not atom.type.size:
        return False
    length = shape[axis]
    kept = equation.primitive.name == "argsort"
    if atom.type.size * _passes(length) > _MOST_WORK * (8 if kept else 1):
        return False
    source = frame.in_memory_or_splat(frame.storage(atom))
    target = frame.allocated(var)
    scratch = [frame.scratch(d, (2, length)) for d in (dtype, INT64)]
    module = program.module
    e = Emitter(module, module.fresh("sort"))
    writer = Passing(e)
    zero = e.constant(INT64, 0)
    with contextlib.ExitStack() as loops:
        outer = [loops.enter_context(e.loop(0, n)) for n in (*shape[:axis], *shape[axis + 1 :])]
        with e.loop(0, length) as number:
            value = writer.load(source, [*outer[:axis], number, *outer[axis:]])
            writer.store(scratch[0], [zero, number], value)
            writer.store(scratch[1], [zero, number], number)
        given = ", ".join(f"ptr {writer.pointer(memory)}" for memory in scratch)
        e.line(f"call void {_sorter(module, dtype, length)}({given})")
        half = e.constant(INT64, _passes(length) % 2)
        with e.loop(0, length) as number:
            value = writer.load(scratch[kept], [half, number])
            writer.store(target, [*outer[:axis], number, *outer[axis:]], value)
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    frame.define(var, frame.settled(target))
    return True


def _passes(length: int) -> int:
    return max(length - 1, 0).bit_length()


def _sorter(module: Any, dtype: np.dtype, length: int) -> str:
    """Return a function that sorts keys, and places with them, between two halves of memory."""
    name = f"sort_{dtype.str[1:]}_{length}".replace("?", "b")
    if module.has(name):
        return f"@{name}"
    e = Emitter(module, name, [("ptr", "keys", "noalias"), ("ptr", "places", "noalias")])
    size = e.constant(INT64, length)
    with e.loop(0, _passes(length)) as number:
        width = e.shl(e.constant(INT64, 1), number)
        odd = e.and_(number, e.constant(INT64, 1))
        origin = e.mul(odd, size)
        end = e.mul(e.sub(e.constant(INT64, 1), odd), size)
        pairs = e.shr(e.sub(e.add(size, e.add(width, width)), e.constant(INT64, 1)), number)
        with e.loop(0, e.shr(pairs, e.constant(INT64, 1))) as pair:
            start = e.mul(pair, e.add(width, width))
            middle = e.minimum(e.add(start, width), size)
            stop = e.minimum(e.add(middle, width), size)
            _merge(e, dtype, (start, middle, stop), origin, end)
    e.ret()
    return module.add(e)


def _merge(
    e: Emitter, dtype: np.dtype, run: tuple[Value, Value, Value], origin: Value, end: Value
) -> None:
    """Merge two sorted runs of one half into the other; of equal elements the left comes first."""
    start, middle, stop = run
    left, right = e.slot(INT64), e.slot(INT64)
    e.set(left, start)
    e.set(right, middle)
    with e.loop(start, stop) as number:
        i, j = e.get(left), e.get(right)
        has_left, has_right = e.lt(i, middle), e.lt(j, stop)
        at_left = e.add(origin, e.select(has_left, i, start))
        at_right = e.add(origin, e.select(has_right, j, start))
        x, y = e.load("%keys", dtype, at_left), e.load("%keys", dtype, at_right)
        takes_right = e.and_(has_right, e.or_(e.not_(has_left), before(e, y, x)))
        place = e.load("%places", INT64, e.select(takes_right, at_right, at_left))
        e.store("%keys", e.select(takes_right, y, x), e.add(end, number))
        e.store("%places", place, e.add(end, number))
        step = e.convert(takes_right, INT64)
        e.set(right, e.add(j, step))
        e.set(left, e.add(i, e.sub(e.constant(INT64, 1), step)))


# --- places in sorted arrays ------------------------------------------------------------------


def write_searchsorted(program: Any, frame: Any, equation: Equation) -> bool:
    """Find by bisection where values would be put into sorted rows."""
    rows, wanted = equation.inputs
    var = equation.outputs[0]
    common = np.result_type(rows.type.dtype, wanted.type.dtype)
    lead, length = rows.type.shape[:-1], rows.type.shape[-1]
    if common.kind not in "biuf" or not length or wanted.type.shape[: len(lead)] != lead:
        return False
    table = frame.in_memory_or_splat(frame.storage(rows))
    values = frame.in_memory_or_splat(frame.storage(wanted))
    target = frame.allocated(var)
    module = program.module
    e = Emitter(module, module.fresh("search"))
    writer = Passing(e)
    low, high = e.slot(INT64), e.slot(INT64)
    one = e.constant(INT64, 1)
    with contextlib.ExitStack() as loops:
        index = [loops.enter_context(e.loop(0, n)) for n in wanted.type.shape]
        value = e.convert(writer.load(values, index), common)
        e.set(low, e.constant(INT64, 0))
        e.set(high, e.constant(INT64, length))
        with e.loop(0, length.bit_length()):
            i, j = e.get(low), e.get(high)
            middle = e.minimum(e.shr(e.add(i, j), one), e.constant(INT64, length - 1))
            element = e.convert(writer.load(table, [*index[: len(lead)], middle]), common)
            if equation.params["side"] == "left":
                after = before(e, element, value)
            else:
                after = e.not_(before(e, value, element))
            open_ = e.lt(i, j)
            e.set(low, e.select(e.and_(open_, after), e.add(middle, one), i))
            e.set(high, e.select(e.and_(open_, e.not_(after)), middle, j))
        writer.store(target, index, e.get(low))
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    frame.define(var, frame.settled(target))
    return True


# --- random bits ------------------------------------------------------------------------------


class _Word:
    """A 64-bit word with the operators that the rounds of Philox are written in."""

    def __init__(self, e: Emitter, value: Value) -> None:
        self._e = e
        self.value = value

    def _with(self, operation: Any, other: Any) -> _Word:
        other = other.value if isinstance(other, _Word) else self._e.constant(UINT64, other)
        return _Word(self._e, operation(self.value, other))

    def __add__(self, other: Any) -> _Word:
        return self._with(self._e.add, other)

    def __mul__(self, other: Any) -> _Word:
        return self._with(self._e.mul, other)

    def __and__(self, other: Any) -> _Word:
        return self._with(self._e.and_, other)

    def __or__(self, other: Any) -> _Word:
        return self._with(self._e.or_, other)

    def __xor__(self, other: Any) -> _Word:
        return self._with(self._e.xor, other)

    def __lshift__(self, other: Any) -> _Word:
        return self._with(self._e.shl, other)

    def __rshift__(self, other: Any) -> _Word:
        return self._with(self._e.shr, other)


def write_random_bits(program: Any, frame: Any, equation: Equation) -> bool:
    """Write two 64-bit results for each counter; the key's axes come first."""
    (atom,), var = equation.inputs, equation.outputs[0]
    count = math.prod(equation.params["shape"])
    if not var.type.size:
        return False
    keys = frame.in_memory_or_splat(frame.storage(atom))
    target = frame.allocated(var)
    lead = atom.type.shape[:-1]
    flat = target.view((*lead, count), (*target.strides[: len(lead)], 1))
    if not target.contiguous:
        return False
    module = program.module
    e = Emitter(module, module.fresh("random"))
    writer = Passing(e)
    with contextlib.ExitStack() as loops:
        row = [loops.enter_context(e.loop(0, n)) for n in lead]
        parts = [writer.load(keys, [*row, e.constant(INT64, i)]) for i in range(2)]
        key = tuple(_Word(e, e.convert(part, UINT64)) for part in parts)
        with e.loop(0, count // 2) as number:
            low, high = _pair(e, number, key)
            place = e.add(number, number)
            writer.store(flat, [*row, place], low.value)
            writer.store(flat, [*row, e.add(place, e.constant(INT64, 1))], high.value)
        if count % 2:
            low, _ = _pair(e, e.constant(INT64, count // 2), key)
            writer.store(flat, [*row, e.constant(INT64, count - 1)], low.value)
    e.ret()
    symbol = module.add(e)
    program.e.line(f"call void {symbol}({', '.join(writer.arguments)})")
    frame.define(var, frame.settled(target))
    return True


def _pair(e: Emitter, number: Value, key: Any) -> tuple[_Word, _Word]:
    word = _Word(e, e.convert(number, UINT64))
    zero = _Word(e, e.constant(UINT64, 0))
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = philox(np, (word & mask, word >> shift, zero, zero), key)
    return a | (b << shift), c | (d << shift)
