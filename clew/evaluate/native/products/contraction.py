"""Products and convolutions as one thing: a sum over some indices of two strided arrays.

``C[g, m, n] (+)= sum over k of A[g, m, k] B[g, k, n]``, where each of g, m, n, k stands for any
number of axes. An axis is its size and its stride in each array, so transposed operands,
broadcasts and the overlapping windows of a convolution need no code of their own (compare
D. Matthews, High-performance tensor contraction without transposition, SIAM J. Sci. Comput.
40, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One index: how many values it has, and its stride in each array, in elements.

    An axis with a name is an end of a :class:`Window`, and is never joined to another. ``final``
    is the stride in the result proper, where the tiles write to a copy of it.
    """

    size: int
    left: int = 0
    right: int = 0
    result: int = 0
    name: str = ""
    final: int = 0

    def swapped(self) -> Axis:
        """Return the axis with left and right exchanged."""
        return replace(self, left=self.right, right=self.left)


@dataclass(frozen=True)
class Window:
    """A summed index whose range depends on where the result is.

    The term of ``tap`` for a ``place`` is there if ``0 <= scale place + step tap - before <
    length``; outside are the zeros that pad a convolution.
    """

    place: str
    tap: str
    scale: int
    step: int
    before: int
    length: int


@dataclass(frozen=True)
class Contraction:
    """The axes of a product, sorted by what they index.

    ``batch`` is in all three arrays, ``rows`` in left and result, ``columns`` in right and
    result, ``inner`` in left and right. ``exchanged``: left is the second operand given;
    ``staged``: the result is a copy, whose elements go to their final places in the end.
    """

    dtype: np.dtype
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    accumulate: bool = False
    exchanged: bool = False
    windows: tuple[Window, ...] = ()
    staged: bool = False

    @property
    def elements(self) -> int:
        """How many elements the result has."""
        return count(self.batch) * count(self.rows) * count(self.columns)

    def cut(self, chunks: int) -> Cut | None:
        """Cut the outermost axis of the result into equal parts; None if they would overlap."""
        axes = sorted((*self.batch, *self.rows, *self.columns), key=lambda axis: -axis.result)
        if not axes or axes[0].name or axes[0].size % chunks:
            return None
        outer, *rest = axes
        size = outer.size // chunks
        if sum((axis.size - 1) * abs(axis.result) for axis in rest) >= outer.result:
            return None

        def parts(group: tuple[Axis, ...]) -> tuple[Axis, ...]:
            return tuple(replace(axis, size=size) if axis is outer else axis for axis in group)

        batch, rows, columns = map(parts, (self.batch, self.rows, self.columns))
        part = replace(self, batch=batch, rows=rows, columns=columns).simplified()
        steps = (size * outer.result, size * outer.left, size * outer.right)
        return Cut(part, chunks, *steps)

    def swapped(self) -> Contraction:
        """Return the transposed product, left and right exchanged."""
        batch, rows, inner, columns = (
            tuple(axis.swapped() for axis in axes)
            for axes in (self.batch, self.columns, self.inner, self.rows)
        )
        return replace(
            self,
            batch=batch,
            rows=rows,
            inner=inner,
            columns=columns,
            exchanged=not self.exchanged,
        )

    def in_stages(self) -> Contraction:
        """Return the same product with a result of its own, columns side by side."""
        stride = 1
        groups = []
        for axes in (self.columns, self.rows, self.batch):
            laid = []
            for axis in sorted(axes, key=lambda axis: -axis.size):
                laid.append(replace(axis, result=stride, final=axis.result))
                stride *= axis.size
            groups.append(tuple(laid))
        columns, rows, batch = groups
        return replace(self, batch=batch, rows=rows, columns=columns, staged=True)

    def simplified(self) -> Contraction:
        """Return the same product with as few axes as possible.

        Axes of size one vanish, a batch axis that only one operand has is one of its own, and
        neighbours that are walked with one stride are one axis.
        """
        batch, rows, columns = [], list(self.rows), list(self.columns)
        for axis in self.batch:
            if axis.right == 0:
                rows.append(axis)
            elif axis.left == 0:
                columns.append(axis)
            else:
                batch.append(axis)
        groups = (batch, rows, self.inner, columns)
        batch, rows, inner, columns = (merged(tuple(axes)) for axes in groups)
        return replace(self, batch=batch, rows=rows, inner=inner, columns=columns)


@dataclass(frozen=True)
class Cut:
    """A product as equal parts, each one run of the result.

    Parameters
    ----------
    part : Contraction
        The first of them.
    chunks : int
    result, left, right : int
        Elements from one part to the next, in each array.
    """

    part: Contraction
    chunks: int
    result: int
    left: int
    right: int


def count(axes: tuple[Axis, ...]) -> int:
    """Return how many values the axes have together."""
    total = 1
    for axis in axes:
        total *= axis.size
    return total


def merged(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Drop axes of one value, and join those that are walked with one stride.

    >>> axes = Axis(4, left=6, result=3), Axis(3, left=2, result=1), Axis(1, left=5)
    >>> [(axis.size, axis.left, axis.result) for axis in merged(axes)]
    [(12, 2, 1)]
    """
    kept = [axis for axis in axes if axis.size != 1 or axis.name]
    again = True
    while again:
        again = False
        for outer in kept:
            for inner in kept:
                if inner is not outer and _continues(outer, inner):
                    rest = [axis for axis in kept if axis is not outer]
                    joined = replace(inner, size=inner.size * outer.size)
                    kept = [joined if axis is inner else axis for axis in rest]
                    again = True
                    break
            if again:
                break
    return tuple(kept)


def _continues(outer: Axis, inner: Axis) -> bool:
    return not (outer.name or inner.name) and all(
        step == inner.size * small
        for step, small in (
            (outer.left, inner.left),
            (outer.right, inner.right),
            (outer.result, inner.result),
        )
    )


def even(total: int, most: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cut a length into as few and as equal parts as possible.

    Return (length, how many) of the longer and of the shorter parts.

    >>> even(128, 14)
    ((13, 8), (12, 2))
    >>> even(28, 14)
    ((15, 0), (14, 2))
    """
    parts = max(1, -(-total // most))
    short, longer = divmod(total, parts)
    return (short + 1, longer), (short, parts - longer)
