"""Checkpointed loops in native code: snapshots on the way forward, replays on the way back.

The schedule (``clew.loops.schedule``) of a loop of known length is a list known while the code is
written. It becomes a table of numbers, and the code a small machine that follows it: advance from
a snapshot to a place for another, or run a stretch again, all its states kept, and the linear
loop along them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.graph import Equation, Graph
from clew.core.types import Type
from clew.evaluate.native.control import (
    Changing,
    Exchanged,
    advanced,
    define_carries,
    item_of,
    present,
)
from clew.evaluate.native.emitter import INT64, Emitter, Value
from clew.evaluate.native.spaces import in_registers
from clew.evaluate.native.storage import Memory, Registers
from clew.loops.execute import all_bytes
from clew.loops.memory import Budget
from clew.loops.replay import operands_of
from clew.loops.schedule import block_positions, split_point
from clew.loops.spec import Groups, Spec

Place = Any
"""Where a carry is while its loop runs: ``Changing`` or ``Exchanged``."""


@dataclass(frozen=True, eq=False)
class SnapshotStore:
    """Carries kept at some steps: item i of each buffer belongs to step ``positions[i]``."""

    buffers: tuple[Memory, ...]
    positions: tuple[int, ...]


class Span:
    """Some steps of a loop, with its carries in places that change."""

    def __init__(self, program: Any, frame: Any, spec: Spec, groups: Groups, total: int) -> None:
        self._program = program
        self._frame = frame
        self._spec = spec
        self._total = total
        self._held = groups.held
        self._scanned = [
            frame.in_memory(x) if isinstance(x, Registers) else x for x in groups.scanned
        ]
        self._buffers: list[Memory] = []
        self.kinds = spec.carry_types()
        self.places = [self._place(kind) for kind in self.kinds]

    def _place(self, kind: Type) -> Place:
        e: Emitter = self._program.e
        if in_registers(kind):
            return Changing(e, kind)
        first, second = (self._program.buffer(e, kind.dtype, kind.shape) for _ in range(2))
        self._buffers += [first, second]
        return Exchanged(self._program, kind, first, second)

    def release(self) -> None:
        """Give back the memory of the carries."""
        for memory in self._buffers:
            self._program.arena.release(memory.buffer)

    def present(self) -> list[Any]:
        """Return the carries as they are now."""
        return [present(self._frame, place) for place in self.places]

    def assign(self, values: Sequence[Any]) -> None:
        """Set the carries; the values exist already."""
        for place, value in zip(self.places, values, strict=True):
            if isinstance(place, Changing):
                place.set(self._frame, value)
            else:
                self._frame.copy(value, place.read())

    def index(self, number: Value) -> Value:
        """Return which element of what is scanned belongs to a step, counted as they run."""
        if not self._spec.reverse:
            return number
        e: Emitter = self._program.e
        return e.sub(e.constant(INT64, self._total - 1), number)

    def step(
        self, index: Value, more: Sequence[Any] = (), targets: Sequence[Memory | None] = ()
    ) -> list[Any]:
        """Take one step; return what it stacks. ``more`` is scanned before the loop's own."""
        e: Emitter = self._program.e
        spec = self._spec
        body = spec.body if targets or not spec.body_stacked else _without_stacks(spec)
        scanned = [*more, *(item_of(e, storage, index) for storage in self._scanned)]
        frame = self._program.frame(body)
        stacked = advanced(frame, self.places, [*scanned, *self._held], targets)
        frame.close()
        return stacked

    def steps(self, first: Value | int, last: Value | int, each: Callable[[Value], Any]) -> None:
        """Do something for each step from ``first`` to before ``last``, counted as they run."""
        with self._program.e.loop(first, last) as number:
            each(number)


def _without_stacks(spec: Spec) -> Graph:
    """Return the body of a loop of which only the carries are wanted."""
    known = spec.body.programs.get("carries only")
    if known is None:
        body = spec.body
        known = Graph(body.inputs, body.equations, spec.body_carries, body.constants)
        known = known.with_live_equations()
        spec.body.programs["carries only"] = known
    return known


def _saved(program: Any, frame: Any, kinds: Sequence[Type], count: int) -> list[Memory]:
    return [frame.scratch(kind.dtype, (count, *kind.shape)) for kind in kinds]


