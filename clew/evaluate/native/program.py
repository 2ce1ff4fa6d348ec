"""A graph as one native function: its arguments, its memory, its calls of Python and of threads.

The function is ``i32 program(ptr arguments, ptr arena, ptr callback)``. ``arguments`` points to the
addresses of the inputs, then of the outputs, then of large constants; ``arena`` to the memory
for everything in between. ``callback(i64 number, ptr addresses)`` evaluates an equation in Python.
The result is 0, or 1 after a callback failed.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clew.core.graph import Equation, Graph
from clew.core.tape import TapeType
from clew.core.types import Type, type_of
from clew.evaluate.native.arena import Arena
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Module, Value
from clew.evaluate.native.frame import Frame
from clew.evaluate.native.kernel import Call, Partial
from clew.evaluate.native.module import PLAIN, QUICK
from clew.evaluate.native.multiply import Part
from clew.evaluate.native.opaque import write_opaque
from clew.evaluate.native.schedule import length_of
from clew.evaluate.native.sections import SECTION, Sections
from clew.evaluate.native.spaces import OutOfRange, combined, in_registers
from clew.evaluate.native.storage import Memory, Registers, Splat, contiguous
from clew.evaluate.native.tapes import HEADER, HEADER_SIZE, ZeroTape
from clew.evaluate.native.threads import workers
from clew.evaluate.native.toolchain import Library
from clew.evaluate.native.wide import vector_loop

if TYPE_CHECKING:
    from clew.evaluate.native.linking import Linker
    from clew.evaluate.native.notes import Notes


class NoNativeForm(Exception):
    """A graph that holds something which native code cannot run."""


@dataclass(frozen=True)
class Callout:
    """An equation that Python evaluates, with the types of what it reads and writes."""

    equation: Equation
    operands: tuple[Type, ...]
    results: tuple[Type, ...]
    complaint: OutOfRange | None = None
    """What to raise instead of evaluating."""


class Program:
    """A graph while it is written: the module, the memory plan, constants and callouts."""

    def __init__(
        self, graph: Graph, notes: Notes | None = None, linker: Linker | None = None
    ) -> None:
        self.notes = notes
        self.module = Module(linker)
        self.arena = Arena()
        self.constants: list[np.ndarray] = []
        self.callouts: list[Callout] = []
        self._inputs = list(graph.inputs)
        self._outputs = [atom.type for atom in graph.outputs]
        self._sections = Sections(self, _clocked(notes) or length_of(graph) <= SECTION)
        self.e = self._sections.begun()
        self._combining: dict[Any, str] = {}
        self._headers = 0
        self._scratch = 0
        self.workers = workers()
        inputs = [self._argument(i, var.type) for i, var in enumerate(self._inputs)]
        first = len(inputs)
        outputs = [self._argument(first + i, kind) for i, kind in enumerate(self._outputs)]
        if notes is not None:
            notes.begin(self)
        self._top = Frame(self, self.e, graph)
        self._top.run(inputs, outputs)
        self._sections.end()
        if notes is not None:
            notes.end(self)
        self._end()

    def _end(self) -> None:
        """Free what the tapes hold, whether the program ran to its end or failed."""
        e = self.e
        good = e.label
        e.line("br label %end")
        e.start("failed", falls_through=False)
        e.start("end")
        status = e.assign(f"phi i32 [ 0, %{good} ], [ 1, %failed ]")
        several = not self._sections.whole
        if self._scratch or several:
            start = self.arena.beyond(self._scratch)
            e.reserve(f"%scratch = getelementptr inbounds i8, ptr %arena, i64 {start}")
        if self._headers or several:
            size = self._headers * HEADER_SIZE
            e.reserve(f"%tapes = alloca [{self._headers} x {HEADER}]")
            e.reserve(f"call void @llvm.memset.p0.i64(ptr %tapes, i8 0, i64 {size}, i1 false)")
            self.module.declare("llvm.memset", "void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self.module.declare("free", "void @free(ptr)")
            for number in range(self._headers):
                place = e.assign(f"getelementptr inbounds {HEADER}, ptr %tapes, i64 {number}")
                data = e.assign(f"load ptr, ptr {place}")
                e.line(f"call void @free(ptr {data})")
        e.ret(f"i32 {status}")
        self._sections.add(e)

    def _argument(self, number: int, kind: Type) -> Memory:
        pointer = self._sections.named(
            f"argument.{number}",
            f"getelementptr inbounds ptr, ptr %arguments, i64 {number}",
            "load ptr, ptr BEFORE",
        )
        return contiguous(kind.dtype, kind.shape, pointer)

    def between_steps(self, frame: Frame) -> None:
        """Go on in another function, if this one is long enough and the frame is outermost."""
        if frame is self._top:
            self._sections.between_steps(frame)

    def lasts(self, pointer: str) -> bool:
        """Say whether an address has its name in every function of the program."""
        return self._sections.knows(pointer)

    # --- what frames ask for -------------------------------------------------------------

    def constant(self, kind: Type, array: Any) -> Any:
        """Return where a constant is: in the code if it is small, else behind an argument."""
        if isinstance(kind, TapeType):
            if array.items is not None:
                raise NoNativeForm("a constant tape")
            return ZeroTape(kind.element)
        array = np.ascontiguousarray(array)
        if (array.size and not array.any()) or (array.size > 1 and (array == array.flat[0]).all()):
            value = self.e.constant(kind.dtype, array.flat[0])
            return Splat(kind.dtype, kind.shape, value)
        if in_registers(kind):
            values = tuple(self.e.constant(kind.dtype, x) for x in array.ravel())
            return Registers(kind.dtype, kind.shape, values)
        return self.constant_argument(array)

    def constant_argument(self, array: np.ndarray) -> Memory:
        """Return where an array is that the program is given at every call."""
        self.constants.append(array)
        number = len(self._inputs) + len(self._outputs) + len(self.constants) - 1
        return self._argument(number, type_of(array))

    def buffer(self, e: Emitter, dtype: np.dtype, shape: Sequence[int]) -> Memory:
        """Return memory in the arena; give its ``buffer`` back to ``arena.release``."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        start = self.arena.allocate(size)
        text = f"getelementptr inbounds i8, ptr %arena, i64 {start}"
        return contiguous(dtype, tuple(shape), self._sections.named(f"arena.{start}", text), start)

    def parallel(
        self, members: Sequence[Call | Part], own: Mapping[str, int] | None = None
    ) -> None:
        """Run the members one after the other in each chunk, the chunks on the threads there are.

        Each worker has scratch memory, and pieces of its ``own`` of the arrays with these
        pointers: as many bytes as belong to a chunk.
        """
        own = own or {}
        parts = [each for each in members if isinstance(each, Part)]
        scratch = max((part.emitted.scratch for part in parts), default=0)
        ends = list(itertools.accumulate(map(_in_lines, own.values()), initial=scratch))
        shared = max((part.shared for part in parts), default=0)
        arguments = dict.fromkeys(x for each in members for x in each.arguments if x[1] not in own)
        if ends[-1]:
            arguments["ptr", self.worker_scratch(ends[-1], shared)] = None
        context, inner, names = self._passed_on(list(arguments))
        passed = {given: name for (_, given), name in zip(arguments, names, strict=True)}
        mine = "null"
        if ends[-1]:
            start = inner.address(passed["%scratch"], np.dtype(np.int8), shared)
            place = f"getelementptr inbounds [{ends[-1]} x i8], ptr {start}, i64 %worker"
            mine = inner.assign(place)
            for (pointer, size), end in zip(own.items(), ends, strict=False):
                passed[pointer] = _piece(inner, mine, size, end)
        for each in members:
            if isinstance(each, Part):
                _call_product(inner, each, passed, mine)
            else:
                self._call_part(inner, each, passed)
        inner.ret()
        self.run_chunks(self.e, self.module.add(inner, PLAIN), context, members[0].chunks)

    def combining(self, partial: Partial) -> str:
        """Return ``(target, scratch)``, which adds up what chunks left one after the other."""
        space, size = partial.space, math.prod(partial.target.shape)
        key = (space.dtype, space.operation, size, partial.chunks)
        if key not in self._combining:
            module = self.module
            pointers = [("ptr", "target", "noalias"), ("ptr", "scratch", "noalias")]
            e = Emitter(module, module.fresh("combine"), pointers)

            def element(place: Value) -> None:
                total = e.load("%scratch", space.dtype, place)
                for chunk in range(1, partial.chunks):
                    other = e.add(place, e.constant(INT64, size * chunk))
                    term = e.load("%scratch", space.dtype, other)
                    total = combined(e, space.operation, total, term)
                e.store("%target", total, place)

            quick = vector_loop(e, 0, size, element)
            if not quick:
                with e.loop(0, size) as place:
                    element(place)
            e.ret()
            self._combining[key] = module.add(e, QUICK if quick else None)
        return self._combining[key]

    def _call_part(self, inner: Emitter, call: Call, passed: Mapping[str, str]) -> None:
        """Call a kernel for the part of its outermost loop that a chunk stands for."""
        chunk = Value(INT64, "%chunk")
        if call.bounds is None:
            size = inner.constant(INT64, call.size)
            begin = inner.mul(chunk, size)
            end = inner.minimum(inner.add(begin, size), inner.constant(INT64, call.extent))
        else:
            name = "bounds_" + "_".join(map(str, call.bounds))
            table = self.module.table(name, INT64, call.bounds)
            begin = inner.load(table, INT64, chunk)
            end = inner.load(table, INT64, inner.add(chunk, inner.constant(INT64, 1)))
        given = [f"{kind} {passed[name]}" for kind, name in call.arguments]
        given += [f"i64 {begin.name}", f"i64 {end.name}", "i64 %chunk"]
        inner.line(f"call void {call.symbol}({', '.join(given)})")

    def _passed_on(self, arguments: Sequence[tuple[str, str]]) -> tuple[str, Emitter, list[str]]:
        """Store arguments for a function of chunks; return where, it, and their names in it."""
        e = self.e
        context = e.at_entry(f"alloca [{max(1, len(arguments))} x i64]")
        parameters = [("ptr", "context", ""), ("i64", "chunk", ""), ("i64", "worker", "")]
        inner = Emitter(self.module, self.module.fresh("chunk"), parameters)
        names = []
        for number, (kind, name) in enumerate(arguments):
            place = e.assign(f"getelementptr inbounds i64, ptr {context}, i64 {number}")
            e.line(f"store {kind} {name}, ptr {place}")
            place = inner.assign(f"getelementptr inbounds i64, ptr %context, i64 {number}")
            names.append(inner.assign(f"load {kind}, ptr {place}"))
        return context, inner, names

    def worker_scratch(self, size: int, shared: int = 0) -> str:
        """Return scratch memory, to be used before the next call only.

        There are ``shared`` bytes for all, and then ``size`` for every worker.
        """
        self._scratch = max(self._scratch, shared + size * self.workers)
        return "%scratch"

    def run_chunks(self, e: Emitter, function: str, context: str, chunks: int) -> None:
        """Call ``function(context, chunk, worker)`` for every chunk."""
        if self.notes is not None:
            self.notes.in_chunks(chunks)
        self.module.declare(
            "clew_parallel_within", "void @clew_parallel_within(ptr, ptr, i64, i64)"
        )
        given = f"ptr {function}, ptr {context}, i64 {chunks}, i64 {self.workers}"
        e.line(f"call void @clew_parallel_within({given})")

    def write_opaque(self, frame: Frame, equation: Equation) -> None:
        """Write an equation that is not made of loops over elements."""
        write_opaque(self, frame, equation)

    def call_out(self, frame: Frame, equation: Equation) -> None:
        """Have Python evaluate an equation, on copies of its operands in row-major order."""
        if self.notes is not None:
            self.notes.called_out(equation)
        for atom in (*equation.inputs, *equation.outputs):
            if isinstance(atom.type, TapeType):
                raise NoNativeForm(f"{equation.primitive.name} of tapes, at {equation.where}")
        operands = [frame.packed(frame.storage(atom)) for atom in equation.inputs]
        with self.results(frame, equation) as results:
            self.call_python(equation, operands, results)

    @contextlib.contextmanager
    def results(self, frame: Frame, equation: Equation) -> Iterator[list[Memory]]:
        """Give memory for an equation's results, in row-major order, to be filled in the block."""
        places = [frame.allocated(var) for var in equation.outputs]
        apart = [self.buffer(self.e, x.dtype, x.shape) for x in places if not x.contiguous]
        rest = iter(apart)
        results = [x if x.contiguous else next(rest) for x in places]
        yield results
        for var, memory, place in zip(equation.outputs, results, places, strict=True):
            if memory is not place:  # a part of a larger array
                frame.copy(memory, place)
            frame.define(var, frame.settled(place))
        for memory in apart:
            self.arena.release(memory.buffer)

    def call_python(
        self,
        equation: Equation,
        operands: Sequence[Memory],
        results: Sequence[Memory],
        complaint: OutOfRange | None = None,
    ) -> None:
        """Write the call for an equation whose operands and results are in memory."""
        e = self.e
        number = len(self.callouts)
        types = [tuple(Type(x.shape, x.dtype) for x in group) for group in (operands, results)]
        self.callouts.append(Callout(equation, types[0], types[1], complaint))
        every = [*operands, *results]
        table = e.at_entry(f"alloca [{max(1, len(every))} x ptr]")
        for i, memory in enumerate(every):
            start = e.address(memory.pointer, memory.dtype, memory.offset)
            place = e.assign(f"getelementptr inbounds ptr, ptr {table}, i64 {i}")
            e.line(f"store ptr {start}, ptr {place}")
        status = e.assign(f"call i32 %callback(i64 {number}, ptr {table})")
        self.leave_if(Value(BOOL, e.assign(f"icmp ne i32 {status}, 0")))

    def frame(self, graph: Graph) -> Frame:
        """Return a frame for a graph inside this one."""
        return Frame(self, self.e, graph)

    def pointer_slot(self) -> str:
        """Return a place for an address."""
        return self.e.at_entry("alloca ptr")

    def tape_header(self) -> str:
        """Return the header of a tape, empty when the program begins and freed when it ends."""
        self._headers += 1
        number = self._headers - 1
        text = f"getelementptr inbounds {HEADER}, ptr %tapes, i64 {number}"
        return self._sections.named(f"tape.{number}", text)

    def flag(self) -> str:
        """Return a place for a byte that kernels set when something is wrong."""
        place = self.e.at_entry("alloca i8")
        self.e.line(f"store i8 0, ptr {place}")
        return place

    def raise_if(self, wrong: Value, complaint: OutOfRange) -> None:
        """Raise an error if a condition holds."""
        with self.e.when(wrong):
            self.call_python(complaint.equation, [], [], complaint)

    def leave_if(self, condition: Value) -> None:
        """End the program with a failure if a condition holds."""
        after = self.e.new_label("go")
        self.e.line(f"br i1 {condition.name}, label %failed, label %{after}")
        self.e.start(after, falls_through=False)


