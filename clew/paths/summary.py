"""All that is known of the paths from one sink to every parameter, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.paths.ends import Leaf
from clew.paths.net import Net
from clew.paths.reasons import reason_for
from clew.paths.semiring import back_from, counting, shortest
from clew.paths.spectrum import Mark, spectra
from clew.paths.uses import EdgeNorms, edge_norms, norm_of, parts_by_length, share_of
from clew.paths.vanishing import Row, Signals, Table

Part = tuple[float, float]


class Summary:
    """Counts, lengths, gradients and verdicts of all leaves.

    Parameters
    ----------
    net : Net
    leaves : sequence of Leaf
        Those that gradients are taken in.
    sinks : sequence of int
    scalar : bool
        Whether the sink is one real number, so that it has a gradient.
    mark : callable
        What an edge adds to a path's length.
    fits : callable
        Says whether gradients of so many lengths fit into memory.

    ``counts`` is by value; ``lengths`` and ``shares`` by leaf value, then length. Where there are
    too many lengths to tell apart, both are empty.
    """

    def __init__(
        self,
        net: Net,
        leaves: Sequence[Leaf],
        sinks: Sequence[int],
        scalar: bool,
        mark: Mark,
        fits: Callable[[int], bool],
    ) -> None:
        self._net = net
        self._leaves = leaves
        self._sinks = sinks
        self._mark = mark
        self.counts: dict[int, int] = back_from(net, counting(), sinks)
        self.lengths: dict[int, dict[int, int]] = {}
        self.shares: dict[int, dict[int, Part]] = {}
        self.norms: EdgeNorms | None = edge_norms(net, sinks[0]) if scalar else None
        values = [leaf.value for leaf in leaves]
        try:
            self.lengths = spectra(net, mark, sinks, values)
        except InputError:  # too many lengths
            return
        lanes = 1 + max((max(each) for each in self.lengths.values()), default=0)
        if scalar and self.lengths and fits(lanes):
            parts = parts_by_length(net, sinks[0], values, lanes, mark)
            self.shares = {
                value: _shares(each, self.lengths[value]) for value, each in parts.items()
            }

    def table(self) -> Table:
        """Return a row for each leaf, with its verdict."""
        nearest = back_from(self._net, shortest(self._mark), self._sinks)
        signals = None if self.norms is None else Signals(self._net, self.norms, self._sinks[0])
        return Table(tuple(self._row(leaf, nearest, signals) for leaf in self._leaves))

    def _row(self, leaf: Leaf, nearest: dict[int, Any], signals: Signals | None) -> Row:
        paths = self.counts.get(leaf.value, 0)
        if not paths:
            reason = reason_for(self._net.run, leaf.value, self._sinks)
            reason = reason.replace("stopped: by", "stopped by").removeprefix("cut: ")
            return Row(leaf.label, 0, None, None, None, {}, f"cut off: {reason}", "")
        close = int(nearest[leaf.value])
        if signals is None or self.norms is None:
            return Row(leaf.label, paths, close, None, None, {}, "the sink is not one number", "")
        found = self.norms.found[leaf.value]
        size = norm_of(found)
        own = norm_of(self._net.run.values[leaf.value])
        verdict = signals.verdict(leaf.value, found, close)
        return Row(
            leaf.label,
            paths,
            close,
            size,
            size / own if own else None,
            {length: share for length, (_, share) in self.shares.get(leaf.value, {}).items()},
            verdict.text,
            verdict.advice,
        )


def _shares(parts: Any, lengths: dict[int, int]) -> dict[int, Part]:
    whole = np.sum(parts, axis=0)
    rest = [length for length in sorted(lengths) if length < len(parts)]
    return {n: (norm_of(parts[n]), share_of([parts[n]], [whole])) for n in rest}
