"""Unknowns as one real vector, whatever tree of arrays the user's function takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core import pytree
from clew.core.errors import DtypeError
from clew.core.graph import Graph
from clew.core.primitive import Traced
from clew.core.types import Type, type_of
from clew.trace import record


@dataclass(frozen=True)
class Layout:
    """Where each leaf of a tree stands in the vector.

    A complex leaf is two real ones, so that functions need not be holomorphic.
    """

    structure: pytree.Structure
    kinds: tuple[Type, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, name: str, tree: Any, shared: bool = True) -> Layout:
        """Return the layout of a tree; integers count as float64."""
        leaves, structure = pytree.flatten(tree, shared=shared)
        kinds = []
        for leaf, path in zip(leaves, structure.names, strict=True):
            kind = type_of(leaf)
            if kind.dtype.kind in "iu":
                kind = Type(kind.shape, np.float64)
            if not kind.inexact:
                raise DtypeError(
                    f"{name}: {path or 'the value'} has dtype {kind.dtype}",
                    "the unknowns and the residuals are floats or complex numbers",
                )
            kinds.append(kind)
        real = [np.empty(0, kind.dtype).real.dtype for kind in kinds]
        return cls(structure, tuple(kinds), np.result_type(*real) if real else np.dtype(float))

    @property
    def size(self) -> int:
        """The number of real unknowns."""
        return sum(kind.size * _parts(kind) for kind in self.kinds)

    def pack(self, tree: Any, shared: bool = True) -> Any:
        """Return the tree's leaves as one vector."""
        pieces = []
        for leaf, kind in zip(pytree.flatten(tree, shared=shared)[0], self.kinds, strict=True):
            whole: Any = leaf if isinstance(leaf, Traced) else np.asarray(leaf)
            flat = np.reshape(whole, (kind.size,))
            parts = [np.real(flat), np.imag(flat)] if _parts(kind) == 2 else [flat]
            pieces += [part.astype(self.dtype) for part in parts]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.zeros(0, self.dtype)

    def unpack(self, vector: Any) -> Any:
        """Return the tree for a vector."""
        leaves = []
        start = 0
        for kind in self.kinds:
            parts = []
            for _ in range(_parts(kind)):
                part = vector[start : start + kind.size]
                parts.append(np.reshape(part, kind.shape))
                start += kind.size
            value = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
            leaves.append(_as_scalar(value.astype(kind.dtype)))
        return self.structure.unflatten(leaves)


def _parts(kind: Type) -> int:
    return 2 if kind.dtype.kind == "c" else 1


def _as_scalar(value: Any) -> Any:
    return value if isinstance(value, Traced) or value.ndim else value[()]


@dataclass(frozen=True)
class Recorded:
    """A function of a vector as a graph: inputs are the vector, then what was captured."""

    graph: Graph
    captured: list[Any]
    structure: pytree.Structure

    def only(self, *outputs: int) -> Graph:
        """Return the graph of some of the outputs, with the same inputs."""
        whole = self.graph
        chosen = [whole.outputs[number] for number in outputs]
        graph = Graph(whole.inputs, whole.equations, chosen, whole.constants, whole.names)
        return graph.with_live_equations()


def recorded(function: Callable[..., Any], start: Any) -> Recorded:
    """Trace a function of one vector, which may read traced values from outside."""
    found = record(function, (start,))
    return Recorded(found.graph, found.captured, found.structure)
