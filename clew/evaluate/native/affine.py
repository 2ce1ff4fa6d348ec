"""Index arithmetic: whole numbers that are affine in loop counters, known while code is written.

An index into an array is a tuple of :class:`Affine`, one for each axis. Views (reshapes, slices,
transposes) only change indices, so they cost nothing; the address of an element ends as one
affine expression in the counters of the loops around it, of which vectors are easily made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final


@final
class Term:
    """A loop counter or another run-time whole number, with ``0 <= value < extent``."""

    __slots__ = ("extent", "name")

    def __init__(self, extent: int, name: str = "") -> None:
        self.extent = extent
        self.name = name

    def __repr__(self) -> str:
        return self.name or f"t{id(self) % 1000}"


@final
class Affine:
    """``constant + sum of coefficient * term``; equal ones are interchangeable as keys.

    >>> i, j = Term(4, "i"), Term(3, "j")
    >>> flat = Affine.of(i).scaled(3) + Affine.of(j)
    >>> flat.divided(3)
    (i, j)
    """

    __slots__ = ("_hash", "constant", "terms")

    def __init__(self, constant: int, terms: tuple[tuple[Term, int], ...] = ()) -> None:
        self.constant = constant
        self.terms = terms
        self._hash = hash((constant, terms))

    @classmethod
    def of(cls, term: Term) -> Affine:
        """Return a term as an expression; one that can only be 0 is 0."""
        return cls(0, ((term, 1),)) if term.extent != 1 else cls(0)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Affine)
            and self._hash == other._hash
            and self.constant == other.constant
            and self.terms == other.terms
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        words = [f"{c} {t}" if c != 1 else str(t) for t, c in self.terms]
        if self.constant or not words:
            words.append(str(self.constant))
        return " + ".join(words)

    @property
    def known(self) -> bool:
        """Whether it is a constant."""
        return not self.terms

    def __add__(self, other: Affine) -> Affine:
        if not other.terms:
            return self.plus(other.constant)
        if not self.terms:
            return other.plus(self.constant)
        total: dict[Term, int] = dict(self.terms)
        for term, coefficient in other.terms:
            total[term] = total.get(term, 0) + coefficient
        return _affine(self.constant + other.constant, total)

    def plus(self, constant: int) -> Affine:
        """Add a constant."""
        return Affine(self.constant + constant, self.terms) if constant else self

    def scaled(self, factor: int) -> Affine:
        """Multiply by a constant."""
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Affine(self.constant * factor, tuple((t, c * factor) for t, c in self.terms))

    def bounds(self) -> tuple[int, int]:
        """Return the smallest and largest value it can have."""
        low = high = self.constant
        for term, coefficient in self.terms:
            reach = coefficient * (term.extent - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def divided(self, divisor: int) -> tuple[Affine, Affine] | None:
        """Return quotient and remainder, if both are affine; None if they are not."""
        if divisor == 1:
            return self, ZERO
        whole: dict[Term, int] = {}
        rest: dict[Term, int] = {}
        for term, coefficient in self.terms:
            (rest if coefficient % divisor else whole)[term] = coefficient
        quotient, remainder = divmod(self.constant, divisor)
        below = _affine(remainder, rest)
        low, high = below.bounds()
        if low < 0 or high >= divisor:
            return None
        return _affine(quotient, {t: c // divisor for t, c in whole.items()}), below


def _affine(constant: int, terms: dict[Term, int]) -> Affine:
    kept = [(term, c) for term, c in terms.items() if c]
    kept.sort(key=lambda pair: id(pair[0]))
    return Affine(constant, tuple(kept))


ZERO = Affine(0)
Index = tuple[Affine, ...]


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a contiguous array.

    >>> strides_of((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def linear(index: Index, strides: Sequence[int]) -> Affine:
    """Return the offset of an element."""
    total = ZERO
    for each, stride in zip(index, strides, strict=True):
        total = total + each.scaled(stride)
    return total


def unflattened(offset: Affine, shape: Sequence[int]) -> Index | None:
    """Return the index of an element of a contiguous array from its offset, if that is affine."""
    found = []
    for stride in strides_of(shape):
        parts = offset.divided(stride) if stride else (ZERO, offset)
        if parts is None:
            return None
        quotient, offset = parts
        found.append(quotient)
    return tuple(found)
