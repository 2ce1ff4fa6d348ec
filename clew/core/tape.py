"""Tapes: what a loop saves when nobody knows beforehand how long it will run.

A tape holds the values of one variable at every step. Only loops write and read it, so it is
opaque to every other operation. Its elements may be tapes themselves (a loop inside a loop).
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

from clew.core.types import Type


@final
class TapeType(Type):
    """The type of a tape whose elements have the type ``element``; it has no shape of its own.

    >>> TapeType(Type((3,), np.float64))
    tape of f64[3]
    """

    __slots__ = ("element",)
    element: Type

    def __init__(self, element: Type) -> None:
        super().__init__((), np.dtype(object))
        object.__setattr__(self, "element", element)

    @property
    def inexact(self) -> bool:
        """Whether the elements can carry a derivative."""
        return self.element.inexact

    def __eq__(self, other: object) -> bool:
        return type(other) is TapeType and self.element == other.element

    def __hash__(self) -> int:
        return hash(("tape", self.element))

    def __repr__(self) -> str:
        return f"tape of {self.element}"


@final
class Tape:
    """The value of a tape: ``items[t]`` is the element of step t; ``None`` stands for zeros."""

    __slots__ = ("items", "type")

    def __init__(self, type: TapeType, items: Any) -> None:
        self.type = type
        self.items = items

    def __repr__(self) -> str:
        steps = "zeros" if self.items is None else f"{len(self.items)} steps"
        return f"Tape({self.type.element}, {steps})"

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        if self.items is None:
            return 0
        if isinstance(self.items, np.ndarray):
            return self.items.nbytes
        return sum(item.nbytes for item in self.items)


def batched_type(kind: Type, size: int) -> Type:
    """Return a type with a batch on axis 0; a tape has it on its elements.

    >>> batched_type(Type((3,), np.float64), 5), batched_type(TapeType(Type((), np.float64)), 5)
    (f64[5,3], tape of f64[5])
    """
    if isinstance(kind, TapeType):
        return TapeType(batched_type(kind.element, size))
    return Type((size, *kind.shape), kind.dtype)
