"""Regions: products and kernels in a row, run chunk by chunk while a chunk is in the cache.

A step may join if each of its chunks touches, of what the region writes, only what belongs to the
same chunk: every array that is written is divided into one run of elements for each chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clew.evaluate.native.affine import Affine, Term
from clew.evaluate.native.products.contraction import Cut, count
from clew.evaluate.native.products.plan import Pieces
from clew.evaluate.native.storage import Memory

Access = tuple[Memory, Affine | None]
"""An array, and where it is read or written; None if that is known only when running."""
Runs = tuple[int, ...]
"""Where the chunks' runs of elements begin in an array, and where the last one ends."""
Touched = Mapping[str, Runs | None]
"""Arrays, by their pointers, with the runs that chunks keep to; None if they go anywhere."""


@dataclass(eq=False)
class Region:
    """What the members of a region read and write.

    Parameters
    ----------
    chunks : int
    runs : dict
        Of arrays that all members touch by the same runs.
    made : set
        Those of them that have been written.
    born : set
        Those of them that were written before any member read them.
    unfinished : set
        Arrays that are complete only when all chunks are.
    read : set
        Arrays that any chunk may read anywhere.
    fixed : set
        Arrays of which a chunk may also write elements of its neighbours.
    """

    chunks: int
    runs: dict[str, Runs] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    born: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    fixed: set[str] = field(default_factory=set)

    @classmethod
    def of_product(cls, result: Memory, operands: Sequence[Memory], pieces: Pieces) -> Region:
        """Return the region of a product whose chunks are of any lengths."""
        starts = tuple(result.offset + start for start in pieces.starts)
        region = cls(len(starts) - 1, fixed=set() if pieces.apart else {result.pointer})
        reads = dict.fromkeys(memory.pointer for memory in operands)
        region.enter(reads, {result.pointer: starts})
        return region

    def admits(self, reads: Touched, writes: Touched) -> bool:
        """Say whether a step may join that touches these arrays."""
        if (reads.keys() | writes.keys()) & self.unfinished:
            return False
        if writes.keys() & (self.read | self.fixed):
            return False
        return all(
            pointer not in arrays or runs == self.runs[pointer]
            for touched, arrays in ((reads, self.made), (writes, self.runs))
            for pointer, runs in touched.items()
        )

    def enter(self, reads: Touched, writes: Touched) -> None:
        """Add a step."""
        self.born |= writes.keys() - reads.keys() - self.runs.keys()
        for pointer, runs in reads.items():
            if runs is None or self.runs.setdefault(pointer, runs) != runs:
                self.runs.pop(pointer, None)
                self.read.add(pointer)
        for pointer, runs in writes.items():
            if runs is None or pointer in self.read or self.runs.setdefault(pointer, runs) != runs:
                self.unfinished.add(pointer)
                self.runs.pop(pointer, None)
                self.made.discard(pointer)
            else:
                self.made.add(pointer)

    def run_of(self, memory: Memory) -> int | None:
        """Return how many elements of an array each chunk makes and nobody else reads before.

        None if the array was there before, or chunks make different numbers.
        """
        runs = self.runs.get(memory.pointer, ())
        if memory.pointer not in self.made & self.born or not memory.contiguous:
            return None
        lengths = {end - start for start, end in itertools.pairwise(runs)}
        return lengths.pop() if len(lengths) == 1 and runs[0] == memory.offset == 0 else None

    # --- kernels -------------------------------------------------------------------------

    def bounds(
        self,
        outer: Sequence[Term],
        extent: int,
        reads: Sequence[Access],
        writes: Sequence[Access],
    ) -> Runs | None:
        """Return where the chunks of a kernel must begin for it to join; None if it cannot.

        Parameters
        ----------
        outer : sequence of Term
            The counters of its outermost loop, the last the fastest.
        extent : int
            The steps of that loop.
        reads, writes : sequences
        """
        for bounds in dict.fromkeys(self._choices(outer, extent, (*reads, *writes))):
            touched = (self._touched(outer, bounds, each) for each in (reads, writes))
            if bounds[-1] == extent and self.admits(*touched):
                return bounds
        return None

    def _choices(
        self, outer: Sequence[Term], extent: int, accesses: Iterable[Access]
    ) -> Iterator[Runs]:
        for memory, place in accesses:
            runs = self.runs.get(memory.pointer)
            found = None if place is None or runs is None else step_of(place, outer, runs[0])
            if runs is not None and found is not None:
                lengths = [start - runs[0] for start in runs]
                if found[0] and not any(length % found[0] for length in lengths):
                    yield tuple(length // found[0] for length in lengths)
        if extent >= self.chunks:
            yield tuple(extent * chunk // self.chunks for chunk in range(self.chunks + 1))

    def _touched(
        self, outer: Sequence[Term], bounds: Runs, accesses: Sequence[Access]
    ) -> dict[str, Runs | None]:
        """Return the runs that chunks of a kernel keep to, by array."""
        found: dict[str, set[Runs | None]] = {}
        for memory, place in accesses:
            step = None
            if place is not None:
                known = self.runs.get(memory.pointer)
                own = memory.offset if memory.contiguous else 0  # a part begins with the whole
                step = step_of(place, outer, own if known is None else known[0])
            runs = None
            if step is not None:
                runs = tuple(step[1] + step[0] * bound for bound in bounds)
            found.setdefault(memory.pointer, set()).add(runs)
        return {pointer: runs.pop() if len(runs) == 1 else None for pointer, runs in found.items()}

    def join(
        self,
        outer: Sequence[Term],
        bounds: Runs,
        reads: Sequence[Access],
        writes: Sequence[Access],
        partial: Iterable[Memory],
    ) -> None:
        """Add a kernel that runs within these bounds."""
        self.enter(*(self._touched(outer, bounds, each) for each in (reads, writes)))
        for memory in partial:
            self.enter({}, {memory.pointer: None})

    # --- products ------------------------------------------------------------------------

    def takes(self, cut: Cut, result: Memory, left: Memory, right: Memory) -> bool:
        """Add a product cut into as many equal parts, if it may join."""
        reads: dict[str, Runs | None] = {}
        for side, memory, step in (("left", left, cut.left), ("right", right, cut.right)):
            runs = _stepping(memory.offset, step, cut, side)
            same = reads.get(memory.pointer, runs) == runs
            reads[memory.pointer] = runs if same else None
        writes = {result.pointer: _stepping(result.offset, cut.result, cut, "result")}
        if not self.admits(reads, writes):
            return False
        self.enter(reads, writes)
        return True


def _stepping(offset: int, step: int, cut: Cut, side: str) -> Runs | None:
    """Return the runs of a product's parts in an array, if none goes beyond the next one's."""
    one = cut.part
    axes = [(axis.size, getattr(axis, side)) for axis in (*one.batch, *one.rows, *one.columns)]
    axes += [(count((axis,)), getattr(axis, side)) for axis in one.inner if side != "result"]
    reach = sum((size - 1) * stride for size, stride in axes)
    if reach >= step or any(stride < 0 for _, stride in axes):
        return None
    return tuple(offset + step * chunk for chunk in range(cut.chunks + 1))


def step_of(place: Affine, outer: Sequence[Term], phase: int) -> tuple[int, int] | None:
    """Return how many elements apart a loop's steps are, if none goes beyond the next one's.

    And where the first one begins, a multiple of the steps from the ``phase``.
    """
    coefficients = dict(place.terms)
    step = coefficients.get(outer[-1], 0)
    for term in outer:
        coefficients.pop(term, None)
    if step <= 0:
        return None
    reach = [factor * (term.extent - 1) for term, factor in coefficients.items()]
    low = place.constant + sum(min(each, 0) for each in reach)
    high = place.constant + sum(max(each, 0) for each in reach)
    first = low - (low - phase) % step
    return (step, first) if high < first + step else None
