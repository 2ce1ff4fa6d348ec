"""A small model of this machine, which predicts how long a step takes.

A step takes as long as its memory traffic or its arithmetic, whichever is longer, and a little to
start (S. Williams, A. Waterman, D. Patterson, Roofline: an insightful visual performance model,
Communications of the ACM 52, 2009). The figures are measured once in a process, in about 0.1 s.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import host
from clew.evaluate.native.notes import StepNote
from clew.evaluate.native.threads import threads
from clew.evaluate.native.toolchain import ToolchainError

_ACCUMULATORS = 16
_TURNS = 20_000
_LARGE = 1 << 25
"""Bytes that are copied to measure memory."""
_START = 3e-8
_WAKE = 2e-6
"""Seconds to start a step, and to have other threads join in."""
_ASSUMED_CLOCK = 3e9


@dataclass(frozen=True)
class Machine:
    """What one thread does in a second.

    Attributes
    ----------
    peak : float
        Additions and multiplications of float64 in vectors; of float32 it is twice as many.
    single : float
        Operations on one number after the other.
    cached, memory : float
        Bytes read or written, in the second-level cache and beyond the caches.
    measured : bool
        False if no code could be compiled, and the arithmetic was assumed.
    """

    peak: float
    single: float
    cached: float
    memory: float
    measured: bool

    def __str__(self) -> str:
        how = "measured" if self.measured else "assumed"
        return (
            f"{self.peak / 1e9:.3g} GFLOP/s of float64 ({how}), {self.cached / 1e9:.3g} GB/s in "
            f"cache and {self.memory / 1e9:.3g} GB/s in memory (measured), for each thread"
        )

    def seconds(self, note: StepNote) -> float | None:
        """Return how long a step should take; None where it cannot be told.

        A loop is as long as its steps. What Python evaluates, loops of unknown length and
        branches cannot be told; neither can what they are part of.
        """
        if note.kind in ("call-out", "branches") or note.length is None:
            return None
        if note.kind in ("loop", "group"):
            inside = [self.seconds(each) for each in note.inside]
            known = [each for each in inside if each is not None]
            total = sum(known) if len(known) == len(inside) else None
            return None if total is None else total * note.length
        if note.kind in ("registers", "check"):
            return note.work / self.single
        moved = note.read + note.written
        sharing = min(note.chunks, threads())
        rate = self.cached * sharing if moved <= host().level2 else self.memory
        # A product is all fused multiply-adds; elsewhere an instruction is one operation.
        peak = self.peak * (1.0 if note.kind == "product" else 0.5)
        peak *= sharing * (2 if note.itemsize <= 4 else 1)
        start = _START + (_WAKE if sharing > 1 else 0.0)
        return start + max(moved / rate, note.work / peak)


@functools.lru_cache(maxsize=1)
def machine() -> Machine:
    """Return the model of this machine."""
    lanes = host().lanes(8)
    small = min(host().level2 // 4, _LARGE)
    try:
        peak, measured = _peak(lanes), True
    except ToolchainError:
        peak, measured = _ASSUMED_CLOCK * lanes * (4 if host().fma else 2), False
    # Two instructions at once, of two operations each, on every lane: one operation in a turn.
    return Machine(peak, peak / (4 * lanes), _bandwidth(small), _bandwidth(_LARGE), measured)


def _peak(lanes: int) -> float:
    """Measure fused multiply-adds that do not wait for each other."""
    library = compiled(_peak_text(lanes), ["peak"])
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address("peak"))
    result = np.zeros(lanes)
    seconds = _best(lambda: run(result.ctypes.data, _TURNS), 10)
    return 2.0 * _ACCUMULATORS * lanes * _TURNS / seconds


def _peak_text(lanes: int) -> str:
    vector = f"<{lanes} x double>"
    module = Module()
    module.declare("llvm.fma", f"{vector} @llvm.fma.v{lanes}f64({vector}, {vector}, {vector})")
    body, total = [], "zeroinitializer"
    ends = []
    for i in range(_ACCUMULATORS):
        body.append(f"  %a{i} = phi {vector} [ zeroinitializer, %entry ], [ %b{i}, %turn ]")
    for i in range(_ACCUMULATORS):
        given = f"{vector} %a{i}, {vector} %x, {vector} %x"
        body.append(f"  %b{i} = call {vector} @llvm.fma.v{lanes}f64({given})")
        ends.append(f"  %s{i} = fadd {vector} {total}, %b{i}")
        total = f"%s{i}"
    lines = [
        "define void @NAME(ptr %out, i64 %n) {",
        "entry:",
        f"  %x = load {vector}, ptr %out, align 8",
        "  br label %turn",
        "turn:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %turn ]",
        *body,
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %n",
        "  br i1 %more, label %turn, label %end",
        "end:",
        *ends,
        f"  store {vector} {total}, ptr %out, align 8",
        "  ret void",
        "}",
    ]
    module.add_text("peak", "\n".join(lines))
    return module.text()


def _bandwidth(size: int) -> float:
    """Measure a copy; what it reads and what it writes both count."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return 2.0 * size / _best(lambda: np.copyto(target, source), 3 if size == _LARGE else 50)


def _best(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return max(min(times), 1e-9)
