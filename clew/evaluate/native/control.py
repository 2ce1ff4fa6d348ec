"""Control flow in native code: loops, branches, graphs kept whole, guards and checks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clew.core.graph import Equation, Graph, Var
from clew.core.tape import TapeType
from clew.evaluate.native.carries import Changing
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Value
from clew.evaluate.native.snapshots import Snapshots
from clew.evaluate.native.spaces import in_registers
from clew.evaluate.native.spans import Span
from clew.evaluate.native.storage import Memory, Registers
from clew.evaluate.native.tapes import TapeStore, ZeroTape, common_form, escaping, handle
from clew.loops.spec import Spec, spec_of

# --- loops ------------------------------------------------------------------------------------


def write_loop(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a loop, with the snapshots that it keeps."""
    spec = spec_of(equation)
    if any(isinstance(kind, TapeType) for kind in spec.carry_types()):
        return False
    _LoopWriter(program, frame, equation, spec).write()
    return True


def steps_of(e: Emitter, frame: Any, spec: Spec, count: Sequence[Any]) -> Value | None:
    """Return the number of steps, if it is known before the loop."""
    if spec.length is not None:
        return e.constant(INT64, spec.length)
    if not spec.counted:
        return None
    steps = e.convert(frame.in_registers(count[0]).values[0], INT64)
    return e.select(e.lt(steps, e.constant(INT64, 0)), e.constant(INT64, 0), steps)


class _LoopWriter:
    def __init__(self, program: Any, frame: Any, equation: Equation, spec: Spec) -> None:
        self._program = program
        self._frame = frame
        self._spec = spec
        self._e: Emitter = program.e
        self._operands = spec.operands([frame.storage(atom) for atom in equation.inputs])
        self._outputs = spec.results(equation.outputs)
        self._total = steps_of(self._e, frame, spec, self._operands.count)
        stacked = self._outputs.stacked
        self._span = Span(program, frame, spec, self._operands, stacked, self._total)
        self._span.carries.assign(self._operands.carries)
        self._snapshots = [
            Snapshots(program, frame, spec, var, self._total) for var in self._outputs.snapshots
        ]

    def write(self) -> None:
        with self._e.aside() as loop:
            if self._total is None:
                self._while()
            else:
                with self._e.loop(0, self._total) as number:
                    self._step(number)
        self._span.stacks.clear()
        self._e.put(loop)
        self._span.finish(self._outputs.carries)
        for snapshots in self._snapshots:
            snapshots.define()
        for var in self._outputs.count:
            count = self._e.get(self._count)
            self._frame.define(var, Registers(np.dtype(np.int64), (), (count,)))

    def _step(self, number: Value) -> None:
        for snapshots in self._snapshots:
            snapshots.before(number, self._span.carries)
        self._span.step(self._span.index(number))

    def _while(self) -> None:
        e = self._e
        self._count = e.slot(INT64)
        e.set(self._count, e.constant(INT64, 0))
        e.depth += 1
        head, body, after = (e.new_label(p) for p in ("while", "do", "done"))
        e.start(head)
        assert self._spec.condition is not None
        asked = self._program.frame(self._spec.condition)
        (answer,) = asked.run([*self._span.carries.present(), *self._operands.held])
        (truth,) = self._frame.in_registers(answer).values
        asked.close()
        e.line(f"br i1 {e.truth(truth).name}, label %{body}, label %{after}")
        e.start(body, falls_through=False)
        number = e.get(self._count)
        self._step(number)
        e.set(self._count, e.add(number, e.constant(INT64, 1)))
        e.line(f"br label %{head}")
        e.start(after, falls_through=False)
        e.depth -= 1


# --- branches ---------------------------------------------------------------------------------


def _lent(memory: Memory) -> Memory:
    """Return memory that an inner frame writes to but does not give back."""
    return replace(memory, buffer=None)


class _Handle:
    """A tape that is assigned in several places."""

    def __init__(self, program: Any, kind: TapeType) -> None:
        self._e: Emitter = program.e
        self._kind = kind
        self._header = program.pointer_slot()
        self._start, self._length = self._e.slot(INT64), self._e.slot(INT64)
        self._tapes: list[TapeStore | ZeroTape] = []

    def set(self, tape: TapeStore | ZeroTape) -> None:
        """Assign."""
        header, start, length = handle(self._e, tape)
        self._e.line(f"store ptr {header}, ptr {self._header}")
        self._e.set(self._start, start)
        self._e.set(self._length, length)
        self._tapes.append(tape)

    def get(self) -> TapeStore | ZeroTape:
        """Return the tape that was assigned."""
        e, element = self._e, self._kind.element
        if all(isinstance(tape, ZeroTape) for tape in self._tapes):
            return ZeroTape(element)
        form = common_form(self._tapes)
        header = e.assign(f"load ptr, ptr {self._header}")
        return TapeStore(header, element, e.get(self._start), e.get(self._length), None, form)


def _inner(program: Any, frame: Any, graph: Graph, outputs: Sequence[Var]) -> Any:
    """Return a frame for a graph whose results become variables of a frame."""
    inner = program.frame(graph)
    owners = [(atom, frame.escaping.get(v)) for atom, v in zip(graph.outputs, outputs, strict=True)]
    inner.escaping = escaping(graph, [(atom, owner) for atom, owner in owners if owner])
    return inner


def write_switch(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a switch: one block for each branch."""
    branches: Sequence[Graph] = equation.params["branches"]
    e: Emitter = program.e
    (index,) = frame.in_registers(frame.storage(equation.inputs[0])).values
    operands = [frame.storage(atom) for atom in equation.inputs[1:]]
    for number, operand in enumerate(operands):
        if isinstance(operand, Memory):
            operands[number] = frame.settled(operand)
    places = [_result_place(program, frame, var) for var in equation.outputs]
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
        inner = _inner(program, frame, branch, equation.outputs)
        targets = [_lent(place) if isinstance(place, Memory) else None for place in places]
        found = inner.run(operands, targets)
        for place, storage in zip(places, found, strict=True):
            if isinstance(place, Changing):
                place.set(inner, storage)
            elif isinstance(place, _Handle):
                place.set(storage)
        inner.close()
        e.line(f"br label %{after}")
    e.start(after, falls_through=False)
    for var, place in zip(equation.outputs, places, strict=True):
        if isinstance(place, Changing):
            frame.define(var, place.get(frame))
        else:
            frame.define(var, place.get() if isinstance(place, _Handle) else place)
    return True


def _result_place(program: Any, frame: Any, var: Var) -> Changing | _Handle | Memory:
    """Return where each branch puts a result."""
    if isinstance(var.type, TapeType):
        return _Handle(program, var.type)
    return Changing(program.e, var.type) if in_registers(var.type) else frame.allocated(var)


def write_remat(program: Any, frame: Any, equation: Equation) -> bool:
    """Write a graph that is kept whole."""
    inner = _inner(program, frame, equation.params["body"], equation.outputs)
    tapes = [isinstance(var.type, TapeType) for var in equation.outputs]
    places = [
        None if tape or in_registers(var.type) else frame.allocated(var)
        for var, tape in zip(equation.outputs, tapes, strict=True)
    ]
    targets = [None if place is None else _lent(place) for place in places]
    operands = [frame.storage(atom) for atom in equation.inputs]
    found = inner.run(operands, targets)
    for var, storage, place, tape in zip(equation.outputs, found, places, tapes, strict=True):
        if place is None and not tape:
            # Their home in memory may be one that the inner frame gives back.
            storage = replace(frame.in_registers(storage), home=None)
        frame.define(var, storage if place is None else place)
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
