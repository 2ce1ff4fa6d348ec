"""Control flow in native code: loops, branches, graphs kept whole, guards and checks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clew.core.graph import Equation, Graph, Var
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Value
from clew.evaluate.native.spaces import in_registers
from clew.evaluate.native.storage import Memory, Registers, Splat, contiguous
from clew.evaluate.native.tapes import (
    Appender,
    TapeStore,
    ZeroTape,
    emptied,
    headers_of,
    write_pair,
)
from clew.loops.execute import all_bytes
from clew.loops.spec import Spec, spec_of

# --- places for values that change ------------------------------------------------------------


class Changing:
    """A value of a few elements that is assigned again and again."""

    def __init__(self, e: Emitter, kind: Type) -> None:
        self._kind = kind
        self._slots = [e.slot(kind.dtype) for _ in range(kind.size)]

    def set(self, frame: Any, storage: Any) -> None:
        """Assign, from a value computed before any other is assigned."""
        values = frame.in_registers(storage).values
        for slot, value in zip(self._slots, values, strict=True):
            frame.e.set(slot, value)

    def get(self, frame: Any) -> Registers:
        """Return the value as it is now."""
        values = tuple(frame.e.get(slot) for slot in self._slots)
        return Registers(self._kind.dtype, self._kind.shape, values)


class Exchanged:
    """A large carry: two places in memory, one read and the other written, then exchanged."""

    def __init__(self, program: Any, kind: Type, first: Memory, second: Memory) -> None:
        self._kind = kind
        self._slots = [program.pointer_slot() for _ in range(2)]
        self._e = program.e
        for slot, memory in zip(self._slots, (first, second), strict=True):
            self._e.line(f"store ptr {memory.pointer}, ptr {slot}")

    def _at(self, slot: str) -> Memory:
        pointer = self._e.assign(f"load ptr, ptr {slot}")
        return contiguous(self._kind.dtype, self._kind.shape, pointer)

    def read(self) -> Memory:
        """Return where the value is now."""
        return self._at(self._slots[0])

    def written(self) -> Memory:
        """Return where the next value goes."""
        return self._at(self._slots[1])

    def exchange(self) -> None:
        """Make what was written what is read."""
        old, new = (self._e.assign(f"load ptr, ptr {slot}") for slot in self._slots)
        self._e.line(f"store ptr {new}, ptr {self._slots[0]}")
        self._e.line(f"store ptr {old}, ptr {self._slots[1]}")


def present(frame: Any, place: Changing | Exchanged) -> Any:
    """Return a carry as it is now."""
    return place.get(frame) if isinstance(place, Changing) else place.read()


def advanced(
    frame: Any,
    places: Sequence[Any],
    operands: Sequence[Any],
    stacks: Sequence[Memory | None] = (),
) -> list[Any]:
    """Write one step of a loop's body, and what its carries become; return what it stacks.

    ``frame`` is a fresh one for the body, ``operands`` are its inputs behind the carries, and
    ``stacks`` where the elements of what is stacked go.
    """
    carries = [present(frame, place) for place in places]
    own = [x if isinstance(p, Exchanged) else None for x, p in zip(carries, places, strict=True)]
    written = [p.written() if isinstance(p, Exchanged) else None for p in places]
    found = frame.run([*carries, *operands], [*written, *stacks], own)
    # All values exist before the first is assigned.
    fresh = [
        frame.in_registers(x) if isinstance(p, Changing) else x
        for x, p in zip(found, places, strict=False)
    ]
    for place, value, memory in zip(places, fresh, own, strict=True):
        if isinstance(place, Changing):
            place.set(frame, value)
        elif value is not memory:
            place.exchange()
    return found[len(places) :]


def define_carries(frame: Any, variables: Sequence[Var], places: Sequence[Any]) -> None:
    """Say where the carries are after a loop; large ones are moved to memory of their own."""
    for var, place in zip(variables, places, strict=True):
        if isinstance(place, Changing):
            frame.define(var, place.get(frame))
            continue
        memory = frame.allocated(var)
        frame.copy(place.read(), memory)
        frame.define(var, memory)


# --- loops ------------------------------------------------------------------------------------


def write_loop(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a loop that keeps no snapshots."""
    _LoopWriter(program, frame, equation, spec_of(equation)).write()
    return True


