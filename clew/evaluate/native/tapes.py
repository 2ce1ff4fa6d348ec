"""Tapes in native code: arrays that grow while a loop runs.

A header ``{ptr data, i64 length, i64 capacity, i64 size}`` counts elements of ``size`` bytes; the
data is the C library's. A tape is a stretch of what a header holds: ``{ptr header, i64 start, i64
length}``, and so are the elements of a tape of tapes. Zeros are a header whose one element of no
size is read at every step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from clew.core.graph import Equation, Graph
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Module, Value
from clew.evaluate.native.storage import Memory, Splat, contiguous
from clew.loops.memory import Budget
from clew.loops.spec import Policy

HEADER = "{ ptr, i64, i64, i64 }"
HEADER_SIZE = 32
JOINED = "joined"
"""In a form: the elements are tapes, though the type does not say so."""
NESTED = "nested"
"""In a form: the elements are tapes, whose form follows."""
_LENGTH, _CAPACITY, _SIZE = 1, 2, 3
TAPE_SIZE = 24
_FIRST = 64
_UNASKED = 2**26
"""Bytes that a tape may take before Python is asked whether the machine has them."""
_order = itertools.count()

Form = tuple[str, ...]
"""How the elements differ from what the type says; nothing if they do not."""


def nested(form: Form | None) -> Form | None:
    """Return the form of a tape of tapes of a form."""
    return (NESTED, *form) if form else form


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
    """A stretch of ``length`` elements from ``start`` of what a header holds.

    ``size`` is the bytes of an element, None where the header says it. ``form`` is None where
    nobody knows what the elements are but whoever reads them.
    """

    header: str
    element: Type
    start: Value
    length: Value
    size: int | None = None
    form: Form | None = ()

    def address(self, e: Emitter, step: Value) -> str:
        """Return where an element is."""
        offset = e.mul(e.add(self.start, step), self.width(e))
        data = e.assign(f"load ptr, ptr {self.header}")
        return e.assign(f"getelementptr inbounds i8, ptr {data}, i64 {offset.name}")

    def width(self, e: Emitter) -> Value:
        """Return the bytes of an element."""
        if self.size is not None:
            return e.constant(INT64, self.size)
        return e.load(field_of(e, self.header, _SIZE), INT64)

    def item(self, e: Emitter, step: Value) -> Any:
        """Return the element of a step."""
        address = self.address(e, step)
        kind = self.element
        if isinstance(kind, TapeType):
            form = self.form[1:] if self.form and self.form[0] == NESTED else self.form
            return loaded(e, address, kind.element, form)
        return contiguous(kind.dtype, kind.shape, address)


def field_of(e: Emitter, header: str, number: int) -> str:
    """Return the address of a header's length, capacity or size."""
    return e.assign(f"getelementptr inbounds {HEADER}, ptr {header}, i32 0, i32 {number}")


def common_form(tapes: Iterable[TapeStore | ZeroTape]) -> Form | None:
    """Return the form that tapes have in common, None if there is no such; zeros have any."""
    forms = {tape.form for tape in tapes if isinstance(tape, TapeStore)}
    return () if not forms else forms.pop() if len(forms) == 1 else None


# --- tapes as values in memory -----------------------------------------------------------------


def handle(e: Emitter, tape: TapeStore | ZeroTape) -> tuple[str, Value, Value]:
    """Return the header, start and length of a tape."""
    if isinstance(tape, TapeStore):
        return tape.header, tape.start, tape.length
    zero = e.constant(INT64, 0)
    return zero_tape(e.module, tape.element), zero, zero


def write_tape(e: Emitter, address: str, tape: TapeStore | ZeroTape) -> None:
    """Write a tape as an element of another."""
    header, start, length = handle(e, tape)
    e.line(f"store ptr {header}, ptr {address}")
    e.store(address, start, 1)
    e.store(address, length, 2)


def loaded(e: Emitter, address: str, element: Type, form: Form | None) -> TapeStore:
    """Return a tape that is an element of another."""
    header = e.assign(f"load ptr, ptr {address}")
    missing = e.assign(f"icmp eq ptr {header}, null")  # an element of zeros
    zeros = zero_tape(e.module, element)
    header = e.assign(f"select i1 {missing}, ptr {zeros}, ptr {header}")
    start, length = (e.load(address, INT64, number) for number in (1, 2))
    return TapeStore(header, element, start, length, None, form)


