"""A kernel: one nest of loops that computes values, adjoints and reductions together.

The body is written first, for symbolic loop counters; what it reads and writes then tells which
neighbouring loops can be one, and the loops are put around it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from clew.core.graph import Atom, Equation, Var
from clew.evaluate.native.affine import Affine, Index, Term, linear, strides_of
from clew.evaluate.native.emitter import BOOL, INT64, Aside, Emitter, Slot, Value
from clew.evaluate.native.module import QUICK
from clew.evaluate.native.regions import Access, Region
from clew.evaluate.native.schedule import Step
from clew.evaluate.native.spaces import (
    LIGHT,
    OutOfRange,
    Space,
    combined,
    identity,
    is_view,
    kind_of,
    loop_axes,
    places,
    point_value,
    source_index,
    space_of,
)
from clew.evaluate.native.storage import Memory, Registers, Splat, Storage
from clew.evaluate.native.wide import MOST_LANES, vector_loop

_CHUNK_WORK = 1 << 17
"""Operations that one chunk of a kernel should at least do."""
_MOST_CHUNKS = 32
_SHORT = 64
"""Iterations of an innermost loop that is not worth a rest of single steps."""
_SMALL = 256
"""Elements below which a kernel is a part of its caller."""
_DEAR = 16
"""What a call of a mathematical function counts as, in operations."""
REDUCING = "reassoc nsz contract"
"""Fast-math flags of sums, which may be added up in any order (but always the same one)."""


def weight(equation: Equation) -> int:
    """Return what computing one element counts as, in operations."""
    return 1 if equation.primitive.name in LIGHT else _DEAR


@dataclass(frozen=True)
class Call:
    """A finished kernel, and what its caller passes."""

    symbol: str
    arguments: list[tuple[str, str]]
    """LLVM type and the caller's name of each argument; begin, end and chunk follow."""
    extent: int
    size: int
    """Turns of the outermost loop in a chunk, of the ``extent`` that there are."""
    chunks: int
    partial: list[Partial]
    bounds: tuple[int, ...] | None = None
    """Where the chunks begin, and the last one ends, if they are those of a region."""


@dataclass(frozen=True)
class Partial:
    """A reduction of which every chunk leaves its own result, to be combined in order."""

    space: Space
    target: Memory
    scratch: Memory
    chunks: int


