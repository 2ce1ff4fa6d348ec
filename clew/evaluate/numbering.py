"""Equal computations of several traces, told to be equal.

Every trace of one function makes variables of its own. A :class:`Numbering` renames them, so
that what two traces compute alike (the same primitive, on the same operands, with the same
parameters) is one variable; then paths through Python code can share what they have in common.
"""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from clew.core.graph import Atom, Equation, Graph, Var
from clew.core.source import Where


class Numbering:
    """Variables by what they stand for, for functions of inputs of the same types."""

    def __init__(self, inputs: Sequence[Var]) -> None:
        self.inputs = tuple(Var(var.type) for var in inputs)
        self.constants: dict[Var, Any] = {}
        self.makers: dict[Var, Equation] = {}
        self.order: dict[Equation, int] = {}
        self._known: dict[Hashable, Any] = {}
        self._count = 0

    def renamed(self, graph: Graph) -> tuple[list[Equation], list[Atom]]:
        """Return a graph's equations and outputs over the shared variables."""
        present: dict[Any, Atom] = dict(zip(graph.inputs, self.inputs, strict=True))
        for var, value in graph.constants.items():
            present[var] = self._constant(var, value)
        equations = []
        for equation in graph.equations:
            inputs = [present.get(atom, atom) for atom in equation.inputs]
            same = self._equation(equation, inputs)
            present.update(zip(equation.outputs, same.outputs, strict=True))
            equations.append(same)
        return equations, [present.get(atom, atom) for atom in graph.outputs]

    def _constant(self, var: Var, value: Any) -> Var:
        key = ("constant", value_key(value))
        if key not in self._known:
            self._known[key] = Var(var.type)
            self.constants[self._known[key]] = value
        return self._known[key]

    def _equation(self, equation: Equation, inputs: Sequence[Atom]) -> Equation:
        key = (equation.primitive, tuple(map(_atom_key, inputs)), params_key(equation.params))
        known = self._known.get(key)
        if known is None:
            outputs = tuple(Var(var.type) for var in equation.outputs)
            known = equation.reading(dict(zip(equation.inputs, inputs, strict=True)), outputs)
            self._known[key] = known
            self.makers.update(dict.fromkeys(outputs, known))
            self.order[known] = self._count
            self._count += 1
        return known

    def keep(self, equations: Iterable[Equation]) -> None:
        """Forget all but these equations, and the constants that they do not read."""
        kept = set(equations)
        read = {atom for each in kept for atom in each.inputs}
        self.order = {each: number for each, number in self.order.items() if each in kept}
        self.makers = {var: each for var, each in self.makers.items() if each in kept}
        self.constants = {var: value for var, value in self.constants.items() if var in read}
        self._known = {
            key: one
            for key, one in self._known.items()
            if (one in kept if type(one) is Equation else one in self.constants)
        }


def _atom_key(atom: Atom) -> Hashable:
    return atom if type(atom) is Var else value_key(atom.value)


def params_key(params: dict[str, Any]) -> Hashable:
    """Return a key that is equal for equal parameters."""
    return tuple((name, value_key(value)) for name, value in params.items())


def value_key(value: Any) -> Hashable:
    """Return a key that is equal for equal values; the value itself where only identity tells.

    >>> value_key(np.ones(2)) == value_key(np.ones(2)), value_key(1) == value_key(1.0)
    (True, False)
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return "array", value.shape, value.dtype.str, _digest(np.asarray(value))
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, Graph):
        return "graph", graph_key(value)
    if type(value) is Where:
        return value
    if isinstance(value, (tuple, list)):
        return type(value).__name__, tuple(value_key(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [value_key(getattr(value, each.name)) for each in dataclasses.fields(value)]
        return type(value), tuple(parts)
    try:
        hash(value)
    except TypeError:
        return "object", _Identity(value)
    return type(value), value


_digests: dict[int, tuple[weakref.ref, bytes]] = {}
"""What was found for large arrays that nobody can change, such as constants of graphs."""


def _digest(array: np.ndarray) -> bytes:
    """Return a digest of an array's elements."""
    lasting = array.nbytes > 1024 and array.base is None and not array.flags.writeable
    known = _digests.get(id(array)) if lasting else None
    if known is not None and known[0]() is array:
        return known[1]
    elements = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    digest = hashlib.blake2b(elements.data, digest_size=16).digest()
    if lasting:
        number = id(array)
        forget = weakref.ref(array, lambda _: _digests.pop(number, None))
        _digests[number] = (forget, digest)
    return digest


class _Identity:
    """An object compared by identity, kept so that its identity is not given to another."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def graph_key(graph: Graph) -> Hashable:
    """Return a key that is equal for graphs that differ in the names of variables only."""
    number: dict[Any, int] = {}

    def named(atom: Atom) -> Hashable:
        return number[atom] if type(atom) is Var else ("literal", value_key(atom.value))

    for var in (*graph.inputs, *graph.constants):
        number[var] = len(number)
    lines = []
    for equation in graph.equations:
        operands = tuple(named(atom) for atom in equation.inputs)
        for var in equation.outputs:
            number[var] = len(number)
        lines.append((equation.primitive, operands, params_key(equation.params)))
    return (
        tuple(var.type for var in graph.inputs),
        tuple(value_key(value) for value in graph.constants.values()),
        tuple(lines),
        tuple(named(atom) for atom in graph.outputs),
    )