def _keep(frame: Any, buffers: Sequence[Memory], slot: Value, carries: Sequence[Any]) -> None:
    for buffer, value in zip(buffers, carries, strict=False):
        frame.copy(value, item_of(frame.e, buffer, slot))


# --- the first run ---------------------------------------------------------------------------


def write_with_snapshots(program: Any, frame: Any, equation: Equation, spec: Spec) -> bool:
    """Write a loop that keeps snapshots; False if its length is not known."""
    if spec.length is None or spec.snapshots is None:
        return False
    total, e = spec.length, program.e
    limit = max(1, spec.snapshots)
    marks = block_positions(total, limit) or [0]
    elements = all_bytes([atom.type for atom in spec.body_stacked])
    kept = all_bytes(spec.carry_types())
    Budget(spec.policy).require(total * elements + len(marks) * kept, "what it keeps", elements)
    groups = spec.operands([frame.storage(atom) for atom in equation.inputs])
    outputs = spec.results(equation.outputs)
    span = Span(program, frame, spec, groups, total)
    span.assign(groups.carries)
    stacks = [frame.allocated(var) for var in outputs.stacked]
    buffers = _saved(program, frame, span.kinds, len(marks))

    def each(number: Value) -> None:
        index = span.index(number)
        span.step(index, (), [item_of(e, stack, index) for stack in stacks])

    bounds = Table(program, [*marks, total])
    with e.loop(0, len(marks)) as slot:
        _keep(frame, buffers, slot, span.present())
        span.steps(bounds.at(slot), bounds.at(slot, 1), each)
    define_carries(frame, outputs.carries, span.places)
    for var, stack in zip(outputs.stacked, stacks, strict=True):
        frame.define(var, frame.settled(stack))
    frame.define(outputs.snapshots[0], SnapshotStore(tuple(buffers), tuple(marks)))
    span.release()
    return True


class Table:
    """Whole numbers known while code is written, read while it runs."""

    def __init__(self, program: Any, numbers: Sequence[int]) -> None:
        module = program.module
        self._e: Emitter = program.e
        self._symbol = module.table(module.fresh("table"), INT64, numbers)

    def at(self, place: Value, more: int = 0) -> Value:
        """Return a number."""
        if more:
            place = self._e.add(place, self._e.constant(INT64, more))
        return self._e.load(self._symbol, INT64, place)


# --- the way back ----------------------------------------------------------------------------

_ADVANCE, _REVERSE = 0, 1


