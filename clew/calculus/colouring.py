"""Colourings: which columns, or rows, of a sparse matrix can be found together in one pass.

Columns that share no row can be summed and told apart again, since every entry of the sum
belongs to one of them (Curtis, Powell and Reid, 1974): a distance-2 colouring of the columns.
A symmetric matrix needs less: every entry only has to be readable once above *or* below the
diagonal, a star colouring (Coleman and Moré, 1984; Gebremedhin, Manne and Pothen, "What color
is your Jacobian?", SIAM Review 47, 2005).

The colours that a row or a vertex has met are kept as the bits of one integer, so a colouring
takes time proportional to the number of entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_RECOLOURINGS = 3
_FILLED = 8
"""How much longer than most the longest row may be, to look for blocks."""


@dataclass(frozen=True, eq=False)
class Colouring:
    """``colours[j]`` is the colour of column (or row) j, -1 if that is empty.

    ``by`` says what was coloured; "symmetry" are columns of a symmetric matrix of which an
    entry may have to be read on the other side of the diagonal.
    """

    colours: np.ndarray
    count: int
    by: Literal["columns", "rows", "symmetry"]


def colour(pattern: Any) -> Colouring:
    """Colour the columns or the rows of a sparse pattern, whichever takes fewer colours.

    >>> from scipy import sparse
    >>> colour(sparse.csr_array(np.tri(4, 4, 1) - np.tri(4, 4, -2))).count
    3
    """
    pattern = pattern.tocsr()
    columns_need = _most(pattern.indptr)
    rows_need = _most(pattern.tocsc().indptr)
    by_columns = None
    if columns_need <= rows_need:
        by_columns = colour_columns(pattern)
        if by_columns.count <= rows_need:
            return by_columns
    by_rows = colour_rows(pattern)
    if by_columns is None and by_rows.count > columns_need:
        by_columns = colour_columns(pattern)
    if by_columns is not None and by_columns.count <= by_rows.count:
        return by_columns
    return by_rows


def colour_rows(pattern: Any) -> Colouring:
    """Colour rows so that no column meets one colour twice; see :func:`colour_columns`."""
    found = colour_columns(pattern.T.tocsr())
    return Colouring(found.colours, found.count, "rows")


def fewest(pattern: Any) -> int:
    """Return how many colours the columns or the rows of a pattern need at least."""
    by_column = np.bincount(pattern.indices, minlength=1)
    return min(_most(pattern.indptr), int(by_column.max()))


def _most(indptr: np.ndarray) -> int:
    return int(np.diff(indptr).max(initial=0))


def _by_place(pattern: Any) -> Colouring | None:
    """Colour columns by the furthest place they have in a row, if that tells rows' columns apart.

    So it does where a matrix is made of blocks; no colouring has fewer colours.
    """
    count = _most(pattern.indptr)
    if pattern.shape[0] * count > _FILLED * pattern.nnz:
        return None
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    colours = np.full(pattern.shape[1], -1)
    np.maximum.at(colours, pattern.indices, np.arange(pattern.nnz) - pattern.indptr[rows])
    met = np.bincount(rows * count + colours[pattern.indices], minlength=1)
    return Colouring(colours, count, "columns") if met.max() <= 1 else None


def _distinct_rows(pattern: Any) -> Any:
    """Leave out rows that repeat the row before them: they forbid nothing new."""
    counts = np.diff(pattern.indptr)
    kept = counts > 0
    same = np.flatnonzero((counts[1:] == counts[:-1]) & kept[1:])
    lengths = counts[same]
    offset = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = np.repeat(pattern.indptr[same], lengths) + offset
    second = np.repeat(pattern.indptr[same + 1], lengths) + offset
    differ = np.zeros(len(same), bool)
    differ[
        np.repeat(np.arange(len(same)), lengths)[pattern.indices[first] != pattern.indices[second]]
    ] = True
    kept[same[~differ] + 1] = False
    return pattern[np.flatnonzero(kept)]


def colour_columns(pattern: Any) -> Colouring:
    """Colour columns so that no row meets one colour twice.

    Greedily, in the order given and with the columns that meet most others first; the better
    is coloured again class by class, which never takes more colours (Culberson, 1992).

    >>> from scipy import sparse
    >>> colour_columns(sparse.csr_array(np.eye(5))).colours
    array([0, 0, 0, 0, 0])
    """
    pattern = pattern.tocsr()
    pattern.sort_indices()
    at_once = _by_place(pattern)
    if at_once is not None:
        return at_once
    pattern = _distinct_rows(pattern)
    needed = _most(pattern.indptr)
    columns = _Lists(pattern.tocsc())
    filled = np.flatnonzero(np.diff(columns.starts))
    best = columns.greedy(filled.tolist(), pattern.shape[0])
    if best.count > needed:
        met = np.diff(pattern.indptr).astype(float)
        meets = (pattern.T.astype(float) @ met)[filled]
        order = filled[np.argsort(-meets, kind="stable")]
        best = min(best, columns.greedy(order.tolist(), pattern.shape[0]), key=lambda c: c.count)
    for _ in range(_RECOLOURINGS):
        if best.count <= needed:
            break
        order = filled[np.argsort(-best.colours[filled], kind="stable")]
        best = min(best, columns.greedy(order.tolist(), pattern.shape[0]), key=lambda c: c.count)
    return best


class _Lists:
    """The rows of each column, as Python lists: faster to walk than arrays."""

    def __init__(self, pattern: Any) -> None:
        self.starts = pattern.indptr.tolist()
        self.rows = pattern.indices.tolist()

    def greedy(self, order: Iterable[int], height: int) -> Colouring:
        """Give each column in turn the first colour that its rows have not met."""
        met = [0] * height
        colours = [-1] * (len(self.starts) - 1)
        rows, starts = self.rows, self.starts
        everything = 0
        for column in order:
            own = rows[starts[column] : starts[column + 1]]
            taken = 0
            for row in own:
                taken |= met[row]
            free = ~taken & (taken + 1)
            for row in own:
                met[row] |= free
            everything |= free
            colours[column] = free.bit_length() - 1
        return Colouring(np.array(colours, np.int64), everything.bit_length(), "columns")


# --- symmetric matrices ----------------------------------------------------------------------


def colour_symmetric(pattern: Any) -> Colouring:
    """Colour a symmetric pattern by its columns, or by symmetry if that takes fewer colours.

    >>> from scipy import sparse
    >>> arrow = np.eye(6)
    >>> arrow[0] = arrow[:, 0] = 1
    >>> colour_symmetric(sparse.csr_array(arrow)).count
    2
    """
    pattern = pattern.tocsr()
    degrees = np.diff(pattern.indptr)
    filled = np.flatnonzero(degrees)
    lists = _Lists(pattern)
    orders = [filled, filled[np.argsort(-degrees[filled], kind="stable")]]
    by_symmetry = min((_star(lists, order.tolist()) for order in orders), key=lambda c: c.count)
    if _most(pattern.indptr) >= by_symmetry.count:
        return by_symmetry
    by_columns = colour_columns(pattern)
    return by_columns if by_columns.count <= by_symmetry.count else by_symmetry


def _star(lists: _Lists, order: Iterable[int]) -> Colouring:
    """Colour vertices so that neighbours differ and no path of four has only two colours.

    ``around[w]`` are the colours of w's neighbours; ``hubs[w]`` those of its neighbours that
    have another neighbour of w's colour. A vertex v may not take the colour of a neighbour, nor
    one of ``hubs`` of a neighbour (v would begin such a path), nor, where two neighbours have one
    colour, one that is around either of them (v would stand inside of such a path).
    """
    count = len(lists.starts) - 1
    colours = [-1] * count
    around = [0] * count
    hubs = [0] * count
    first: dict[tuple[int, int], int] = {}
    everything = 0
    for vertex in order:
        near = lists.rows[lists.starts[vertex] : lists.starts[vertex + 1]]
        coloured = [other for other in near if colours[other] >= 0 and other != vertex]
        of_colour: dict[int, list[int]] = {}
        taken = 0
        for other in coloured:
            taken |= (1 << colours[other]) | hubs[other]
            of_colour.setdefault(colours[other], []).append(other)
        twins = [other for same in of_colour.values() if len(same) > 1 for other in same]
        for other in twins:
            taken |= around[other]
        free = ~taken & (taken + 1)
        own = free.bit_length() - 1
        colours[vertex] = own
        everything |= free
        for other in twins:
            hubs[other] |= free
        for other in near:
            if other == vertex:
                continue
            around[other] |= free
            before = first.setdefault((other, own), vertex)
            if before != vertex and colours[other] >= 0:
                hubs[before] |= 1 << colours[other]
                hubs[vertex] |= 1 << colours[other]
    return Colouring(np.array(colours, np.int64), everything.bit_length(), "symmetry")
