"""Whole Jacobians and Hessians: one batched pass over a basis, forward or reverse."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from clew.batch import batch
from clew.calculus.arguments import select
from clew.calculus.derivatives import (
    Function,
    Names,
    Numbers,
    _flatten_all,
    _inexact,
    _unflatten_all,
    grad,
    linear_stages,
)
from clew.calculus.no_path import NoPath, reason_for
from clew.calculus.reverse import TwoStage, cut, pull_graph
from clew.core.errors import InputError
from clew.core.graph import Graph
from clew.core.types import Type, type_of
from clew.ops.index import basic_slice
from clew.ops.shape import concatenate, moveaxis, reshape, with_batch
from clew.trace import Recording, record

Mode = Literal["auto", "forward", "reverse"]
_CHUNK_ELEMENTS = 2**24


def jacobian(
    f: Function, argnums: Numbers = None, argnames: Names = None, mode: Mode = "auto"
) -> Function:
    """Return a function that gives the Jacobian, ``J[i, j] = d f_i / d x_j``.

    For an output of shape ``s`` and an argument of shape ``t`` it has shape ``s + t``; trees
    give the output's tree with, at each leaf, the arguments' tree.

    Parameters
    ----------
    mode : {"auto", "forward", "reverse"}
        One pass per input element, or one per output element; "auto" takes the fewer.

    Raises
    ------
    InputError
        If the mode is unknown.

    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise InputError(f"jacobian: mode={mode!r}", "use 'auto', 'forward' or 'reverse'")

    @functools.wraps(f)
    def jacobian_of_f(*args: Any, **kwargs: Any) -> Any:
        selection = select(f, args, kwargs, argnums, argnames)
        recording = record(selection.function, selection.chosen)
        leaves, structures = _flatten_all(selection.chosen)
        seeded = _inexact(leaves)
        inputs = sum(type_of(leaves[i]).size for i in seeded)
        outputs = sum(atom.type.size for atom in recording.graph.outputs)
        forward = mode == "forward" or (mode == "auto" and inputs <= outputs)
        blocks = (_forward if forward else _reverse)(recording, leaves, seeded)
        rows = []
        for number, row in enumerate(blocks):
            for place, block in enumerate(row):
                if block is None:
                    row[place] = _no_path(recording.graph, number, place)
            rows.append(selection.assemble(_unflatten_all(structures, row)))
        return recording.structure.unflatten(rows)

    return jacobian_of_f


def hessian(f: Function, argnums: Numbers = None, argnames: Names = None) -> Function:
    """Return a function that gives the Hessian of a scalar function, forward over reverse.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    gradient = grad(f, argnums, argnames)
    return jacobian(gradient, argnums, argnames, mode="forward")


def _no_path(graph: Graph, output: int, place: int) -> NoPath:
    atom, source = graph.outputs[output], graph.inputs[place]
    kind = Type((*atom.type.shape, *source.type.shape), atom.type.dtype)
    if not atom.type.inexact:
        return NoPath(f"integer: the output has dtype {atom.type.dtype}", kind)
    only = Graph(graph.inputs, graph.equations, (atom,), graph.constants)
    return NoPath(reason_for(only, source), kind)


def _forward(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> Any:
    stages, _, carried, has_path = linear_stages(recording, leaves, seeded)
    kinds = [type_of(leaves[i]) for i in seeded]
    found = iter(_over_basis(stages, carried, kinds))
    rows = []
    for atom, flag in zip(recording.graph.outputs, has_path, strict=True):
        row: list[Any] = [None] * len(leaves)
        if flag:
            whole = moveaxis(next(found), 0, -1)
            start = 0
            for number, kind in zip(seeded, kinds, strict=True):
                part = (*(slice(None),) * atom.type.ndim, slice(start, start + kind.size))
                shape = (*atom.type.shape, *kind.shape)
                row[number] = reshape(basic_slice(whole, index=part), shape=shape)
                start += kind.size
        rows.append(row)
    return rows


def _reverse(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> Any:
    graph = recording.graph
    count = len(graph.outputs)
    whole, has_output, has_path = pull_graph(graph, seeded)
    late = whole.inputs[len(graph.inputs) :]
    stages = cut(whole, late, count)
    _, carried = stages.start([*leaves, *recording.captured], count)
    kinds = [var.type for var in late]
    found = iter(_over_basis(stages, carried, kinds) if any(has_path) else ())
    columns: dict[int, Any] = {
        number: next(found) for number, flag in zip(seeded, has_path, strict=True) if flag
    }
    rows = []
    start = 0
    for atom, flag in zip(graph.outputs, has_output, strict=True):
        row: list[Any] = [None] * len(leaves)
        if flag:
            for number, column in columns.items():
                part = basic_slice(column, index=(slice(start, start + atom.type.size),))
                shape = (*atom.type.shape, *graph.inputs[number].type.shape)
                row[number] = reshape(part, shape=shape)
            start += atom.type.size
        rows.append(row)
    return rows


def _over_basis(stages: TwoStage, carried: Sequence[Any], kinds: Sequence[Type]) -> list[Any]:
    """Run the linear stage on every unit direction, several at a time."""
    total = sum(kind.size for kind in kinds)
    widest = max([1, *(atom.type.size for atom in stages.second.outputs)])
    chunk = max(1, min(total, _CHUNK_ELEMENTS // widest))
    shared = [False] * len(carried)
    pieces: list[list[Any]] = []
    batched: dict[int, TwoStage] = {}
    flags: list[bool] = []
    for start in range(0, total, chunk):
        size = min(chunk, total - start)
        if size not in batched:
            graph, flags = batch(stages.second, size, [*shared, *(True for _ in kinds)])
            batched[size] = TwoStage(stages.first, graph.with_live_equations())
        values = batched[size].finish(carried, _unit_directions(kinds, start, size))
        pieces.append([with_batch(v, size, f) for v, f in zip(values, flags, strict=True)])
    return [
        column[0] if len(column) == 1 else concatenate(*column, axis=0)
        for column in zip(*pieces, strict=True)
    ]


def _unit_directions(kinds: Sequence[Type], start: int, size: int) -> list[np.ndarray]:
    directions = []
    before = 0
    for kind in kinds:
        block = np.eye(size, kind.size, k=start - before, dtype=kind.dtype)
        directions.append(block.reshape((size, *kind.shape)))
        before += kind.size
    return directions