def instructions(total: int, positions: Sequence[int], limit: int) -> list[tuple[int, ...]]:
    """Return the schedule: (what, slot it starts from, first step, to which, end or new slot).

    *Advance*: run from ``first`` to ``to`` and keep the carries in a slot. *Reverse*: run from
    ``first`` to ``to``, then to ``end`` with all states kept, and the other loop along them.

    >>> instructions(5, [0], 2)
    [(0, 0, 0, 2, 1), (1, 1, 2, 4, 5), (1, 1, 2, 2, 4), (1, 0, 0, 0, 2)]
    """
    found: list[tuple[int, ...]] = []
    kept = list(enumerate(positions))
    end = total
    while end > 0:
        slot, position = kept[-1]
        free = limit - len(kept)
        blocks = -(-(end - position) // limit)
        if blocks > 1 and free:
            middle = position + limit * split_point(blocks, free + 1)
            fresh = max(len(positions), slot + 1)
            found.append((_ADVANCE, slot, position, middle, fresh))
            kept.append((fresh, middle))
            continue
        start = position
        if blocks == 1:
            kept.pop()
        else:
            start = position + limit * (blocks - 1)
        found.append((_REVERSE, slot, position, start, end))
        end = start
    return found


def write_replay(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a linear loop along recomputed states; False if the length is not known."""
    replayed, along = equation.params["replayed"], equation.params["along"]
    if replayed.length is None:
        return False
    values = [frame.storage(atom) for atom in equation.inputs]
    given = operands_of(values, replayed, along)
    if not isinstance(given.snapshots, SnapshotStore):
        return False
    _ReplayWriter(program, frame, equation, given).write()
    return True


class _ReplayWriter:
    def __init__(self, program: Any, frame: Any, equation: Equation, given: Any) -> None:
        self._program = program
        self._frame = frame
        self._e: Emitter = program.e
        self._replayed: Spec = equation.params["replayed"]
        self._along: Spec = equation.params["along"]
        self._snapshots: SnapshotStore = given.snapshots
        total = self._replayed.length
        assert total is not None
        self._total = total
        self._start = given.replayed.carries
        self._first = Span(program, frame, self._replayed, given.replayed, total)
        self._second = Span(program, frame, self._along, given.along, total)
        self._second.assign(given.along.carries)
        self._outputs = self._along.results(equation.outputs)
        self._stacks = [frame.allocated(var) for var in self._outputs.stacked]

    def write(self) -> None:
        if self._along.reverse == self._replayed.reverse:
            self._together()
        elif self._total:
            self._backwards()
        frame = self._frame
        define_carries(frame, self._outputs.carries, self._second.places)
        for var, stack in zip(self._outputs.stacked, self._stacks, strict=True):
            frame.define(var, frame.settled(stack))
        self._first.release()
        self._second.release()

    def _together(self) -> None:
        """Both loops in one direction need no snapshots."""
        self._first.assign(self._start)

        def each(number: Value) -> None:
            index = self._first.index(number)
            self._along_step(index, self._first.present())
            self._first.step(index)

        self._first.steps(0, self._total, each)

    def _along_step(self, index: Value, state: Sequence[Any]) -> None:
        targets = [item_of(self._e, stack, index) for stack in self._stacks]
        self._second.step(index, state, targets)

    def _backwards(self) -> None:
        e, frame = self._e, self._frame
        limit = max(1, self._replayed.snapshots or 1)
        kinds = self._first.kinds
        own = [buffer for buffer, _ in zip(self._snapshots.buffers, kinds, strict=False)]
        positions = self._snapshots.positions
        if len(positions) == self._total:
            self._along_states(own, e.constant(INT64, 0), e.constant(INT64, self._total))
            return
        program = instructions(self._total, positions, limit)
        slots = max((line[4] + 1 for line in program if line[0] == _ADVANCE), default=0)
        # Snapshots may be read again by another replay: new ones go elsewhere.
        fresh = _saved(self._program, frame, kinds, max(1, slots - len(positions)))
        longest = max(line[4] - line[3] for line in program if line[0] == _REVERSE)
        states = _saved(self._program, frame, kinds, longest)
        table = Table(self._program, [number for line in program for number in line])
        with e.loop(0, len(program)) as line:
            base = e.mul(line, e.constant(INT64, 5))
            what, slot, first, middle, last = (table.at(base, i) for i in range(5))
            self._recall(own, fresh, len(positions), slot)
            self._first.steps(first, middle, lambda n: self._first.step(self._first.index(n)))
            advances = e.eq(what, e.constant(INT64, _ADVANCE))
            with e.when(advances):
                place = e.sub(last, e.constant(INT64, len(positions)))
                _keep(frame, fresh, place, self._first.present())
            with e.when(e.not_(advances)):
                self._stretch(states, middle, last)

    def _recall(
        self, own: Sequence[Memory], fresh: Sequence[Memory], count: int, slot: Value
    ) -> None:
        e = self._e
        number = e.constant(INT64, count)
        old = e.lt(slot, number)
        with e.when(old):
            self._first.assign([self._loaded(item_of(e, buffer, slot)) for buffer in own])
        with e.when(e.not_(old)):
            place = e.sub(slot, number)
            self._first.assign([self._loaded(item_of(e, buffer, place)) for buffer in fresh])

    def _loaded(self, memory: Memory) -> Any:
        return self._frame.settled(memory)

    def _stretch(self, states: Sequence[Memory], first: Value, last: Value) -> None:
        """Run steps with all their states kept, then the other loop along them."""
        e, frame = self._e, self._frame

        def forward(number: Value) -> None:
            _keep(frame, states, e.sub(number, first), self._first.present())
            self._first.step(self._first.index(number))

        self._first.steps(first, last, forward)
        self._along_states(states, first, last)

    def _along_states(self, states: Sequence[Memory], first: Value, last: Value) -> None:
        """Run the other loop from the last of some steps to the first; their states are given."""
        e = self._e
        with e.loop(0, e.sub(last, first)) as turn:
            number = e.sub(e.sub(last, e.constant(INT64, 1)), turn)
            slot = e.sub(number, first)
            state = [self._loaded(item_of(e, buffer, slot)) for buffer in states]
            self._along_step(self._first.index(number), state)
