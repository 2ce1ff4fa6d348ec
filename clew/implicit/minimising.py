"""Minimisers for ``argmin``, many lanes at once: they only have to find where, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.source import Where
from clew.implicit.krylov import conjugate_gradients
from clew.implicit.newton import Newton
from clew.implicit.operators import Rows, largest, named_lane
from clew.implicit.primitive import Equations
from clew.implicit.solving import DENSE

_HALVINGS = 50
_SUFFICIENT = 1e-4


@dataclass(frozen=True)
class NewtonDescent:
    """Newton steps made downhill: ``|H| s = -g``, or conjugate gradients that stop at
    negative curvature when there are many unknowns (Nocedal & Wright 2006, 3.4 and 7.1).
    """

    name: str
    where: Where
    tolerance: float | None = None
    steps: int = 200

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the minimisers."""
        x = start = starts[0]
        value, g = equations.objective(x)[:2]
        equations.check_finite("the loss", value, 0)
        equations.check_finite("the gradient", g, 0)
        tolerance = self.tolerance or equations.eps ** (2 / 3)
        rough = np.sqrt(equations.eps)
        done = largest(g) == 0
        for iteration in range(1, self.steps + 1):
            if done.all():
                return x
            step, convex = self._direction(equations, x, g, iteration)
            step[done] = 0.0
            x, value, g, length = _descend(equations, x, value, g, step, ~done)
            scale = np.maximum(largest(x), largest(x - start))
            size = largest(step)
            done |= convex & (length == 1) & (size <= tolerance * scale)
            still = ~done & (length == 0)
            done |= still & (size <= rough * scale)
            done |= largest(g) == 0
            self._check_moving(equations, still & ~done, g, iteration)
        if not done.all():
            lane = int(np.argmax(np.where(done, -1.0, largest(g))))
            raise equations.failure(
                f"no convergence in {self.steps} iterations of newton{named_lane(lane, len(x))}: "
                f"the gradient is {largest(g)[lane]:.2g}, x is {largest(x)[lane]:.2g} in size",
                "start closer or give more steps=; a loss without a minimum runs away: "
                "bound x with bounds= or add a penalty",
            )
        return x

    def _direction(
        self, equations: Equations, x: Rows, g: Rows, iteration: int
    ) -> tuple[Rows, np.ndarray]:
        """Return the steps, and where the Hessian is positive as far as it was seen."""
        hessian = equations.jacobian(x)
        n = x.shape[-1]
        if n > DENSE:
            goal = float(np.clip(np.sqrt(largest(g).max()), 1e-6, 0.1))
            found = conjugate_gradients(hessian.apply, -g, None, goal, n)
            equations.check_finite("the Hessian's product", found.x, iteration)
            nothing = largest(found.x) == 0
            return np.where(nothing[:, None], -g, found.x), ~found.negative
        matrix = hessian.dense().astype(x.dtype, copy=False)
        equations.check_finite("the Hessian", matrix, iteration)
        matrix = 0.5 * (matrix + np.swapaxes(matrix, 1, 2))
        try:
            np.linalg.cholesky(matrix)
            step = np.linalg.solve(matrix, -g[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            return _by_eigenvalues(matrix, g)
        return step, np.ones(len(x), bool)

    def _check_moving(
        self, equations: Equations, stuck: np.ndarray, g: Rows, iteration: int
    ) -> None:
        if stuck.any():
            lane = int(np.flatnonzero(stuck)[0])
            raise equations.failure(
                f"newton is stuck at iteration {iteration}{named_lane(lane, len(g))}: no step "
                f"lowers the loss, and the gradient is {largest(g)[lane]:.2g}",
                "the loss may have a kink there: make it smooth, or start elsewhere",
            )


def _by_eigenvalues(matrix: np.ndarray, g: Rows) -> tuple[Rows, np.ndarray]:
    """Take curvatures by their size, none less than a small part of the largest."""
    curvature, vectors = np.linalg.eigh(matrix)
    size = np.abs(curvature)
    rounding = 1e-12 * np.max(size, axis=-1)
    size = np.maximum(size, 1e-8 * np.max(size, axis=-1, keepdims=True))
    size = np.where(size > 0, size, 1.0)
    along = np.einsum("kij,ki->kj", vectors, g) / size
    step = -np.einsum("kij,kj->ki", vectors, along)
    return step, curvature[:, 0] >= -rounding


def _descend(
    equations: Equations, x: Rows, value: np.ndarray, g: Rows, step: Rows, active: np.ndarray
) -> tuple[Rows, np.ndarray, Rows, np.ndarray]:
    """Halve the step until the loss falls enough; per lane the length taken, 0 for none."""
    slope = np.einsum("ij,ij->i", g, step)
    noise = 8 * equations.eps * np.abs(value)
    length = np.where(active, 1.0, 0.0)
    waiting = active.copy()
    best = [x.copy(), value.copy(), g.copy()]
    for _ in range(_HALVINGS):
        trial = x + length[:, None].astype(x.dtype) * step
        level, slope_there = equations.objective(trial)[:2]
        low = level <= value + _SUFFICIENT * length * slope
        # Where the loss no longer tells, the gradient does.
        low |= (level <= value + noise) & (largest(slope_there) < largest(g))
        good = waiting & low & np.isfinite(slope_there).all(axis=-1)
        for kept, found in zip(best, (trial, level, slope_there), strict=True):
            kept[good] = found[good]
        waiting &= ~good
        if not waiting.any():
            break
        length[waiting] /= 2
    length[waiting] = 0.0
    return best[0], best[1], best[2], length


@dataclass(frozen=True)
class QuasiNewton:
    """L-BFGS-B of SciPy with exact gradients, then Newton steps to full accuracy.

    Lanes are minimised together, as one sum. With bounds, the equations solved at the end
    are ``x = clip(x - g, low, high)``.
    """

    name: str
    where: Where
    tolerance: float | None = None
    steps: int = 2000
    bounded: bool = False

    def solve(self, equations: Equations, starts: Sequence[Rows]) -> Rows:
        """Return the minimisers."""
        from scipy.optimize import Bounds, minimize

        start = starts[0]
        first = equations.objective(start)
        equations.check_finite("the loss", first[0], 0)
        equations.check_finite("the gradient", first[1], 0)
        bounds = None
        if self.bounded:
            low, high = (limit.astype(float) for limit in first[2:])
            self._check_order(low, high)
            start = np.clip(start, low, high)
            limits: Any = (low.ravel(), high.ravel())
            bounds = Bounds(*limits)

        def sum_of_lanes(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, g = equations.objective(flat.reshape(start.shape))[:2]
            return float(np.sum(value)), g.ravel().astype(float)

        options = {"maxiter": self.steps, "maxfun": 3 * self.steps, "ftol": 0.0, "gtol": 1e-9}
        found = minimize(
            sum_of_lanes,
            start.ravel().astype(float),
            method="L-BFGS-B",
            jac=True,
            bounds=bounds,
            options=options,
        )
        x = found.x.reshape(start.shape).astype(start.dtype)
        equations.check_finite("the loss", equations.objective(x)[0], found.nit)
        if found.status == 1:
            raise equations.failure(
                f"no convergence in {found.nit} iterations of l-bfgs: the gradient is "
                f"{np.max(np.abs(found.jac)):.2g}",
                "start closer or give more steps=; a loss without a minimum runs away",
            )
        return self._polished(equations, x)

    def _check_order(self, low: Rows, high: Rows) -> None:
        crossed = np.flatnonzero((low > high).ravel())
        if len(crossed):
            place = crossed[0]
            raise InputError(
                f"{self.name}: the low bound {low.ravel()[place]:g} is above the high bound "
                f"{high.ravel()[place]:g}",
                "give bounds=(low, high) with low <= high",
                self.where,
            )

    def _polished(self, equations: Equations, x: Rows) -> Rows:
        if self.bounded:
            return Newton(self.name, self.where, self.tolerance).solve(equations, [x])
        return NewtonDescent(self.name, self.where, self.tolerance).solve(equations, [x])
