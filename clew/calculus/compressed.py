"""Sparse Jacobians and Hessians: one pass for each colour, taken apart by the pattern.

Passes are run together, as one batch (several, if they are too many for memory).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.batch import batch
from clew.calculus.colouring import Colouring, colour, colour_columns, colour_symmetric
from clew.calculus.derivatives import linear_stages
from clew.calculus.reach import Reach, TooManyEntries
from clew.calculus.reverse import TwoStage, cut, pull_graph
from clew.calculus.walk import pattern_of, value_of
from clew.core.errors import DerivativeError, MemoryLimitError
from clew.core.graph import Graph, Literal, Var
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.ops.shape import concatenate, with_batch
from clew.trace import Recording

_CHUNK_ELEMENTS = 2**24
_FEWEST_TOGETHER = 8
_PLANS = 8

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


def colour_directions(kinds: Sequence[Type], colours: np.ndarray) -> Directions:
    """Return the directions along all elements of a colour together.

    >>> colour_directions([Type((3,), np.float64)], np.array([0, 1, 0]))(0, 2)
    [array([[1., 0., 1.],
           [0., 1., 0.]])]
    """

    def directions(start: int, size: int) -> list[np.ndarray]:
        result = []
        before = 0
        for kind in kinds:
            own = colours[before : before + kind.size].reshape(kind.shape)
            number = np.arange(start, start + size).reshape((size, *(1,) * kind.ndim))
            result.append((own == number).astype(kind.dtype))
            before += kind.size
        return result

    return directions


# --- plans -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """A pattern, its colouring, and for each entry which pass and element it is read from.

    Rows are the elements of the outputs that have a path, columns those of the inputs.
    """

    pattern: Any
    colouring: Colouring
    passes: np.ndarray
    elements: np.ndarray

    @classmethod
    def of(cls, pattern: Any, symmetric: bool, forward_only: bool) -> Plan:
        """Choose a colouring and find where each entry is read."""
        pattern.sort_indices()
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
        columns = pattern.indices
        if symmetric:
            chosen = colour_symmetric(pattern)
        else:
            chosen = colour_columns(pattern) if forward_only else colour(pattern)
        if chosen.by == "rows":
            return cls(pattern, chosen, chosen.colours[rows], columns)
        passes, elements = chosen.colours[columns], rows
        if chosen.by == "symmetry":
            met = rows * chosen.count + passes
            _, place, times = np.unique(met, return_inverse=True, return_counts=True)
            across = times[place] > 1
            passes = np.where(across, chosen.colours[rows], passes)
            elements = np.where(across, columns, rows)
        return cls(pattern, chosen, passes, elements)

    def filled(self, found: Sequence[Any], kinds: Sequence[Type]) -> Any:
        """Take the results of the passes apart: a ``scipy.sparse.csr_array``."""
        from scipy import sparse

        width = max(1, self.colouring.count)
        whole = np.concatenate(
            [
                np.zeros((width, kind.size), kind.dtype)
                if value is None
                else np.asarray(value).reshape(width, kind.size)
                for value, kind in zip(found, kinds, strict=True)
            ],
            axis=1,
        )
        data = whole[self.passes, self.elements]
        return sparse.csr_array(
            (data, self.pattern.indices, self.pattern.indptr), shape=self.pattern.shape
        )


class Plans:
    """The plans of one differentiated function, found again when the graph is the same."""

    def __init__(self) -> None:
        self._kept: list[tuple[Any, dict[tuple[int, str], bytes], Plan]] = []

    def of(
        self, stages: TwoStage, carried: Sequence[Any], kinds: Sequence[Type], **how: Any
    ) -> Plan:
        """Return the plan for a linear stage; reuse one if all that it was read from is equal."""
        signature = (_signature(stages.second, False), tuple(sorted(how.items())))
        for kept in self._kept:
            known, consulted, plan = kept
            if known == signature and all(
                _digest(value_of(number, carried, stages.second), what) == digest
                for (number, what), digest in consulted.items()
            ):
                self._kept.remove(kept)
                self._kept.append(kept)
                return plan
        plan, consulted = _planned(stages, carried, kinds, **how)
        self._kept = [*self._kept[1 - _PLANS :], (signature, consulted, plan)]
        return plan


def _planned(
    stages: TwoStage,
    carried: Sequence[Any],
    kinds: Sequence[Type],
    present: tuple[bool, ...],
    symmetric: bool,
    forward_only: bool,
) -> tuple[Plan, dict[tuple[int, str], bytes]]:
    from scipy import sparse

    found = pattern_of(stages, carried, kinds)
    outputs = iter(found.outputs)
    if symmetric:
        empty = found.outputs[0].sets[:1]
        rows = whole_pattern(
            [
                next(outputs) if flag else Reach(np.zeros(kind.shape, np.int64), empty)
                for kind, flag in zip(kinds, present, strict=True)
            ]
        )
        rows = sparse.csr_array(rows + rows.T)
    else:
        rows = whole_pattern(found.outputs)
    consulted = {
        (number, what): _digest(value_of(number, carried, stages.second), what)
        for number, what in found.consulted
    }
    return Plan.of(rows, symmetric, forward_only), consulted


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


def _digest(value: Any, what: str) -> bytes:
    array = np.ascontiguousarray(value)
    if what == "zeros":
        array = array != 0
    start = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    start.update(array.data)
    return start.digest()


def _signature(graph: Graph, with_constants: bool = True) -> Any:
    """Return what two graphs have in common if and only if they compute the same."""
    number: dict[Any, int] = {}
    for var in (*graph.inputs, *graph.constants):
        number[var] = len(number)
    lines = []
    for equation in graph.equations:
        inputs = tuple(_atom_key(atom, number) for atom in equation.inputs)
        for var in equation.outputs:
            number[var] = len(number)
        params = tuple((key, _key(value)) for key, value in equation.params.items())
        lines.append((equation.primitive, inputs, params, len(equation.outputs)))
    return (
        tuple(var.type for var in graph.inputs),
        tuple(
            _digest(value, "value") if with_constants else type_of(value)
            for value in graph.constants.values()
        ),
        tuple(lines),
        tuple(_atom_key(atom, number) for atom in graph.outputs),
    )


def _atom_key(atom: Any, number: dict[Any, int]) -> Any:
    if type(atom) is Var:
        return number[atom]
    return ("literal", atom.type, np.asarray(atom.value).tobytes())


def _key(value: Any) -> Any:
    """Return something to compare a parameter by; an object of its own if nothing else fits."""
    if isinstance(value, Graph):
        return _signature(value)
    if isinstance(value, np.ndarray):
        return _digest(value, "value")
    if isinstance(value, (tuple, list)):
        return tuple(_key(each) for each in value)
    if isinstance(value, slice):
        return ("slice", _key(value.start), _key(value.stop), _key(value.step))
    if isinstance(value, Literal):
        return _atom_key(value, {})
    try:
        hash(value)
    except TypeError:
        return object()
    return (type(value), value)


# --- blocks ------------------------------------------------------------------------------------


def sparse_blocks(
    recording: Recording,
    leaves: Sequence[Any],
    seeded: Sequence[int],
    plans: Plans,
    symmetric: bool = False,
) -> list[list[Any]]:
    """Return the Jacobian of a recording: a list of sparse blocks, or None, for each output."""
    check_concrete([*leaves, *recording.captured])
    stages, _, carried, has_path = linear_stages(recording, leaves, seeded)
    kinds = [type_of(leaves[i]) for i in seeded]
    graph = recording.graph
    rows: list[list[Any]] = [[None] * len(leaves) for _ in has_path]
    if not any(has_path):
        return rows
    shown = [i for i, flag in enumerate(has_path) if flag]
    real = all(var.type.dtype.kind != "c" for var in (*graph.inputs, *graph.outputs))
    if symmetric and real and len(has_path) == len(leaves):
        shown = list(seeded)
    outputs = [graph.outputs[i].type for i in shown]
    square = symmetric and [kind.shape for kind in kinds] == [kind.shape for kind in outputs]
    present = tuple(has_path[i] for i in shown)
    how = {"present": present, "symmetric": square, "forward_only": not real}
    plan = plans.of(stages, carried, kinds, **how)
    if plan.colouring.by == "rows":
        whole = _reverse(recording, leaves, seeded, plan)
    else:
        seeds = colour_directions(kinds, plan.colouring.colours)
        found = iter(over_directions(stages, carried, max(1, plan.colouring.count), seeds))
        whole = plan.filled([next(found) if flag else None for flag in present], outputs)
    top = 0
    for number, kind in zip(shown, outputs, strict=True):
        if has_path[number]:
            rows[number] = split_columns(whole[top : top + kind.size], kind.dtype, leaves, seeded)
        top += kind.size
    _drop_unused(rows, leaves)
    return rows


def _drop_unused(rows: list[list[Any]], leaves: Sequence[Any]) -> None:
    """Let an input that no output depends on have no path, as in reverse mode."""
    for place, leaf in enumerate(leaves):
        blocks = [row[place] for row in rows if row[place] is not None]
        if type_of(leaf).size and not any(block.nnz or 0 in block.shape for block in blocks):
            for row in rows:
                row[place] = None


def split_columns(
    band: Any, dtype: np.dtype, leaves: Sequence[Any], seeded: Sequence[int]
) -> list[Any]:
    """Cut an output's rows into a block for each input."""
    row: list[Any] = [None] * len(leaves)
    left = 0
    for number in seeded:
        size = type_of(leaves[number]).size
        row[number] = band[:, left : left + size].astype(dtype)
        left += size
    return row


def _reverse(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int], plan: Plan) -> Any:
    graph = recording.graph
    count = len(graph.outputs)
    pulled, _, has_path = pull_graph(graph, seeded)
    late = pulled.inputs[len(graph.inputs) :]
    stages = cut(pulled, late, count)
    _, carried = stages.start([*leaves, *recording.captured], count)
    seeds = colour_directions([var.type for var in late], plan.colouring.colours)
    found = iter(over_directions(stages, carried, max(1, plan.colouring.count), seeds))
    columns = [next(found) if flag else None for flag in has_path]
    return plan.filled(columns, [graph.inputs[i].type for i in seeded])


def check_concrete(values: Sequence[Any]) -> None:
    """Raise if a value is traced: a sparse matrix cannot hold those."""
    if any(isinstance(value, Traced) for value in values):
        raise DerivativeError(
            "mode='sparse' was asked for inside another trace (of grad, vmap, jit, ...)",
            "use mode='auto' there, or clew.jvp and clew.vjp; a sparse matrix holds numbers only",
        )
