"""Run a Python function on traced values and keep the graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DtypeError, TraceError
from clew.core.graph import Graph
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.trace.builder import Builder
from clew.trace.concrete import UNKNOWN, ConcreteValues
from clew.trace.protocols import plain_array_written


@dataclass(frozen=True)
class Recording:
    """The graph of a function, and what else is needed to run it.

    The graph's inputs are the argument leaves, then the captured values of outer traces;
    ``captured`` holds those. ``structure`` puts the outputs together.
    """

    graph: Graph
    captured: list[Any]
    structure: pytree.Structure


def record(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    batched: Sequence[bool] = (),
    size: int = 0,
    abstract: bool = False,
) -> Recording:
    """Trace ``function(*arguments)``; every array leaf becomes an input.

    Under ``vmap``, ``batched`` says which leaves carry a batch of ``size`` on axis 0. If
    ``abstract``, the leaves are types, and no Python condition may depend on them.
    """
    leaves: list[Any] = []
    structures: list[pytree.Structure] = []
    for argument in arguments:
        own, structure = pytree.flatten(argument)
        leaves += own
        structures.append(structure)
    names = _input_names(function, structures)
    builder = Builder(ConcreteValues(size))
    flags = batched or [False] * len(leaves)
    with builder.recording():
        if abstract:
            builder.repeated()
        inputs = [
            builder.input(leaf, UNKNOWN)
            if abstract
            else builder.input(_leaf_type(leaf, flag, name), leaf, flag)
            for leaf, flag, name in zip(leaves, flags, names, strict=True)
        ]
        rest = iter(inputs)
        trees = [each.unflatten([next(rest) for _ in range(each.count)]) for each in structures]
        result = _called(function, trees)
        outputs, structure = pytree.flatten(result, shared=False)
        atoms = [
            _output(builder, leaf, name)
            for leaf, name in zip(outputs, structure.names, strict=True)
        ]
    graph = builder.finish(atoms, names)
    return Recording(graph, builder.captured_values(), structure)


def _called(function: Callable[..., Any], trees: Sequence[Any]) -> Any:
    try:
        return function(*trees)
    except ValueError as error:
        # NumPy asks for a float, is refused, and reports a matter of sequences.
        if isinstance(error.__cause__, TraceError):
            raise plain_array_written(error.__cause__.where) from error
        raise


def _leaf_type(leaf: Any, batched: bool, name: str) -> Type:
    numeric = isinstance(leaf, (np.ndarray, np.generic, Traced, float, int, complex))
    if not numeric and not hasattr(leaf, "__array__"):
        raise DtypeError(
            f"argument {name} is a {type(leaf).__name__}, not an array",
            "pass arrays and numbers; close over anything else",
        )
    kind = type_of(leaf)
    if kind.dtype.kind not in "biufc":
        raise DtypeError(
            f"argument {name} has dtype {kind.dtype}", "pass numbers or numeric arrays"
        )
    return Type(kind.shape[1:], kind.dtype) if batched else kind


def _output(builder: Builder, leaf: Any, name: str) -> Any:
    try:
        return builder.atom(leaf)
    except DtypeError:
        raise DtypeError(
            f"the function returned a {type(leaf).__name__}" + (f" at {name}" if name else ""),
            "return arrays and numbers (in dicts, lists, tuples)",
        ) from None


def _input_names(function: Callable[..., Any], structures: Sequence[pytree.Structure]) -> list[str]:
    parameters = _parameter_names(function, len(structures))
    names = []
    for parameter, structure in zip(parameters, structures, strict=True):
        for path in structure.names:
            join = "" if path.startswith("[") or not path else "."
            names.append(f"{parameter}{join}{path}")
    return names


def _parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return [f"argument{i}" for i in range(count)]
    names = []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}{i}" for i in range(count - len(names))]
        else:
            names.append(parameter.name)
    return [*names, *(f"argument{i}" for i in range(len(names), count))][:count]
