"""``vmap``: a function of one example becomes a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.batch.transform import batch
from clew.core import pytree
from clew.core.errors import InputError
from clew.core.types import type_of
from clew.ops.shape import moveaxis, with_batch
from clew.trace import record, run


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that maps ``f`` over an axis of its arguments, without a loop.

    Parameters
    ----------
    f : callable
        A function of one example.
    in_axes : int, None, or a tuple with one entry (or tree of entries) per argument
        The axis to map over; None for an argument that every example shares.
    out_axes : int or tree of int
        Where the mapped axis stands in the results.

    Raises
    ------
    InputError
        If the mapped axes differ in length, or nothing is mapped.

    >>> vmap(lambda x, w: x @ w, in_axes=(0, None))(np.ones((2, 3)), np.ones(3))
    array([3., 3.])
    """

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = _axes_of_leaves(args, in_axes)
        leaves = [leaf for argument in args for leaf in pytree.flatten(argument)[0]]
        size = _mapped_size(leaves, axes)
        moved = [
            leaf if axis is None else moveaxis(leaf, axis, 0)
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        flags = [axis is not None for axis in axes]
        rest = iter(moved)
        trees = []
        for argument in args:
            structure = pytree.flatten(argument)[1]
            trees.append(structure.unflatten([next(rest) for _ in range(structure.count)]))
        call = functools.wraps(f)(lambda *inner: f(*inner, **kwargs)) if kwargs else f
        recording = record(call, trees, flags, size)
        shared = [False] * len(recording.captured)
        graph, has_batch = batch(recording.graph, size, [*flags, *shared])
        with np.errstate(all="ignore"):
            results = run(graph.with_live_equations(), [*moved, *recording.captured])
        results = [
            with_batch(value, size, flag) for value, flag in zip(results, has_batch, strict=True)
        ]
        return _placed(recording.structure.unflatten(results), out_axes)

    return mapped


def _axes_of_leaves(args: Sequence[Any], in_axes: Any) -> list[int | None]:
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    per_argument = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    if len(per_argument) != len(args):
        raise InputError(
            f"vmap: in_axes has {len(per_argument)} entries, the call {len(args)} arguments",
            "give one entry for each argument",
        )
    axes: list[int | None] = []
    for number, (argument, axis) in enumerate(zip(args, per_argument, strict=True)):
        names = pytree.leaf_names(argument)
        spread = pytree.broadcast_prefix(axis, argument)
        for name, leaf, each in zip(names, pytree.flatten(argument)[0], spread, strict=True):
            axes.append(_checked_axis(number, name, leaf, each))
    return axes


def _checked_axis(number: int, name: str, leaf: Any, axis: int | None) -> int | None:
    if axis is None:
        return None
    rank = type_of(leaf).ndim
    label = f"argument {number}" + (f" at {name}" if name else "")
    if rank == 0:
        raise InputError(
            f"vmap: {label} is a scalar and has no axis {axis} to map over",
            "pass in_axes=None for it, or give it a batch",
        )
    if not -rank <= axis < rank:
        raise InputError(
            f"vmap: {label} has {rank} axes, in_axes says {axis}", "name one of its axes"
        )
    return axis % rank


def _mapped_size(leaves: Sequence[Any], axes: Sequence[int | None]) -> int:
    sizes = {
        type_of(leaf).shape[axis]
        for leaf, axis in zip(leaves, axes, strict=True)
        if axis is not None
    }
    if not sizes:
        raise InputError("vmap: no argument is mapped", "map at least one, with in_axes")
    if len(sizes) > 1:
        raise InputError(
            f"vmap: the mapped axes have lengths {', '.join(map(str, sorted(sizes)))}",
            "give every mapped argument the same number of examples",
        )
    return sizes.pop()


def _placed(tree: Any, out_axes: Any) -> Any:
    leaves, structure = pytree.flatten(tree)  # one object in two places is moved once
    axes = pytree.broadcast_prefix(out_axes, tree)
    return structure.unflatten(
        [moveaxis(leaf, 0, axis) for leaf, axis in zip(leaves, axes, strict=True)]
    )
