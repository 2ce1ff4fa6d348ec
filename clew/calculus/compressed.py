"""Sparse Jacobians and Hessians: one pass for each colour, taken apart by the pattern.

Passes are run together, as one batch (several, if they are too many for memory). Inside another
trace the same passes are recorded there, and guards check what the pattern was read from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.batch import batch
from clew.calculus.derivatives import linear_stages
from clew.calculus.plans import Plan, Task, planned
from clew.calculus.reverse import TwoStage
from clew.calculus.rows import CompressedRows, Layout, matrix
from clew.calculus.same import digest, signature
from clew.calculus.walk import value_of
from clew.core.errors import TraceError
from clew.core.primitive import PRIMITIVES, Traced
from clew.core.tape import TapeType
from clew.core.types import Type, type_of
from clew.ops.shape import concatenate, with_batch
from clew.trace import Recording
from clew.trace.guards import Expected, guard

_CHUNK_ELEMENTS = 2**24
_FEWEST_TOGETHER = 8
_PLANS = 8
_FEW = 4
"""Passes that are recorded one by one: what they give need not be stored as one array."""

Directions = Callable[[int, int], list[np.ndarray]]
"""``directions(start, size)``: for each linear input, ``size`` directions on axis 0."""


# --- many directions at once -------------------------------------------------------------------


def over_directions(
    stages: TwoStage, carried: Sequence[Any], total: int, directions: Directions
) -> list[Any]:
    """Run the linear stage on ``total`` directions, several at a time; stack on axis 0."""
    widest = max([1, *(atom.type.size for atom in stages.second.outputs)])
    chunk = max(1, min(total, max(_CHUNK_ELEMENTS // widest, _FEWEST_TOGETHER)))
    late = len(stages.second.inputs) - len(carried)
    given = [*(False for _ in carried), *(True for _ in range(late))]
    pieces: list[list[Any]] = []
    batched: dict[int, TwoStage] = {}
    flags: list[bool] = []
    for start in range(0, total, chunk):
        size = min(chunk, total - start)
        if size not in batched:
            graph, flags = batch(stages.second, size, given)
            batched[size] = TwoStage(stages.first, graph.with_live_equations())
        values = batched[size].finish(carried, directions(start, size))
        pieces.append([with_batch(v, size, f) for v, f in zip(values, flags, strict=True)])
    if not pieces:
        kinds = [atom.type for atom in stages.second.outputs]
        return [np.zeros((0, *kind.shape), kind.dtype) for kind in kinds]
    return [
        column[0] if len(column) == 1 else concatenate(*column, axis=0)
        for column in zip(*pieces, strict=True)
    ]


def unit_directions(kinds: Sequence[Type]) -> Directions:
    """Return the directions along single elements.

    >>> unit_directions([Type((2,), np.float64)])(0, 2)
    [array([[1., 0.],
           [0., 1.]])]
    """

    def directions(start: int, size: int) -> list[np.ndarray]:
        result = []
        before = 0
        for kind in kinds:
            block = np.eye(size, kind.size, k=start - before, dtype=kind.dtype)
            result.append(block.reshape((size, *kind.shape)))
            before += kind.size
        return result

    return directions


# --- plans -----------------------------------------------------------------------------------


class Plans:
    """The plans of one differentiated function, found again when the graph is the same."""

    def __init__(self) -> None:
        self._kept: list[tuple[Any, dict[tuple[int, str], bytes], Plan]] = []

    def of(self, task: Task, operands: Sequence[Any]) -> Plan:
        """Return the plan for a task; reuse one if all that it was read from is equal.

        ``operands`` are the values of what is carried and of the constants. Those that are
        traced and were read get guards.
        """
        second = task.stages.second
        key = (
            signature(second, False),
            tuple(value is None for value in task.carried),
            task.outputs,
            task.present,
            task.symmetric,
            task.forward_only,
        )
        for kept in self._kept:
            known, consulted, plan = kept
            if known == key and all(
                digest(value_of(number, task.carried, second), what) == found
                for (number, what), found in consulted.items()
            ):
                self._kept.remove(kept)
                break
        else:
            plan, read = planned(task)
            consulted = {
                (number, what): digest(value_of(number, task.carried, second), what)
                for number, what in read
            }
        self._kept = [*self._kept[1 - _PLANS :], (key, consulted, plan)]
        _assume(
            [
                _same(operands[number], task.carried[number], what)
                for number, what in consulted
                if isinstance(operands[number], Traced)
            ]
        )
        return plan


def _actual(value: Any) -> Any:
    """Return the value that a traced one stands for; None if there is not one."""
    if not isinstance(value, Traced):
        return value
    if isinstance(type_of(value), TapeType):
        return None
    try:
        return value.concrete()  # type: ignore[attr-defined]
    except TraceError:
        return None


def _same(value: Any, actual: Any, what: str) -> Any:
    """Compare a traced value, or the places of its zeros, with what it is now."""
    equal = PRIMITIVES["equal"]
    if what == "zeros":
        same = equal(PRIMITIVES["not_equal"](value, np.zeros((), actual.dtype)), actual != 0)
    else:
        same = equal(value, actual)
        if type_of(value).inexact and (actual != actual).any():
            same = PRIMITIVES["logical_or"](same, equal(equal(value, value), actual == actual))
    return PRIMITIVES["all"](same, axis=tuple(range(actual.ndim)))


def _assume(conditions: Sequence[Any]) -> None:
    """Guard that all of these hold."""
    if conditions:
        every = functools.reduce(PRIMITIVES["logical_and"], conditions)
        guard(every, expected=Expected(np.array(True)))


# --- blocks ------------------------------------------------------------------------------------


def sparse_blocks(
    recording: Recording,
    leaves: Sequence[Any],
    seeded: Sequence[int],
    plans: Plans,
    symmetric: bool = False,
) -> list[list[Any]]:
    """Return the Jacobian of a recording: a list of sparse blocks, or None, for each output."""
    traced = any(isinstance(value, Traced) for value in (*leaves, *recording.captured))
    make = CompressedRows if traced else matrix
    stages, _, carried, has_path = linear_stages(recording, leaves, seeded)
    graph = recording.graph
    rows: list[list[Any]] = [[None] * len(leaves) for _ in has_path]
    if any(has_path):
        shown = [i for i, flag in enumerate(has_path) if flag]
        real = all(var.type.dtype.kind != "c" for var in (*graph.inputs, *graph.outputs))
        if symmetric and real and len(has_path) == len(leaves):
            shown = list(seeded)
        kinds = [type_of(leaves[i]) for i in seeded]
        outputs = tuple(graph.outputs[i].type for i in shown)
        square = symmetric and [kind.shape for kind in kinds] == [kind.shape for kind in outputs]
        present = tuple(has_path[i] for i in shown)
        known = [_actual(value) for value in carried]
        task = Task(stages, known, kinds, outputs, present, square, not real)
        operands = [*carried, *stages.second.constants.values()]
        plan = plans.of(task, operands)
        found = _swept(plan, operands)
        for number, blocks in zip(shown, plan.blocks, strict=True):
            if has_path[number]:
                for place, each in zip(seeded, blocks, strict=True):
                    rows[number][place] = make(each.data(found), each.layout)
        _drop_unused(rows, leaves)
    if traced:
        _fill(rows, [atom.type for atom in graph.outputs], [type_of(leaf) for leaf in leaves])
    return rows


def _swept(plan: Plan, operands: Sequence[Any]) -> list[Any]:
    """Run a plan's passes; a result that they do not give is zero."""
    traced = any(isinstance(value, Traced) for value in operands)
    results: list[Any] = []
    for sweep in plan.sweeps:
        stages = TwoStage(sweep.graph, sweep.graph)
        if traced and sweep.count <= _FEW:
            seeds = [sweep.directions(number, 1) for number in range(sweep.count)]
            singly = [stages.finish(operands, [each[0] for each in own]) for own in seeds]
            results += zip(*singly, strict=True)
        else:
            results += over_directions(stages, operands, sweep.count, sweep.directions)
    found = iter(results)
    return [
        next(found) if flag else np.zeros((count, *kind.shape), kind.dtype)
        for (kind, count), flag in zip(plan.sources, plan.given, strict=True)
    ]


def _fill(rows: list[list[Any]], outputs: Sequence[Type], inputs: Sequence[Type]) -> None:
    """Let blocks without a path be empty matrices: a trace gives no reasons."""
    none = np.zeros(0, np.int32)
    for row, output in zip(rows, outputs, strict=True):
        for place, kind in enumerate(inputs):
            if row[place] is None:
                indptr = np.zeros(output.size + 1, np.int32)
                layout = Layout(none, indptr, (output.size, kind.size))
                row[place] = CompressedRows(np.zeros(0, output.dtype), layout)


def _drop_unused(rows: list[list[Any]], leaves: Sequence[Any]) -> None:
    """Let an input that no output depends on have no path, as in reverse mode."""
    for place, leaf in enumerate(leaves):
        blocks = [row[place] for row in rows if row[place] is not None]
        if type_of(leaf).size and not any(block.nnz or 0 in block.shape for block in blocks):
            for row in rows:
                row[place] = None
