"""Plans for sparse Jacobians: a pattern, which passes to run, and where each entry is read.

The passes run forwards along the colours of columns, or backwards along those of rows. Before they
are coloured, rows may be cut short: values that are elements of the arguments, moved
(``cameras[camera]``), stand in for the arguments, and each pass goes back to them only. What one
argument then holds for many rows, as a camera does, no longer keeps those rows apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus.blocks import Block, Places, block
from clew.calculus.colouring import (
    Colouring,
    colour,
    colour_columns,
    colour_rows,
    colour_symmetric,
    fewest,
)
from clew.calculus.reach import Reach, TooManyEntries
from clew.calculus.reverse import TwoStage
from clew.calculus.sweeps import Sweep
from clew.calculus.transpose import transpose
from clew.calculus.walk import Pattern, pattern_of
from clew.core.errors import MemoryLimitError
from clew.core.graph import Equation, Graph, Var, users
from clew.core.kinds import Linear
from clew.core.types import Type

_WORTH_CUTTING = 2
"""How many times fewer passes there have to be for rows to be cut short."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Passes, and for each output and each linear input the block that is read from them.

    ``sources`` has for each result of the passes its type in one pass, and how many passes; a
    result that is not ``given`` by a sweep is zero.
    """

    sweeps: tuple[Sweep, ...]
    sources: tuple[tuple[Type, int], ...]
    given: tuple[bool, ...]
    blocks: tuple[tuple[Block, ...], ...]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be planned: a linear stage, and the shape of its matrix.

    ``present`` says which of the ``outputs``, whose elements are the rows, the stage gives.
    """

    stages: TwoStage
    carried: Sequence[Any]
    kinds: Sequence[Type]
    outputs: Sequence[Type]
    present: Sequence[bool]
    symmetric: bool
    forward_only: bool

    def open_graph(self) -> Graph:
        """Return the linear stage with its constants as inputs, after what is carried."""
        second = self.stages.second
        early = second.inputs[: len(self.carried)]
        inputs = (*early, *second.constants, *second.inputs[len(early) :])
        return Graph(inputs, second.equations, second.outputs)


def planned(task: Task) -> tuple[Plan, frozenset[tuple[int, str]]]:
    """Make a plan; say which values it depends on (see :class:`Pattern`)."""
    if task.symmetric or task.forward_only:
        found = pattern_of(task.stages, task.carried, task.kinds)
        rows = _rows(task, found)
        rows.sort_indices()
        chosen = colour_symmetric(rows) if task.symmetric else colour_columns(rows)
        return _forward_plan(task, rows, chosen), found.consulted
    inner = behind_moves(task)
    rows, consulted = inner.entries.pattern, inner.consulted
    by_rows = inner.colouring(fewest(rows))
    if by_rows is None:
        chosen = colour(rows)
        by_rows = colour_rows(inner.pattern) if chosen.by == "rows" else None
        by_rows = by_rows or inner.colouring(chosen.count)
        if by_rows is None:
            return _forward_plan(task, rows, chosen), consulted
    return backward_plan(task, inner, by_rows), consulted


def _rows(task: Task, found: Pattern) -> Any:
    from scipy import sparse

    if not task.symmetric:
        return whole_pattern(found.outputs)
    outputs = iter(found.outputs)
    empty = found.outputs[0].sets[:1]
    rows = whole_pattern(
        [
            next(outputs) if flag else Reach(np.zeros(kind.shape, np.int64), empty)
            for kind, flag in zip(task.outputs, task.present, strict=True)
        ]
    )
    return sparse.csr_array(rows + rows.T)


def readings(pattern: Any, chosen: Colouring) -> tuple[np.ndarray, np.ndarray]:
    """Return for each entry, from passes along columns, which pass has it and at which row.

    Those of a symmetric matrix may be read on the other side of its diagonal.
    """
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    columns = pattern.indices
    passes = chosen.colours[columns]
    if chosen.by != "symmetry":
        return passes, rows
    met = rows * chosen.count + passes
    _, place, times = np.unique(met, return_inverse=True, return_counts=True)
    across = times[place] > 1
    return np.where(across, chosen.colours[rows], passes), np.where(across, columns, rows)


def _forward_plan(task: Task, pattern: Any, chosen: Colouring) -> Plan:
    passes, elements = readings(pattern, chosen)
    count = max(1, chosen.count)
    colours = _parts(chosen.colours, task.kinds)
    sweep = Sweep.of(task.open_graph(), len(task.kinds), colours, count)
    sizes = np.array([kind.size for kind in task.outputs])
    source, place = _located(elements, sizes)
    places = Places(source, passes * sizes[source] + place, None)
    blocks = _blocks(task, pattern, places, task.outputs, [count] * len(sizes))
    sources = tuple((kind, count) for kind in task.outputs)
    return Plan((sweep,), sources, tuple(task.present), blocks)


def _parts(values: np.ndarray, kinds: Sequence[Type]) -> list[np.ndarray]:
    return np.split(values, np.cumsum([kind.size for kind in kinds])[:-1])


