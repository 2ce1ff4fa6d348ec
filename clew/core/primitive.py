"""Primitive records: one local rule per operation; everything global follows from the graph.

Four kinds of record, each stating only what cannot be derived:

=============  ==========================================  ===================================
kind           the author writes                           derived from it
=============  ==========================================  ===================================
Elementwise    ``eval``, one partial per operand           type, push, transpose, batching
Linear         ``eval``, ``type``, ``transpose``, ``batch``  push (itself)
Bilinear       the same, one transpose per side            push (the product rule)
General        ``eval``, ``type``, ``push``, ``batch``     pull-back, by transposing the push
=============  ==========================================  ===================================

The signatures an author writes::

    eval(xp, *operands, **params)                      arrays in, array (or tuple) out
    type(*operand_types, **params)                     Type (or tuple of Type)
    push(primals, tangents, outputs, **params)         tangent (or tuple); None is "no path"
    transpose(cotangent, *operands, **params)          one cotangent per operand, None where
                                                       nonlinear; linear operands arrive as Type
    batch(size, operands, batched, **params)           outputs, every one with the batch on axis 0

All but ``eval`` build graph with ordinary operators, so they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.types import Type

Array = Any
"""An eager NumPy value or a traced one: rules never need to know which."""


@dataclass(frozen=True, slots=True)
class NoDerivative:
    """Stands in a record's place for a derivative that does not exist, with the reason.

    >>> NoDerivative("piecewise constant").reason
    'piecewise constant'
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Interval:
    """The part of the real line on which tests draw operands for a primitive."""

    low: float
    high: float


REALS = Interval(-3.0, 3.0)
PRIMITIVES: dict[str, Primitive] = {}


class Traced:
    """Marks a value that stands for a variable of a graph under construction.

    ``trace.Tracer`` is the one implementation; the marker lets the records below it bind
    without importing it.
    """

    __slots__ = ()
    builder: Any
    shape: Any


@dataclass(frozen=True, eq=False)
class Primitive:
    """What every record has: a name, the reference evaluation, the result's type, its rules."""

    name: str
    eval: Callable[..., Any]
    source: str = ""
    multiple: bool = False

    def __post_init__(self) -> None:
        if self.name in PRIMITIVES:
            raise ValueError(f"two primitives are named {self.name!r}")
        PRIMITIVES[self.name] = self

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *operands: Array, **params: Any) -> Any:
        """Apply the primitive: record it where an operand is traced, else evaluate it."""
        builder = innermost(operands)
        if builder is None:
            return self.eval(np, *operands, **params)
        return builder.record(self, operands, params)

    def result_type(self, types: Sequence[Type], params: dict[str, Any]) -> Any:
        """Return the type of the result (a tuple for several)."""
        raise NotImplementedError(self.name)

    def push(
        self, primals: Sequence[Array], tangents: Sequence[Array], outputs: Any, params: dict
    ) -> Any:
        """Return the output tangents; a tangent that is ``None`` has no path."""
        raise NotImplementedError(self.name)

    def pull(self, cotangent: Any, operands: Sequence[Any], params: dict) -> Sequence[Array]:
        """Return the operand cotangents of an equation linear in the operands given as Type."""
        raise NotImplementedError(self.name)

    def pull_masked(
        self, cotangent: Array, mask: Array, operands: Sequence[Any], params: dict
    ) -> tuple[Sequence[Array], Sequence[Array]]:
        """Pull back a cotangent that is zero outside ``mask``; see ``clew.calculus.transpose``."""
        raise NotImplementedError(self.name)

    def batched(
        self, size: int, operands: Sequence[Array], batched: Sequence[bool], params: dict
    ) -> Any:
        """Return the outputs for operands of which some carry a batch on axis 0."""
        raise NotImplementedError(self.name)

    def pruned(self, equation: Any, live: Sequence[bool]) -> Any:
        """Return an equation of which only some outputs are read; as it is, for most."""
        return equation

    def twins(self, equation: Any) -> dict[Any, Any]:
        """Return the outputs that are equal to others whatever the operands are, with those."""
        return {}


def innermost(operands: Sequence[Any]) -> Any:
    """Return the builder of the most deeply nested trace among the operands, or None."""
    builder = None
    for operand in operands:
        if isinstance(operand, Traced):
            other = operand.builder
            if builder is None or other.level > builder.level:
                builder = other
    return builder
