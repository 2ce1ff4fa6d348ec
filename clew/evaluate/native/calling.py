"""Calling a compiled program from Python: its arguments, its results, its errors."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core.cost import measured
from clew.core.errors import MemoryLimitError
from clew.core.graph import Graph
from clew.core.source import Where
from clew.core.types import Type
from clew.evaluate.native.compiling import Compiler
from clew.evaluate.native.entry import MISS, Arenas, Entry, Operand, Routine, entry
from clew.evaluate.native.linking import Linker
from clew.evaluate.native.notes import Notes
from clew.evaluate.native.pool import install
from clew.evaluate.native.program import Callout, Facts, Program

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p)
_PROGRAM = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_LONG = 20_000
"""Operations and numbers moved from which a program lets other threads use the interpreter."""
_MOST_WAITING = 4


class Native:
    """A compiled graph: call it with arrays of the types it was made for.

    It may be called from several threads at once, also from within itself. Results are new
    arrays, and NumPy's scalars where they have no axis.

    >>> import clew
    >>> square = Native(clew.trace(lambda x: x * x)(np.ones(2)))
    >>> square([2, 3])
    [array([4., 9.])]
    """

    def __init__(self, graph: Graph, level: int = 3, notes: Notes | None = None) -> None:
        begun = time.perf_counter()
        with Compiler() as compiler:
            linker = Linker(compiler, level)
            program = Program(graph, notes, linker)
            if program.module.declares("clew_parallel_within"):
                install()
            library = linker.library(program.module, ["program"])
        self.inputs = [var.type for var in graph.inputs]
        self.outputs = [atom.type for atom in graph.outputs]
        self.callouts = program.callouts
        self.arena = program.arena.size
        self.facts = Facts(library, time.perf_counter() - begun)
        error = _Error()
        callback = _CALLBACK(_evaluator(self.callouts, error))
        self.routine = Routine(
            library.address("program"),
            ctypes.cast(callback, ctypes.c_void_p).value or 0,
            self.inputs,
            self.outputs,
            [array.ctypes.data for array in program.constants],
            Arenas(self.arena),
            bool(self.callouts) or _takes_long(graph),
            error.raise_it,
            (library, callback, program.constants),
        )
        leaves = [Operand(kind, number, number) for number, kind in enumerate(self.inputs)]
        self._entry = self.entry(leaves, range(len(leaves)), [*range(len(self.outputs))])
        self._program = _PROGRAM(self.routine.address)
        self._waiting: list[np.ndarray] = []

    def entry(
        self, leaves: Sequence[Operand], arguments: Sequence[Any], result: Any
    ) -> Entry | None:
        """Return another way to call it; see :func:`clew.evaluate.native.entry.entry`."""
        return entry(self.routine, leaves, arguments, result)

    def __call__(self, *arguments: Any) -> list[Any]:
        """Return the outputs; arguments may be whatever NumPy makes arrays of."""
        if len(arguments) != len(self.inputs):
            raise TypeError(f"{len(self.inputs)} arguments wanted, {len(arguments)} given")
        if self._entry is None:
            return self._called([*map(_converted, arguments, self.inputs)])
        found = self._entry.call(*arguments)
        if found is MISS:
            found = self._entry.call(*map(_converted, arguments, self.inputs))
        return found

    def _called(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """Call the program through ``ctypes``."""
        results = [np.empty(kind.shape, kind.dtype) for kind in self.outputs]
        addresses = [x.ctypes.data for x in (*arrays, *results)] + [*self.routine.fixed]
        table = (ctypes.c_void_p * len(addresses))(*addresses)
        try:
            arena = self._waiting.pop()
        except IndexError:
            arena = np.empty(self.arena + 64, np.uint8)
        start = -(-arena.ctypes.data // 64) * 64
        status = self._program(ctypes.addressof(table), start, self.routine.callback)
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(arena)
        if status:
            self.routine.fail()
        return [x if x.shape else x[()] for x in results]


def _converted(value: Any, kind: Type) -> np.ndarray:
    """Return a value as an array of a type that lies in one piece; itself if it does."""
    array = np.require(value, kind.dtype, ["C", "A", "E"])
    if array.dtype.num != kind.dtype.num:  # two names of one C type
        array = array.view(kind.dtype)
    return array if array.shape == kind.shape else array.reshape(kind.shape)


def _takes_long(graph: Graph) -> bool:
    total = 0
    for equation in graph.equations:
        each = measured(equation)
        total += each.operations + each.bytes // 8
        if each.unknown or total > _LONG:
            return True
    return False


class _Error(threading.local):
    """The error by which Python ended a program early, for each thread its own."""

    error: BaseException | None = None

    def raise_it(self) -> None:
        """Raise the error, and forget it."""
        error, self.error = self.error, None
        if error is None:
            raise MemoryLimitError(
                "a loop of unknown length has filled the memory that its tape may take",
                "pass checkpoint= to the loop, or a larger memory=",
                Where(),
            )
        raise error


def _evaluator(callouts: Sequence[Callout], error: _Error) -> Callable[[int, int], int]:
    """Return what evaluates a program's equations in Python."""

    def evaluated(number: int, addresses: int) -> int:
        try:
            _evaluate(callouts[number], addresses)
        except BaseException as raised:
            error.error = raised
            return 1
        return 0

    return evaluated


def _evaluate(callout: Callout, addresses: int) -> None:
    types = (*callout.operands, *callout.results)
    pointers = (ctypes.c_void_p * len(types)).from_address(addresses)
    arrays = [_array(kind, pointer) for kind, pointer in zip(types, pointers, strict=True)]
    count = len(callout.operands)
    if callout.complaint is not None:
        raise callout.complaint.error
    equation = callout.equation
    with np.errstate(all="ignore"):
        found = equation.primitive.eval(np, *[x[()] for x in arrays[:count]], **equation.params)
    found = found if equation.primitive.multiple else (found,)
    for array, value in zip(arrays[count:], found, strict=True):
        array[...] = value


def _array(kind: Type, pointer: int | None) -> np.ndarray:
    size = kind.size * kind.dtype.itemsize
    if not size:
        return np.empty(kind.shape, kind.dtype)
    raw = (ctypes.c_byte * size).from_address(pointer)  # type: ignore[arg-type]
    return np.frombuffer(memoryview(raw), kind.dtype).reshape(kind.shape)
