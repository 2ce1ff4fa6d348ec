"""Fourier transforms in native code: what is read, transformed by ``stockham.py``, and written.

An axis is transformed for a few lines at a time, which are copied to memory that stays in the
cache. A real signal of even length is a complex one of half the length (Van Loan 1992, 4.3).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import INT64, Emitter, Value, part_dtype
from clew.evaluate.native.kernel import Call
from clew.evaluate.native.stockham import (
    Pair,
    Table,
    Transform,
    exchanged,
    load,
    store,
    unit_roots,
    working_length,
)
from clew.evaluate.native.storage import Memory

_LINES, _COLUMNS = 2, 8
"""Transformed together at most: lines far apart, and neighbouring columns. The fastest measured."""
_WORK = 2**14
"""Complex numbers that they have together, at most."""
_CHUNK_WORK = 2**17
"""Numbers that are worth a thread."""
_MOST_CHUNKS = 16


def write_fft(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the complex transform over some axes, one after the other."""
    kind, axes = equation.inputs[0].type, equation.params["axes"]
    if kind.dtype.char not in "FD" or not kind.size or not axes:
        return False
    source = frame.packed(frame.storage(equation.inputs[0]))
    with program.results(frame, equation) as (target,):
        for axis in axes:
            lines = Complex(program, source, target, axis, kind.shape[axis])
            lines.write(equation.params["sign"] > 0)
            source = target
    return True