def _located(elements: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of several arrays each element of them together is in, and where."""
    ends = np.cumsum(sizes)
    which = np.searchsorted(ends, elements, side="right")
    return which, elements - (ends - sizes)[which]


def _blocks(
    task: Task, pattern: Any, places: Places, kinds: Sequence[Type], passes: Sequence[int]
) -> tuple[tuple[Block, ...], ...]:
    from scipy import sparse

    numbers = sparse.csr_array(
        (np.arange(pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape
    )
    rows = []
    top = 0
    for output in task.outputs:
        band = numbers[top : top + output.size]
        top += output.size
        row, left = [], 0
        for kind in task.kinds:
            part = band[:, left : left + kind.size]
            row.append(block(part, places, kinds, passes, output))
            left += kind.size
        rows.append(tuple(row))
    return tuple(rows)


def whole_pattern(outputs: Sequence[Any]) -> Any:
    """Return the patterns of several outputs, one above the other."""
    from scipy import sparse

    try:
        return sparse.csr_array(sparse.vstack([each.matrix() for each in outputs], format="csr"))
    except TooManyEntries as error:
        raise MemoryLimitError(
            f"mode='sparse': the pattern holds {error.args[0]:,} entries: it is not sparse",
            "use clew.jvp, clew.vjp or clew.hvp, which form no matrix",
        ) from None


# --- backwards ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inner:
    """What is left of a linear stage behind its moves.

    ``graph`` is linear in its last inputs, whose elements are elements of the stage's inputs;
    ``pattern`` is its own, ``entries`` says what that is for the stage's inputs.
    """

    graph: Graph
    kinds: tuple[Type, ...]
    pattern: Any
    entries: Entries
    consulted: frozenset[tuple[int, str]]

    def colouring(self, count: int) -> Colouring | None:
        """Colour the rows, if that takes so few colours that it is better than ``count``."""
        least = int(np.bincount(self.pattern.indices, minlength=1).max())
        if _WORTH_CUTTING * least >= count:
            return None
        found = colour_rows(self.pattern)
        return found if _WORTH_CUTTING * found.count < count else None


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of a pattern, behind moves and for what was moved.

    ``pattern`` is the latter. Entry ``order[i]`` of the former belongs to entry ``target[i]`` of
    it, or to entry i where no two meet (``target`` is None).
    """

    pattern: Any
    order: np.ndarray
    target: np.ndarray | None

    @staticmethod
    def of(behind: Any, origin: np.ndarray, width: int) -> Entries:
        """Find them for a pattern whose columns stand for columns of one with this width."""
        from scipy import sparse

        shape = (behind.shape[0], width)
        columns = origin[behind.indices] - 1
        entries = sparse.csr_array((np.arange(behind.nnz), columns, behind.indptr), shape=shape)
        entries.sort_indices()
        rows = np.repeat(np.arange(shape[0]), np.diff(entries.indptr))
        first = np.ones(behind.nnz, bool)
        first[1:] = (np.diff(entries.indices) != 0) | (np.diff(rows) != 0)
        before = np.concatenate([[0], np.cumsum(first)])
        kept = (first[first], entries.indices[first], before[entries.indptr])
        target = None if first.all() else before[1:] - 1
        return Entries(sparse.csr_array(kept, shape=shape), entries.data, target)


def behind_moves(task: Task) -> Inner:
    """Cut a linear stage behind what only moves elements of its inputs, and repeats some."""
    first = len(task.carried)
    second = task.stages.second
    early, late = second.inputs[:first], second.inputs[first:]
    moves = pattern_of(_moves(task.stages, late), task.carried, task.kinds)
    ids, parts, kept = _repeated(second, late, moves.moved)
    used = Graph((), kept, second.outputs).with_live_equations()
    used = _behind_parts(used, ids, parts, late)
    read = {*used.outputs, *(atom for each in used.equations for atom in each.inputs)}
    cut = [var for var in ids if var in read]
    if all(var in late for var in cut):
        cut = list(late)
    kinds = tuple(var.type for var in cut)
    inner = Graph((*early, *cut), used.equations, second.outputs, second.constants)
    found = pattern_of(TwoStage(task.stages.first, inner), task.carried, kinds)
    pattern = whole_pattern(found.outputs)
    origin = np.concatenate([ids[var].ravel() for var in cut])
    pattern.data = origin[pattern.indices] > 0
    pattern.eliminate_zeros()
    pattern.sort_indices()
    graph = Graph((*early, *second.constants, *cut), used.equations, second.outputs)
    entries = Entries.of(pattern, origin, sum(kind.size for kind in task.kinds))
    return Inner(graph, kinds, pattern, entries, moves.consulted | found.consulted)


def _moves(stages: TwoStage, late: Sequence[Var]) -> TwoStage:
    """Return what only moves elements of the last inputs of a linear stage, and its indices."""
    second = stages.second
    linear: set[Any] = set(late)
    moved: set[Any] = set(late)
    kept = []
    for equation in second.equations:
        mine = [atom for atom in equation.inputs if atom in linear]
        if mine:
            linear.update(equation.outputs)
            primitive = equation.primitive
            if not (isinstance(primitive, Linear) and primitive.moves and moved.issuperset(mine)):
                continue
            moved.update(equation.outputs)
        kept.append(equation)
    outputs = [each.outputs[0] for each in kept if each.outputs[0] in moved]
    graph = Graph(second.inputs, kept, outputs, second.constants).with_live_equations()
    return TwoStage(stages.first, graph)


def _repeated(
    graph: Graph, late: Sequence[Var], moved: dict[Var, np.ndarray]
) -> tuple[dict[Var, np.ndarray], dict[Var, np.ndarray], list[Equation]]:
    """Find the values with elements of the last inputs, some repeated; and other equations.

    Parts of such values are the second result. They are left to the other equations: they tell
    no more rows apart.
    """
    ids: dict[Var, np.ndarray] = {}
    parts: dict[Var, np.ndarray] = {}
    start = 1
    for var in late:
        ids[var] = np.arange(start, start + var.type.size).reshape(var.type.shape)
        start += var.type.size
    linear: set[Any] = set(late)
    times: dict[Any, int] = dict.fromkeys(late, 1)
    kept = []
    for equation in graph.equations:
        mine = [atom for atom in equation.inputs if atom in linear]
        if not mine:
            kept.append(equation)
            continue
        linear.update(equation.outputs)
        own = equation.outputs[0]
        if own in moved and all(atom in times for atom in mine):
            times[own] = int(np.bincount(moved[own][moved[own] > 0], minlength=1).max())
            if times[own] > max(times[atom] for atom in mine):
                ids[own] = moved[own]
                continue
            parts[own] = moved[own]
        kept.append(equation)
    return ids, parts, kept


def _behind_parts(
    graph: Graph, ids: dict[Var, np.ndarray], parts: dict[Var, np.ndarray], late: Sequence[Var]
) -> Graph:
    """Replace a value by its parts, if they do not overlap and nothing else is read of it."""
    read = users(graph.equations)
    taken: set[Var] = set()
    for var in [var for var in ids if var not in late and var not in graph.outputs]:
        own = [each.outputs[0] for each in read.get(var, ()) if each.outputs[0] in parts]
        if not own or len(own) < len(read[var]):
            continue
        length = 1 + int(ids[var].max(initial=0))
        numbers = np.concatenate([parts[each].ravel() for each in own])
        times = [np.bincount(each, minlength=length)[1:] for each in (numbers, ids[var].ravel())]
        if (times[0] <= times[1]).all():
            ids.update((each, parts[each]) for each in own)
            taken.update(own)
    kept = [each for each in graph.equations if taken.isdisjoint(each.outputs)]
    return Graph((), kept, graph.outputs)


def backward_plan(task: Task, inner: Inner, chosen: Colouring) -> Plan:
    """Run passes with the same outputs together, and add up what comes from one element."""
    colours = _parts(chosen.colours, task.outputs)
    groups: dict[tuple[int, ...], list[int]] = {}
    for number in range(chosen.count):
        live = tuple(place for place, each in enumerate(colours) if (each == number).any())
        groups.setdefault(live, []).append(number)
    group, local = np.zeros((2, chosen.count), np.int64)
    sweeps: list[Sweep] = []
    given: list[bool] = []
    for which, (live, numbers) in enumerate(groups.items()):
        group[numbers], local[numbers] = which, np.arange(len(numbers))
        own = [_within(colours[i], numbers) for i in live]
        outputs = [inner.graph.outputs[i] for i in live]
        graph = Graph(inner.graph.inputs, inner.graph.equations, outputs)
        seeds = graph.inputs[len(graph.inputs) - len(inner.kinds) :]
        pulled, has_path = transpose(graph, seeds, outputs, ())
        sweeps.append(Sweep.of(pulled, len(live), own, len(numbers)))
        given += has_path
    rows = np.repeat(np.arange(inner.pattern.shape[0]), np.diff(inner.pattern.indptr))
    passes = chosen.colours[rows]
    sizes = np.array([kind.size for kind in inner.kinds])
    which, place = _located(inner.pattern.indices, sizes)
    source, offset = group[passes] * len(sizes) + which, local[passes] * sizes[which] + place
    order = inner.entries.order
    places = Places(source[order], offset[order], inner.entries.target)
    counts = [len(numbers) for numbers in groups.values() for _ in inner.kinds]
    kinds = [*inner.kinds] * len(groups)
    blocks = _blocks(task, inner.entries.pattern, places, kinds, counts)
    return Plan(tuple(sweeps), tuple(zip(kinds, counts, strict=True)), tuple(given), blocks)


def _within(colours: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Number the colours of a group from 0; -1 stays, others become -2."""
    new = np.full(max(int(colours.max(initial=0)), *numbers) + 2, -2)
    new[-1] = -1
    new[list(numbers)] = np.arange(len(numbers))
    return new[colours]
