"""Trace a function at its arguments and write the run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core import pytree
from clew.core.errors import GraphError, InputError
from clew.core.graph import Graph
from clew.loops.spellings import as_written
from clew.paths.ends import Leaf
from clew.paths.writing import written_out
from clew.paths.written import Written
from clew.trace import record


@dataclass(frozen=True)
class Traced:
    """A run, with the names and trees of its arguments.

    ``numbers`` are the differentiated arguments, ``trees`` the structures of all.
    """

    run: Written
    leaves: tuple[Leaf, ...]
    outputs: tuple[str, ...]
    numbers: tuple[int, ...]
    trees: tuple[pytree.Structure, ...]


def traced(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    argnums: int | Sequence[int],
) -> Traced:
    """Return the run of a function on arguments, some of them differentiated.

    Raises
    ------
    InputError
        For an argument that is not there or holds no floating-point numbers, or no result.

    >>> [leaf.label for leaf in traced(lambda p: p["w"] * 2.0, ({"w": 1.0},), {}, 0).leaves]
    ['w']
    """
    numbers = _checked([argnums] if isinstance(argnums, int) else argnums, len(args))
    call = (lambda *inner: function(*inner, **kwargs)) if kwargs else function
    with as_written():
        recording = record(call, args)
    if recording.captured:
        raise GraphError(
            "flow: the function reads values of another trace", "pass them as arguments"
        )
    graph = recording.graph.with_live_equations()
    if not graph.outputs:
        raise InputError("flow: the function returned nothing", "return the result")
    flat = [pytree.flatten(each) for each in args]
    owners = [number for number, (own, _) in enumerate(flat) for _ in own]
    moving = [place for place, owner in enumerate(owners) if owner in numbers]
    if not any(graph.inputs[place].type.inexact for place in moving):
        raise InputError(
            f"flow: argument {' and '.join(map(str, numbers))} holds no floating-point numbers",
            "convert it, or name another argument with argnums=",
        )
    run = written_out(graph, [leaf for own, _ in flat for leaf in own], moving)
    trees = tuple(tree for _, tree in flat)
    leaves = _leaves(graph, run, trees, owners, numbers)
    return Traced(run, leaves, recording.structure.names, numbers, trees)


def _checked(numbers: Sequence[int], count: int) -> tuple[int, ...]:
    for number in numbers:
        if not -count <= number < count:
            raise InputError(
                f"flow: argnums={number} of a call with {count} positional arguments",
                "pass the argument by position",
            )
    return tuple(number % count for number in numbers)


def _leaves(
    graph: Graph,
    run: Written,
    trees: Sequence[pytree.Structure],
    owners: Sequence[int],
    numbers: Sequence[int],
) -> tuple[Leaf, ...]:
    paths = [path for tree in trees for path in tree.names]
    found = []
    for name, path, owner, value in zip(graph.names, paths, owners, run.inputs, strict=True):
        chosen = owner in numbers
        short = path and chosen and len(numbers) == 1
        label = path if short else name
        found.append(Leaf(name, path, label, owner, value, chosen, run.types[value]))
    return tuple(found)
