"""The carries of loops in native code: places for values that are assigned again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clew.core.graph import Var
from clew.core.types import Type
from clew.evaluate.native.emitter import Emitter
from clew.evaluate.native.spaces import in_registers
from clew.evaluate.native.storage import Memory, Registers, contiguous


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

    def __init__(self, program: Any, kind: Type) -> None:
        self._kind = kind
        self._e: Emitter = program.e
        self._buffers = [program.buffer(self._e, kind.dtype, kind.shape) for _ in range(2)]
        self._slots = [program.pointer_slot() for _ in range(2)]
        for slot, memory in zip(self._slots, self._buffers, strict=True):
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

    def release(self, program: Any) -> None:
        """Give back the memory."""
        for memory in self._buffers:
            program.arena.release(memory.buffer)


class Carries:
    """The carries of a loop; ``frame`` is the one that the loop is in."""

    def __init__(self, program: Any, frame: Any, kinds: Sequence[Type]) -> None:
        self._program = program
        self._frame = frame
        self._places = [
            Changing(program.e, kind) if in_registers(kind) else Exchanged(program, kind)
            for kind in kinds
        ]

    def assign(self, values: Sequence[Any]) -> None:
        """Set all, from values that exist already."""
        for place, value in zip(self._places, values, strict=True):
            if isinstance(place, Changing):
                place.set(self._frame, value)
            else:
                self._frame.copy(value, place.read())

    def present(self) -> list[Any]:
        """Return the values as they are now."""
        return [
            place.get(self._frame) if isinstance(place, Changing) else place.read()
            for place in self._places
        ]

    def advance(
        self, body: Any, operands: Sequence[Any], stacks: Sequence[Memory | None] = ()
    ) -> list[Any]:
        """Write one step, and what the carries become; return what the step stacks.

        ``body`` is a fresh frame, ``operands`` are its inputs behind the carries, and
        ``stacks`` where the elements of what is stacked go.
        """
        places, frame = self._places, self._frame
        carries = self.present()
        own = [
            x if isinstance(p, Exchanged) else None for x, p in zip(carries, places, strict=True)
        ]
        written = [p.written() if isinstance(p, Exchanged) else None for p in places]
        found = body.run([*carries, *operands], [*written, *stacks], own)
        # All values exist before the first is assigned.
        fresh = [
            body.in_registers(x) if isinstance(p, Changing) else x
            for x, p in zip(found, places, strict=False)
        ]
        for place, value, memory in zip(places, fresh, own, strict=True):
            if isinstance(place, Changing):
                place.set(frame, value)
            elif value is not memory:
                place.exchange()
        return found[len(places) :]

    def define(self, variables: Sequence[Var]) -> None:
        """Say where the carries are after the loop; large ones are moved to other memory."""
        frame = self._frame
        for var, place in zip(variables, self._places, strict=True):
            if isinstance(place, Changing):
                frame.define(var, place.get(frame))
                continue
            memory = frame.allocated(var)
            frame.copy(place.read(), memory)
            frame.define(var, memory)

    def release(self) -> None:
        """Give back the memory, when all variables are defined."""
        for place in self._places:
            if isinstance(place, Exchanged):
                place.release(self._program)
