"""Lowering: a graph's steps written into a function, each value in registers or memory."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.types import Type
from clew.evaluate.native.affine import Affine, Index, linear, strides_of
from clew.evaluate.native.emitter import BOOL, INT64, Emitter, Value
from clew.evaluate.native.joint import MOST, Joint, Ready
from clew.evaluate.native.kernel import Call, Kernel, Partial
from clew.evaluate.native.module import QUICK
from clew.evaluate.native.parking import Parked, lasts, parked
from clew.evaluate.native.passing import Passing
from clew.evaluate.native.regions import Region
from clew.evaluate.native.schedule import Step, schedule
from clew.evaluate.native.spaces import (
    OutOfRange,
    in_registers,
    is_view,
    kind_of,
    point_value,
    source_index,
)
from clew.evaluate.native.storage import (
    Memory,
    Registers,
    Splat,
    Storage,
    reshaped,
    sliced,
    viewed,
)
from clew.evaluate.native.tapes import Owner
from clew.evaluate.native.wide import vector_loop

_LONG_RUN = 64
_WORTH_TAKING = 2**12
_WRITES = frozenset(["update", "scatter_add", "scatter_set"])
"""What changes its first operand in place, if nobody else reads it."""


class Frame:
    """One graph being written into a function: where its values are, and what dies when."""

    def __init__(self, program: Any, e: Emitter, graph: Graph) -> None:
        self.program = program
        self.e = e
        self._graph = graph
        self._plan = schedule(graph)
        self._wholes = _wholes(graph)
        self._storage: dict[Var, Any] = {}
        self._allocated: dict[Var, Memory] = {}
        self._targets: dict[Var, Memory] = {}
        self._releases: list[int] = []
        self.dying: set[Var] = set()
        self._gone: set[Var] = set()
        self._parked: dict[Var, Parked] = {}
        self._fusing: tuple[Step, Region | None] | None = None
        self.following: Sequence[tuple[Step, Sequence[Var]]] = ()
        self.joint = Joint(self)
        self._laid: dict[int, tuple[Any, Memory]] = {}
        self._donated: dict[Var, tuple[Var, Memory]] = {}
        self.escaping: dict[Any, Owner] = {}
        """Tapes that leave the graph, and who owns what their headers hold."""
        for var, array in graph.constants.items():
            self._storage[var] = program.constant(var.type, array)

    # --- running -------------------------------------------------------------------------

    def run(
        self,
        inputs: Sequence[Any],
        targets: Sequence[Memory | None] | None = None,
        donated: Sequence[Memory | None] = (),
    ) -> list[Any]:
        """Write the graph; return where its outputs are, in the targets where there are any.

        The memory of ``donated[i]`` is that of input i, and may become that of output i.
        """
        for var, storage in zip(self._graph.inputs, inputs, strict=True):
            self._storage[var] = self.settled(storage)
        wanted = list(targets or [None] * len(self._graph.outputs))
        for atom, target in zip(self._graph.outputs, wanted, strict=True):
            if type(atom) is Var and target is not None and atom in self._plan.stored:
                self._targets.setdefault(atom, target)
        for var, atom, memory in zip(
            self._graph.inputs, self._graph.outputs, donated, strict=False
        ):
            if memory is not None and type(atom) is Var:
                self._donate(var, atom, memory)
        last_use = self._last_uses()
        steps = [(step, last_use.get(number, ())) for number, step in enumerate(self._plan.steps)]
        for number, (step, dying) in enumerate(steps):
            self.dying = set(dying)
            self.following = steps[number + 1 : number + 1 + MOST]
            self._step(step)
            for var in self.dying:
                self._release(var)
            self._gone |= self.dying
            self.program.between_steps(self)
        own = [*donated, *[None] * (len(wanted) - len(donated))]
        return [self._result(*each) for each in zip(self._graph.outputs, wanted, own, strict=True)]

    def _donate(self, var: Var, result: Var, memory: Memory) -> None:
        """Let each of the writes that lead from an input to a result happen in its memory."""
        atom: Atom = result
        while type(atom) is Var and atom is not var:
            maker = self._plan.maker.get(atom)
            if maker is None or maker.primitive.name not in _WRITES:
                return
            old = maker.inputs[0]
            if type(old) is Var:
                self._donated[old] = atom, memory
            atom = old

    def close(self) -> None:
        """Give back the memory that the frame still holds; its results must have been used."""
        for memory in self._allocated.values():
            self._give_back(memory)
        for start in self._releases:
            self.program.arena.release(start)
        self._releases = []

    def settled(self, storage: Any) -> Any:
        """Load a few elements into registers at once."""
        if isinstance(storage, Memory) and in_registers(Type(storage.shape, storage.dtype)):
            return self.in_registers(storage)
        return storage

    def _result(self, atom: Atom, target: Memory | None, own: Memory | None) -> Any:
        found = self.storage(atom)
        if target is None or found is own:
            return found
        if type(atom) is not Var or self._allocated.get(atom) is not target:
            self.copy(found, target)
        return target

    def _step(self, step: Step) -> None:
        notes = self.program.notes
        with contextlib.nullcontext() if notes is None else notes.step(self, self._plan, step):
            self._write(step)

    def _write(self, step: Step) -> None:
        ready = self.joint.taken(step)
        if ready is not None and self._finish(step, ready):
            return
        if step.kind == "registers":
            self.write_in_registers(step.equations[0])
        elif step.kind == "kernel":
            self._kernel(step)
        else:
            self.program.write_opaque(self, step.equations[0])

    def write_in_registers(self, equation: Equation) -> None:
        """Compute a few numbers."""
        var = equation.outputs[0]
        shape = var.type.shape
        values = tuple(
            point_value(self, equation, tuple(map(Affine, place)))
            for place in itertools.product(*map(range, shape))
        )
        self.define(var, Registers(var.type.dtype, shape, values))

    def define(self, var: Var, storage: Any) -> None:
        """Say where a value is, now that it has been computed."""
        self._storage[var] = storage

    # --- what dies when ------------------------------------------------------------------

    def _last_uses(self) -> dict[int, list[Var]]:
        seen = {self.root(atom) for atom in self._graph.outputs if type(atom) is Var}
        found: dict[int, list[Var]] = {}
        for number in range(len(self._plan.steps) - 1, -1, -1):
            for equation in self._plan.steps[number].equations:
                reads = self._plan.reads[equation]
                wholes = [self._wholes[v].outputs[0] for v in reads if v in self._wholes]
                for var in (*reads, *wholes, *equation.outputs):
                    if var not in seen:
                        seen.add(var)
                        found.setdefault(number, []).append(var)
        return found

    def root(self, var: Var) -> Var:
        """Return what a value is a view of."""
        maker = self._plan.maker.get(var)
        while maker is not None and is_view(maker) and type(maker.inputs[0]) is Var:
            var = maker.inputs[0]
            maker = self._plan.maker.get(var)
        return var

    def _release(self, var: Var) -> None:
        memory = self._allocated.pop(var, None)
        if memory is not None:
            self._give_back(memory)

    def _give_back(self, memory: Memory) -> None:
        if memory.buffer is not None:  # not a target
            self.program.arena.release(memory.buffer)

    # --- reading -------------------------------------------------------------------------

    def value(self, atom: Atom, index: Index) -> Value:
        """Return an element at a known index."""
        if type(atom) is not Var:
            return self.e.constant(atom.type.dtype, atom.value)  # type: ignore[union-attr]
        maker = self.virtual(atom)
        if maker is not None and is_view(maker):
            place = source_index(maker, index)
            if place is not None:
                return self.value(maker.inputs[0], place)
        return self._element(self.storage(atom), index)

    def _element(self, storage: Any, index: Index) -> Value:
        if isinstance(storage, Splat):
            return storage.value
        if isinstance(storage, Registers):
            return storage.values[linear(index, strides_of(storage.shape)).constant]
        place = linear(index, storage.strides).constant + storage.offset
        return self.e.load(storage.pointer, storage.dtype, place)

    def gathered(self, atom: Atom, index: Sequence[Value | Affine]) -> Value:
        """Return an element at an index known only when running."""
        storage = self.in_memory(self.storage(atom))
        place = self.e.constant(INT64, storage.offset)
        for each, stride in zip(index, storage.strides, strict=True):
            if isinstance(each, Affine):
                each = self.e.constant(INT64, each.constant)
            place = self.e.add(place, self.e.mul(each, self.e.constant(INT64, stride)))
        return self.e.load(storage.pointer, storage.dtype, place)

    def report(self, wrong: Value, complaint: OutOfRange) -> None:
        """Raise when the code runs, if a condition holds."""
        self.program.raise_if(wrong, complaint)

    def storage(self, atom: Atom) -> Any:
        """Return where a value is; a view of something stored is made if need be."""
        if type(atom) is not Var:
            value = self.e.constant(atom.type.dtype, atom.value)  # type: ignore[union-attr]
            return Registers(atom.type.dtype, (), (value,))
        found = self._storage.get(atom)
        if found is None and atom in self._parked:
            found = self._storage[atom] = self._parked.pop(atom).found(self)
        if found is None:
            maker = self._plan.maker[atom]
            source = self.storage(maker.inputs[0])
            name, params = maker.primitive.name, maker.params
            found = viewed(name, source, params, atom.type.shape)
            if found is None:
                found = reshaped(self._laid_out(source), atom.type.shape)
            self._storage[atom] = found
        return found

    def virtual(self, atom: Atom) -> Equation | None:
        """Return the equation of a value that is written where it is read, not stored."""
        if atom in self._storage or atom in self._parked:
            return None
        maker = self._plan.maker.get(atom)  # type: ignore[arg-type]
        if maker is None or is_view(maker):
            return maker
        return maker if kind_of(maker) == "point" else None

    def maker(self, var: Var) -> Equation:
        """Return the equation that computes a value."""
        return self._plan.maker[var]

    def stores(self, var: Var) -> bool:
        """Say whether a value must be in memory or registers when its step has run."""
        return var in self._plan.stored

    def reads(self, equation: Equation) -> list[Var]:
        """Return what an equation reads, behind views."""
        return self._plan.reads[equation]

    def goes_on(self, var: Var) -> bool:
        """Say whether the next step reads the result of the one being written."""
        later = next((step for step, _ in self.following if step.kind != "registers"), None)
        return later is not None and any(var in self.reads(each) for each in later.equations)

    def returns(self, var: Var) -> bool:
        """Say whether a value leaves the graph."""
        return var in self._graph.outputs

    # --- places --------------------------------------------------------------------------

    def allocated(self, var: Var) -> Memory:
        """Return the memory that a value is written to."""
        found = self._allocated.get(var)
        if found is None:
            found = self._targets.get(var) or self._part_of_whole(var) or self._taken_over(var)
            if found is None:
                found = self.program.buffer(self.e, var.type.dtype, var.type.shape)
            self._allocated[var] = found
        return found

    def _taken_over(self, var: Var) -> Memory | None:
        """Return the memory of an operand that the kernel under way is the last to read.

        It reads each element where it then writes the result's, and never again.
        """
        if self._fusing is None or var.type.size * var.type.dtype.itemsize < _WORTH_TAKING:
            return None
        step, region = self._fusing
        for old in self.dying:
            memory = self._allocated.get(old)
            if memory is None or memory.buffer is None or old in self._targets:
                continue
            if region is not None and memory.pointer in region.read | region.fixed:
                continue
            alike = old.type == var.type and memory.contiguous
            if alike and (step, old) not in self._plan.elsewhere and old not in self._own(step):
                del self._allocated[old]
                return memory
        return None

    @staticmethod
    def _own(step: Step) -> set[Var]:
        return {equation.outputs[0] for equation in step.equations}

    def _part_of_whole(self, var: Var) -> Memory | None:
        """Return the place in a concatenation for what is computed only to be put there."""
        whole = self._wholes.get(var)
        if whole is None or whole.outputs[0] in self._storage:
            return None
        axis = whole.params["axis"]
        if math.prod(var.type.shape[axis:]) < _LONG_RUN:
            return None  # short stretches are better copied than written one by one
        start = 0
        for atom in whole.inputs:
            if atom is var:
                break
            start += atom.type.shape[axis]
        index = (*(slice(None),) * axis, slice(start, start + var.type.shape[axis]))
        place = sliced(self.allocated(whole.outputs[0]), index)
        assert isinstance(place, Memory)
        return replace(place, buffer=None)

    def holds(self, atom: Atom, place: Memory) -> bool:
        """Say whether a value was computed right in its place."""
        own = self._allocated.get(atom) if type(atom) is Var else None
        return own is not None and (own.pointer, own.offset) == (place.pointer, place.offset)

    def scratch(self, dtype: np.dtype, shape: Sequence[int]) -> Memory:
        """Return memory of the frame, for as long as it lasts."""
        memory = self.program.buffer(self.e, dtype, tuple(shape))
        self._releases.append(memory.buffer)
        return memory

    def in_registers(self, storage: Any) -> Registers:
        """Return a value of a few elements in registers."""
        if isinstance(storage, Registers):
            return storage
        indices = itertools.product(*map(range, storage.shape))
        values = tuple(self._element(storage, tuple(map(Affine, place))) for place in indices)
        home = storage if isinstance(storage, Memory) else None
        return Registers(storage.dtype, storage.shape, values, home)

    def in_memory(self, storage: Any) -> Memory:
        """Return a value in memory."""
        if isinstance(storage, Memory):
            return storage
        if isinstance(storage, Registers) and storage.home is not None:
            return storage.home
        known = self._laid.get(id(storage))
        if known is None:
            known = (storage, self._laid_out(storage))
            self._laid[id(storage)] = known
        return known[1]

    def in_memory_or_splat(self, storage: Any) -> Memory | Splat:
        """Return a value that is not in registers."""
        return storage if isinstance(storage, Splat) else self.in_memory(storage)

    def inherited(self, equation: Equation) -> Memory:
        """Return memory for a result that begins as a copy of the first operand.

        It is the operand's own, if nobody reads that afterwards.
        """
        old, var = equation.inputs[0], equation.outputs[0]
        if type(old) is Var and old in self.dying and self._root_once(equation, old):
            heir, memory = self._donated.get(old, (None, None))
            if heir is var and memory is not None and self._storage.get(old) is memory:
                self._allocated[var] = memory
                return memory
            held = self._allocated.get(old)
            if held is not None and held.buffer is not None and var not in self._targets:
                self._allocated[var] = self._allocated.pop(old)
                return held
        target = self.allocated(var)
        self.copy(self.storage(old), target)
        return target

    def _root_once(self, equation: Equation, old: Var) -> bool:
        """Whether no other operand is a view of the first."""
        others = (atom for atom in equation.inputs[1:] if type(atom) is Var)
        return all(self.root(atom) is not old for atom in others)

    def packed(self, storage: Any) -> Memory:
        """Return a value in memory, in row-major order without gaps."""
        if isinstance(storage, Memory) and storage.contiguous:
            return storage
        return self._laid_out(storage)

    def _laid_out(self, storage: Any) -> Memory:
        memory = self.scratch(storage.dtype, storage.shape)
        self.copy(storage, memory)
        return memory

    # --- going on in another function ------------------------------------------------------

    def park(self) -> bool:
        """Put what is in registers into memory, for another function; False if it cannot be.

        What is only a view of something else is found again when it is read.
        """
        alive = {
            var: storage
            for var, storage in self._storage.items()
            if var not in self._gone and not self._is_view(var)
        }
        if self.joint or not all(lasts(self.program, each) for each in alive.values()):
            return False
        self._storage, self._laid = {}, {}
        for var, storage in alive.items():
            place = parked(self, storage)
            if place is None:
                self._storage[var] = storage
                continue
            self._parked[var] = place
            if place.own:
                self._allocated[var] = place.memory
        return True

    def _is_view(self, var: Var) -> bool:
        maker = self._plan.maker.get(var)
        return maker is not None and is_view(maker)

    # --- copies --------------------------------------------------------------------------

    def copy(self, source: Storage, target: Memory) -> None:
        """Write the elements of one value to the memory of another, of the same shape."""
        if isinstance(source, Registers):
            indices = itertools.product(*map(range, source.shape))
            for place, value in zip(indices, source.values, strict=True):
                offset = linear(tuple(map(Affine, place)), target.strides).constant
                self.e.store(target.pointer, value, offset + target.offset)
        elif isinstance(source, Splat):
            self._copy_by_loops(source, target)
        elif source.contiguous and target.contiguous:
            size = source.dtype.itemsize * int(np.prod(source.shape, dtype=np.int64))
            start = self.e.address(source.pointer, source.dtype, source.offset)
            end = self.e.address(target.pointer, target.dtype, target.offset)
            self.e.copy_bytes(end, start, size)
        else:
            self._copy_by_loops(source, target)

    def _copy_by_loops(self, source: Memory | Splat, target: Memory) -> None:
        module = self.program.module
        e = Emitter(module, module.fresh("copy"))
        writer = Passing(e, "noalias")
        *outer, last = target.shape or (1,)
        with contextlib.ExitStack() as loops:
            index = [loops.enter_context(e.loop(0, length)) for length in outer]

            def element(place: Value) -> None:
                own = [*index, place] if target.shape else []
                writer.store(target, own, writer.load(source, own))

            quick = vector_loop(e, 0, last, element)
            if not quick:
                element(loops.enter_context(e.loop(0, last)))
        e.ret()
        symbol = module.add(e, QUICK if quick else None)
        self.e.line(f"call void {symbol}({', '.join(writer.arguments)})")

    # --- kernels -------------------------------------------------------------------------

    def kernel_and_call(self, step: Step, region: Region | None) -> tuple[Kernel, Call]:
        """Write a kernel, which joins the region if it can."""
        kernel = Kernel(self, step, step.extents, region)
        self._fusing = step, region
        call = kernel.write()
        self._fusing = None
        return kernel, call

    def own_memory(self, var: Var) -> Memory | None:
        """Return the memory that was allocated for a value alone."""
        memory = self._allocated.get(var)
        return memory if memory is not None and memory.buffer is not None else None

    def define_allocated(self, var: Var) -> None:
        """Say that a value is in the memory that was allocated for it, if any was."""
        memory = self._allocated.get(var)
        if memory is not None:
            self.define(var, memory)

    def _kernel(self, step: Step) -> None:
        kernel, call, called = self.joint.lead(step)
        flags = self._flags(kernel)
        if not called:
            self._call(call, flags)
        self._after_kernel(step, call, flags)

    def _finish(self, step: Step, ready: Ready) -> bool:
        """Do what is left of a step that was written before its turn; False if it was not."""
        if ready.between.lines:
            self.e.put(ready.between)
        if ready.rides and self.program.notes is not None:
            self.program.notes.rides()
        if ready.kernel is not None and ready.call is not None:
            flags = self._flags(ready.kernel)
            if not ready.rides:
                self._call(ready.call, flags)
            self._after_kernel(step, ready.call, flags)
        return ready.written

    def _flags(self, kernel: Kernel) -> list[tuple[str, OutOfRange]]:
        return [(self.program.flag(), each) for each in kernel.complaints]

    def _after_kernel(
        self, step: Step, call: Call, flags: Sequence[tuple[str, OutOfRange]]
    ) -> None:
        for flag, complaint in flags:
            self.program.raise_if(self.e.load(flag, BOOL), complaint)
        for partial in call.partial:
            self._combine(partial)
        for equation in step.equations:
            var = equation.outputs[0]
            memory = self._allocated.get(var)
            if memory is not None:
                self.define(var, self.settled(memory))

    def _call(self, call: Call, flags: Sequence[tuple[str, OutOfRange]]) -> None:
        call = replace(call, arguments=[*call.arguments, *(("ptr", flag) for flag, _ in flags)])
        if call.chunks == 1:
            given = [f"{kind} {name}" for kind, name in call.arguments]
            self.e.line(f"call void {call.symbol}({', '.join(given)})")
            return
        self.program.parallel([call])

    def _combine(self, partial: Partial) -> None:
        """Add up what the chunks left, in their order."""
        target, scratch = partial.target, partial.scratch
        assert target.contiguous
        symbol = self.program.combining(partial)
        start = self.e.address(target.pointer, target.dtype, target.offset)
        self.e.line(f"call void {symbol}(ptr {start}, ptr {scratch.pointer})")


def _wholes(graph: Graph) -> dict[Var, Equation]:
    """Return the concatenation that each variable is a part of, if it is one part of one."""
    found: dict[Var, Equation] = {}
    twice: set[Var] = set()
    for equation in graph.equations:
        if equation.primitive.name != "concatenate" or kind_of(equation) != "opaque":
            continue
        for atom in equation.inputs:
            if type(atom) is not Var or in_registers(atom.type):
                continue
            if atom.type.dtype != equation.outputs[0].type.dtype:
                continue
            if atom in found:
                twice.add(atom)
            found[atom] = equation
    return {var: whole for var, whole in found.items() if var not in twice}
