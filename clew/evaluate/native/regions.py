"""Regions: a product and the kernels after it, run chunk by chunk while a chunk is in the cache.

A kernel may join if each of its chunks reads, of what the region computes, only what the same
chunk has computed before, and writes nothing that another chunk has yet to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clew.evaluate.native.affine import Affine, Term
from clew.evaluate.native.products.plan import Pieces
from clew.evaluate.native.storage import Memory

Access = tuple[Memory, Affine | None]
"""An array, and where it is read or written; None if that is known only when running."""


@dataclass(eq=False)
class Region:
    """What the members of a region have computed, and what they read.

    Parameters
    ----------
    chunks : int
    runs : dict
        For each array (by its pointer) which elements each chunk has computed: where the runs
        begin, and where the last one ends.
    unfinished : set
        Arrays that are complete only when all chunks are.
    read : set
        Arrays from outside, which any chunk may read anywhere.
    fixed : set
        Arrays of which a chunk may also write elements of its neighbours.
    """

    chunks: int
    runs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    fixed: set[str] = field(default_factory=set)

    @classmethod
    def of_product(cls, result: Memory, operands: Sequence[Memory], pieces: Pieces) -> Region:
        """Return the region of a product alone."""
        starts = tuple(result.offset + start for start in pieces.starts)
        return cls(
            len(starts) - 1,
            {result.pointer: starts},
            read={memory.pointer for memory in operands},
            fixed=set() if pieces.apart else {result.pointer},
        )

    def bounds(
        self,
        outer: Sequence[Term],
        extent: int,
        reads: Sequence[Access],
        written: Iterable[Memory],
    ) -> tuple[int, ...] | None:
        """Return where the chunks of a kernel must begin for it to join; None if it cannot.

        Parameters
        ----------
        outer : sequence of Term
            The counters of its outermost loop, the last the fastest.
        extent : int
            The steps of that loop.
        """
        own = {memory.pointer for memory, _ in reads}
        targets = {memory.pointer for memory in written}
        if (own | targets) & self.unfinished or targets & (self.read | self.fixed):
            return None
        if not targets & self.runs.keys() <= own:
            return None
        found: set[tuple[int, ...] | None] = set()
        for memory, place in reads:
            runs = self.runs.get(memory.pointer)
            if runs is not None:
                found.add(_steps(runs, None if place is None else step_of(place, outer, runs[0])))
        if not found:
            equal = tuple(extent * chunk // self.chunks for chunk in range(self.chunks + 1))
            return equal if extent >= self.chunks else None
        bounds = found.pop()
        agreed = not found and bounds is not None and bounds[-1] == extent
        return bounds if agreed else None

    def join(
        self,
        outer: Sequence[Term],
        bounds: Sequence[int],
        reads: Sequence[Access],
        writes: Sequence[Access],
        partial: Iterable[Memory],
    ) -> None:
        """Add a kernel that runs within these bounds."""
        self.read |= {memory.pointer for memory, _ in reads} - self.runs.keys()
        self.unfinished |= {memory.pointer for memory in partial}
        made: dict[str, set[tuple[int, ...] | None]] = {}
        for memory, place in writes:
            step = None if place is None else step_of(place, outer, memory.offset)
            runs = None
            if step is not None and memory.contiguous:
                runs = tuple(memory.offset + step * bound for bound in bounds)
            made.setdefault(memory.pointer, set()).add(runs)
        for pointer, each in made.items():
            runs = each.pop()
            if each or runs is None:
                self.unfinished.add(pointer)
                self.runs.pop(pointer, None)
            elif pointer not in self.unfinished:
                self.runs[pointer] = runs


def step_of(place: Affine, outer: Sequence[Term], origin: int) -> int | None:
    """Return how many elements apart a loop's steps are, if none goes beyond the next one's."""
    coefficients = dict(place.terms)
    step = coefficients.get(outer[-1], 0)
    for term in outer:
        coefficients.pop(term, None)
    reach = [factor * (term.extent - 1) for term, factor in coefficients.items()]
    first = place.constant - origin
    low = first + sum(min(each, 0) for each in reach)
    high = first + sum(max(each, 0) for each in reach)
    return step if low >= 0 and high < step else None


def _steps(runs: Sequence[int], step: int | None) -> tuple[int, ...] | None:
    """Return the steps of a loop at which runs of elements begin."""
    lengths = [start - runs[0] for start in runs]
    if step is None or any(length % step for length in lengths):
        return None
    return tuple(length // step for length in lengths)