def write_rfft(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the transform of a real signal."""
    kind, axis = equation.inputs[0].type, equation.params["axis"]
    if kind.dtype.char not in "fd" or not kind.size:
        return False
    length = kind.shape[axis]
    source = frame.packed(frame.storage(equation.inputs[0]))
    with program.results(frame, equation) as (target,):
        lines = FromOdd if length % 2 else FromEven
        lines(program, source, target, axis, length).write(False)
    return True


def write_irfft(program: Any, frame: Any, equation: Equation) -> bool:
    """Write the real signal of a half spectrum."""
    kind, axis = equation.inputs[0].type, equation.params["axis"]
    length = equation.params["length"]
    if kind.dtype.char not in "FD" or not kind.size or kind.shape[axis] != length // 2 + 1:
        return False
    source = frame.packed(frame.storage(equation.inputs[0]))
    with program.results(frame, equation) as (target,):
        lines = ToOdd if length % 2 else ToEven
        lines(program, source, target, axis, length).write(True)
    return True


class Lines:
    """Transforms an axis of an array, in a function that copies some lines, and then others.

    Subclasses say how a line is read and written. ``length`` is that of the signal, ``worked``
    that of the complex transform.
    """

    def __init__(
        self, program: Any, source: Memory, target: Memory, axis: int, length: int
    ) -> None:
        self._program = program
        self._memories = source, target
        self.length = length
        self.worked = self.rows_worked()
        self.dtype = np.result_type(source.dtype, target.dtype)
        self.part = part_dtype(self.dtype)
        self.table = Table(self.dtype)
        pointers = (("source", ""), ("target", ""), ("table", "noalias"), ("scratch", "noalias"))
        numbers = [("i64", name, "") for name in ("begin", "end", "chunk")]
        name = program.module.fresh("fourier")
        self.e = Emitter(program.module, name, [*(("ptr", *p) for p in pointers), *numbers])
        before, after = (math.prod(x) for x in (source.shape[:axis], source.shape[axis + 1 :]))
        rows = [memory.shape[axis] for memory in self._memories]
        groups, self._columns = (1, before) if after == 1 else (before, after)
        self._steps = [(1, n) if after == 1 else (after, 1) for n in rows]
        self._apart = [n * after for n in rows]
        working = working_length(self.worked)
        most = _LINES if after == 1 else _COLUMNS
        self._together = min(self._columns, most, max(1, _WORK // working))
        self._blocks = -(-self._columns // self._together)
        self._units = groups * self._blocks
        self._size = 4 * working * self._together
        work = self._units * self._size
        self._chunks = max(1, min(self._units, _MOST_CHUNKS, work // _CHUNK_WORK))
        self._starts: list[Value] = []
        self._width = 1

    def rows_worked(self) -> int:
        """Return the length of the complex transform."""
        return self.length

    def write(self, inverse: bool) -> None:
        """Write the function and its call; what a thread does depends on the work only."""
        program, e = self._program, self.e
        begin, end, chunk = (Value(INT64, f"%{name}") for name in ("begin", "end", "chunk"))
        blocks = e.constant(INT64, self._blocks)
        own = e.address("%scratch", self.part, e.mul(chunk, e.constant(INT64, self._size)))
        rest = self._columns % self._together
        with e.loop(begin, end) as unit:
            group, block = e.div(unit, blocks), e.remaindered(unit, blocks)
            column = e.mul(block, e.constant(INT64, self._together))
            if not rest:
                self._block(group, column, self._together, own, inverse)
            else:
                last = e.eq(block, e.constant(INT64, self._blocks - 1))
                with e.when(e.not_(last)):
                    self._block(group, column, self._together, own, inverse)
                with e.when(last):
                    self._block(group, column, rest, own, inverse)
        e.ret()
        scratch = program.buffer(program.e, self.part, (self._size * self._chunks,))
        table = program.constant_argument(self.table.array())
        given = [
            ("ptr", program.e.address(x.pointer, x.dtype, x.offset))
            for x in (*self._memories, table, scratch)
        ]
        symbol = program.module.add(e)
        if self._chunks > 1:
            size = -(-self._units // self._chunks)
            program.parallel([Call(symbol, given, self._units, size, self._chunks, [])])
        else:
            pointers = ", ".join(f"ptr {name}" for _, name in given)
            program.e.line(f"call void {symbol}({pointers}, i64 0, i64 {self._units}, i64 0)")
        program.arena.release(scratch.buffer)

    def _block(self, group: Value, column: Value, width: int, own: str, inverse: bool) -> None:
        """Write the transform of some lines; an inverse one exchanges the parts."""
        e = self.e
        self._width = width
        self._starts = [
            e.add(
                e.mul(group, e.constant(INT64, apart)),
                e.mul(column, e.constant(INT64, steps[1])),
            )
            for apart, steps in zip(self._apart, self._steps, strict=True)
        ]
        size = working_length(self.worked) * width
        a, b, c, d = (e.address(own, self.part, size * k) for k in range(4))
        x, y = (a, b), (c, d)
        self.read(x)
        transform = Transform(e, self.dtype, self.worked, width, self.table)
        if inverse:
            self.put(exchanged(transform.write(exchanged(x), exchanged(y), "%table")))
        else:
            self.put(transform.write(x, y, "%table"))

    # --- what subclasses are written with ----------------------------------------------------

    def read(self, x: Pair) -> None:
        """Copy the lines."""
        raise NotImplementedError

    def put(self, x: Pair) -> None:
        """Write the lines."""
        raise NotImplementedError

    @contextlib.contextmanager
    def each(self, rows: int) -> Iterator[tuple[Value, Value]]:
        """Run the block for each row and column."""
        with self.e.loop(0, rows) as row, self.e.loop(0, self._width) as column:
            yield row, column

    def at(self, row: Value, column: Value) -> Value:
        """Return the place of a number of the transform."""
        return self.e.add(self.e.mul(row, self.e.constant(INT64, self._width)), column)

    def given(self, row: Value, column: Value) -> Value:
        """Return a number of the source."""
        return self.e.load("%source", self._memories[0].dtype, self._outside(0, row, column))

    def give(self, value: Value, row: Value, column: Value) -> None:
        """Write a number of the target."""
        self.e.store("%target", value, self._outside(1, row, column))

    def _outside(self, number: int, row: Value, column: Value) -> Value:
        e = self.e
        down, across = (e.constant(INT64, step) for step in self._steps[number])
        return e.add(self._starts[number], e.add(e.mul(row, down), e.mul(column, across)))

    def root(self, row: Value, count: int) -> Value:
        """Return ``exp(-2 pi i row / length)``, row below ``count``."""
        e = self.e
        starts = self.table.add(unit_roots(np.arange(count), self.length))
        places = [e.add(row, e.constant(INT64, start)) for start in starts]
        return e.joined(self.dtype, *(e.load("%table", self.part, place) for place in places))


class Complex(Lines):
    """Complex numbers to complex numbers."""

    def read(self, x: Pair) -> None:
        """Copy the lines."""
        with self.each(self.length) as (row, column):
            store(self.e, x, self.given(row, column), self.at(row, column))

    def put(self, x: Pair) -> None:
        """Write the lines."""
        with self.each(self.length) as (row, column):
            self.give(load(self.e, self.dtype, x, self.at(row, column)), row, column)


class FromOdd(Lines):
    """An odd number of real ones to half the spectrum."""

    def read(self, x: Pair) -> None:
        """Copy the lines, with imaginary parts of 0."""
        with self.each(self.length) as (row, column):
            value = self.e.convert(self.given(row, column), self.dtype)
            store(self.e, x, value, self.at(row, column))

    def put(self, x: Pair) -> None:
        """Write the first half."""
        with self.each(self.length // 2 + 1) as (row, column):
            self.give(load(self.e, self.dtype, x, self.at(row, column)), row, column)


class FromEven(Lines):
    """An even number of real ones to half the spectrum."""

    def rows_worked(self) -> int:
        """Return how many pairs there are."""
        return self.length // 2

    def read(self, x: Pair) -> None:
        """Copy the lines, neighbours as parts of a complex number."""
        e = self.e
        with self.each(self.worked) as (row, column):
            first = e.add(row, row)
            second = e.add(first, e.like(first, 1))
            parts = [self.given(place, column) for place in (first, second)]
            store(e, x, e.joined(self.dtype, *parts), self.at(row, column))

    def put(self, x: Pair) -> None:
        """With ``a = z_k``, ``b = conj z_(m-k)``: ``(a + b)/2 - i exp(-2 pi i k/n) (a - b)/2``."""
        e = self.e
        count = e.constant(INT64, self.worked)
        with self.each(self.worked + 1) as (row, column):
            here = e.remaindered(row, count)
            there = e.remaindered(e.sub(count, row), count)
            a = load(e, self.dtype, x, self.at(here, column))
            b = e.conjugate(load(e, self.dtype, x, self.at(there, column)))
            real, imag = e.parts(e.mul(self.root(row, self.worked + 1), e.sub(a, b)))
            total = e.add(e.add(a, b), e.joined(self.dtype, imag, e.neg(real)))
            self.give(_scaled(e, total, 0.5), row, column)


class ToOdd(Lines):
    """Half a spectrum to an odd number of real ones."""

    def read(self, x: Pair) -> None:
        """Copy the lines, and the conjugate ones that are left out."""
        e = self.e
        count = e.constant(INT64, self.length)
        with self.each(self.length) as (row, column):
            other = e.sub(count, row)
            beyond = e.gt(row, other)
            value = self.given(e.select(beyond, other, row), column)
            real, imag = e.parts(value)
            imag = e.select(beyond, e.neg(imag), imag)
            imag = e.select(e.eq(row, e.like(row, 0)), e.like(imag, 0), imag)
            store(e, x, e.joined(self.dtype, real, imag), self.at(row, column))

    def put(self, x: Pair) -> None:
        """Write the real parts."""
        with self.each(self.length) as (row, column):
            value = load(self.e, self.dtype, x, self.at(row, column))
            self.give(self.e.parts(_scaled(self.e, value, 1 / self.length))[0], row, column)


class ToEven(Lines):
    """Half a spectrum to an even number of real ones."""

    def rows_worked(self) -> int:
        """Return how many pairs there are."""
        return self.length // 2

    def read(self, x: Pair) -> None:
        """With ``a = y_k``, ``b = conj y_(m-k)``: ``a + b + i exp(2 pi i k/n) (a - b)``."""
        e = self.e
        count = e.constant(INT64, self.worked)
        with self.each(self.worked) as (row, column):
            ends = e.eq(row, e.like(row, 0))
            a, b = (self._end(each, ends, column) for each in (row, e.sub(count, row)))
            b = e.conjugate(b)
            root = e.conjugate(self.root(row, self.worked + 1))
            real, imag = e.parts(e.mul(root, e.sub(a, b)))
            total = e.add(e.add(a, b), e.joined(self.dtype, e.neg(imag), real))
            store(e, x, total, self.at(row, column))

    def _end(self, row: Value, ends: Value, column: Value) -> Value:
        """Return a frequency; the first and the last have no imaginary part."""
        e = self.e
        real, imag = e.parts(self.given(row, column))
        return e.joined(self.dtype, real, e.select(ends, e.like(imag, 0), imag))

    def put(self, x: Pair) -> None:
        """Write the parts as neighbours."""
        e = self.e
        with self.each(self.worked) as (row, column):
            value = _scaled(e, load(e, self.dtype, x, self.at(row, column)), 1 / self.length)
            first = e.add(row, row)
            second = e.add(first, e.like(first, 1))
            for place, part in zip((first, second), e.parts(value), strict=True):
                self.give(part, place, column)


def _scaled(e: Emitter, value: Value, factor: float) -> Value:
    return e.joined(value.dtype, *(e.mul(part, e.like(part, factor)) for part in e.parts(value)))
