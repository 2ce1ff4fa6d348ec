"""Functions of stacks of matrices in native code: one matrix after the other, and what may fail.

Single precision is computed in double, as NumPy does. Where a routine reports a failure, Python
evaluates the whole equation on the same operands: so errors, and results where the reference has
any, are those of the reference.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.emitter import BOOL, INT32, INT64, Emitter, Value
from clew.evaluate.native.lapack import Routine
from clew.evaluate.native.passing import Passing
from clew.evaluate.native.storage import Memory, Splat, broadcast

_TILE = 16
"""Rows and columns that are copied together when a matrix is turned."""


def double(dtype: np.dtype) -> np.dtype:
    """Return the dtype that NumPy computes with: single precision is converted to double.

    >>> double(np.dtype(np.complex64))
    dtype('complex128')
    """
    return np.result_type(dtype, np.float64)


class Stacks:
    """A function that reads an equation's operands and writes its results, both stacks.

    Parameters
    ----------
    operands : list of Memory or Splat
        They all have the leading axes of the results.
    results : list of Memory
        In row-major order, without gaps.
    lead : tuple of int
        The lengths of the leading axes.
    """

    def __init__(
        self,
        program: Any,
        operands: Sequence[Memory | Splat],
        results: Sequence[Memory],
        lead: Sequence[int],
    ) -> None:
        self._program = program
        self.operands = operands
        self.results = results
        self.e = Emitter(program.module, program.module.fresh("matrices"))
        self._writer = Passing(self.e)
        self._buffers: list[Any] = []
        self._flag = ""
        self._lengths = lead
        self._lead: list[Value] = []
        self._info = ""

    # --- memory --------------------------------------------------------------------------

    def scratch(self, dtype: np.dtype, count: int) -> str:
        """Return memory for one matrix's work."""
        memory = self._program.buffer(self._program.e, dtype, (max(count, 1),))
        self._buffers.append(memory.buffer)
        return self._writer.parameter("ptr", memory.pointer)

    def load(self, number: int, *place: Value) -> Value:
        """Return an element of the matrix at hand of an operand."""
        return self._writer.load(self.operands[number], [*self._lead, *place])

    def store(self, number: int, value: Value, *place: Value) -> None:
        """Write an element of the matrix at hand of a result."""
        value = self.e.convert(value, self.results[number].dtype)
        self._writer.store(self.results[number], [*self._lead, *place], value)

    def result(self, number: int) -> str:
        """Return the address of the matrix at hand of a result."""
        return self._address(self.results[number])

    def _address(self, memory: Memory) -> str:
        e, place = self.e, self.e.constant(INT64, memory.offset)
        for each, stride in zip(self._lead, memory.strides, strict=False):
            place = e.add(place, e.mul(each, e.constant(INT64, stride)))
        return e.address(self._writer.parameter("ptr", memory.pointer), memory.dtype, place)

    def stored(self, number: int) -> tuple[str, int, bool]:
        """Return where the matrix at hand of an operand lies, or a copy of it.

        With that the distance between its rows (or columns), and whether it lies row by row.
        """
        memory = self.operands[number]
        rows, columns = memory.shape[-2:]
        if isinstance(memory, Memory):
            down, across = memory.strides[-2:]
            if across == 1 and down >= columns:
                return self._address(memory), down, True
            if down == 1 and across >= rows:
                return self._address(memory), across, False
        copy = self.scratch(memory.dtype, rows * columns)
        with self.places(rows, columns) as (i, j):
            self.e.store(copy, self.load(number, i, j), self.at(i, j, rows))
        return copy, rows, False

    def columns(self, number: int) -> str:
        """Return a copy of the matrix at hand of an operand, column after column, in double."""
        memory = self.operands[number]
        rows, columns = memory.shape[-2:]
        copy = self.scratch(double(memory.dtype), rows * columns)
        with self.places(rows, columns) as (i, j):
            value = self.e.convert(self.load(number, i, j), double(memory.dtype))
            self.e.store(copy, value, self.at(i, j, rows))
        return copy

    def spread(self, number: int, source: str, rows: int) -> None:
        """Write the matrix at hand of a result from its columns, of so many numbers each."""
        memory = self.results[number]
        with self.places(*memory.shape[-2:]) as (i, j):
            value = self.e.load(source, double(memory.dtype), self.at(i, j, rows))
            self.store(number, value, i, j)

    def room(self, number: int) -> str:
        """Return memory in double precision for what is at hand of a result, in its own order."""
        memory = self.results[number]
        if double(memory.dtype) == memory.dtype:
            return self._address(memory)
        return self.scratch(double(memory.dtype), self._count(memory))

    def keep(self, number: int, room: str) -> None:
        """Write what is at hand of a result from the memory that was given for it."""
        memory = self.results[number]
        wide = double(memory.dtype)
        if wide != memory.dtype:
            target = self._address(memory)
            with self.e.loop(0, self._count(memory)) as i:
                value = self.e.convert(self.e.load(room, wide, i), memory.dtype)
                self.e.store(target, value, i)

    def _count(self, memory: Memory) -> int:
        return math.prod(memory.shape[len(self._lead) :])

    def at(self, row: Value, column: Value, rows: int) -> Value:
        """Return the place of an element in a matrix stored by columns."""
        return self.e.add(self.e.mul(column, self.e.constant(INT64, rows)), row)

    @contextlib.contextmanager
    def places(self, rows: int, columns: int) -> Iterator[tuple[Value, Value]]:
        """Run the block for each place of a matrix, by tiles, since it is read across."""
        e = self.e
        if min(rows, columns) <= _TILE:
            with e.loop(0, columns) as j, e.loop(0, rows) as i:
                yield i, j
            return
        tile = e.constant(INT64, _TILE)
        with e.loop(0, columns, _TILE) as left, e.loop(0, rows, _TILE) as top:
            right = e.minimum(e.add(left, tile), e.constant(INT64, columns))
            bottom = e.minimum(e.add(top, tile), e.constant(INT64, rows))
            with e.loop(left, right) as j, e.loop(top, bottom) as i:
                yield i, j

    # --- calls ---------------------------------------------------------------------------

    def call(self, routine: Routine, *arguments: int | str) -> Value:
        """Call a routine of LAPACK; return its report, which is 0 if all went well."""
        if not self._info:
            self._info = self.e.at_entry("alloca i32")
        routine.call(self.e, *arguments, self._info)
        return self.e.load(self._info, INT32)

    def fail_if(self, wrong: Value) -> None:
        """Have Python evaluate the equation after all, if a condition holds."""
        if not self._flag:
            self._flag = self._program.flag()
        place = self._writer.parameter("ptr", self._flag)
        with self.e.when(wrong):
            self.e.store(place, self.e.constant(BOOL, True))

    def check(self, report: Value) -> None:
        """Have Python evaluate the equation after all, if a routine reported a failure."""
        self.fail_if(self.e.ne(report, self.e.like(report, 0)))

    # --- the function as a whole -----------------------------------------------------------

    @contextlib.contextmanager
    def matrices(self) -> Iterator[None]:
        """Run the block for each matrix of the stacks."""
        with contextlib.ExitStack() as loops:
            self._lead = [loops.enter_context(self.e.loop(0, n)) for n in self._lengths]
            yield

    def end(self) -> Value | None:
        """End the function and call it; return whether it failed, if it may."""
        program = self._program
        self.e.ret()
        symbol = program.module.add(self.e)
        program.e.line(f"call void {symbol}({', '.join(self._writer.arguments)})")
        for buffer in self._buffers:
            program.arena.release(buffer)
        return program.e.load(self._flag, BOOL) if self._flag else None


@contextlib.contextmanager
def stacks(program: Any, frame: Any, equation: Equation, ranks: Sequence[int]) -> Iterator[Stacks]:
    """Give the function for an equation, to be written in the block.

    ``ranks`` are how many axes a matrix of each operand has; those before them broadcast.
    """
    operands = [frame.in_memory_or_splat(frame.storage(atom)) for atom in equation.inputs]
    kinds = [atom.type.shape for atom in equation.inputs]
    leads = [shape[: len(shape) - rank] for shape, rank in zip(kinds, ranks, strict=True)]
    lead = np.broadcast_shapes(*leads)
    aligned: list[Any] = [
        broadcast(storage, (*lead, *shape[len(shape) - rank :]))
        for storage, shape, rank in zip(operands, kinds, ranks, strict=True)
    ]
    with program.results(frame, equation) as results:
        written = Stacks(program, aligned, results, lead)
        with written.matrices():
            yield written
        failed = written.end()
        if failed is not None:
            with program.e.when(failed):
                program.call_python(equation, [*map(frame.packed, operands)], results)


def sized(equation: Equation) -> bool:
    """Say whether nothing that an equation reads or writes is empty."""
    return all(math.prod(a.type.shape) for a in (*equation.inputs, *equation.outputs))
