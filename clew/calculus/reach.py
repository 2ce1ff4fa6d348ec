"""Which seed elements each element of a value can depend on, and how such sets combine.

A :class:`Reach` gives every element of a value the number of a set; the sets are the rows of
a Boolean matrix. Moving elements moves numbers only, however large the sets are, and elements
with the same dependence share one set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.types import Type

LARGEST_PATTERN = 2**27
"""Entries that a set table or a pattern may hold (about 0.7 GB)."""

_INDEX = np.int32  # SciPy looks through wider ones to see whether they could be as narrow

_WORTH_MERGING = 64
"""How many times over the limit sets may be before they are merged: that takes as long."""


class TooManyEntries(Exception):
    """The sets together hold more than ``LARGEST_PATTERN`` entries; carries how many."""


@dataclass(frozen=True, eq=False)
class Reach:
    """``sets[ids[place]]`` are the seed elements that the element at ``place`` depends on.

    ``ids`` has the shape of the value; ``sets`` is a Boolean ``scipy.sparse.csr_array`` of
    shape (sets, seed elements) whose row 0 is empty.
    """

    ids: np.ndarray
    sets: Any

    def with_ids(self, ids: np.ndarray) -> Reach:
        """Return other elements with dependence on the same sets."""
        return self if ids is self.ids else Reach(ids, self.sets)

    def at(self, shape: tuple[int, ...]) -> Reach:
        """Return the reach broadcast to a shape."""
        if self.ids.shape == shape:
            return self
        return Reach(np.broadcast_to(self.ids, shape), self.sets)

    def matrix(self) -> Any:
        """Return the pattern: one row for each element.

        >>> seeds((Type((2,), np.float64),))[0].matrix().toarray()
        array([[ True, False],
               [False,  True]])
        """
        counts = np.diff(self.sets.indptr)[self.ids.ravel()]
        check_entries(int(counts.sum(dtype=np.int64)))
        return self.sets[self.ids.ravel()]


def check_entries(count: int) -> None:
    """Raise if so many entries are too many."""
    if count > LARGEST_PATTERN:
        raise TooManyEntries(count)


def seeds(kinds: Sequence[Type]) -> list[Reach]:
    """Return the reach of the seeds themselves: each element depends on itself."""
    from scipy import sparse

    total = sum(kind.size for kind in kinds)
    places = np.arange(-1, total + 1, dtype=_INDEX)
    places[0] = 0
    sets = sparse.csr_array((np.ones(total, bool), places[1:-1], places), shape=(total + 1, total))
    result = []
    start = 1
    for kind in kinds:
        ids = np.arange(start, start + kind.size).reshape(kind.shape)
        result.append(Reach(ids, sets))
        start += kind.size
    return result


class Unions:
    """Unions of reaches, each computed once however often it is asked for."""

    def __init__(self) -> None:
        self._known: dict[Any, Reach] = {}
        self._same: dict[Any, list[Reach]] = {}

    def of(self, reaches: Sequence[Reach], shape: tuple[int, ...]) -> Reach:
        """Return the union, element by element, of reaches broadcast to a shape."""
        total = reaches[0].at(shape)
        for other in reaches[1:]:
            total = self._pair(total, other.at(shape))
        return total

    def _pair(self, left: Reach, right: Reach) -> Reach:
        if left.sets is right.sets and left.ids is right.ids:
            return left
        left, right = self._shared(left), self._shared(right)
        if left is right or not right.ids.any():
            return left
        if not left.ids.any():
            return right
        key = (id(left), id(right))
        if key not in self._known:
            self._known[key] = self._shared(_united(left, right))
        return self._known[key]

    def _shared(self, reach: Reach) -> Reach:
        """Return the one object for all reaches with these numbers and sets.

        The objects stay in the dictionary, so their identity is a safe key.
        """
        key = (id(reach.sets), reach.ids.shape, hash(reach.ids.tobytes()))
        known = self._same.setdefault(key, [])
        for each in known:
            if each is reach or np.array_equal(each.ids, reach.ids):
                return each
        known.append(reach)
        return reach


def _united(left: Reach, right: Reach) -> Reach:
    width = np.int64(right.sets.shape[0])
    pairs = (left.ids * width + right.ids).ravel()
    ids: Any = np.arange(pairs.size)
    if not (pairs[1:] > pairs[:-1]).all():
        pairs, ids = np.unique(pairs, return_inverse=True)
    first, second = np.divmod(pairs, width)
    most = np.diff(left.sets.indptr)[first], np.diff(right.sets.indptr)[second]
    check_entries(int(most[0].sum(dtype=np.int64) + most[1].sum(dtype=np.int64)))
    sets = left.sets[first] + right.sets[second]
    counts = np.diff(sets.indptr)
    if np.array_equal(counts, most[0]):
        return left
    if np.array_equal(counts, most[1]):
        return right
    return _numbered(sets, ids.reshape(left.ids.shape))


def _numbered(sets: Any, rows: np.ndarray) -> Reach:
    """Return the reach of elements that depend on these rows of ``sets``."""
    from scipy import sparse

    counts = np.diff(sets.indptr)
    indptr = np.concatenate([[0], sets.indptr], dtype=sets.indptr.dtype)
    shape = (sets.shape[0] + 1, sets.shape[1])
    table = sparse.csr_array((sets.data, sets.indices, indptr), shape=shape)
    numbers = np.where(counts > 0, np.arange(1, len(counts) + 1), 0)
    return Reach(numbers[rows], table)


def collected(places: np.ndarray, reach: Reach, ids: np.ndarray, shape: tuple[int, ...]) -> Reach:
    """Return a value of a shape that at ``places`` (flat) depends on what ``ids`` stand for.

    A place that is named several times depends on all of it.
    """
    from scipy import sparse

    places, ids = np.broadcast_arrays(places, ids)
    kept = ids > 0
    places, ids = places[kept].astype(_INDEX), ids[kept].astype(_INDEX)
    size = int(np.prod(shape, dtype=np.int64))
    groups = sparse.csr_array(
        (np.ones(len(ids), bool), (places, ids)), shape=(size, reach.sets.shape[0])
    )
    bound = np.diff(reach.sets.indptr).astype(np.int64)[groups.indices].sum()
    if bound > LARGEST_PATTERN:
        check_entries(max(_least(groups, reach.sets), int(bound) // _WORTH_MERGING))
    sets = groups @ reach.sets
    sets.sort_indices()
    return _numbered(sets, np.arange(size).reshape(shape))


def _least(groups: Any, sets: Any) -> int:
    """Return a lower bound of the entries of a product: the largest set of each group."""
    counts = np.diff(sets.indptr).astype(np.int64)[groups.indices]
    filled = np.diff(groups.indptr) > 0
    return int(np.maximum.reduceat(counts, groups.indptr[:-1][filled]).sum())


def everything(reaches: Sequence[Reach], shape: tuple[int, ...], unions: Unions) -> Reach:
    """Return a value each element of which depends on all that the reaches hold."""
    parts = [collected(np.zeros((), int), each, np.unique(each.ids), ()) for each in reaches]
    return unions.of(parts, ()).at(shape)


def mixed(reach: Reach, axis: int, mixing: np.ndarray) -> Reach:
    """Mix along one axis: element j of the result depends on those i with ``mixing[j, i]``."""
    lanes = np.moveaxis(reach.ids, axis, -1)
    lead, length = lanes.shape[:-1], len(mixing)
    numbers = np.arange(int(np.prod(lead, dtype=np.int64))).reshape((*lead, 1))
    if mixing.all():
        joined = collected(numbers, reach, lanes, lead)
        ids = np.broadcast_to(joined.ids[..., None], (*lead, length))
    else:
        to, of = np.nonzero(mixing)
        check_entries(numbers.size * len(to))
        joined = collected(numbers * length + to, reach, lanes[..., of], (*lead, length))
        ids = joined.ids
    return joined.with_ids(np.moveaxis(ids, -1, axis))
