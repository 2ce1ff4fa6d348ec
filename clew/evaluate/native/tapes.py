"""Tapes in native code: arrays that grow while a loop runs.

A header ``{ptr data, i64 length, i64 capacity}`` lies in the arena; the data is the C library's. A
tape is a stretch of what its header holds. Elements of a tape of tapes are the start and length
of a stretch of another header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.storage import Splat, contiguous

HEADER = "{ ptr, i64, i64 }"
_FIRST = 64
_PAIR = 16


@dataclass(frozen=True, eq=False)
class ZeroTape:
    """A tape of zeros."""

    element: Type

    def item(self, e: Emitter, step: Value) -> Any:
        """Return an element: zeros, whichever it is."""
        kind = self.element
        if isinstance(kind, TapeType):
            return ZeroTape(kind.element)
        return Splat(kind.dtype, kind.shape, e.constant(kind.dtype, 0))


@dataclass(frozen=True, eq=False)
class TapeStore:
    """A stretch of ``length`` elements from ``start`` of what a header holds."""

    header: str
    element: Type
    inner: TapeStore | None
    start: Value
    length: Value

    def item(self, e: Emitter, step: Value) -> Any:
        """Return the element of a step."""
        place = e.add(self.start, step)
        data = e.assign(f"load ptr, ptr {self.header}")
        if self.inner is not None:
            pair = e.assign(f"getelementptr inbounds [{_PAIR} x i8], ptr {data}, i64 {place.name}")
            return TapeStore(
                self.inner.header,
                self.inner.element,
                self.inner.inner,
                e.load(pair, INT64),
                e.load(pair, INT64, 1),
            )
        return contiguous(
            self.element.dtype, self.element.shape, e.element_pointer(data, self.element, place)
        )


def bytes_of_element(kind: Type) -> int:
    """Return the bytes that one element takes in its header's data."""
    return _PAIR if isinstance(kind, TapeType) else kind.size * kind.dtype.itemsize


class Appender:
    """Writes one tape, an element at each step of a loop."""

    def __init__(self, program: Any, header: str, kind: TapeType) -> None:
        self._program = program
        self._header = header
        self._kind = kind
        self._start: Value | None = None

    def begin(self, e: Emitter, keep: bool) -> None:
        """Begin before the loop; what is there stays if it belongs to a tape of tapes."""
        place = _length_place(e, self._header)
        if not keep:
            e.line(f"store i64 0, ptr {place}")
        self._start = e.load(place, INT64)

    def room(self, e: Emitter, allowed: int) -> str:
        """Make room for one more element; return the address it will have."""
        size = bytes_of_element(self._kind.element)
        grow = grower(self._program.module)
        length = e.load(_length_place(e, self._header), INT64)
        capacity = e.load(_capacity_place(e, self._header), INT64)
        with e.when(e.ge(length, capacity)):
            status = e.assign(f"call i32 {grow}(ptr {self._header}, i64 {size}, i64 {allowed})")
            failed = Value(np.dtype(np.bool_), e.assign(f"icmp ne i32 {status}, 0"))
            self._program.over_budget(failed, self._header, size)
        data = e.assign(f"load ptr, ptr {self._header}")
        return e.assign(f"getelementptr inbounds [{size} x i8], ptr {data}, i64 {length.name}")

    def added(self, e: Emitter) -> None:
        """Say that the element has been written."""
        place = _length_place(e, self._header)
        length = e.load(place, INT64)
        e.store(place, e.add(length, e.constant(INT64, 1)))

    def end(self, e: Emitter, inner: TapeStore | None) -> TapeStore:
        """Return the tape, after the loop."""
        assert self._start is not None
        length = e.load(_length_place(e, self._header), INT64)
        return TapeStore(
            self._header, self._kind.element, inner, self._start, e.sub(length, self._start)
        )


def write_pair(e: Emitter, address: str, tape: TapeStore) -> None:
    """Write a tape as an element of a tape of tapes."""
    e.store(address, tape.start)
    e.store(address, tape.length, 1)


def _length_place(e: Emitter, header: str) -> str:
    return e.assign(f"getelementptr inbounds {HEADER}, ptr {header}, i32 0, i32 1")


def _capacity_place(e: Emitter, header: str) -> str:
    return e.assign(f"getelementptr inbounds {HEADER}, ptr {header}, i32 0, i32 2")


def grower(module: Module) -> str:
    """Return a function that makes a tape's capacity half as large again; 1 if it may not."""
    name = "grow_tape"
    if not module.has(name):
        module.declare("realloc", "ptr @realloc(ptr, i64)")
        parameters = [("ptr", "header", ""), ("i64", "size", ""), ("i64", "allowed", "")]
        e = Emitter(module, name, parameters, "i32", attributes="nounwind noinline cold")
        place = _capacity_place(e, "%header")
        old = e.load(place, INT64)
        more = e.add(old, e.shr(old, e.constant(INT64, 1)))
        first = e.constant(INT64, _FIRST)
        capacity = e.select(e.lt(more, first), first, more)
        total = e.mul(capacity, Value(INT64, "%size"))
        with e.when(e.gt(total, Value(INT64, "%allowed"))):
            e.line("ret i32 1")
            e.start(e.new_label("unreached"), falls_through=False)
        data = e.assign("load ptr, ptr %header")
        moved = e.assign(f"call ptr @realloc(ptr {data}, i64 {total.name})")
        with e.when(Value(np.dtype(np.bool_), e.assign(f"icmp eq ptr {moved}, null"))):
            e.line("ret i32 1")
            e.start(e.new_label("unreached"), falls_through=False)
        e.line(f"store ptr {moved}, ptr %header")
        e.store(place, capacity)
        e.ret("i32 0")
        module.add(e)
    return f"@{name}"
