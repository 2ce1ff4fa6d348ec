"""Newton's method with a line search, dense or matrix-free, for many lanes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.core.source import Where
from clew.implicit.krylov import gmres
from clew.implicit.operators import Rows, largest, named_lane
from clew.implicit.primitive import Equations
from clew.implicit.solving import DENSE

_HALVINGS = 40
_SUFFICIENT = 1e-4
_FORCING = 1e-4


@dataclass(frozen=True)
class Newton:
    """Solves ``F(x) = 0`` by ``x + t s`` with ``J s = -F``; t from halving until F shrinks.

    It stops when the step is ``tolerance`` of x, or of the way from the start if that is
    more; having taken it, what is left is of the order of its square. With ``krylov`` None
    the matrix is formed for up to ``DENSE`` unknowns; else GMRES solves for the step.
    """

    name: str
    where: Where
    tolerance: float | None = None
    steps: int = 50
    krylov: bool | None = None

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the roots."""
        x = start = starts[0]
        r = equations.residual(x)
        equations.check_finite("the residual", r, 0)
        tolerance = self.tolerance or equations.eps ** (2 / 3)
        rough = np.sqrt(equations.eps)
        done = largest(r) == 0
        for iteration in range(1, self.steps + 1):
            if done.all():
                return x
            step, regular = self._direction(equations, x, r, iteration)
            step[done] = 0.0
            x, r, length = _line_search(equations, x, r, step, ~done)
            scale = np.maximum(largest(x), largest(x - start))
            size = largest(step)
            done |= regular & (length == 1) & (size <= tolerance * scale)
            # No shorter residual so close to the root: rounding hides the rest.
            still = ~done & (length == 0)
            done |= regular & still & (size <= rough * scale)
            done |= largest(r) == 0
            self._check_moving(equations, still & ~done, r, iteration)
        if not done.all():
            self._fail(equations, done, r)
        return x

    def _direction(
        self, equations: Equations, x: Rows, r: Rows, iteration: int
    ) -> tuple[Rows, np.ndarray]:
        """Return the steps, and whether each is Newton's."""
        jacobian = equations.jacobian(x)
        n = x.shape[-1]
        if self.krylov or (self.krylov is None and n > DENSE):
            found = gmres(jacobian.apply, -r, None, _FORCING, min(n, 300))
            equations.check_finite("the Jacobian's product", found.x, iteration)
            return found.x, found.converged
        matrix = jacobian.dense().astype(x.dtype, copy=False)
        equations.check_finite("the Jacobian", matrix, iteration)
        try:
            step = np.linalg.solve(matrix, -r[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            step = np.full_like(r, np.nan)
        wild = ~np.all(np.isfinite(step), axis=-1)
        if wild.any():
            # Singular here, perhaps not at the root: the shortest of the best steps.
            step[wild] = -np.einsum("kij,kj->ki", np.linalg.pinv(matrix[wild], 1e-10), r[wild])
        return step, ~wild

    def _check_moving(
        self, equations: Equations, stuck: np.ndarray, r: Rows, iteration: int
    ) -> None:
        if stuck.any():
            lane = int(np.flatnonzero(stuck)[0])
            raise equations.failure(
                f"newton is stuck at iteration {iteration}{named_lane(lane, len(r))}: no step "
                f"along its direction lowers the residual of {largest(r)[lane]:.2g}",
                "there may be no root near the start, or the Jacobian is singular there: start "
                "elsewhere (for one unknown, give bracket=(a, b))",
            )

    def _fail(self, equations: Equations, done: np.ndarray, r: Rows) -> None:
        open_lanes = np.flatnonzero(~done)
        lane = int(open_lanes[np.argmax(largest(r)[open_lanes])])
        raise equations.failure(
            f"no convergence in {self.steps} iterations of newton"
            f"{named_lane(lane, len(r))}: the residual is {largest(r)[lane]:.2g}",
            "start closer, or give more steps=; slow progress is a sign of a multiple root, "
            "where the Jacobian is singular",
        )


def _line_search(
    equations: Equations, x: Rows, r: Rows, step: Rows, active: np.ndarray
) -> tuple[Rows, Rows, np.ndarray]:
    """Return the new x and residual, and per lane the length taken; 0 where none was good."""
    norm = _length(r)
    length = np.where(active, 1.0, 0.0)
    waiting = active.copy()
    best_x, best_r = x.copy(), r.copy()
    for _ in range(_HALVINGS):
        trial = x + length[:, None].astype(x.dtype) * step
        found = equations.residual(trial)
        # A residual that is not finite is not shorter: the search stays in the domain.
        good = waiting & (_length(found) <= (1 - _SUFFICIENT * length) * norm)
        best_x[good] = trial[good]
        best_r[good] = found[good]
        waiting &= ~good
        if not waiting.any():
            break
        length[waiting] /= 2
    length[waiting] = 0.0
    return best_x, best_r, length


def _length(rows: Rows) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", rows, rows))
