"""The way back of a checkpointed loop in native code: a linear loop along recomputed states.

The code is a small machine. In each turn it takes the last snapshot and runs the first loop from
there: to a place for another snapshot, or over a stretch of steps whose states it keeps, and then
the other loop along those (``clew.loops.replay`` does the same).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.evaluate.native.control import steps_of
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Value
from clew.evaluate.native.snapshots import POSITION, Layout, ceil_div, moved, split_point
from clew.evaluate.native.spans import Span
from clew.evaluate.native.storage import Memory
from clew.evaluate.native.tapes import HEADER, Asking, Growth, Room, TapeStore
from clew.loops.replay import operands_of
from clew.loops.spec import Policy, Spec


def write_replay(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a linear loop along recomputed states."""
    _ReplayWriter(program, frame, equation).write()
    return True


class _ReplayWriter:
    def __init__(self, program: Any, frame: Any, equation: Equation) -> None:
        e: Emitter = program.e
        replayed, along = equation.params["replayed"], equation.params["along"]
        values = [frame.storage(atom) for atom in equation.inputs]
        given = operands_of(values, replayed, along)
        total = steps_of(e, frame, replayed, given.count)
        assert total is not None
        self._e = e
        self._program = program
        self._frame = frame
        self._replayed: Spec = replayed
        self._total = total
        self._snapshots: TapeStore = given.snapshots
        self._together = along.reverse == replayed.reverse
        self._outputs = along.results(equation.outputs)
        self._first = Span(program, frame, replayed, given.replayed, (), total)
        self._first.carries.assign(given.replayed.carries)
        self._second = Span(program, frame, along, given.along, self._outputs.stacked, total)
        self._second.carries.assign(given.along.carries)

    def write(self) -> None:
        e = self._e
        with e.aside() as loop:
            if self._together:
                self._forward()
            else:
                machine = _Machine(
                    self._program, self._frame, self._replayed, self._first, self._snapshots
                )
                machine.write(self._total, self._second)
                machine.release(self._program)
        self._second.stacks.clear()
        e.put(loop)
        self._second.finish(self._outputs.carries)
        self._first.carries.release()

    def _forward(self) -> None:
        """Both loops in one direction need no snapshots."""
        with self._e.loop(0, self._total) as number:
            index = self._first.index(number)
            self._second.step(index, self._first.carries.present())
            self._first.step(index)


