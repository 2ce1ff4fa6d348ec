"""How the blocks of a sparse Jacobian are read from the results of passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.calculus.rows import Layout
from clew.core.types import Type
from clew.ops.elementwise import convert
from clew.ops.index import gather, scatter_add
from clew.ops.shape import concatenate, reshape


@dataclass(frozen=True, eq=False)
class Block:
    """The part of a Jacobian for one output and one input: its layout, and how it is read.

    ``sources`` are the numbers of the passes' results that are read; ``index`` has each
    entry's place in all of them together, and ``target`` where it is added, if several make one.
    """

    layout: Layout
    dtype: np.dtype
    sources: tuple[int, ...]
    index: np.ndarray
    target: np.ndarray | None

    def data(self, found: Sequence[Any]) -> Any:
        """Return the entries, row by row, from what the passes gave.

        That is an array with the passes on axis 0, or a tuple with an array for each pass.
        """
        count = len(self.layout.indices)
        if not self.sources:
            return np.zeros(count, self.dtype)
        arrays = [each for number in self.sources for each in _arrays(found[number])]
        flat = [reshape(each, shape=(int(np.prod(each.shape)),)) for each in arrays]
        whole = flat[0] if len(flat) == 1 else concatenate(*flat, axis=0)
        entries = gather(whole, self.index, axes=(0,))
        if self.target is not None:
            empty = np.zeros(count, entries.dtype)
            entries = scatter_add(empty, entries, self.target, axes=(0,))
        return entries if entries.dtype == self.dtype else convert(entries, dtype=self.dtype)


def _arrays(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, eq=False)
class Places:
    """For every entry of a pattern, row by row, the places whose sum it is.

    ``source`` and ``offset`` say where a summand is; ``entry`` (None: one each) to which it goes.
    """

    source: np.ndarray
    offset: np.ndarray
    entry: np.ndarray | None

    def of(self, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return sources, offsets and targets for a selection of entries, in ascending order."""
        if self.entry is None:
            return self.source[entries], self.offset[entries], None
        start, stop = np.searchsorted(self.entry, [entries, entries + 1])
        counts = stop - start
        target = np.repeat(np.arange(len(entries)), counts)
        chosen = np.arange(len(target)) + np.repeat(start - (np.cumsum(counts) - counts), counts)
        if len(target) == len(entries):
            target = None
        return self.source[chosen], self.offset[chosen], target


def block(
    numbers: Any, places: Places, kinds: Sequence[Type], passes: Sequence[int], output: Type
) -> Block:
    """Say how a block is read; the entries' numbers are the data of the sparse ``numbers``."""
    from scipy import sparse

    kept = sparse.csr_array(numbers)
    height, width = numbers.shape
    layout = Layout(kept.indices, kept.indptr, (height, width))
    source, offset, target = places.of(kept.data)
    used, own = np.unique(source, return_inverse=True)
    sizes = [passes[number] * kinds[number].size for number in used]
    starts = np.cumsum([0, *sizes])
    index = starts[own] + offset if len(used) else offset[:0]
    if starts[-1] < 2**31:
        index = index.astype(np.int32)
    return Block(layout, output.dtype, tuple(used.tolist()), index, target)
