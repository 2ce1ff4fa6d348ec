"""Whole Jacobians and Hessians: one batched pass over a basis, or over the colours of a pattern."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

from clew.calculus.arguments import Selection, select
from clew.calculus.compressed import (
    Plans,
    over_directions,
    sparse_blocks,
    unit_directions,
)
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
from clew.calculus.reverse import cut, pull_graph
from clew.core.errors import InputError
from clew.core.graph import Graph
from clew.core.types import Type, type_of
from clew.ops.index import basic_slice
from clew.ops.shape import moveaxis, reshape
from clew.trace import Recording, record

Mode = Literal["auto", "forward", "reverse", "sparse"]


def jacobian(
    f: Function, argnums: Numbers = None, argnames: Names = None, mode: Mode = "auto"
) -> Function:
    """Return a function that gives the Jacobian, ``J[i, j] = d f_i / d x_j``.

    For an output of shape ``s`` and an argument of shape ``t`` it has shape ``s + t``; trees
    give the output's tree with, at each leaf, the arguments' tree.

    With ``mode="sparse"`` every block is a ``scipy.sparse.csr_array`` of shape (elements of the
    output, elements of the argument). Where it can be nonzero is found from the graph, and
    columns (or rows) that do not meet are computed in one pass. Pattern and colouring are kept
    with the returned function: call the same one again and they are reused.

    Compiled, ``jit(jacobian(f, mode="sparse"))``, a call only computes the entries: the pattern
    belongs to the compiled path, and guards check the values that it was read from (indices, for
    example). The ``indices`` and ``indptr`` of the results are then shared and read-only; take
    a ``copy()`` of a matrix whose pattern is to be changed in place. Inside a trace a block is a
    stand-in with traced ``data``, ``indices``, ``indptr``, ``toarray()`` and ``@``.

    Parameters
    ----------
    mode : {"auto", "forward", "reverse", "sparse"}
        One pass per input element, or one per output element; "auto" takes the fewer.
        "sparse": one per colour.

    Raises
    ------
    InputError
        If the mode is unknown.
    MemoryLimitError
        If the pattern of a sparse Jacobian is not sparse, and too large to hold.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    >>> banded = jacobian(lambda x: x[1:] * x[:-1], mode="sparse")(np.arange(5.0))
    >>> banded.nnz, banded.toarray()[2]
    (8, array([0., 0., 3., 2., 0.]))
    """
    if mode not in ("auto", "forward", "reverse", "sparse"):
        raise InputError(f"jacobian: mode={mode!r}", "use 'auto', 'forward', 'reverse' or 'sparse'")
    return _jacobian(f, argnums, argnames, mode, symmetric=False)


def hessian(
    f: Function,
    argnums: Numbers = None,
    argnames: Names = None,
    mode: Literal["auto", "sparse"] = "auto",
) -> Function:
    """Return a function that gives the Hessian of a scalar function, forward over reverse.

    Parameters
    ----------
    mode : {"auto", "sparse"}
        "sparse" gives a ``scipy.sparse.csr_array`` for each block, found in one pass per
        colour; entries are read above or below the diagonal, so fewer colours are needed than
        for a Jacobian of this pattern. See :func:`jacobian`.

    Raises
    ------
    InputError
        If the mode is unknown.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    >>> hessian(lambda x: np.sum(x[1:] * x[:-1]), mode="sparse")(np.ones(1000)).nnz
    1998
    """
    if mode not in ("auto", "sparse"):
        raise InputError(f"hessian: mode={mode!r}", "use 'auto' or 'sparse'")
    gradient = grad(f, argnums, argnames)
    if mode == "auto":
        return jacobian(gradient, argnums, argnames, mode="forward")
    return _jacobian(gradient, argnums, argnames, mode, symmetric=True)


def _jacobian(f: Function, argnums: Numbers, argnames: Names, mode: str, symmetric: bool) -> Any:
    plans = Plans()

    @functools.wraps(f)
    def jacobian_of_f(*args: Any, **kwargs: Any) -> Any:
        selection = select(f, args, kwargs, argnums, argnames)
        recording = record(selection.function, selection.chosen)
        leaves, structures = _flatten_all(selection.chosen)
        seeded = _inexact(leaves)
        if mode == "sparse":
            blocks = sparse_blocks(recording, leaves, seeded, plans, symmetric)
        elif mode == "forward" or (mode == "auto" and _forward_is_less(recording, leaves, seeded)):
            blocks = _forward(recording, leaves, seeded)
        else:
            blocks = _reverse(recording, leaves, seeded)
        return assembled(selection, recording, structures, blocks, flat=mode == "sparse")

    return jacobian_of_f


def _forward_is_less(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> bool:
    """Whether there are no more input elements than output elements with a derivative."""
    types = [atom.type for atom in recording.graph.outputs]
    outputs = sum(kind.size for kind in types if kind.inexact)
    return sum(type_of(leaves[i]).size for i in seeded) <= outputs


def assembled(
    selection: Selection,
    recording: Recording,
    structures: Sequence[Any],
    blocks: Sequence[list[Any]],
    flat: bool,
) -> Any:
    """Put the blocks together as trees; say why the others have no path."""
    rows = []
    for number, row in enumerate(blocks):
        for place, block in enumerate(row):
            if block is None:
                row[place] = _no_path(recording.graph, number, place, flat)
        rows.append(selection.assemble(_unflatten_all(structures, row)))
    return recording.structure.unflatten(rows)


def _no_path(graph: Graph, output: int, place: int, flat: bool) -> NoPath:
    atom, source = graph.outputs[output], graph.inputs[place]
    shape = (*atom.type.shape, *source.type.shape)
    if flat:
        shape = (atom.type.size, source.type.size)
    kind = Type(shape, atom.type.dtype)
    if not atom.type.inexact:
        return NoPath(f"integer: the output has dtype {atom.type.dtype}", kind)
    only = Graph(graph.inputs, graph.equations, (atom,), graph.constants)
    return NoPath(reason_for(only, source), kind)


def _forward(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> list[list[Any]]:
    stages, _, carried, has_path = linear_stages(recording, leaves, seeded)
    kinds = [type_of(leaves[i]) for i in seeded]
    total = sum(kind.size for kind in kinds)
    found = iter(over_directions(stages, carried, total, unit_directions(kinds)))
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


def _reverse(recording: Recording, leaves: Sequence[Any], seeded: Sequence[int]) -> list[list[Any]]:
    graph = recording.graph
    count = len(graph.outputs)
    whole, has_output, has_path = pull_graph(graph, seeded)
    late = whole.inputs[len(graph.inputs) :]
    stages = cut(whole, late, count)
    _, carried = stages.start([*leaves, *recording.captured], count)
    kinds = [var.type for var in late]
    total = sum(kind.size for kind in kinds) if any(has_path) else 0
    found = iter(over_directions(stages, carried, total, unit_directions(kinds)))
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
