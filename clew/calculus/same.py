"""When two graphs, or two values, are the same for a purpose: what plans are found again by."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from clew.core.graph import Graph, Literal, Var
from clew.core.types import type_of


def digest(value: Any, what: str) -> bytes:
    """Return what equal arrays have in common; of their zeros only, if ``what`` is "zeros"."""
    array = np.ascontiguousarray(value)
    if what == "zeros":
        array = array != 0
    start = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    start.update(array.data)
    return start.digest()


def signature(graph: Graph, with_constants: bool = True) -> Any:
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
            digest(value, "value") if with_constants else type_of(value)
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
        return signature(value)
    if isinstance(value, np.ndarray):
        return digest(value, "value")
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
