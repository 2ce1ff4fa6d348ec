"""From equations to steps: what is computed together in one pass, in which order, what is stored.

Point equations and reductions over the same loops are put into one :class:`Kernel`, values,
adjoints and sums together, as long as no value is needed at another place than the one where it
was just computed, and nothing has to run in between. Equations on a few numbers run in
registers. Everything else runs by itself.

Sets of steps are Python integers, a bit for each step.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clew.core.graph import Atom, Equation, Graph, Var, bodies_of
from clew.core.kinds import Elementwise
from clew.evaluate.native.affine import Affine, Index, Term
from clew.evaluate.native.spaces import (
    LIGHT,
    SMALL_AXIS,
    SUMMING,
    broadcast_index,
    in_registers,
    kind_of,
    loop_axes,
    places,
    source_index,
    space_of,
    update_place,
)

_LARGEST_KERNEL = 600
_CALL = 12
"""Instructions of a call, with what it passes."""
_LONG = 2000
_WORTH_JOINING = 256
"""Turns of the loops from which passes over the same space are put together for their own sake.

In graphs of fewer than ``_LONG`` equations all are; in longer ones, written out by a Python loop,
short passes are many and alike, and one function serves them all if they stay apart.
"""
_MOST_WRITTEN = 64
"""Operations of one equation that are written out; else it is a kernel, shared with its like."""
_LIGHT_ENOUGH = 2
_MOST_READERS = 2
_HORIZONTAL = 8
"""Kernels looked at, from the latest, for one that an equation could join without reading it."""
_MOST_STRANGERS = 64
"""Elements that a turn of a kernel computes, from which it is joined by its own family only.

Steps down the gradients of many like arrays are then several kernels with the same text.
"""


@dataclass(eq=False)
class Step:
    """Equations that run together: ``registers``, ``kernel`` or ``opaque``."""

    kind: str
    number: int
    equations: list[Equation] = field(default_factory=list)
    extents: tuple[int, ...] = ()
    after: int = 0
    """The steps that must have run, all of them, as bits."""
    written: int = 0
    """Elements that one turn of a kernel's loops computes."""


@dataclass(frozen=True)
class Schedule:
    """Steps in order, and the variables that must be stored when their step has run."""

    steps: list[Step]
    stored: set[Var]
    maker: dict[Var, Equation]
    """The equation of every variable; views and points not stored are written where read."""
    reads: dict[Equation, list[Var]]
    """What the equation reads when its step runs, behind views."""
    elsewhere: set[tuple[Step, Var]]
    """What a kernel reads not only at the place where it has got to."""


def schedule(graph: Graph) -> Schedule:
    """Return the steps of a graph.

    >>> import clew, numpy as np
    >>> graph = clew.trace(lambda x: np.sum(np.sin(x) * x))(np.ones(100))
    >>> [(step.kind, len(step.equations)) for step in schedule(graph).steps]
    [('kernel', 3)]
    """
    return _Scheduler(graph).run()