@dataclass(eq=False)
class _Reduction:
    """A reduction in a kernel.

    It is gathered in registers while the loops from number ``depth`` on run, behind the last loop
    that is kept; ``depth`` is None if that is the innermost. If a loop before ``depth`` is not
    kept, what registers gathered is added to memory.
    """

    space: Space
    kept: list[int]
    depth: int | None
    target: Memory
    partial: bool = False
    slots: dict[Index, Slot] = field(default_factory=dict)
    terms: list[tuple[Index, Value]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = self.target
        self.in_memory = self.kept != list(range(len(self.kept))) or self.depth is None


class Kernel:
    """Writes one kernel; reads stored values as parameters of the function."""

    def __init__(
        self, frame: Any, step: Step, extents: Sequence[int], region: Region | None = None
    ) -> None:
        self._frame = frame
        self._region = region
        self._reads: list[Access] = []
        self._step = step
        self._own = {equation.outputs[0] for equation in step.equations}
        self._terms = [Term(extent) for extent in extents]
        self.e = Emitter(frame.program.module, frame.program.module.fresh("kernel"))
        self._arguments: list[tuple[str, str]] = []
        self._passed: dict[str, str] = {}
        self._values: dict[tuple[Any, Index], Value] = {}
        self._offsets: dict[Affine, str] = {}
        self._reductions: list[_Reduction] = []
        self._partials: list[Partial] = []
        self._writes: list[tuple[Memory, Affine, Value]] = []
        self.complaints: dict[OutOfRange, Slot] = {}
        """What may be wrong, with where it is remembered; each is a flag of the caller's."""
        self._work = 0
        self.quick = False
        """Whether its innermost loop has been written with vectors."""

    # --- reading -------------------------------------------------------------------------

    def value(self, atom: Atom, index: Index) -> Value:
        """Return an element, in the body of the innermost loop."""
        if type(atom) is not Var:
            return self.e.constant(atom.type.dtype, atom.value)  # type: ignore[union-attr]
        key = (atom, index)
        found = self._values.get(key)
        if found is None:
            found = self._read(atom, index)
            self._values[key] = found
        return found

    def _read(self, atom: Var, index: Index) -> Value:
        if atom not in self._own:
            maker = self._frame.virtual(atom)
            if maker is not None and is_view(maker):
                place = source_index(maker, index)
                if place is not None:
                    return self.value(maker.inputs[0], place)
            elif maker is not None:
                return point_value(self, maker, index)
            return self._load(self._frame.storage(atom), index)
        maker = self._frame.maker(atom)
        return point_value(self, maker, index)

    def _load(self, storage: Storage, index: Index) -> Value:
        if isinstance(storage, Splat):
            return self.passed_value(storage.value)
        if isinstance(storage, Registers):
            place = linear(index, strides_of(storage.shape))
            if place.known:
                return self.passed_value(storage.values[place.constant])
            storage = self._frame.in_memory(storage)
        assert isinstance(storage, Memory)
        place = linear(index, storage.strides).plus(storage.offset)
        self._reads.append((storage, place))
        return self.e.load(self.passed_pointer(storage), storage.dtype, self.offset(place))

    def gathered(self, atom: Atom, index: Sequence[Value | Affine]) -> Value:
        """Return an element at an index known only when running."""
        storage = self._frame.in_memory(self._frame.storage(atom))
        self._reads.append((storage, None))
        fixed = Affine(storage.offset)
        moving: Value | None = None
        for each, stride in zip(index, storage.strides, strict=True):
            if isinstance(each, Affine):
                fixed = fixed + each.scaled(stride)
                continue
            term = self.e.mul(each, self.e.constant(INT64, stride))
            moving = term if moving is None else self.e.add(moving, term)
        place = self.offset(fixed)
        if moving is not None:
            place = self.e.add(place, moving)
        return self.e.load(self.passed_pointer(storage), storage.dtype, place)

    def report(self, wrong: Value, complaint: OutOfRange) -> None:
        """Remember that a condition held, once for all elements."""
        slot = self.complaints.get(complaint)
        if slot is None:
            slot = self.e.slot(INT64)
            self.complaints[complaint] = slot
        old = self.e.get(slot)
        self.e.set(slot, self.e.or_(old, self.e.convert(wrong, INT64)))

    def offset(self, place: Affine) -> Value:
        """Return an affine number as a value; it is computed where the loops are known."""
        if place.known:
            return self.e.constant(INT64, place.constant)
        name = self._offsets.get(place)
        if name is None:
            name = self.e.fresh("o")
            self._offsets[place] = name
        return Value(INT64, name)

    # --- parameters ----------------------------------------------------------------------

    def passed_pointer(self, memory: Memory) -> str:
        """Return the parameter for a pointer of the caller."""
        return self._parameter("ptr", memory.pointer, "noalias")

    def passed_value(self, value: Value) -> Value:
        """Return the parameter for a value of the caller; constants stand for themselves."""
        if not value.name.startswith("%"):
            return value
        kind = self.e.type_of(value)
        imag = None
        if value.imag is not None:
            imag = value.imag
            imag = self._parameter(kind, imag) if imag.startswith("%") else imag
        return Value(value.dtype, self._parameter(kind, value.name), imag)

    def _parameter(self, kind: str, name: str, attributes: str = "") -> str:
        known = self._passed.get(name)
        if known is None:
            known = f"%p{len(self._arguments)}"
            self._passed[name] = known
            self._arguments.append((kind, name))
            self.e.parameters.append((kind, known[1:], attributes))
        return known

    # --- writing -------------------------------------------------------------------------

    def write(self) -> Call:
        """Write the function and add it to the module."""
        with self.e.aside() as body:
            for equation in self._step.equations:
                if kind_of(equation) == "reduce":
                    self._reduce(equation)
                else:
                    self._point(equation)
            # The memory may be that of an operand, all of which has been read by now.
            for target, place, value in self._writes:
                self.e.store(self.passed_pointer(target), value, self.offset(place))
            groups = self._merged()
            extent = groups[0].extent if groups else 1
            bounds = self._joined(groups)
            size = self._size(extent, len(groups))
            chunks = len(bounds) - 1 if bounds else -(-extent // size) if extent else 1
            for reduction in self._reductions:
                self._settle(reduction, chunks)
        for slot in self.complaints.values():
            self.e.set(slot, self.e.constant(INT64, 0))
        self._nest(groups, body, chunks, bounds or (extent, size))
        for number, slot in enumerate(self.complaints.values()):
            self.e.parameters.append(("ptr", f"flag{number}", ""))
            with self.e.when(self.e.truth(self.e.get(slot))):
                self.e.store(f"%flag{number}", self.e.constant(BOOL, True))
        self.e.ret()
        if chunks > 1:
            self.e.parameters += [("i64", "begin", ""), ("i64", "end", ""), ("i64", "chunk", "")]
        symbol = self.e.module.add(self.e, QUICK if self.quick else None)
        return Call(symbol, self._arguments, extent, size, chunks, self._partials, bounds)

    def _point(self, equation: Equation) -> None:
        var = equation.outputs[0]
        self._work += self._written(var.type.shape) * (weight(equation))
        target = self._frame.allocated(var) if self._frame.stores(var) else None
        for index in places(var.type.shape, self._terms):
            value = self.value(var, index)
            if target is not None:
                place = linear(index, target.strides).plus(target.offset)
                self._writes.append((target, place, value))

    def _written(self, shape: tuple[int, ...]) -> int:
        """Return how many elements one turn of the loops computes."""
        loops = loop_axes(shape)
        return math.prod(length for axis, length in enumerate(shape) if axis not in loops)

    def _reduce(self, equation: Equation) -> None:
        """Compute what is reduced; gather it in registers, if all loops that are kept are outer."""
        space = space_of(equation)
        loops = loop_axes(space.shape)
        kept = [number for number, axis in enumerate(loops) if axis in space.kept]
        depth = kept[-1] + 1 if kept else 0
        target = self._frame.allocated(equation.outputs[0])
        reduction = _Reduction(space, kept, depth if depth < len(loops) else None, target)
        self._reductions.append(reduction)
        self._work += self._written(space.shape)
        for index in places(space.shape, self._terms):
            place = tuple(index[axis] for axis in space.kept)
            term = space.value(self, index)
            if reduction.depth is None:
                reduction.terms.append((place, term))
                continue
            slot = reduction.slots.get(place)
            if slot is None:
                slot = self.e.slot(space.dtype)
                reduction.slots[place] = slot
            self.e.set(slot, self._combined(space, self.e.get(slot), term))

    def _combined(self, space: Space, x: Value, y: Value) -> Value:
        before, self.e.flags = self.e.flags, REDUCING
        found = combined(self.e, space.operation, x, y)
        self.e.flags = before
        return found

    def _settle(self, reduction: _Reduction, chunks: int) -> None:
        """Choose where the result goes; gather it there, if it does not fit registers."""
        target = reduction.target
        if chunks > 1 and 0 not in reduction.kept:
            scratch = self._frame.scratch(target.dtype, (chunks, *target.shape))
            self._partials.append(Partial(reduction.space, target, scratch, chunks))
            reduction.memory = scratch.view(target.shape, scratch.strides[1:])
            reduction.partial = True
        memory = reduction.memory
        for place, term in reduction.terms:
            offset = self._in_own_part(
                reduction, self.offset(linear(place, memory.strides).plus(memory.offset))
            )
            pointer = self.passed_pointer(memory)
            old = self.e.load(pointer, memory.dtype, offset)
            self.e.store(pointer, self._combined(reduction.space, old, term), offset)

    def _in_own_part(self, reduction: _Reduction, offset: Value) -> Value:
        """Move an offset to the part of the scratch memory that belongs to the chunk."""
        if not reduction.partial:
            return offset
        size = self.e.constant(INT64, math.prod(reduction.memory.shape))
        return self.e.add(offset, self.e.mul(Value(INT64, "%chunk"), size))

    # --- loops ---------------------------------------------------------------------------

    def _merged(self) -> list[_Group]:
        """Put neighbouring loops together where every address treats them as one."""
        cuts = {reduction.depth for reduction in self._reductions}
        for reduction in self._reductions:
            if reduction.in_memory:
                cuts |= {number for kept in reduction.kept for number in (kept, kept + 1)}
        groups: list[_Group] = []
        for number, term in enumerate(self._terms):
            if groups and number not in cuts and self._continues(groups[-1], term):
                groups[-1].terms.append(term)
                groups[-1].extent *= term.extent
            else:
                groups.append(_Group([term], term.extent, number))
        return groups

    def _continues(self, group: _Group, term: Term) -> bool:
        for place in self._offsets:
            coefficients = dict(place.terms)
            outer, inner = coefficients.get(group.terms[-1], 0), coefficients.get(term, 0)
            if term.extent != 1 and outer != inner * term.extent:
                return False
        return True

    def _size(self, extent: int, loops: int) -> int:
        """Return how many turns of the outermost loop are a chunk: mostly whole vectors."""
        total = self._work * math.prod(term.extent for term in self._terms)
        size = -(-extent // max(1, min(extent, _MOST_CHUNKS, total // _CHUNK_WORK)))
        if loops == 1 and 16 * MOST_LANES <= size < extent:
            size = -(-size // MOST_LANES) * MOST_LANES
        return size

    def _joined(self, groups: Sequence[_Group]) -> tuple[int, ...] | None:
        """Join the region, if there is one and that can be; return where the chunks begin."""
        if self._region is None or not groups or self.complaints:
            return None
        outer = groups[0]
        writes: list[Access] = [(memory, place) for memory, place, _ in self._writes]
        for reduction in self._reductions:
            memory = reduction.target
            for index in (*reduction.slots, *(index for index, _ in reduction.terms)):
                writes.append((memory, linear(index, memory.strides).plus(memory.offset)))
        bounds = self._region.bounds(outer.terms, outer.extent, self._reads, writes)
        if bounds is None:
            return None
        partial = [each.target for each in self._reductions if 0 not in each.kept]
        self._region.join(outer.terms, bounds, self._reads, writes, partial)
        return bounds

    def _nest(
        self,
        groups: Sequence[_Group],
        body: Aside,
        chunks: int,
        cuts: Sequence[int],
        level: int = 0,
    ) -> None:
        """Write the loops, what reductions begin and end with, and the body in the middle."""
        if level == len(groups):
            for place, name in self._offsets.items():
                self._compute(place, name, groups)
            self.e.put(body)
            return
        group, last = groups[level], level == len(groups) - 1
        self._begin(group.first, groups)
        limits: tuple[Value | int, Value | int] = (0, group.extent)
        if level == 0 and chunks > 1:
            limits = (Value(INT64, "%begin"), Value(INT64, "%end"))

        def inside(counter: Value) -> None:
            group.name = counter.name
            self._nest(groups, body, chunks, cuts, level + 1)

        own = cuts if level == 0 else (group.extent,)
        # Unrolled, what a short loop adds to again and again stays in registers.
        again = group.extent <= _SHORT and any(each.terms for each in self._reductions)
        wide = last and self._wanted(groups) and vector_loop(self.e, *limits, inside, own, again)
        self.quick = self.quick or (wide and not again)
        if not wide:
            metadata = self._hints(group) if last else ""
            with self.e.loop(*limits, metadata=metadata) as counter:
                inside(counter)
        for reduction in self._reductions:
            if reduction.depth == group.first:
                self._end(reduction, groups)

    def _wanted(self, groups: Sequence[_Group]) -> bool:
        """Say whether vectors are to be written here: LLVM puts small kernels into loops."""
        small = math.prod(group.extent for group in groups) < _SMALL
        return not (small and self._frame.e.depth)

    def _hints(self, group: _Group) -> str:
        """Let short loops be vectors to their very end, with masks, instead of leaving a rest."""
        if group.extent > _SHORT or not group.extent % 8:
            return ""
        module = self.e.module
        whole = module.metadata('!{!"llvm.loop.vectorize.predicate.enable", i1 true}', shared=True)
        return module.metadata(f"distinct !{{SELF, {whole}}}")

    def _begin(self, number: int, groups: Sequence[_Group]) -> None:
        """Write what reductions begin with, before the loop of this number."""
        for reduction in self._reductions:
            space = reduction.space
            start = self.e.constant(space.dtype, identity(space.operation, space.dtype))
            if reduction.depth == number:
                for slot in reduction.slots.values():
                    self.e.set(slot, start)
            if reduction.in_memory:
                gone = (n for n in range(len(self._terms)) if n not in reduction.kept)
                if number == next(gone):
                    self._fill(reduction, start, number, groups)

    def _fill(
        self, reduction: _Reduction, start: Value, number: int, groups: Sequence[_Group]
    ) -> None:
        """Fill the result in memory, as far as the loops that are open do not choose a part."""
        memory, space = reduction.memory, reduction.space
        fresh = {n: Term(self._terms[n].extent) for n in reduction.kept if n > number}
        terms = [fresh.get(n, term) for n, term in enumerate(self._terms)]
        with contextlib.ExitStack() as stack:
            for term in fresh.values():
                term.name = stack.enter_context(self.e.loop(0, term.extent)).name
            kept = {tuple(i[axis] for axis in space.kept) for i in places(space.shape, terms)}
            for index in sorted(kept, key=repr):
                place = linear(index, memory.strides).plus(memory.offset)
                offset = self._in_own_part(reduction, self._affine_value(place, groups))
                self.e.store(self.passed_pointer(memory), start, offset)

    def _end(self, reduction: _Reduction, groups: Sequence[_Group]) -> None:
        """Store what was gathered in registers."""
        memory = reduction.memory
        for index, slot in reduction.slots.items():
            place = linear(index, memory.strides).plus(memory.offset)
            offset = self._in_own_part(reduction, self._affine_value(place, groups))
            pointer, value = self.passed_pointer(memory), self.e.get(slot)
            if reduction.in_memory:
                old = self.e.load(pointer, memory.dtype, offset)
                value = self._combined(reduction.space, old, value)
            self.e.store(pointer, value, offset)

    def _affine_value(self, place: Affine, groups: Sequence[_Group]) -> Value:
        if place.known:
            return self.e.constant(INT64, place.constant)
        name = self.e.fresh("o")
        self._compute(place, name, groups)
        return Value(INT64, name)

    def _compute(self, place: Affine, name: str, groups: Sequence[_Group]) -> None:
        """Write the sum of the counters of the loops, times their coefficients."""
        coefficients = dict(place.terms)
        parts = []
        for group in groups:
            factor = coefficients.pop(group.terms[-1], 0)
            for term in group.terms[:-1]:
                coefficients.pop(term, None)
            if factor:
                parts.append((group.name, factor))
        parts += [(term.name, factor) for term, factor in coefficients.items()]
        total = ""
        for counter, factor in parts:
            scaled = counter if factor == 1 else self.e.assign(f"mul nsw i64 {counter}, {factor}")
            total = scaled if not total else self.e.assign(f"add nsw i64 {total}, {scaled}")
        self.e.line(f"{name} = add nsw i64 {total}, {place.constant}")


@dataclass(eq=False)
class _Group:
    """Loops that run as one."""

    terms: list[Term]
    extent: int
    first: int
    name: str = ""
