"""Minimal filtering along one axis: ``m`` results of three taps from ``m + 2`` products.

``y = A [(G g) * (B d)]`` for ``m + 2`` numbers d of a signal and a kernel g, after A. Toom and
S. Cook: polynomials are evaluated at m + 1 points and at infinity, multiplied there, and what
they interpolate is transposed (S. Winograd, Arithmetic complexity of computations, SIAM 1980).
Points come as x and -x, so that the two differ in the sign of every other coefficient only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from clew.evaluate.native.emitter import Value, literal
from clew.evaluate.native.products.writer import VectorEmitter

T = TypeVar("T")
_POINTS = {2: (1.0,), 4: (0.5, 1.5)}
"""For each number of results, points beside 0, their negatives and infinity.

Those of four results are the ones whose errors are smallest among simple fractions; all
coefficients of signals and results are exact.
"""


@dataclass(frozen=True)
class Filter:
    """The matrices of F(results, 3): B, G and A."""

    signal: np.ndarray
    kernel: np.ndarray
    result: np.ndarray


@functools.cache
def filter_of(results: int) -> Filter:
    """Return the matrices for two or four results.

    >>> filter_of(2).signal.tolist()
    [[-1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]
    >>> f, d, g = filter_of(4), np.arange(6.0), np.array([1.0, 10.0, 100.0])
    >>> (f.result @ ((f.kernel @ g) * (f.signal @ d))).round(9).tolist()
    [210.0, 321.0, 432.0, 543.0]
    """
    roots = [0.0, *(sign * x for x in _POINTS[results] for sign in (1, -1))]
    size = len(roots) + 1
    signal, kernel = np.zeros((size, size)), np.zeros((size, 3))
    for i, x in enumerate(roots):
        others = np.poly([y for y in roots if y != x])[::-1]
        signal[i, : size - 1] = others
        kernel[i] = x ** np.arange(3) / np.polyval(others[::-1], x)
    signal[-1] = np.poly(roots)[::-1]
    kernel[-1, -1] = 1
    result = np.zeros((results, size))
    result[:, :-1] = np.power.outer(roots, np.arange(results)).T
    result[-1, -1] = 1
    return Filter(signal, kernel, result)


class Arithmetic(Protocol[T]):
    """What the maps ask of numbers or of vectors."""

    def add(self, x: T, y: T) -> T:
        """Return ``x + y``."""
        ...

    def subtract(self, x: T, y: T) -> T:
        """Return ``x - y``."""
        ...

    def scaled(self, x: T, factor: float, more: T | None) -> T:
        """Return ``factor x + more``."""
        ...


@dataclass(frozen=True)
class Vectors:
    """Arithmetic on vectors."""

    w: VectorEmitter
    lanes: int
    fused: bool

    def add(self, x: str, y: str) -> str:
        """Return ``x + y``."""
        return self.w.add(x, y, self.lanes)

    def subtract(self, x: str, y: str) -> str:
        """Return ``x - y``."""
        return self.w.subtract(x, y, self.lanes)

    def scaled(self, x: str, factor: float, more: str | None) -> str:
        """Return ``factor x + more``."""
        number = f"{self.w.kind} {literal(self.w.dtype, factor)}"
        every = f"<{', '.join([number] * self.lanes)}>"
        if more is None:
            return self.w.e.assign(f"fmul {self.w.vector(self.lanes)} {x}, {every}")
        return self.w.multiply_add(x, every, more, self.lanes, self.fused)


@dataclass(frozen=True)
class Numbers:
    """Arithmetic on single numbers."""

    w: VectorEmitter

    def add(self, x: Value, y: Value) -> Value:
        """Return ``x + y``."""
        return self.w.e.add(x, y)

    def subtract(self, x: Value, y: Value) -> Value:
        """Return ``x - y``."""
        return self.w.e.sub(x, y)

    def scaled(self, x: Value, factor: float, more: Value | None) -> Value:
        """Return ``factor x + more``."""
        product = self.w.e.mul(x, self.w.e.like(x, factor))
        return product if more is None else self.w.e.add(product, more)


def points_of(on: Arithmetic[T], matrix: np.ndarray, values: Sequence[T]) -> list[T]:
    """Return ``matrix @ values``, where rows are points."""
    made = [_sum(on, matrix[0], values)]
    even = np.arange(matrix.shape[1]) % 2 == 0
    for row in matrix[1:-1:2]:
        both, one = _sum(on, row * even, values), _sum(on, row * ~even, values)
        made += [on.add(both, one), on.subtract(both, one)]
    return [*made, _sum(on, matrix[-1], values)]


def results_of(on: Arithmetic[T], matrix: np.ndarray, values: Sequence[T]) -> list[T]:
    """Return ``matrix @ values``, where columns are points."""
    pairs = list(zip(values[1:-1:2], values[2:-1:2], strict=True))
    sums = [values[0], *(on.add(*pair) for pair in pairs), values[-1]]
    differences = [values[0], *(on.subtract(*pair) for pair in pairs), values[-1]]
    columns = [0, *range(1, matrix.shape[1] - 1, 2), -1]
    return [_sum(on, row[columns], differences if i % 2 else sums) for i, row in enumerate(matrix)]


def _sum(on: Arithmetic[T], factors: np.ndarray, values: Sequence[T]) -> T:
    """Return the sum of values times factors, those of factor one first."""
    terms = [(f, v) for f, v in zip(factors.tolist(), values, strict=True) if f]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
    (factor, first), *rest = terms
    total = first if factor == 1 else on.scaled(first, factor, None)
    for factor, value in rest:
        if abs(factor) == 1:
            total = on.add(total, value) if factor == 1 else on.subtract(total, value)
        else:
            total = on.scaled(value, factor, total)
    return total