class _Scheduler:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._maker: dict[Var, Equation] = {}
        self._kind: dict[Var, str] = {}
        self._step_of: dict[Var, Step] = {}
        self._steps: list[Step] = []
        self._kernels: list[Step] = []
        self._stored: set[Var] = set()
        self._reads: dict[Equation, list[tuple[Var, bool]]] = {}
        self._own_reads: dict[Equation, list[tuple[Var, bool]]] = {}

    @functools.cached_property
    def _families(self) -> dict[Var, Var]:
        return families(self._graph)

    def run(self) -> Schedule:
        for equation in self._graph.equations:
            self._place(equation)
        for atom in self._graph.outputs:
            if type(atom) is Var:
                self._store(atom)
        self._store_reads()
        reads = {equation: self._read_by(equation) for equation in self._graph.equations}
        elsewhere = {
            (self._step_of[equation.outputs[0]], var)
            for equation, places_read in self._reads.items()
            for var, aligned in places_read
            if not aligned
        }
        return Schedule(self._ordered(), self._stored, self._maker, reads, elsewhere)

    def _read_by(self, equation: Equation) -> list[Var]:
        known = self._reads.get(equation)
        if known is not None:
            return [var for var, _ in known]
        sources = [self._source(atom) for atom in equation.inputs]
        return [atom for atom in sources if type(atom) is Var]

    # --- placing -------------------------------------------------------------------------

    def _place(self, equation: Equation) -> None:
        self._maker.update(dict.fromkeys(equation.outputs, equation))
        kind = kind_of(equation)
        if kind == "view" and not self._must_move(equation):
            self._kind[equation.outputs[0]] = "view"
            return
        if kind == "view":  # a reshape that no index can express: the operand is laid out first
            self._kind[equation.outputs[0]] = "moved"
            self._store(equation.inputs[0])
            return
        for var in equation.outputs:
            self._kind[var] = kind
        if kind == "opaque":
            self._alone(equation, kind)
        elif self._in_registers(equation, kind):
            self._alone(equation, "registers")
        else:
            self._fused(equation, kind)

    def _must_move(self, equation: Equation) -> bool:
        if equation.primitive.name != "reshape" or not equation.outputs[0].type.size:
            return False
        source = equation.inputs[0]
        if type(source) is not Var or self._kind.get(source) not in ("view", "point"):
            return False
        shape = equation.outputs[0].type.shape
        terms = [Term(shape[axis]) for axis in loop_axes(shape)]
        place = next(iter(places(shape, terms)))
        index = source_index(equation, place)
        return index is None or self._is_moved(source, index)

    def _is_moved(self, source: Atom, index: Index) -> bool:
        """Whether a view further on the way is not affine for this index."""
        while type(source) is Var and self._kind.get(source) == "view":
            maker = self._maker[source]
            found = source_index(maker, index)
            if found is None:
                return True
            source, index = maker.inputs[0], found
        return False

    def _in_registers(self, equation: Equation, kind: str) -> bool:
        if not in_registers(equation.outputs[0].type) or _written_out(equation) > _MOST_WRITTEN:
            return False
        for atom in equation.inputs:
            if type(atom) is Var and not in_registers(atom.type) and self._virtual(atom):
                return False
        return True

    def _virtual(self, atom: Var) -> bool:
        """Whether a value is not stored yet, and may never be."""
        while self._kind.get(atom) == "view":
            source = self._maker[atom].inputs[0]
            if type(source) is not Var:
                return False
            atom = source
        return self._kind.get(atom) == "point" and self._step_of[atom].kind == "kernel"

    def _alone(self, equation: Equation, kind: str) -> None:
        step = Step(kind, len(self._steps), [equation])
        self._steps.append(step)
        self._step_of.update(dict.fromkeys(equation.outputs, step))
        for atom in equation.inputs:
            step.after |= self._sources_after(atom)

    def _sources_after(self, atom: Atom) -> int:
        return self._until(self._source(atom))

    def _source(self, atom: Atom) -> Atom:
        """Return what a value is a view of."""
        while type(atom) is Var and self._is_view(atom):
            atom = self._maker[atom].inputs[0]
        return atom

    def _is_view(self, var: Var) -> bool:
        return self._kind.get(var) in ("view", "moved")

    def _until(self, atom: Atom) -> int:
        step = self._step_of.get(atom) if type(atom) is Var else None
        return 0 if step is None else step.after | (1 << step.number)

    # --- fusing ----------------------------------------------------------------------------

    def _fused(self, equation: Equation, kind: str) -> None:
        extents = _extents(equation, kind)
        reads = self._reads_of(equation, kind, extents)
        self._reads[equation] = reads
        step = self._kernel_to_join(equation, extents, reads)
        is_new = step is None
        if step is None:
            step = Step("kernel", len(self._steps), [], extents)
            self._steps.append(step)
            self._kernels.append(step)
        step.equations.append(equation)
        step.written += math.prod(_shape(equation, kind)) // max(1, math.prod(extents))
        self._step_of[equation.outputs[0]] = step
        new = 0
        for var, _ in reads:
            new |= self._until(var)
        new &= ~(1 << step.number) & ~step.after
        if new:
            bit = 1 << step.number
            step.after |= new
            for other in () if is_new else self._steps:
                if other.after & bit:
                    other.after |= new

    def _kernel_to_join(
        self, equation: Equation, extents: tuple[int, ...], reads: list[tuple[Var, bool]]
    ) -> Step | None:
        """Return the latest kernel with these loops that the equation can be part of."""
        own = {id(step): step for var, _ in reads if (step := self._step_of.get(var)) is not None}
        nearby = [step for step in own.values() if step.kind == "kernel"]
        if math.prod(extents) >= _WORTH_JOINING or len(self._graph.equations) < _LONG:
            seen = {id(step) for step in nearby}
            for step in self._kernels[-_HORIZONTAL:]:
                if id(step) not in seen and not self._are_strangers(step, equation):
                    nearby.append(step)
        nearby.sort(key=lambda step: -step.number)
        for step in nearby:
            fits = step.extents == extents and len(step.equations) < _LARGEST_KERNEL
            if fits and self._can_join(step, reads):
                return step
        return None

    def _are_strangers(self, step: Step, equation: Equation) -> bool:
        """Say whether a kernel is large, and nothing of it is of an equation's family."""
        if step.written < _MOST_STRANGERS:
            return False
        own = self._families[equation.outputs[0]]
        return all(self._families[each.outputs[0]] is not own for each in step.equations)

    def _can_join(self, step: Step, reads: list[tuple[Var, bool]]) -> bool:
        bit = 1 << step.number
        for var, aligned in reads:
            source = self._step_of.get(var)
            if source is step:
                if not aligned:
                    return False
            elif source is not None and source.after & bit:
                return False
        return True

    def _reads_of(
        self, equation: Equation, kind: str, extents: tuple[int, ...]
    ) -> list[tuple[Var, bool]]:
        """Return what an equation reads behind views, and whether at the same place."""
        if isinstance(equation.primitive, Elementwise):
            shape = equation.outputs[0].type.shape
            operands = [atom for atom in equation.inputs if type(atom) is Var]
            if all(x.type.shape == shape and not self._is_view(x) for x in operands):
                return [(x, self._kind.get(x) == "point") for x in dict.fromkeys(operands)]
        terms = [Term(extent) for extent in extents]
        found: dict[Var, bool] = {}
        for atom, index in operand_indices(equation, kind, terms):
            self._resolve(atom, index, terms, found)
        return list(found.items())

    def _resolve(
        self, atom: Atom, index: Index | None, terms: list[Term], found: dict[Var, bool]
    ) -> None:
        while type(atom) is Var and self._kind.get(atom) == "view" and index is not None:
            maker = self._maker[atom]
            moved = source_index(maker, index)
            if moved is None:
                self._store(maker.inputs[0])
                self._kind[atom] = "moved"
                break
            atom, index = maker.inputs[0], moved
        if type(atom) is not Var:
            return
        moved_view = self._is_view(atom)
        source = self._source(atom)
        if type(source) is not Var:
            return
        if moved_view or index is None:
            found[source] = False
            return
        aligned = self._kind.get(source) == "point" and _is_aligned(source, index, terms)
        found[source] = found.get(source, True) and aligned

    # --- storing ---------------------------------------------------------------------------

    def _store(self, atom: Atom) -> None:
        source = self._source(atom)
        if type(source) is Var and source in self._step_of:
            self._stored.add(source)

    def _store_reads(self) -> None:
        """Store what is read at another place, or by another step than the one that made it.

        What another kernel reads at the same place may cost less to compute again than to
        write and read: one or two light operations on what is stored anyway.
        """
        again: list[tuple[Equation, Var]] = []
        self._own_reads = dict(self._reads)
        readers: dict[Var, set[int]] = {}
        for step in self._steps:
            for equation in step.equations:
                if equation not in self._reads:
                    for atom in equation.inputs:
                        self._store(atom)
                    continue
                for var, aligned in self._reads[equation]:
                    if aligned and self._step_of[var] is not step:
                        again.append((equation, var))
                        readers.setdefault(var, set()).add(step.number)
                    elif not aligned:
                        self._store(var)
        for equation, var in again:
            if var in self._stored:
                continue
            anchors = self._anchors(var, _LIGHT_ENOUGH)
            if anchors is None or len(readers[var]) > _MOST_READERS:
                self._store(var)
                continue
            own = [(other, flag) for other, flag in self._reads[equation] if other is not var]
            own += [(anchor, False) for anchor in anchors]
            self._reads[equation] = list(dict(own).items())
            for anchor in anchors:
                self._store(anchor)

    def _anchors(self, var: Var, operations: int) -> list[Var] | None:
        """Return what is stored and gives a value in so many light operations; None if nothing."""
        maker = self._maker[var]
        if not operations or maker.primitive.name not in LIGHT or maker not in self._reads:
            return None
        found: list[Var] = []
        for source, aligned in self._own_reads[maker]:
            if source in self._stored or self._kind.get(source) != "point":
                found.append(source)
                continue
            deeper = self._anchors(source, operations - 1) if aligned else None
            if deeper is None:
                return None
            found += deeper
        return found

    # --- ordering --------------------------------------------------------------------------

    def _ordered(self) -> list[Step]:
        """Sort by what must run before, otherwise as the equations stand."""
        place = {equation: i for i, equation in enumerate(self._graph.equations)}
        ready = sorted(self._steps, key=lambda step: (step.after.bit_count(), step.number))
        for step in ready:
            step.equations.sort(key=place.__getitem__)
        return ready


