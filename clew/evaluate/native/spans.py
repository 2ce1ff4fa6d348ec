"""The steps of a loop in native code: what a step reads, writes, and leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.core.graph import Graph, Var
from clew.core.tape import TapeType
from clew.evaluate.native.carries import Carries
from clew.evaluate.native.emitter import INT64, Emitter, Value
from clew.evaluate.native.layouts import laid_out
from clew.evaluate.native.storage import Memory, Registers, Splat, contiguous
from clew.evaluate.native.tapes import (
    Appender,
    Form,
    Owner,
    TapeStore,
    ZeroTape,
    empty,
    escaping,
    nested,
    write_tape,
)
from clew.loops.execute import all_bytes
from clew.loops.spec import Groups, Spec


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


class Stacks:
    """What a loop stacks: arrays of known length, or tapes that grow."""

    def __init__(
        self, program: Any, frame: Any, spec: Spec, variables: Sequence[Var], total: Value | None
    ) -> None:
        self._program = program
        self._frame = frame
        self._spec = spec
        self._variables = list(variables)
        self._total = total
        self._owners: dict[int, Owner] = {}
        self._forms: dict[int, Form | None] = {}
        self._addresses: dict[int, str] = {}
        self._places = [self._place(number, var) for number, var in enumerate(variables)]

    def _place(self, number: int, var: Var) -> Memory | Appender:
        if not isinstance(var.type, TapeType):
            return self._frame.allocated(var)
        owner = self._frame.escaping.get(var)
        self._owners[number] = owner or Owner()
        per_step = all_bytes([atom.type for atom in self._spec.body_stacked])
        policy, element = self._spec.policy, var.type.element
        return Appender(self._program, element, policy, per_step, owner, self._total)

    def body(self, graph: Graph) -> Any:
        """Return a frame for a step."""
        frame = self._program.frame(graph)
        atoms = self._spec.body_stacked
        owners = self._owners.items()
        frame.escaping = escaping(graph, [(atoms[number], owner) for number, owner in owners])
        return frame

    def targets(self, step: Value) -> list[Memory | None]:
        """Return where a step's elements go; None for a tape in a tape."""
        return [self._target(number, step) for number in range(len(self._places))]

    def _target(self, number: int, step: Value) -> Memory | None:
        place = self._places[number]
        if isinstance(place, Memory):
            return item_of(self._program.e, place, step)
        address = place.place(step)
        kind = self._spec.body_stacked[number].type
        if isinstance(kind, TapeType):
            self._addresses[number] = address
            return None
        return contiguous(kind.dtype, kind.shape, address)

    def added(self, found: Sequence[Any]) -> None:
        """Say that a step has written its elements, or what they are."""
        for number, place in enumerate(self._places):
            if isinstance(place, Memory):
                continue
            tape = found[number]
            if number in self._addresses:
                write_tape(self._program.e, self._addresses[number], tape)
                form = tape.form if isinstance(tape, TapeStore) else ()
                self._forms[number] = nested(form)
            place.added()

    def clear(self) -> None:
        """Before the loop, when it has been written: empty what holds the tapes in its tapes."""
        for number, owner in self._owners.items():
            if self._frame.escaping.get(self._variables[number]) is not owner:
                for header in owner.headers:
                    empty(self._program.e, header)

    def define(self) -> None:
        """Say where the results are, after the loop."""
        frame = self._frame
        for number, (var, place) in enumerate(zip(self._variables, self._places, strict=True)):
            if isinstance(place, Memory):
                frame.define(var, frame.settled(place))
            else:
                frame.define(var, place.end(self._forms.get(number, ())))


class Span:
    """Steps of a loop; ``total`` is how many there will be, None if a condition says so."""

    def __init__(
        self,
        program: Any,
        frame: Any,
        spec: Spec,
        groups: Groups,
        stacked: Sequence[Var],
        total: Value | None,
    ) -> None:
        self._e: Emitter = program.e
        self._spec = spec
        inputs = spec.body.inputs
        held = inputs[len(inputs) - len(groups.held) :]
        self._held = laid_out(frame, spec.body, held, groups.held, spec.length)
        self._scanned = [
            frame.in_memory(x) if isinstance(x, Registers) else x for x in groups.scanned
        ]
        self._total = total
        self.carries = Carries(program, frame, spec.carry_types())
        self.stacks = Stacks(program, frame, spec, stacked, total)

    def index(self, number: Value) -> Value:
        """Return which element of what is scanned belongs to a step, counted as they run."""
        if not self._spec.reverse:
            return number
        assert self._total is not None
        last = self._e.sub(self._total, self._e.constant(INT64, 1))
        return self._e.sub(last, number)

    def step(self, index: Value, before: Sequence[Any] = ()) -> None:
        """Write one step; ``before`` is scanned before the loop's own."""
        scanned = [*before, *(item_of(self._e, storage, index) for storage in self._scanned)]
        body = self.stacks.body(self._spec.body)
        targets = self.stacks.targets(index)
        found = self.carries.advance(body, [*scanned, *self._held], targets)
        self.stacks.added(found)
        body.close()

    def finish(self, carries: Sequence[Var]) -> None:
        """Say where all results are, after the loop."""
        self.carries.define(carries)
        self.stacks.define()
        self.carries.release()
