"""L-BFGS between bounds: the general method for smooth losses of many parameters.

Each step finds the Cauchy point along the projected gradient path, minimises the quasi-Newton
model over the parameters left off their bounds, and searches along the line to it.
Source: Byrd, Lu, Nocedal and Zhu, A limited memory algorithm for bound constrained optimization,
SIAM J. Sci. Comput. 16 (1995); Morales and Nocedal, ACM TOMS 38 (2011), for the projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clew.solve.methods.base import Method, State, first_state, largest
from clew.solve.methods.line_search import Trial, search
from clew.solve.objective import Objective

Array = np.ndarray


@dataclass(frozen=True)
class LBFGS(Method):
    """Limited-memory quasi-Newton steps with a strong-Wolfe line search, between bounds.

    Parameters
    ----------
    tolerance : float
        Ends when the projected gradient has fallen to this part of its largest so far.
    memory : int
        How many past steps shape the model of the curvature.

    >>> LBFGS(memory=20).name
    'lbfgs'
    """

    tolerance: float = 1e-8
    memory: int = 10

    name: ClassVar[str] = "lbfgs"
    default_steps: ClassVar[int] = 2000

    def start(self, objective: Objective, x: Array) -> State:
        loss, gradient = objective.value_and_gradient(x)
        norm = largest(objective.projected_gradient(x, gradient))
        return first_state(
            x,
            loss,
            norm,
            gradient=gradient,
            steepest=norm,
            moves=np.zeros((0, x.size)),
            turns=np.zeros((0, x.size)),
        )

    def step(self, objective: Objective, state: State) -> State:
        x, gradient = state["x"], state["gradient"]
        if state["gradient_norm"] <= self.tolerance * state["steepest"]:
            return {**state, "stop": "gradient", "step_length": 0.0}
        trial, direction = self._try(objective, state)
        if trial is None and len(state["moves"]):  # forget the curvature, and go down the gradient
            none = np.zeros((0, x.size))
            state = {**state, "moves": none, "turns": none}
            trial, direction = self._try(objective, state)
        if trial is None:
            return {**state, "stop": "precision", "step_length": 0.0}
        there = objective.project(x + trial.length * direction)
        moves, turns = self._remember(state, there - x, trial.gradient - gradient)
        norm = largest(objective.projected_gradient(there, trial.gradient))
        return {
            **state,
            "x": there,
            "loss": trial.loss,
            "gradient": trial.gradient,
            "gradient_norm": norm,
            "steepest": max(state["steepest"], norm),
            "step_length": float(np.linalg.norm(there - x)),
            "moves": moves,
            "turns": turns,
        }

    def _try(self, objective: Objective, state: State) -> tuple[Trial | None, Array]:
        x, gradient, moves = state["x"], state["gradient"], state["moves"]
        direction = Curvature(moves, state["turns"]).direction(objective, x, gradient)
        slope = float(gradient @ direction)
        if not slope < 0:
            return None, direction
        longest = 1.0 if objective.bounded else 1e20
        first = 1.0
        if not len(moves):
            first = min(1.0, 1 / largest(direction)) if not objective.bounded else 1.0

        def evaluate(length: float) -> Trial:
            there = objective.project(x + length * direction)
            loss, new = objective.value_and_gradient(there)
            return Trial(length, loss, float(new @ direction), new)

        origin = Trial(0.0, state["loss"], slope, gradient)
        return search(evaluate, origin, first, longest), direction

    def _remember(self, state: State, move: Array, turn: Array) -> tuple[Array, Array]:
        moves, turns = state["moves"], state["turns"]
        if float(move @ turn) <= 1e-14 * float(turn @ turn):
            return moves, turns
        moves = np.vstack([moves, move])[-self.memory :]
        turns = np.vstack([turns, turn])[-self.memory :]
        return moves, turns


class Curvature:
    """The matrix ``B = theta I - W M W'`` that the last moves and turns of the gradient suggest."""

    def __init__(self, moves: Array, turns: Array) -> None:
        self.count = len(moves)
        self.theta = 1.0
        if not self.count:
            return
        self.theta = float(turns[-1] @ turns[-1]) / float(moves[-1] @ turns[-1])
        cross = moves @ turns.T
        lower = np.tril(cross, -1)
        diagonal = np.diag(np.diag(cross))
        self.wide = np.concatenate([turns, self.theta * moves])  # W', of shape (2m, n)
        middle = np.block([[-diagonal, lower.T], [lower, self.theta * (moves @ moves.T)]])
        self.middle = np.linalg.inv(middle)

    def direction(self, objective: Objective, x: Array, gradient: Array) -> Array:
        """Return the way to the minimum of the model between the bounds."""
        if not objective.bounded:
            return self._newton(gradient, np.ones(x.size, dtype=bool))
        cauchy = self._cauchy_point(objective, x, gradient)
        free = (cauchy > objective.lower) & (cauchy < objective.upper)
        if not free.any() or not self.count:
            return cauchy - x
        slope = gradient + self.theta * (cauchy - x)
        slope = slope - self.wide.T @ (self.middle @ (self.wide @ (cauchy - x)))
        step = self._newton(slope, free)
        there = objective.project(cauchy + step)
        if float(gradient @ (there - x)) < 0:
            return there - x
        room = np.where(step < 0, objective.lower - cauchy, objective.upper - cauchy)
        with np.errstate(divide="ignore", invalid="ignore"):
            fractions = np.where(free & (step != 0), room / step, np.inf)
        return cauchy + min(1.0, float(np.min(fractions))) * step - x

    def _newton(self, slope: Array, free: Array) -> Array:
        """Return ``-B^-1 slope`` in the subspace of the free parameters."""
        right = np.where(free, slope, 0.0)
        if not self.count:
            return -right
        wide = self.wide * free
        inner = np.eye(2 * self.count) - self.middle @ (wide @ wide.T) / self.theta
        correction = np.linalg.solve(inner, self.middle @ (wide @ right))
        return -right / self.theta - wide.T @ correction / self.theta**2

    def _cauchy_point(self, objective: Objective, x: Array, gradient: Array) -> Array:
        """Return the first minimum of the model along the path ``P(x - t g)``.

        The path bends where a parameter meets its bound. All bends are examined at once: what
        the algorithm carries from bend to bend are running sums over the parameters in the
        order in which they meet their bounds.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.where(gradient > 0, x - objective.lower, x - objective.upper) / gradient
        ends = np.where(gradient == 0, np.inf, np.maximum(ends, 0.0))
        order = np.argsort(ends, kind="stable")
        order = order[(ends[order] > 0) & (gradient[order] != 0)]
        if not order.size:
            return x
        times = ends[order]
        begins = np.concatenate([[0.0], times[:-1]])
        squares = gradient[order] ** 2
        left = np.cumsum(squares[::-1])[::-1]  # |d|^2 over those that still move
        slope = -left + self.theta * begins * left
        curve = self.theta * left
        if self.count:
            pieces = -self.wide[:, order] * gradient[order]
            moving = np.cumsum(pieces[:, ::-1], axis=1)[:, ::-1]  # W' d
            spans = np.diff(np.concatenate([[0.0], begins]))
            travelled = np.zeros_like(moving)
            travelled[:, 1:] = np.cumsum(moving[:, :-1] * spans[1:], axis=1)  # W' (x(t) - x)
            # the model also couples the direction with what those already stopped have moved
            slope = slope - np.einsum("ik,ij,jk->k", moving, self.middle, travelled)
            curve = curve - np.einsum("ik,ij,jk->k", moving, self.middle, moving)
        slope = np.where(slope < 0, slope, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            lengths = np.where(curve > 0, -slope / curve, np.where(slope < 0, np.inf, 0.0))
        inside = np.flatnonzero(begins + lengths < times)
        if inside.size:
            time = float(begins[inside[0]] + lengths[inside[0]])
        else:
            time = float(times[-1])
        if not np.isfinite(time):
            time = 1.0
        return objective.project(x - min(time, 1e20) * gradient)