def families(graph: Graph) -> dict[Var, Var]:
    """Return, for each array, one that stands for all that are made of it, or it of, in loops.

    Numbers belong to no family, and what runs by itself connects none: so two layers' weights and
    their gradients are two families, though all are changed at the same rate.
    """
    known: dict[Var, Var] = {}

    def head(var: Var) -> Var:
        while (above := known.setdefault(var, var)) is not var:
            known[var] = known[above]
            var = above
        return var

    for equation in graph.equations:
        if kind_of(equation) != "opaque":
            own = head(equation.outputs[0])
            for atom in equation.inputs:
                if type(atom) is Var and atom.type.size > 1:
                    known[head(atom)] = own
    return {var: head(var) for var in known}


def _written_out(equation: Equation) -> int:
    """Return how many operations an equation is if every element is written out."""
    if isinstance(equation.primitive, Elementwise):
        weight = 1 if equation.primitive.name in LIGHT else _MOST_WRITTEN // SMALL_AXIS
        return weight * equation.outputs[0].type.size
    if equation.primitive.name in SUMMING:
        return 2 * math.prod(space_of(equation).shape)
    return equation.outputs[0].type.size


def length_of(graph: Graph) -> int:
    """Return about how many instructions a graph's program has outside its kernels.

    >>> import clew, numpy as np
    >>> length_of(clew.trace(lambda x: np.sum(x * 2.0))(np.ones(3)))
    9
    """
    total = 0
    for equation in graph.equations:
        kind = kind_of(equation)
        if kind == "opaque":
            total += _CALL + sum(length_of(body) for body in bodies_of(equation))
        elif kind != "view":
            written = _written_out(equation)
            alone = in_registers(equation.outputs[0].type) and written <= _MOST_WRITTEN
            total += written if alone else _CALL
    return total


