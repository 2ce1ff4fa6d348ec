"""Least squares: Levenberg-Marquardt and Gauss-Newton, between bounds.

The damped step minimises ``0.5 |r + J p|^2 + 0.5 damping |D p|^2`` *inside* the bounds, so a bound
that is active at the solution costs nothing. ``D`` holds the largest column lengths of J met so
far, which makes the run independent of the parameters' units (Moré, The Levenberg-Marquardt
algorithm, 1978); the damping follows Nielsen, Damping parameter in Marquardt's method, 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clew.solve.linear_models import LinearModel
from clew.solve.methods.base import Method, State, first_state
from clew.solve.objective import Objective

EPSILON = float(np.finfo(np.float64).eps)
NOISE = 1e-12  # relative differences of a loss below this are rounding


@dataclass(frozen=True)
class LevenbergMarquardt(Method):
    """Damped Gauss-Newton: the method of choice when the loss is a sum of squares.

    Parameters
    ----------
    tolerance : float
        Ends when a step changes the loss or the parameters by less than this part, or when the
        residual is this close to perpendicular to what the parameters can change.
    damping : float
        The first damping, relative to the curvature: small trusts the start.

    >>> LevenbergMarquardt(damping=1e-2).name
    'lm'
    """

    tolerance: float = 1e-10
    damping: float = 1e-3

    name: ClassVar[str] = "lm"
    default_steps: ClassVar[int] = 1000
    needs_residual: ClassVar[bool] = True

    def start(self, objective: Objective, x: np.ndarray) -> State:
        loss, model = objective.linearise(x)
        scale = np.where(model.column_norms > 0, model.column_norms, 1.0)
        return first_state(
            x,
            loss,
            model.cosine(_free(objective, x, model.gradient)),
            scale=scale,
            damping=self.damping,
            growth=2.0,
            first_loss=loss,
        )

    def step(self, objective: Objective, state: State) -> State:
        if state["gradient_norm"] <= self.tolerance or state["loss"] == 0:
            return {**state, "stop": "gradient", "step_length": 0.0}
        loss, model = objective.linearise(state["x"])
        return self._search(objective, model, {**state, "loss": loss})

    def _search(self, objective: Objective, model: LinearModel, state: State) -> State:
        """Raise the damping until a step lowers the loss."""
        x, loss, scale = state["x"], state["loss"], state["scale"]
        damping, growth = state["damping"], state["growth"]
        low, high = objective.lower - x, objective.upper - x
        size = float(np.linalg.norm(scale * x))
        least = self.tolerance**2 * loss
        for _ in range(60):
            p = model.step(damping, scale, low, high)
            length = float(np.linalg.norm(scale * p))
            there = objective.project(x + p)
            predicted = model.reduction(p)
            if length <= EPSILON * size or predicted <= least or np.all(there == x):
                break
            value = objective.value(there)
            gain = (loss - value) / predicted if np.isfinite(value) else -1.0
            unseen = max(predicted, abs(value - loss)) <= NOISE * loss
            if unseen:
                gain = 1.0  # too small a fall to be seen in the loss, but towards the solution
            if gain > 1e-4:
                new = self._accepted(objective, state, there)
                if unseen and new["gradient_norm"] >= state["gradient_norm"]:
                    break
                new["damping"] = max(damping * max(0.1, 1 - (2 * min(gain, 1.0) - 1) ** 3), 1e-16)
                new["stop"] = self._ending(loss, value, predicted, length, size, damping)
                return new
            damping, growth = damping * growth, growth * 2
        return {**state, "stop": "precision", "step_length": 0.0}

    def _accepted(self, objective: Objective, state: State, there: np.ndarray) -> State:
        loss, model = objective.linearise(there)
        return {
            **state,
            "x": there,
            "loss": loss,
            "gradient_norm": model.cosine(_free(objective, there, model.gradient)),
            "step_length": float(np.linalg.norm(there - state["x"])),
            "scale": np.maximum(state["scale"], model.column_norms),
            "growth": 2.0,
        }

    def _ending(
        self,
        before: float,
        after: float,
        predicted: float,
        length: float,
        size: float,
        damping: float,
    ) -> str:
        # A strongly damped step is short because it is not trusted, not because it has arrived.
        if damping > 1:
            return ""
        if max(abs(before - after), predicted) <= self.tolerance**2 * before:
            return "reduction"
        if length <= self.tolerance * size:
            return "step"
        return ""


@dataclass(frozen=True)
class GaussNewton(Method):
    """Undamped steps of least length, shortened until the loss falls.

    Fewer safeguards than :class:`LevenbergMarquardt`; the fastest near the solution.

    >>> GaussNewton().name
    'gauss-newton'
    """

    tolerance: float = 1e-10

    name: ClassVar[str] = "gauss-newton"
    default_steps: ClassVar[int] = 200
    needs_residual: ClassVar[bool] = True

    def start(self, objective: Objective, x: np.ndarray) -> State:
        loss, model = objective.linearise(x)
        cosine = model.cosine(_free(objective, x, model.gradient))
        return first_state(x, loss, cosine, first_loss=loss)

    def step(self, objective: Objective, state: State) -> State:
        if state["gradient_norm"] <= self.tolerance or state["loss"] == 0:
            return {**state, "stop": "gradient", "step_length": 0.0}
        x = state["x"]
        loss, model = objective.linearise(x)
        scale = np.where(model.column_norms > 0, model.column_norms, 1.0)
        p = model.step(0.0, scale, objective.lower - x, objective.upper - x)
        size, length = (float(np.linalg.norm(scale * v)) for v in (x, p))
        slope = float(model.gradient @ p)
        fraction = 1.0
        while fraction * length > EPSILON * size and slope < 0:
            there = objective.project(x + fraction * p)
            value = objective.value(there)
            if value <= loss + 1e-4 * fraction * slope or abs(value - loss) <= NOISE * loss:
                return self._accepted(objective, state, there, fraction * length, size)
            fraction /= 2
        return {**state, "stop": "precision", "step_length": 0.0}

    def _accepted(
        self, objective: Objective, state: State, there: np.ndarray, length: float, size: float
    ) -> State:
        loss, model = objective.linearise(there)
        cosine = model.cosine(_free(objective, there, model.gradient))
        if not loss < state["loss"] and cosine >= state["gradient_norm"]:
            return {**state, "stop": "precision", "step_length": 0.0}
        return {
            **state,
            "x": there,
            "loss": loss,
            "gradient_norm": cosine,
            "step_length": float(np.linalg.norm(there - state["x"])),
            "stop": "step" if length <= self.tolerance * size else "",
        }


def _free(objective: Objective, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Say which parameters are not held by a bound that the loss pushes against."""
    below = (x <= objective.lower) & (gradient > 0)
    above = (x >= objective.upper) & (gradient < 0)
    return ~(below | above)