def zero_tape(module: Module, element: Type) -> str:
    """Return the header of zeros, of whatever form."""
    size = 1 << max(bytes_of_element(element), TAPE_SIZE).bit_length()
    name = f"zero_tape.{size}"
    module.constant(f"zeros.{size}", f"[{size} x i8] zeroinitializer, align 64")
    counts = "i64 0, i64 0, i64 0"
    return module.constant(name, f"{HEADER} {{ ptr @zeros.{size}, {counts} }}, align 8")


def bytes_of_element(kind: Type) -> int:
    """Return the bytes that one element takes in its header's data."""
    return TAPE_SIZE if isinstance(kind, TapeType) else kind.size * kind.dtype.itemsize


# --- how long what a header holds is needed ------------------------------------------------------


@dataclass(eq=False)
class Owner:
    """The tape whose elements are in some headers: they are emptied when it begins anew."""

    headers: list[str] = field(default_factory=list)
    order: int = field(default_factory=lambda: next(_order))
    """Owners further out are older."""


def escaping(graph: Graph, returned: Iterable[tuple[Any, Owner]]) -> dict[Any, Owner]:
    """Return who owns the tapes that a graph returns, and those that they may be made of."""
    found: dict[Any, Owner] = {}

    def escapes(atom: Any, owner: Owner) -> None:
        known = found.get(atom)
        if known is None or owner.order < known.order:
            found[atom] = owner

    for atom, owner in returned:
        escapes(atom, owner)
    for equation in reversed(graph.equations):
        for var in equation.outputs:
            owner = found.get(var)
            if owner is None or not _may_hold_operands(equation, var.type):
                continue
            for atom in equation.inputs:
                if isinstance(atom.type, TapeType):
                    escapes(atom, owner)
    return found


def _may_hold_operands(equation: Equation, kind: Type) -> bool:
    """Whether a result may be a tape among the operands, or have one for an element."""
    copies = equation.primitive.name in ("loop", "replay")
    return isinstance(kind, TapeType) and not (copies and not isinstance(kind.element, TapeType))


# --- writing -----------------------------------------------------------------------------------


class Room:
    """Memory that a header stands for, while it is written: so many elements and no more."""

    def __init__(self, program: Any, header: str, size: int) -> None:
        e: Emitter = program.e
        self._program = program
        self._e = e
        self.header = header
        self.size = size
        e.store(self._field(_SIZE), e.constant(INT64, size))
        self.start = self.length()

    @classmethod
    def within(cls, program: Any, header: str, memory: Memory, size: int) -> Room:
        """Return memory that is there already, as a room."""
        e: Emitter = program.e
        e.line(f"store ptr {memory.pointer}, ptr {header}")
        empty(e, header)
        return cls(program, header, size)

    def _field(self, number: int) -> str:
        return field_of(self._e, self.header, number)

    def length(self) -> Value:
        """Return the elements that there are."""
        return self._e.load(self._field(_LENGTH), INT64)

    def set_length(self, length: Value) -> None:
        """Say how many elements there are."""
        self._e.store(self._field(_LENGTH), length)

    def address(self, number: Value) -> str:
        """Return where an element is, counted from the start on."""
        e = self._e
        offset = e.mul(e.add(self.start, number), e.constant(INT64, self.size))
        data = e.assign(f"load ptr, ptr {self.header}")
        return e.assign(f"getelementptr inbounds i8, ptr {data}, i64 {offset.name}")

    def reserve(self, count: Value) -> None:
        """Make sure that there is room for so many from the start on."""

    def reserve_one(self, count: Value, limit: int) -> None:
        """Make sure that there is room for one more than ``count``, of ``limit`` at most."""

    def store(self, element: Type, count: Value, form: Form | None) -> TapeStore:
        """Return the tape of so many elements."""
        return TapeStore(self.header, element, self.start, count, self.size, form)


@dataclass(frozen=True)
class Asking:
    """What Python is asked before a tape grows: whether it may."""

    policy: Policy
    each: int
    """Bytes that an element counts for."""
    what: str
    """What takes memory; ``{:,}`` is how many."""