def _shape(equation: Equation, kind: str) -> tuple[int, ...]:
    return space_of(equation).shape if kind == "reduce" else equation.outputs[0].type.shape


def _extents(equation: Equation, kind: str) -> tuple[int, ...]:
    shape = _shape(equation, kind)
    return tuple(shape[axis] for axis in loop_axes(shape))


def _is_aligned(var: Var, index: Index, terms: list[Term]) -> bool:
    axes = loop_axes(var.type.shape)
    if len(axes) != len(terms):
        return False
    for axis, each in enumerate(index):
        if axis not in axes and not each.known:
            return False
    return all(index[axis] == Affine.of(t) for axis, t in zip(axes, terms, strict=True))


def operand_indices(
    equation: Equation, kind: str, terms: list[Term]
) -> Iterator[tuple[Any, Index | None]]:
    """Yield the operands of an equation in a kernel, with where they are read."""
    name = equation.primitive.name
    if kind == "reduce" or name in SUMMING:
        space = space_of(equation)
        if 0 in space.shape:  # nothing is read
            return
        for index in places(space.shape, terms):
            for atom, axes in zip(space.atoms, space.axes_of, strict=True):
                yield atom, tuple(index[axis] for axis in axes)
        return
    for index in places(equation.outputs[0].type.shape, terms):
        if name == "gather":
            yield equation.inputs[0], None
            rank = equation.inputs[1].type.ndim
            for atom in equation.inputs[1:]:
                yield atom, index[:rank]
        elif name == "concatenate":
            yield from _joined_operand(equation, index)
        elif name == "update":
            place = update_place(equation, index)
            atom = equation.inputs[0 if place is None else 1]
            yield atom, index if place is None else place
        else:
            for atom in equation.inputs:
                yield atom, broadcast_index(index, atom.type.shape)


def _joined_operand(equation: Equation, index: Index) -> Iterator[tuple[Any, Index]]:
    axis = equation.params["axis"]
    place = index[axis].constant
    for atom in equation.inputs:
        length = atom.type.shape[axis]
        if place < length:
            yield atom, (*index[:axis], Affine(place), *index[axis + 1 :])
            return
        place -= length
