"""Fixed points by iteration, plain or accelerated, for many lanes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.core.source import Where
from clew.implicit.operators import Rows, largest, named_lane
from clew.implicit.primitive import Equations

_PATIENCE = 30


@dataclass(frozen=True)
class Iteration:
    """Solves ``x = g(x)``, given ``F(x) = x - g(x)``.

    ``memory`` 0 is plain iteration. Otherwise Anderson's acceleration: of the last so many
    steps take the combination whose residual is smallest (Walker & Ni 2011, type II).
    """

    name: str
    where: Where
    memory: int
    tolerance: float | None = None
    steps: int = 500

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the fixed points."""
        x = start = starts[0]
        tolerance = self.tolerance or 64 * equations.eps
        history = _History(self.memory, x)
        best = np.full(len(x), np.inf)
        since = np.zeros(len(x), int)
        found = x.copy()
        done = np.zeros(len(x), bool)
        for iteration in range(self.steps + 1):
            f = -equations.residual(x)
            self._check_bounded(equations, f[~done], x[~done], iteration)
            size = largest(f)
            scale = np.maximum(largest(x), largest(x - start))
            better = ~done & (size < best)
            since = np.where(size < 0.999 * best, 0, since + 1)
            best[better] = size[better]
            found[better] = x[better] + f[better]
            done |= size <= tolerance * scale
            # Rounding can be larger than the tolerance: stop where nothing improves.
            level = 1e-3 * np.sqrt(equations.eps) * largest(found)
            done |= (since > _PATIENCE) & (best <= level)
            if done.all():
                return found
            x = np.where(done[:, None], x, x + history.advance(x, f))
        lane = int(np.argmax(np.where(done, -1.0, best)))
        raise equations.failure(
            f"no convergence in {self.steps} iterations{named_lane(lane, len(x))}: "
            f"g(x) - x is {best[lane]:.2g} at best",
            "start closer, give more steps=, or use method='newton', which needs no contraction",
        )

    def _check_bounded(self, equations: Equations, f: Rows, x: Rows, iteration: int) -> None:
        if iteration and not (np.isfinite(f).all() and largest(x).max(initial=0.0) < 1e150):
            raise equations.failure(
                f"the iteration diverges: after {iteration} steps it is out of range",
                "g is not a contraction here: start closer, or use method='newton'",
            )
        equations.check_finite("g(x)", f, iteration)


class _History:
    """The last differences of x and of ``g(x) - x``, lanes first."""

    def __init__(self, memory: int, like: Rows) -> None:
        lanes, n = like.shape
        self._memory = min(memory, n)
        shape = (lanes, n, max(self._memory, 1))
        self._dx = np.zeros(shape, like.dtype)
        self._df = np.zeros(shape, like.dtype)
        self._last: tuple[Rows, Rows] | None = None
        self._count = 0

    def advance(self, x: Rows, f: Rows) -> Rows:
        """Return the step from x."""
        if not self._memory:
            return f
        if self._last is not None:
            slot = self._count % self._memory
            self._dx[:, :, slot] = x - self._last[0]
            self._df[:, :, slot] = f - self._last[1]
            # A step so bad says nothing about the map near the fixed point.
            worse = largest(f) > 10 * largest(self._last[1])
            self._dx[worse] = 0.0
            self._df[worse] = 0.0
            self._count += 1
        self._last = (x, f)
        weights = np.einsum("kij,kj->ki", np.linalg.pinv(self._df, 1e-10), f)
        step = f - np.einsum("kij,kj->ki", self._dx + self._df, weights)
        return np.where(np.isfinite(step), step, f)