def _in_lines(size: int) -> int:
    return -(-size // 64) * 64


def _piece(inner: Emitter, scratch: str, size: int, start: int) -> str:
    """Return where an array would begin whose piece for the chunk is in a worker's own memory."""
    number = inner.assign(f"ptrtoint ptr {scratch} to i64")
    before = inner.mul(Value(INT64, "%chunk"), inner.constant(INT64, size))
    place = inner.add(Value(INT64, number), inner.constant(INT64, start))
    return inner.assign(f"inttoptr i64 {inner.sub(place, before).name} to ptr")


def _call_product(inner: Emitter, part: Part, passed: Mapping[str, str], scratch: str) -> None:
    """Call a product for a chunk."""
    pointers = []
    for i, pointer in enumerate(part.pointers):
        place = inner.constant(INT64, part.starts[i])
        if part.steps is not None:
            step = inner.constant(INT64, part.steps[i])
            place = inner.add(place, inner.mul(Value(INT64, "%chunk"), step))
        pointers.append(inner.address(passed[pointer], part.dtype, place))
    given = ", ".join(f"ptr {name}" for name in (*pointers, scratch))
    number = "%chunk" if part.steps is None else "0"
    inner.line(f"call void {part.emitted.symbol}({given}, i64 {number})")


def _clocked(notes: Notes | None) -> bool:
    """Whether a clock runs from the beginning of the program to its end, in one function."""
    return notes is not None and notes.clock is not None


class Facts:
    """What is known of a compiled program: seconds it took, bytes of its code, found on disk."""

    __slots__ = ("cached", "seconds", "size")

    def __init__(self, library: Library, seconds: float) -> None:
        self.seconds = seconds
        self.size = library.size
        self.cached = library.cached
