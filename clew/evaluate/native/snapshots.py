"""The first run of a checkpointed loop in native code: carries kept at some of its steps.

Snapshots are a tape of records: the number of a step, then the carries before it. Which steps,
``clew.loops.schedule`` says; the same formulas are written here for the code to follow. A loop of
unknown length keeps every step of a stride that doubles when there is no more room.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.graph import Var
from clew.core.types import Type
from clew.evaluate.native.carries import Carries
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.storage import Memory, contiguous
from clew.evaluate.native.tapes import HEADER_SIZE, Asking, Form, Growth, Room
from clew.loops.execute import all_bytes
from clew.loops.memory import Budget
from clew.loops.schedule import block_positions
from clew.loops.spec import SNAPSHOTS, Spec

POSITION = 8
"""Bytes of the number of the step, at the beginning of a record."""
_SNAPSHOTS: Form = ("snapshots",)


class Layout:
    """Where the carries of one step are, one behind the other."""

    def __init__(self, kinds: Sequence[Type]) -> None:
        self._kinds = list(kinds)
        sizes = [-(-all_bytes([kind]) // 8) * 8 for kind in kinds]
        self._starts = [0, *itertools.accumulate(sizes)]

    @property
    def size(self) -> int:
        """Bytes of all."""
        return self._starts[-1]

    def fields(self, e: Emitter, pointer: str) -> list[Memory]:
        """Return the carries at an address."""
        return [
            contiguous(kind.dtype, kind.shape, moved(e, pointer, start))
            for kind, start in zip(self._kinds, self._starts, strict=False)
        ]

    def write(self, frame: Any, pointer: str, carries: Carries) -> None:
        """Write the carries as they are now."""
        for field, value in zip(self.fields(frame.e, pointer), carries.present(), strict=True):
            frame.copy(value, field)


def moved(e: Emitter, pointer: str, offset: Value | int) -> str:
    """Return the address so many bytes on."""
    name = offset.name if isinstance(offset, Value) else str(offset)
    return e.assign(f"getelementptr inbounds i8, ptr {pointer}, i64 {name}")


class Snapshots:
    """Keeps carries while a loop runs; ``total`` is its number of steps, if that is known."""

    def __init__(self, program: Any, frame: Any, spec: Spec, var: Var, total: Value | None) -> None:
        e: Emitter = program.e
        self._e = e
        self._frame = frame
        self._var = var
        self._total = total
        self._limit = max(1, spec.snapshots or 1)
        self._layout = Layout(spec.carry_types())
        self._room = self._made(program, spec)
        if total is not None:
            self._room.reserve(self._most(total))
        self._count, self._due, self._stride = (e.slot(INT64) for _ in range(3))
        e.set(self._count, self._number(0))
        e.set(self._due, self._number(0))
        e.set(self._stride, self._number(1))

    def _made(self, program: Any, spec: Spec) -> Room:
        """Return room for them: of the frame, if their number is known and they stay there."""
        size, each = POSITION + self._layout.size, all_bytes(spec.carry_types())
        if spec.length is not None and not self._frame.returns(self._var):
            count = len(block_positions(spec.length, self._limit))
            Budget(spec.policy).require(count * each, f"{count:,} snapshots")
            header, memory = (
                self._frame.scratch(np.dtype(np.uint8), (bytes_,))
                for bytes_ in (HEADER_SIZE, count * size)
            )
            return Room.within(program, header.pointer, memory, size)
        asking = Asking(spec.policy, each, "{:,} snapshots")
        return Growth(program, size, asking, self._frame.escaping.get(self._var))

    def _number(self, value: int) -> Value:
        return self._e.constant(INT64, value)

    def _most(self, total: Value) -> Value:
        """Return how many a loop of so many steps keeps."""
        e, limit = self._e, self._number(self._limit)
        blocks = ceil_div(e, total, self._limit)
        blocks = e.select(e.lt(limit, blocks), limit, blocks)
        return e.select(e.le(total, limit), total, blocks)

    def before(self, number: Value, carries: Carries) -> None:
        """Keep the carries before a step, counted as they run, if it is time to."""
        e = self._e
        with e.when(e.eq(number, e.get(self._due))):
            if self._total is None:
                self._keep_strides(number, carries)
            else:
                self._keep(number, carries)
                self._find_next(number, self._total)

    def _keep(self, number: Value, carries: Carries) -> None:
        e = self._e
        count = e.get(self._count)
        record = self._room.address(count)
        e.store(record, number)
        self._layout.write(self._frame, moved(e, record, POSITION), carries)
        e.set(self._count, e.add(count, self._number(1)))

    def _find_next(self, number: Value, total: Value) -> None:
        """Find when the next is due, in a run of known length."""
        e, one = self._e, self._number(1)
        limit = self._number(self._limit)
        every = e.le(total, limit)
        e.set(self._due, e.select(every, e.add(number, one), total))
        left = ceil_div(e, e.sub(total, number), self._limit)
        free = e.sub(limit, e.get(self._count))
        more = e.and_(e.gt(left, one), e.gt(free, self._number(0)))
        with e.when(e.and_(more, e.not_(every))):
            ahead = e.mul(limit, split_point(e, left, e.add(free, one)))
            e.set(self._due, e.add(number, ahead))

    def _keep_strides(self, number: Value, carries: Carries) -> None:
        """Keep one of each stride, in a run of unknown length."""
        e = self._e
        with e.when(e.ge(e.get(self._count), self._number(self._limit))):
            self._thin()
        behind = e.sub(e.get(self._stride), self._number(1))
        with e.when(e.eq(e.and_(number, behind), self._number(0))):
            self._room.reserve_one(e.get(self._count), self._limit)
            self._keep(number, carries)
        e.set(self._due, e.add(e.or_(number, behind), self._number(1)))

    def _thin(self) -> None:
        """Double the stride: every other snapshot goes."""
        e, one = self._e, self._number(1)
        half = e.shr(e.add(e.get(self._count), one), one)
        with e.loop(1, half) as slot:
            source = self._room.address(e.add(slot, slot))
            e.copy_bytes(self._room.address(slot), source, self._room.size)
        e.set(self._count, half)
        e.set(self._stride, e.shl(e.get(self._stride), one))

    def define(self) -> None:
        """Say where they are, after the loop."""
        e, room = self._e, self._room
        count = e.get(self._count)
        room.set_length(e.add(room.start, count))
        self._frame.define(self._var, room.store(SNAPSHOTS.element, count, _SNAPSHOTS))


# --- the schedule ------------------------------------------------------------------------------


def ceil_div(e: Emitter, total: Value, size: int) -> Value:
    """Return how many parts of a size it takes for so many."""
    return e.div(e.add(total, e.constant(INT64, size - 1)), e.constant(INT64, size))


def split_point(e: Emitter, length: Value, snapshots: Value) -> Value:
    """Write a call for ``clew.loops.schedule.split_point``; ``snapshots`` is at least 2."""
    _add_split_point(e.module)
    given = f"i64 {length.name}, i64 {snapshots.name}"
    return Value(INT64, e.assign(f"call i64 @split_point({given})"))


def _add_split_point(module: Module) -> None:
    """Write it: with r repeats, the larger of C(s + r - 2, r - 2) and n - C(s + r - 1, r)."""
    if module.has("split_point"):
        return
    e = Emitter(module, "split_point", [("i64", "n", ""), ("i64", "s", "")], "i64")
    n, s = Value(INT64, "%n"), Value(INT64, "%s")
    one, two = (e.constant(INT64, x) for x in (1, 2))
    r, most = e.slot(INT64), e.slot(INT64)
    e.set(r, e.constant(INT64, 0))
    e.set(most, one)  # C(s + r, r)
    head, body, after = (e.new_label(prefix) for prefix in ("head", "body", "after"))
    e.start(head)
    more = e.lt(e.get(most), n)
    e.line(f"br i1 {more.name}, label %{body}, label %{after}")
    e.start(body, falls_through=False)
    following = e.add(e.get(r), one)
    e.set(most, e.div(e.mul(e.get(most), e.add(s, following)), following))
    e.set(r, following)
    e.line(f"br label %{head}")
    e.start(after, falls_through=False)
    repeats, both = e.get(r), e.add(s, e.get(r))
    right = e.div(e.mul(e.get(most), s), both)
    left = e.div(e.mul(e.get(most), repeats), both)  # C(s + r - 1, r - 1)
    left = e.div(e.mul(left, e.sub(repeats, one)), e.sub(both, one))
    rest = e.sub(n, right)
    found = e.select(e.gt(left, rest), left, rest)
    found = e.select(e.lt(repeats, two), one, found)
    e.ret(f"i64 {found.name}")
    module.add(e)
