"""One unknown between two points where the function has opposite signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.core.errors import InputError
from clew.core.source import Where
from clew.implicit.operators import Rows, named_lane
from clew.implicit.primitive import Equations


@dataclass(frozen=True)
class Bracketing:
    """Chandrupatla's method: inverse quadratic steps where safe, halving elsewhere.

    Chandrupatla (1997), Advances in Engineering Software 28(3). It needs no derivative,
    cannot leave the bracket, and halves it at least every second step.
    """

    name: str
    where: Where
    tolerance: float | None = None
    steps: int = 200

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the roots; each lane has a bracket of its own."""
        a, b = starts[1].copy(), starts[0].copy()
        fa, fb = equations.residual(a), equations.residual(b)
        equations.check_finite("the function at the bracket", np.stack([fb, fa], axis=1), 0)
        self._check_signs(starts, fb, fa)
        tolerance = self.tolerance or 2 * equations.eps
        tiny = np.finfo(a.dtype).tiny
        c, fc = a, fa
        t = np.full_like(a, 0.5)
        width = np.abs(b - a)
        for iteration in range(1, self.steps + 1):
            x = a + t * (b - a)
            fx = equations.residual(x)
            equations.check_finite("the function", fx, iteration)
            same = np.sign(fx) == np.sign(fa)
            c, fc = np.where(same, a, b), np.where(same, fa, fb)
            b, fb = np.where(same, b, a), np.where(same, fb, fa)
            a, fa = x, fx
            nearer = np.abs(fa) < np.abs(fb)
            best, fbest = np.where(nearer, a, b), np.where(nearer, fa, fb)
            width = np.abs(b - a)
            limit = (tolerance * np.abs(best) + tiny) / np.where(width > 0, width, 1.0)
            done = (limit > 0.5) | (fbest == 0) | (width == 0)
            if done.all():
                return best
            t = np.clip(_next(a, b, c, fa, fb, fc), limit, 1 - limit)
            # What is found stays found while the others go on.
            a, fa = np.where(done, best, a), np.where(done, fbest, fa)
            b, fb = np.where(done, best, b), np.where(done, fbest, fb)
        raise equations.failure(
            f"no convergence in {self.steps} steps of bracketing: the bracket is still "
            f"{float(np.max(width)):.2g} wide",
            "give more steps=, or a larger tolerance=",
        )

    def _check_signs(self, starts: Sequence[Rows], left: Rows, right: Rows) -> None:
        bad = np.flatnonzero(np.sign(left[:, 0]) * np.sign(right[:, 0]) > 0)
        if len(bad):
            k = int(bad[0])
            low, high = starts[0][k, 0], starts[1][k, 0]
            raise InputError(
                f"{self.name}: bracket=({low:g}, {high:g}){named_lane(k, len(left))}: the function "
                f"has one sign at both ends, {left[k, 0]:.3g} and {right[k, 0]:.3g}",
                "give ends where it has opposite signs, or a start= for method='newton'",
                self.where,
            )


def _next(a: Rows, b: Rows, c: Rows, fa: Rows, fb: Rows, fc: Rows) -> Rows:
    """Return where to go between a (0) and b (1)."""
    xi = (a - b) / (c - b)
    phi = (fa - fb) / (fc - fb)
    safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
    quadratic = fa / (fb - fa) * fc / (fb - fc)
    quadratic += (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return np.where(safe & np.isfinite(quadratic), quadratic, 0.5)
