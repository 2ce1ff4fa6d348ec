"""Clocks in compiled programs: how long each step took, added up in a table.

A tick is whatever the processor's counter counts; :func:`ticks_per_second` compares it with the
system's clock. While :func:`clocked` is on, programs are compiled with clocks and kept apart from
those without.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.evaluate.native.emitter import INT64, Emitter, Module, Value

if TYPE_CHECKING:
    from clew.core.graph import Graph
    from clew.evaluate.native.notes import Notes

_CALIBRATION = 0.01
"""Seconds of waiting that tell a tick's length."""


def ticks_function(module: Module, triple: str) -> str:
    """Add a function that reads a counter, ``i64 ticks()``; return its symbol.

    On x86 it is the time stamp counter; elsewhere, where programs may not read the counter of
    cycles, the system's monotonic clock in nanoseconds (POSIX).
    """
    e = Emitter(module, "clew_ticks", (), "i64", attributes="nounwind alwaysinline")
    if triple.startswith(("x86_64", "i386", "i686")):
        e.ret(f"i64 {e.intrinsic('llvm.readcyclecounter', 'i64')}")
    else:
        monotonic = 6 if "apple" in triple else 1
        module.declare("clock_gettime", "i32 @clock_gettime(i32, ptr)")
        place = e.at_entry("alloca [2 x i64]")
        e.line(f"call i32 @clock_gettime(i32 {monotonic}, ptr {place})")
        seconds, rest = (e.load(place, INT64, i) for i in range(2))
        total = e.add(e.mul(seconds, e.constant(INT64, 10**9)), rest)
        e.ret(f"i64 {total.name}")
    return module.add(e)


@functools.lru_cache(maxsize=1)
def ticks_per_second() -> float:
    """Return how fast the counter counts."""
    from clew.evaluate.native.compiling import compiled
    from clew.evaluate.native.toolchain import target

    module = Module()
    e = Emitter(module, "ticks_now", (), "i64", linkage="")
    e.ret(f"i64 {e.assign(f'call i64 {ticks_function(module, target().triple)}()')}")
    module.add(e)
    library = compiled(module.text(), ["ticks_now"])
    now = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("ticks_now"))
    first, begun = now(), time.perf_counter()
    while time.perf_counter() - begun < _CALIBRATION:
        pass
    return (now() - first) / (time.perf_counter() - begun)


class Clock:
    """The table of one program: for each row how often its step ran, and for how many ticks."""

    def __init__(self) -> None:
        self.table = np.zeros((0, 2), np.int64)
        self._rows = 0
        self._place = 0
        self._base = ""
        self._symbol = ""

    def begin(self, program: Any) -> None:
        """Reserve the table's place among the program's constants."""
        from clew.evaluate.native.toolchain import target

        self._symbol = ticks_function(program.module, target().triple)
        self._place = len(program.constants)
        self._base = program.constant_argument(np.empty((1, 2), np.int64)).pointer

    def start(self, e: Emitter) -> str:
        """Write the reading of the counter; return the name of what it showed."""
        return e.assign(f"call i64 {self._symbol}()")

    def stop(self, e: Emitter, started: str) -> int:
        """Write the adding of a call and its duration to a row of its own; return the row."""
        passed = e.assign(f"sub i64 {self.start(e)}, {started}")
        row = self.count(e)
        self._add(e, 2 * row + 1, passed)
        return row

    def count(self, e: Emitter) -> int:
        """Write the counting of a call, without a duration; return the row."""
        row = self._rows
        self._rows += 1
        self._add(e, 2 * row, "1")
        return row

    def _add(self, e: Emitter, place: int, amount: str) -> None:
        old = e.load(self._base, INT64, place)
        e.store(self._base, Value(INT64, e.assign(f"add i64 {old.name}, {amount}")), place)

    def end(self, program: Any) -> None:
        """Make the table, now that its size is known."""
        self.table = np.zeros((self._rows, 2), np.int64)
        program.constants[self._place] = self.table

    def reset(self) -> None:
        """Forget what was counted."""
        self.table[:] = 0

    def calls(self, row: int) -> int:
        """Return how often a step ran."""
        return int(self.table[row, 0])

    def seconds(self, row: int) -> float:
        """Return for how long a step ran, all calls together."""
        return float(self.table[row, 1]) / ticks_per_second()


@dataclass(frozen=True)
class Clocked:
    """A graph that ran while clocks were on; without notes if the reference evaluator ran it."""

    graph: Graph
    notes: Notes | None
    program: Any


class Session:
    """The programs that were compiled with clocks, in the order of their first use."""

    def __init__(self) -> None:
        self.programs: dict[int, Clocked] = {}

    def reset(self) -> None:
        """Forget what was counted."""
        for each in self.programs.values():
            if each.notes is not None and each.notes.clock is not None:
                each.notes.clock.reset()


_session: ContextVar[Session | None] = ContextVar("clew_clocks", default=None)


def current_session() -> Session | None:
    """Return the session that programs compiled now belong to."""
    return _session.get()


@contextlib.contextmanager
def clocked() -> Iterator[Session]:
    """Compile programs with clocks, in this thread, while the block runs."""
    session = Session()
    token = _session.set(session)
    try:
        yield session
    finally:
        _session.reset(token)