class _Machine:
    """Finds the states of a loop's steps again, a stretch at a time, from the last to the first.

    The first run's snapshots may be read again by another replay: new ones go elsewhere.
    """

    def __init__(
        self, program: Any, frame: Any, spec: Spec, first: Span, snapshots: TapeStore
    ) -> None:
        e: Emitter = program.e
        self._e = e
        self._frame = frame
        self._first = first
        self._old = snapshots
        self._length = spec.length
        self._limit = max(1, spec.snapshots or 1)
        self._layout = Layout(spec.carry_types())
        assert snapshots.size is None or snapshots.size >= POSITION + self._layout.size
        self._buffers: list[Memory] = []
        self._states, self._fresh = self._rooms(program, spec.length)
        self._olds, self._freshes, self._begin, self._end, self._width = (
            e.slot(INT64) for _ in range(5)
        )
        self._found = e.slot(BOOL)
        self._base = program.pointer_slot()

    def _rooms(self, program: Any, length: int | None) -> list[Room]:
        """Return room for states and new snapshots: in the arena, if their number is known."""
        limit, size = self._limit, self._layout.size
        if length is None:
            return [
                Growth(program, each, Asking(Policy(), each, what), None)
                for each, what in ((size, "{:,} states"), (size + POSITION, "{:,} snapshots"))
            ]
        blocks = -(-length // limit)
        states = limit if blocks > 1 else 0
        more = limit - 1 if blocks > limit else 0
        rooms = []
        for count, each in ((states, size), (more, size + POSITION)):
            buffer = program.buffer(self._e, np.dtype(np.uint8), (count * each,))
            self._buffers.append(buffer)
            header = self._e.at_entry(f"alloca {HEADER}")
            rooms.append(Room.within(program, header, buffer, each))
        return rooms

    def release(self, program: Any) -> None:
        """Give back the memory, when all is written."""
        for buffer in self._buffers:
            program.arena.release(buffer.buffer)

    def _number(self, value: int) -> Value:
        return self._e.constant(INT64, value)

    def write(self, total: Value, second: Span) -> None:
        """Write the machine, and the other loop along the states that it finds."""
        e = self._e
        e.set(self._end, total)
        if self._length is not None and self._length <= self._limit:
            self._take_all()
            self._along(second)
            return
        sparse = e.lt(self._old.length, total)
        with e.when(sparse):
            limit = self._number(self._limit)
            self._states.reserve(e.select(e.lt(total, limit), total, limit))
        e.set(self._olds, self._old.length)
        e.set(self._freshes, self._number(0))
        head, turn, after = (e.new_label(prefix) for prefix in ("head", "turn", "after"))
        e.start(head)
        more = e.gt(e.get(self._end), self._number(0))
        e.line(f"br i1 {more.name}, label %{turn}, label %{after}")
        e.start(turn, falls_through=False)
        e.set(self._found, e.constant(BOOL, True))
        self._take_all()
        with e.when(sparse):
            self._recompute()
        with e.when(e.get(self._found)):
            self._along(second)
            e.set(self._end, e.get(self._begin))
        e.line(f"br label %{head}")
        e.start(after, falls_through=False)

    def _take_all(self) -> None:
        """Let the stretch be all steps, whose states are the snapshots."""
        e = self._e
        e.set(self._begin, self._number(0))
        e.set(self._width, self._old.width(e))
        self._set_base(moved(e, self._old.address(e, self._number(0)), POSITION))

    def _set_base(self, pointer: str) -> None:
        self._e.line(f"store ptr {pointer}, ptr {self._base}")

    def _along(self, second: Span) -> None:
        """Take the other loop over the steps of the stretch, from the last to the first."""
        e, first = self._e, self._first
        begin, width = e.get(self._begin), e.get(self._width)
        base = e.assign(f"load ptr, ptr {self._base}")
        last = e.sub(e.get(self._end), self._number(1))
        with e.loop(0, e.sub(e.get(self._end), begin)) as turn:
            number = e.sub(last, turn)
            pointer = moved(e, base, e.mul(e.sub(number, begin), width))
            second.step(first.index(number), self._loaded(pointer))

    def _loaded(self, pointer: str) -> list[Any]:
        return [self._frame.settled(field) for field in self._layout.fields(self._e, pointer)]

    # --- one turn ------------------------------------------------------------------------

    def _recompute(self) -> None:
        """Run from the last snapshot: to where another is kept, or over a stretch."""
        e, one = self._e, self._number(1)
        is_fresh, record = self._last()
        position = e.load(record, INT64)
        self._first.carries.assign(self._loaded(moved(e, record, POSITION)))
        end = e.get(self._end)
        blocks = ceil_div(e, e.sub(end, position), self._limit)
        kept = e.add(e.get(self._olds), e.get(self._freshes))
        free = e.sub(self._number(self._limit), kept)
        several = e.gt(blocks, one)
        keep = e.and_(several, e.gt(free, self._number(0)))
        middle = self._middle(position, blocks, free, keep)
        self._run(position, middle, e.select(keep, middle, e.sub(end, one)))
        with e.when(keep):
            self._keep(middle)
            e.set(self._found, e.constant(BOOL, False))
        with e.when(e.not_(keep)):
            self._record(e.sub(end, e.add(middle, one)))
            e.set(self._begin, middle)
            e.set(self._width, self._number(self._layout.size))
            self._set_base(self._states.address(self._number(0)))
            with e.when(e.not_(several)):
                self._drop(is_fresh)

    def _last(self) -> tuple[Value, str]:
        """Return whether the last snapshot is a new one, and where it is."""
        e, one = self._e, self._number(1)
        is_fresh = e.gt(e.get(self._freshes), self._number(0))
        fresh = self._fresh.address(e.sub(e.get(self._freshes), one))
        old = self._old.address(e, e.sub(e.get(self._olds), one))
        return is_fresh, e.assign(f"select i1 {is_fresh.name}, ptr {fresh}, ptr {old}")

    def _middle(self, position: Value, blocks: Value, free: Value, keep: Value) -> Value:
        """Return where the next snapshot goes, or the stretch begins."""
        e, one = self._e, self._number(1)
        ahead = e.slot(INT64)
        e.set(ahead, e.sub(blocks, one))
        with e.when(keep):
            e.set(ahead, split_point(e, blocks, e.add(free, one)))
        return e.add(position, e.mul(e.get(ahead), self._number(self._limit)))

    def _run(self, position: Value, middle: Value, stop: Value) -> None:
        """Run the first loop; states from ``middle`` on are kept."""
        e = self._e
        with e.loop(position, stop) as number:
            with e.when(e.ge(number, middle)):
                self._record(e.sub(number, middle))
            self._first.step(self._first.index(number))

    def _record(self, slot: Value) -> None:
        self._layout.write(self._frame, self._states.address(slot), self._first.carries)

    def _keep(self, position: Value) -> None:
        e, count = self._e, self._e.get(self._freshes)
        self._fresh.reserve_one(count, self._limit)
        record = self._fresh.address(count)
        e.store(record, position)
        self._layout.write(self._frame, moved(e, record, POSITION), self._first.carries)
        e.set(self._freshes, e.add(count, self._number(1)))

    def _drop(self, is_fresh: Value) -> None:
        e = self._e
        fresh = e.convert(is_fresh, INT64)
        e.set(self._freshes, e.sub(e.get(self._freshes), fresh))
        e.set(self._olds, e.sub(e.get(self._olds), e.sub(self._number(1), fresh)))
