"""Objectives with hand-written derivatives, so that methods are tested apart from the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clew.solve.linear_models import DenseModel, LinearModel
from clew.solve.methods.base import Method, State
from clew.solve.objective import Objective

Array = np.ndarray


class Smooth(Objective):
    """A function of a vector with its gradient, and perhaps its Hessian."""

    def __init__(
        self,
        function: Callable[[Array], float],
        gradient: Callable[[Array], Array],
        size: int,
        lower: Array | float = -np.inf,
        upper: Array | float = np.inf,
        hessian: Callable[[Array], Array] | None = None,
    ) -> None:
        super().__init__(np.zeros(size) + lower, np.zeros(size) + upper)
        self.function = function
        self.gradient = gradient
        self.hessian = hessian
        self.calls = 0

    def value_and_gradient(self, x: Array, step: int = 0) -> tuple[float, Array]:
        inside = (x >= self.lower) & (x <= self.upper)
        assert inside.all(), "asked outside the bounds"
        self.calls += 1
        return float(self.function(x)), self.gradient(x)

    def hessian_product(self, x: Array, direction: Array) -> Array:
        assert self.hessian is not None
        return self.hessian(x) @ direction


class Residuals(Objective):
    """A residual with its Jacobian; by complex step when none is written."""

    has_residual = True

    def __init__(
        self,
        residual: Callable[[Array], Array],
        size: int,
        lower: Array | float = -np.inf,
        upper: Array | float = np.inf,
        jacobian: Callable[[Array], Array] | None = None,
    ) -> None:
        super().__init__(np.zeros(size) + lower, np.zeros(size) + upper)
        self.residual = residual
        self._jacobian = jacobian
        self.calls = 0

    def jacobian(self, x: Array) -> Array:
        if self._jacobian is not None:
            return self._jacobian(x)
        columns = []
        for number in range(x.size):
            shifted = x.astype(complex)
            shifted[number] += 1e-30j
            columns.append(self.residual(shifted).imag / 1e-30)
        return np.stack(columns, axis=1)

    def value(self, x: Array) -> float:
        self.calls += 1
        with np.errstate(all="ignore"):
            r = self.residual(x)
            return 0.5 * float(r @ r)

    def value_and_gradient(self, x: Array, step: int = 0) -> tuple[float, Array]:
        r = self.residual(x)
        return 0.5 * float(r @ r), self.jacobian(x).T @ r

    def linearise(self, x: Array) -> tuple[float, LinearModel]:
        self.calls += 1
        r = self.residual(x)
        return 0.5 * float(r @ r), DenseModel.of(self.jacobian(x), r)


def rosenbrock(size: int = 2, **bounds: float) -> Smooth:
    """The valley of Rosenbrock (1960), chained; the minimum is 0 at 1."""

    def function(x: Array) -> float:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def gradient(x: Array) -> Array:
        g = np.zeros_like(x)
        bend = x[1:] - x[:-1] ** 2
        g[1:] += 200 * bend
        g[:-1] += -400 * x[:-1] * bend - 2 * (1 - x[:-1])
        return g

    def hessian(x: Array) -> Array:
        h = np.zeros((x.size, x.size))
        i = np.arange(x.size - 1)
        h[i, i] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
        h[i + 1, i + 1] += 200
        h[i, i + 1] += -400 * x[:-1]
        h[i + 1, i] += -400 * x[:-1]
        return h

    return Smooth(function, gradient, size, hessian=hessian, **bounds)


def run(method: Method, objective: Objective, x: Array, steps: int = 1000) -> State:
    """Step a method to its end."""
    state = method.start(objective, np.asarray(x, dtype=float))
    for _ in range(steps):
        state = method.step(objective, state)
        if state["stop"]:
            return state
    return state
