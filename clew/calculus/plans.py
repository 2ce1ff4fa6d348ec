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
    found = pattern_of(task.stages, task.carried, task.kinds)
    rows = _rows(task, found)
    rows.sort_indices()
    if task.symmetric:
        return _forward_plan(task, rows, colour_symmetric(rows)), found.consulted
    if task.forward_only:
        return _forward_plan(task, rows, colour_columns(rows)), found.consulted
    inner = behind_moves(task, found, rows)
    consulted = found.consulted | inner.consulted
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

    ``graph`` is linear in its last inputs, whose elements are elements of the stage's inputs:
    ``origin`` has their numbers, from 1 on, or 0 for none.
    """

    graph: Graph
    kinds: tuple[Type, ...]
    origin: np.ndarray
    pattern: Any
    consulted: frozenset[tuple[int, str]]

    def colouring(self, count: int) -> Colouring | None:
        """Colour the rows, if that takes so few colours that it is better than ``count``."""
        least = int(np.bincount(self.pattern.indices, minlength=1).max())
        if _WORTH_CUTTING * least >= count:
            return None
        found = colour_rows(self.pattern)
        return found if _WORTH_CUTTING * found.count < count else None


def behind_moves(task: Task, found: Pattern, rows: Any) -> Inner:
    """Cut a linear stage behind what only moves elements of its inputs, and repeats some."""
    first = len(task.carried)
    second = task.stages.second
    early, late = second.inputs[:first], second.inputs[first:]
    ids, parts, kept = _repeated(second, late, found.moved)
    used = Graph((), kept, second.outputs).with_live_equations()
    used = _behind_parts(used, ids, parts, late)
    read = {*used.outputs, *(atom for each in used.equations for atom in each.inputs)}
    cut = [var for var in ids if var in read]
    if all(var in late for var in cut):
        cut, pattern, consulted = list(late), rows.copy(), found.consulted
    else:
        inner = Graph((*early, *cut), used.equations, second.outputs, second.constants)
        again = pattern_of(
            TwoStage(task.stages.first, inner), task.carried, [var.type for var in cut]
        )
        pattern, consulted = whole_pattern(again.outputs), again.consulted
    origin = np.concatenate([ids[var].ravel() for var in cut])
    pattern.data = origin[pattern.indices] > 0
    pattern.eliminate_zeros()
    pattern.sort_indices()
    graph = Graph((*early, *second.constants, *cut), used.equations, second.outputs)
    return Inner(graph, tuple(var.type for var in cut), origin, pattern, consulted)


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
    pattern, order, entry = _added(rows, inner.origin[inner.pattern.indices] - 1, task)
    counts = [len(numbers) for numbers in groups.values() for _ in inner.kinds]
    kinds = [*inner.kinds] * len(groups)
    blocks = _blocks(task, pattern, Places(source[order], offset[order], entry), kinds, counts)
    return Plan(tuple(sweeps), tuple(zip(kinds, counts, strict=True)), tuple(given), blocks)


def _within(colours: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Number the colours of a group from 0; -1 stays, others become -2."""
    new = np.full(max(int(colours.max(initial=0)), *numbers) + 2, -2)
    new[-1] = -1
    new[list(numbers)] = np.arange(len(numbers))
    return new[colours]


def _added(rows: np.ndarray, columns: np.ndarray, task: Task) -> tuple[Any, Any, Any]:
    """Return the pattern with these entries, their order in it, and which of it each one is."""
    from scipy import sparse

    height, width = (sum(kind.size for kind in each) for each in (task.outputs, task.kinds))
    key = rows.astype(np.int64) * width + columns
    order = np.argsort(key, kind="stable")
    unique, entry = np.unique(key[order], return_inverse=True)
    row, column = np.divmod(unique, max(1, width))
    indptr = np.searchsorted(row, np.arange(height + 1))
    pattern = sparse.csr_array((np.ones(len(unique), bool), column, indptr), shape=(height, width))
    return pattern, order, None if len(unique) == len(key) else entry
