"""Tapes in native code: arrays that grow while a loop runs.

A header ``{ptr data, i64 length, i64 capacity}`` lies in the arena; the data is the C library's. A
tape is a stretch of what its header holds. Elements of a tape of tapes are the start and length
of a stretch of another header.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.graph import Equation
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.storage import Splat, contiguous
from clew.loops.memory import Budget
from clew.loops.spec import Policy

HEADER = "{ ptr, i64, i64 }"
_FIRST = 64
_PAIR = 16
_UNASKED = 2**26
"""Bytes that a tape may take before Python is asked whether the machine has them."""


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
    inner: TapeStore | ZeroTape | None
    start: Value
    length: Value

    def item(self, e: Emitter, step: Value) -> Any:
        """Return the element of a step."""
        if isinstance(self.inner, ZeroTape):
            return self.inner
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
    """Writes one tape: an element at each step of a loop.

    Parameters
    ----------
    policy : Policy
        Of the loop: what it may store.
    per_step : int
        Bytes that the loop stores at each step, in all its tapes.
    """

    def __init__(
        self, program: Any, header: str, kind: TapeType, policy: Policy, per_step: int
    ) -> None:
        self._program = program
        self._header = header
        self._size = bytes_of_element(kind.element)
        self._kind = kind
        self._policy = policy
        self._per_step = max(per_step, 1)
        self._start: Value | None = None

    def begin(self, e: Emitter, keep: bool, steps: Value | None = None) -> None:
        """Begin before the loop; what is there stays if it belongs to a tape of tapes.

        If the number of steps is known, room is made for all of them now.
        """
        place = _length_place(e, self._header)
        if not keep:
            e.line(f"store i64 0, ptr {place}")
        self._start = e.load(place, INT64)
        if steps is not None:
            steps = e.select(e.lt(steps, e.constant(INT64, 0)), e.constant(INT64, 0), steps)
            length = e.add(self._start, steps)
            with e.when(e.gt(length, e.load(_capacity_place(e, self._header), INT64))):
                self._grow(e, length, steps)
            e.store(place, length)

    def room(self, e: Emitter) -> str:
        """Make room for one more element; return the address it will have."""
        length = e.load(_length_place(e, self._header), INT64)
        capacity = e.load(_capacity_place(e, self._header), INT64)
        with e.when(e.ge(length, capacity)):
            more = e.add(capacity, e.shr(capacity, e.constant(INT64, 1)))
            first = e.constant(INT64, _FIRST)
            self._grow(e, e.select(e.lt(more, first), first, more), None)
        return self._address(e, length)

    def place(self, e: Emitter, step: Value) -> str:
        """Return the address of a step's element, if room was made for all."""
        assert self._start is not None
        return self._address(e, e.add(self._start, step))

    def _address(self, e: Emitter, number: Value) -> str:
        data = e.assign(f"load ptr, ptr {self._header}")
        return e.assign(
            f"getelementptr inbounds [{self._size} x i8], ptr {data}, i64 {number.name}"
        )

    def _grow(self, e: Emitter, capacity: Value, steps: Value | None) -> None:
        """Grow to so many elements; Python is asked first if that is much, and may refuse."""
        kept = capacity
        if self._policy.memory is not None:  # what is allowed is of one tape
            assert self._start is not None
            kept = e.sub(capacity, self._start)
        needed = e.mul(kept, e.constant(INT64, self._per_step))
        free = _UNASKED if self._policy.memory is None else self._policy.memory
        with e.when(e.gt(needed, e.constant(INT64, free))):
            operands = []
            for value in (needed, e.constant(INT64, -1) if steps is None else steps):
                place = e.at_entry("alloca i64")
                e.store(place, value)
                operands.append(contiguous(INT64, (), place))
            params = {"policy": self._policy, "per_step": self._per_step}
            asked = Equation(_ROOM, (), params, (), "", self._policy.where)
            self._program.call_python(asked, operands, [])
        size = max(self._size, 1)
        grow = grower(self._program.module)
        given = f"ptr {self._header}, i64 {size}, i64 {capacity.name}"
        status = e.assign(f"call i32 {grow}({given})")
        failed = Value(np.dtype(np.bool_), e.assign(f"icmp ne i32 {status}, 0"))
        self._program.leave_if(failed)

    def added(self, e: Emitter) -> None:
        """Say that the element has been written."""
        place = _length_place(e, self._header)
        length = e.load(place, INT64)
        e.store(place, e.add(length, e.constant(INT64, 1)))

    def end(self, e: Emitter, inner: TapeStore | ZeroTape | None) -> TapeStore:
        """Return the tape, after the loop."""
        assert self._start is not None
        length = e.load(_length_place(e, self._header), INT64)
        return TapeStore(
            self._header, self._kind.element, inner, self._start, e.sub(length, self._start)
        )


class _Room:
    """Stands for the primitive of a call of Python that asks whether a tape may grow."""

    name = "tape"
    multiple = True

    def eval(self, xp: Any, needed: Any, steps: Any, *, policy: Policy, per_step: int) -> tuple[()]:
        """Raise if the bytes needed are more than a loop may store."""
        what = "its tape" if steps < 0 else f"what {int(steps):,} steps save"
        Budget(policy).require(int(needed), what, per_step)
        return ()


_ROOM: Any = _Room()


def emptied(e: Emitter, tape: Any, foreign: set[str]) -> None:
    """Empty the headers that hold the elements of a tape of tapes, except some."""
    while isinstance(tape, TapeStore):
        if tape.header not in foreign:
            e.line(f"store i64 0, ptr {_length_place(e, tape.header)}")
        tape = tape.inner


def headers_of(storages: Iterable[Any]) -> set[str]:
    """Return the headers that hold the tapes among some values."""
    found = set()
    for tape in storages:
        while isinstance(tape, TapeStore):
            found.add(tape.header)
            tape = tape.inner
    return found


def write_pair(e: Emitter, address: str, tape: TapeStore) -> None:
    """Write a tape as an element of a tape of tapes."""
    e.store(address, tape.start)
    e.store(address, tape.length, 1)


def _length_place(e: Emitter, header: str) -> str:
    return e.assign(f"getelementptr inbounds {HEADER}, ptr {header}, i32 0, i32 1")


def _capacity_place(e: Emitter, header: str) -> str:
    return e.assign(f"getelementptr inbounds {HEADER}, ptr {header}, i32 0, i32 2")


def grower(module: Module) -> str:
    """Return a function that gives a tape a larger capacity; 1 if there is no memory."""
    name = "grow_tape"
    if not module.has(name):
        module.declare("realloc", "ptr @realloc(ptr, i64)")
        parameters = [("ptr", "header", ""), ("i64", "size", ""), ("i64", "capacity", "")]
        e = Emitter(module, name, parameters, "i32", attributes="nounwind noinline cold")
        capacity = Value(INT64, "%capacity")
        total = e.mul(capacity, Value(INT64, "%size"))
        data = e.assign("load ptr, ptr %header")
        moved = e.assign(f"call ptr @realloc(ptr {data}, i64 {total.name})")
        with e.when(Value(np.dtype(np.bool_), e.assign(f"icmp eq ptr {moved}, null"))):
            e.line("ret i32 1")
            e.start(e.new_label("unreached"), falls_through=False)
        e.line(f"store ptr {moved}, ptr %header")
        e.store(_capacity_place(e, "%header"), capacity)
        e.ret("i32 0")
        module.add(e)
    return f"@{name}"
