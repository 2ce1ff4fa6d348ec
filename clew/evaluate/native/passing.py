"""Arrays of a program in functions that it calls: each pointer and value is a parameter."""

from __future__ import annotations

from collections.abc import Sequence

from clew.evaluate.native.emitter import INT64, Emitter, Value
from clew.evaluate.native.storage import Memory, Splat


class Passing:
    """Reads and writes the caller's arrays in a function of its own, as its parameters.

    ``attributes`` are those of pointers: ``noalias`` where the arrays do not overlap.
    """

    def __init__(self, e: Emitter, attributes: str = "") -> None:
        self._e = e
        self._attributes = attributes
        self._known: dict[str, str] = {}
        self.arguments: list[str] = []

    def parameter(self, kind: str, name: str) -> str:
        """Return the function's parameter for a name of the caller's; constants stay."""
        if not name.startswith("%"):
            return name
        known = self._known.get(name)
        if known is None:
            known = f"%q{len(self.arguments)}"
            self._known[name] = known
            self.arguments.append(f"{kind} {name}")
            attributes = self._attributes if kind == "ptr" else ""
            self._e.parameters.append((kind, known[1:], attributes))
        return known

    def pointer(self, memory: Memory) -> str:
        """Return the address of an array's first element."""
        pointer = self.parameter("ptr", memory.pointer)
        return self._e.address(pointer, memory.dtype, memory.offset)

    def _place(self, memory: Memory, index: Sequence[Value]) -> Value:
        e = self._e
        place = e.constant(INT64, memory.offset)
        for each, stride in zip(index, memory.strides, strict=True):
            place = e.add(place, e.mul(each, e.constant(INT64, stride)))
        return place

    def load(self, storage: Memory | Splat, index: Sequence[Value]) -> Value:
        """Return an element."""
        e = self._e
        if isinstance(storage, Splat):
            value = storage.value
            kind = e.type_of(value)
            imag = None if value.imag is None else self.parameter(kind, value.imag)
            return Value(value.dtype, self.parameter(kind, value.name), imag)
        pointer = self.parameter("ptr", storage.pointer)
        return e.load(pointer, storage.dtype, self._place(storage, index))

    def store(self, memory: Memory, index: Sequence[Value], value: Value) -> None:
        """Write an element."""
        self._e.store(self.parameter("ptr", memory.pointer), value, self._place(memory, index))