class _LoopWriter:
    def __init__(self, program: Any, frame: Any, equation: Equation, spec: Spec) -> None:
        self._program = program
        self._frame = frame
        self._spec = spec
        self._e: Emitter = program.e
        self._operands = spec.operands([frame.storage(atom) for atom in equation.inputs])
        self._outputs = spec.results(equation.outputs)
        self._kinds = spec.carry_types()
        self._appenders: dict[int, Appender] = {}
        self._inner: dict[int, TapeStore | ZeroTape] = {}
        self._kept: set[int] = set()
        self._addresses: dict[int, str] = {}
        self._scratch: list[Memory] = []

    def _steps(self) -> Value | None:
        """Return the number of steps, if it is known before the loop."""
        if self._spec.counted:
            (count,) = self._frame.in_registers(self._operands.count[0]).values
            return self._e.convert(count, INT64)
        if self._spec.length is not None:
            return self._e.constant(INT64, self._spec.length)
        return None

    def write(self) -> None:
        self._total = self._steps()
        self._carries = [self._carry(i) for i in range(self._spec.carries)]
        self._scanned = [self._scannable(x) for x in self._operands.scanned]
        self._stacked = [self._stack(i, var) for i, var in enumerate(self._outputs.stacked)]
        with self._e.aside() as loop:
            if self._spec.condition is None:
                self._counted()
            else:
                self._while()
        # Only now it is known where the elements of tapes of tapes are.
        foreign = headers_of(self._operands.flat())
        for number, tape in self._inner.items():
            if number not in self._kept:
                emptied(self._e, tape, foreign)
        self._e.put(loop)
        self._finish()

    # --- before ------------------------------------------------------------------------

    def _carry(self, number: int) -> Any:
        kind = self._kinds[number]
        start = self._operands.carries[number]
        if in_registers(kind):
            place = Changing(self._e, kind)
            place.set(self._frame, start)
            return place
        first, second = (self._program.buffer(self._e, kind.dtype, kind.shape) for _ in range(2))
        self._scratch += [first, second]
        self._frame.copy(start, first)
        return Exchanged(self._program, kind, first, second)

    def _scannable(self, storage: Any) -> Any:
        return self._frame.in_memory(storage) if isinstance(storage, Registers) else storage

    def _stack(self, number: int, var: Var) -> Memory | None:
        """Return the array that is written, or None for a tape."""
        if not isinstance(var.type, TapeType):
            return self._frame.allocated(var)
        header = self._program.tape_header()
        per_step = all_bytes([atom.type for atom in self._spec.body_stacked])
        appender = Appender(self._program, header, var.type, self._spec.policy, per_step)
        if var in self._frame.escaping:
            self._kept.add(number)
        appender.begin(self._e, number in self._kept, self._total)
        self._appenders[number] = appender
        return None

    # --- the loop ----------------------------------------------------------------------

    def _counted(self) -> None:
        assert self._total is not None
        with self._e.loop(0, self._total) as turn:
            step = turn
            if self._spec.reverse:
                last = self._e.sub(self._total, self._e.constant(INT64, 1))
                step = self._e.sub(last, turn)
            self._body(step)

    def _while(self) -> None:
        e = self._e
        self._count = e.slot(INT64)
        e.set(self._count, e.constant(INT64, 0))
        e.loops += 1
        head, body, after = (e.new_label(p) for p in ("while", "do", "done"))
        e.start(head)
        assert self._spec.condition is not None
        carries = [present(self._frame, place) for place in self._carries]
        asked = self._program.frame(self._spec.condition)
        (answer,) = asked.run([*carries, *self._operands.held])
        (truth,) = self._frame.in_registers(answer).values
        asked.close()
        e.line(f"br i1 {e.truth(truth).name}, label %{body}, label %{after}")
        e.start(body, falls_through=False)
        step = e.get(self._count)
        self._body(step)
        e.set(self._count, e.add(step, e.constant(INT64, 1)))
        e.line(f"br label %{head}")
        e.start(after, falls_through=False)

    def _body(self, step: Value) -> None:
        e, spec = self._e, self._spec
        scanned = [item_of(e, storage, step) for storage in self._scanned]
        stacks = [self._element(i, stack, step) for i, stack in enumerate(self._stacked)]
        frame = self._program.frame(spec.body)
        frame.escaping = {atom for atom in spec.body_stacked if isinstance(atom.type, TapeType)}
        found = advanced(frame, self._carries, [*scanned, *self._operands.held], stacks)
        for number, appender in self._appenders.items():
            tape = found[number]
            if isinstance(tape, TapeStore):
                write_pair(e, self._addresses[number], tape)
            if isinstance(tape, (TapeStore, ZeroTape)):
                self._inner[number] = tape
            if spec.condition is not None:
                appender.added(e)
        frame.close()

    def _element(self, number: int, stack: Memory | None, step: Value) -> Memory | None:
        """Return where a step's element of a stack goes; None for a tape in a tape."""
        if stack is not None:
            return item_of(self._e, stack, step)
        appender = self._appenders[number]
        known = self._total is not None
        address = appender.place(self._e, step) if known else appender.room(self._e)
        kind = self._spec.body_stacked[number].type
        if isinstance(kind, TapeType):
            self._addresses[number] = address
            return None
        return contiguous(kind.dtype, kind.shape, address)

    # --- after -------------------------------------------------------------------------

    def _finish(self) -> None:
        frame = self._frame
        define_carries(frame, self._outputs.carries, self._carries)
        for number, (var, stack) in enumerate(
            zip(self._outputs.stacked, self._stacked, strict=True)
        ):
            if stack is None:
                frame.define(var, self._appenders[number].end(self._e, self._inner.get(number)))
            else:
                frame.define(var, frame.settled(stack))
        for var in self._outputs.count:
            frame.define(var, Registers(np.dtype(np.int64), (), (self._e.get(self._count),)))
        for memory in self._scratch:
            self._program.arena.release(memory.buffer)