class Growth(Room):
    """Memory that grows; if somebody owns it, what is there already stays."""

    def __init__(self, program: Any, size: int, asking: Asking, owner: Owner | None) -> None:
        header = program.tape_header()
        if owner is not None:
            owner.headers.append(header)
        else:
            empty(program.e, header)
        super().__init__(program, header, size)
        self._asking = asking
        # What many steps add to grows by half, if nobody counts the bytes of one tape.
        self._ahead = owner is not None and asking.policy.memory is None

    def reserve(self, count: Value) -> None:
        """Make room for so many from the start on."""
        e, needed = self._e, self._e.add(self.start, count)
        with e.when(e.gt(needed, self._capacity())):
            more = self._half_more() if self._ahead else needed
            self._grow(e.select(e.lt(more, needed), needed, more), count)

    def reserve_one(self, count: Value, limit: int) -> None:
        """Make room for one more than ``count`` from the start on; twice as many, if allowed."""
        e = self._e
        with e.when(e.ge(e.add(self.start, count), self._capacity())):
            first, most = e.constant(INT64, _FIRST), e.constant(INT64, limit)
            more = e.add(count, count)
            more = e.select(e.lt(more, first), first, more)
            more = e.select(e.lt(more, most), more, most)
            self._grow(e.add(self.start, more), more)

    def append(self) -> str:
        """Return the address of one more element at the end; the length stays."""
        e = self._e
        length = self.length()
        with e.when(e.ge(length, self._capacity())):
            more, first = self._half_more(), e.constant(INT64, _FIRST)
            more = e.select(e.lt(more, first), first, more)
            self._grow(more, more)
        return self.address(e.sub(length, self.start))

    def _capacity(self) -> Value:
        return self._e.load(self._field(_CAPACITY), INT64)

    def _half_more(self) -> Value:
        capacity = self._capacity()
        return self._e.add(capacity, self._e.shr(capacity, self._e.constant(INT64, 1)))

    def _grow(self, capacity: Value, count: Value) -> None:
        """Grow; Python is asked first if that is much, and may refuse."""
        e, policy = self._e, self._asking.policy
        kept = capacity
        if policy.memory is not None:  # what is allowed is of one tape
            kept = e.sub(capacity, self.start)
        needed = e.mul(kept, e.constant(INT64, self._asking.each))
        free = _UNASKED if policy.memory is None else policy.memory
        with e.when(e.gt(needed, e.constant(INT64, free))):
            operands = []
            for value in (needed, count):
                place = e.at_entry("alloca i64")
                e.store(place, value)
                operands.append(contiguous(INT64, (), place))
            asked = Equation(_MAY_GROW, (), {"asking": self._asking}, (), "", policy.where)
            self._program.call_python(asked, operands, [])
        grow = grower(self._program.module)
        given = f"ptr {self.header}, i64 {max(self.size, 1)}, i64 {capacity.name}"
        status = e.assign(f"call i32 {grow}({given})")
        self._program.leave_if(Value(BOOL, e.assign(f"icmp ne i32 {status}, 0")))


class Appender:
    """Writes one tape: an element at each step of a loop.

    If the number of steps is known, room is made for all of them when it begins.
    """

    def __init__(
        self,
        program: Any,
        element: Type,
        policy: Policy,
        per_step: int,
        owner: Owner | None,
        steps: Value | None,
    ) -> None:
        self._e: Emitter = program.e
        self._element = element
        what = "its tape" if steps is None else "what {:,} steps save"
        asking = Asking(policy, max(per_step, 1), what)
        self._growth = Growth(program, bytes_of_element(element), asking, owner)
        self._steps = steps
        if steps is not None:
            self._growth.reserve(steps)
            self._growth.set_length(self._e.add(self._growth.start, steps))

    def place(self, step: Value) -> str:
        """Return the address of a step's element; call ``added`` when it has been written."""
        return self._growth.append() if self._steps is None else self._growth.address(step)

    def added(self) -> None:
        """Say that the element has been written."""
        if self._steps is None:
            one = self._e.constant(INT64, 1)
            self._growth.set_length(self._e.add(self._growth.length(), one))

    def end(self, form: Form | None) -> TapeStore:
        """Return the tape, after the loop."""
        count = self._e.sub(self._growth.length(), self._growth.start)
        return self._growth.store(self._element, count, form)


class _MayGrow:
    """Stands for the primitive of a call of Python that asks whether a tape may grow."""

    name = "tape"
    multiple = True

    def eval(self, xp: Any, needed: Any, count: Any, *, asking: Asking) -> tuple[()]:
        """Raise if the bytes needed are more than a loop may store."""
        what = asking.what.format(int(count))
        Budget(asking.policy).require(int(needed), what, asking.each)
        return ()


_MAY_GROW: Any = _MayGrow()


def empty(e: Emitter, header: str) -> None:
    """Forget what a header holds; its memory stays."""
    e.store(field_of(e, header, _LENGTH), e.constant(INT64, 0))


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
        with e.when(Value(BOOL, e.assign(f"icmp eq ptr {moved}, null"))):
            e.line("ret i32 1")
            e.start(e.new_label("unreached"), falls_through=False)
        e.line(f"store ptr {moved}, ptr %header")
        e.store(field_of(e, "%header", _CAPACITY), capacity)
        e.ret("i32 0")
        module.add(e)
    return f"@{name}"