def item_of(e: Emitter, storage: Any, step: Value) -> Any:
    """Return the element of a stacked value that belongs to a step."""
    if isinstance(storage, (TapeStore, ZeroTape)):
        return storage.item(e, step)
    if isinstance(storage, Splat):
        return Splat(storage.dtype, storage.shape[1:], storage.value)
    moved = e.mul(step, e.constant(INT64, storage.strides[0]))
    if storage.offset:
        moved = e.add(moved, e.constant(INT64, storage.offset))
    pointer = e.address(storage.pointer, storage.dtype, moved)
    return Memory(storage.dtype, storage.shape[1:], pointer, storage.strides[1:])


# --- branches ---------------------------------------------------------------------------------


def _lent(memory: Memory) -> Memory:
    """Return memory that an inner frame writes to but does not give back."""
    return replace(memory, buffer=None)


def write_switch(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a switch: one block for each branch."""
    branches: Sequence[Graph] = equation.params["branches"]
    if any(isinstance(var.type, TapeType) for var in equation.outputs):
        return False
    e: Emitter = program.e
    (index,) = frame.in_registers(frame.storage(equation.inputs[0])).values
    operands = [frame.storage(atom) for atom in equation.inputs[1:]]
    for number, operand in enumerate(operands):
        if isinstance(operand, Memory):
            operands[number] = frame.settled(operand)
    places: list[Any] = [
        Changing(e, var.type) if in_registers(var.type) else frame.allocated(var)
        for var in equation.outputs
    ]
    labels = [e.new_label("branch") for _ in branches]
    after = e.new_label("after")
    number = e.convert(index, INT64)
    zero, last = e.constant(INT64, 0), e.constant(INT64, len(branches) - 1)
    number = e.select(e.lt(number, zero), zero, number)
    number = e.select(e.gt(number, last), last, number)
    cases = " ".join(f"i64 {i}, label %{label}" for i, label in enumerate(labels))
    e.line(f"switch i64 {number.name}, label %{labels[-1]} [ {cases} ]")
    for branch, label in zip(branches, labels, strict=True):
        e.start(label, falls_through=False)
        inner = program.frame(branch)
        targets = [_lent(place) if isinstance(place, Memory) else None for place in places]
        found = inner.run(operands, targets)
        for place, storage in zip(places, found, strict=True):
            if isinstance(place, Changing):
                place.set(inner, storage)
        inner.close()
        e.line(f"br label %{after}")
    e.start(after, falls_through=False)
    for var, place in zip(equation.outputs, places, strict=True):
        frame.define(var, place.get(frame) if isinstance(place, Changing) else place)
    return True


def write_remat(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a graph that is kept whole."""
    if any(isinstance(var.type, TapeType) for var in equation.outputs):
        return False
    inner = program.frame(equation.params["body"])
    places = [None if in_registers(var.type) else frame.allocated(var) for var in equation.outputs]
    targets = [None if place is None else _lent(place) for place in places]
    operands = [frame.storage(atom) for atom in equation.inputs]
    found = inner.run(operands, targets)
    for var, storage, place in zip(equation.outputs, found, places, strict=True):
        frame.define(var, frame.in_registers(storage) if place is None else place)
    inner.close()
    return True


# --- conditions -------------------------------------------------------------------------------


def write_guard(program: Any, frame: Any, equation: Equation) -> bool:
    """Compare with what was expected; only where it differs is Python called, to say so."""
    expected = equation.params["expected"].value
    atom = equation.inputs[0]
    if not in_registers(atom.type) or atom.type.dtype.kind not in "biuf":
        return False
    e: Emitter = program.e
    wrong = e.constant(BOOL, False)
    values = frame.in_registers(frame.storage(atom)).values
    for value, due in zip(values, np.asarray(expected).ravel(), strict=True):
        differs = e.ne(value, e.constant(value.dtype, due))
        if value.dtype.kind == "f" and due != due:
            differs = e.not_(e.isnan(value))
        wrong = e.or_(wrong, differs)
    _complain_when(program, frame, equation, wrong)
    return True


def write_check(program: Any, frame: Any, equation: Equation) -> bool:
    """Test a condition; only where it does not hold is Python called, to raise."""
    atom = equation.inputs[0]
    if not in_registers(atom.type):
        return False
    e: Emitter = program.e
    holds = e.constant(BOOL, True)
    for value in frame.in_registers(frame.storage(atom)).values:
        holds = e.and_(holds, e.truth(value))
    _complain_when(program, frame, equation, e.not_(holds))
    return True


def _complain_when(program: Any, frame: Any, equation: Equation, wrong: Value) -> None:
    operands = [frame.packed(frame.storage(atom)) for atom in equation.inputs]
    with contextlib.ExitStack() as stack:
        stack.enter_context(program.e.when(wrong))
        program.call_python(equation, operands, [])
