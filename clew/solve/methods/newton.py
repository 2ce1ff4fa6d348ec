"""Newton-CG: exact curvature from Hessian-vector products, in a trust region, between bounds.

Conjugate gradients stop where the curvature turns negative or the region ends (Steihaug, SIAM J.
Numer. Anal. 20, 1983); a projected gradient step first finds which bounds are active
(Lin and Moré, Newton's method for large bound-constrained problems, SIAM J. Optim. 9, 1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from clew.solve.methods.base import Method, State, first_state, largest
from clew.solve.objective import Objective

Array = np.ndarray
EPSILON = float(np.finfo(np.float64).eps)
NOISE = 1e-12  # relative differences of a loss below this are rounding


@dataclass(frozen=True)
class NewtonCG(Method):
    """Trust-region Newton steps solved by conjugate gradients on Hessian-vector products.

    Parameters
    ----------
    tolerance : float
        Ends when the projected gradient has fallen to this part of its largest so far.
    radius : float, optional
        The first trust radius, as a Euclidean length; by default the length of the gradient,
        at most 1 or a tenth of the start.

    >>> NewtonCG().name
    'newton-cg'
    """

    tolerance: float = 1e-9
    radius: float | None = None

    name: ClassVar[str] = "newton-cg"
    default_steps: ClassVar[int] = 500

    def start(self, objective: Objective, x: Array) -> State:
        loss, gradient = objective.value_and_gradient(x)
        norm = largest(objective.projected_gradient(x, gradient))
        radius = self.radius
        if radius is None:
            radius = min(float(np.linalg.norm(gradient)), max(1.0, 0.1 * float(np.linalg.norm(x))))
        return first_state(x, loss, norm, gradient=gradient, steepest=norm, radius=radius)

    def step(self, objective: Objective, state: State) -> State:
        if state["gradient_norm"] <= self.tolerance * state["steepest"]:
            return {**state, "stop": "gradient", "step_length": 0.0}
        x, loss, gradient = state["x"], state["loss"], state["gradient"]
        model = _Quadratic(objective, x, gradient)
        radius = state["radius"]
        for _ in range(60):
            p = _trust_region_step(model, radius)
            length = float(np.linalg.norm(p))
            predicted = -model.change(p)
            if length <= EPSILON * float(np.linalg.norm(x)) or predicted <= 0:
                break
            there = objective.project(x + p)
            value, slope = objective.value_and_gradient(there)
            finite = np.isfinite(value) and np.all(np.isfinite(slope))
            gain = (loss - value) / predicted if finite else -1.0
            norm = largest(objective.projected_gradient(there, slope))
            unseen = max(predicted, abs(value - loss)) <= NOISE * abs(loss)
            if unseen and norm < state["gradient_norm"]:
                gain = 1.0
            if gain < 0.25:
                radius = 0.25 * min(radius, length)
            elif gain > 0.75 and length > 0.8 * radius:
                radius = 2.5 * radius
            if gain > 1e-4:
                return {
                    **state,
                    "x": there,
                    "loss": value,
                    "gradient": slope,
                    "gradient_norm": norm,
                    "steepest": max(state["steepest"], norm),
                    "step_length": length,
                    "radius": radius,
                }
        return {**state, "stop": "precision", "step_length": 0.0, "radius": radius}


class _Quadratic:
    """The second-order model ``g'p + p'Hp / 2`` around a point, between bounds."""

    def __init__(self, objective: Objective, x: Array, gradient: Array) -> None:
        self.gradient = gradient
        self.bounded = objective.bounded
        self.low = objective.lower - x
        self.high = objective.upper - x
        self.product: Callable[[Array], Array] = lambda v: objective.hessian_product(x, v)

    def change(self, p: Array) -> float:
        return float(self.gradient @ p) + 0.5 * float(p @ self.product(p))

    def inside(self, p: Array) -> Array:
        return np.clip(p, self.low, self.high)


def _trust_region_step(model: _Quadratic, radius: float) -> Array:
    p = np.zeros(model.gradient.size)
    slope = model.gradient
    free = np.ones(p.size, dtype=bool)
    if model.bounded:
        p = _cauchy_step(model, radius)
        slope = slope + model.product(p)
        free = (p > model.low) & (p < model.high)
    for _ in range(1 + 4 * model.bounded):
        way = _steihaug(model, p, slope, free, radius)
        new = _downhill(model, p, way)
        hit = free & ((new <= model.low) | (new >= model.high))
        p = new
        if not hit.any():
            break
        free &= ~hit
        slope = model.gradient + model.product(p)
    return p


def _cauchy_step(model: _Quadratic, radius: float) -> Array:
    """Go down the projected gradient until the model has fallen enough."""
    slope = model.gradient
    length = radius / max(float(np.linalg.norm(slope)), 1e-300)
    for _ in range(60):
        p = model.inside(-length * slope)
        if model.change(p) <= 0.01 * float(slope @ p):
            return p
        length /= 4
    return np.zeros(slope.size)


def _steihaug(model: _Quadratic, p: Array, slope: Array, free: Array, radius: float) -> Array:
    """Return a way from p that lowers the model, by conjugate gradients over free parameters."""
    rest = np.where(free, -slope, 0.0)
    way = np.zeros(p.size)
    direction = rest
    squared = float(rest @ rest)
    goal = 1e-6 * squared  # a thousandth of the gradient may be left
    for _ in range(2 * p.size + 10):
        if squared <= goal or squared == 0:
            break
        image = np.where(free, model.product(direction), 0.0)
        curvature = float(direction @ image)
        if curvature <= 0:
            return way + _to_sphere(p + way, direction, radius) * direction
        length = squared / curvature
        if float(np.linalg.norm(p + way + length * direction)) >= radius:
            return way + _to_sphere(p + way, direction, radius) * direction
        way = way + length * direction
        rest = rest - length * image
        before, squared = squared, float(rest @ rest)
        direction = rest + (squared / before) * direction
    return way


def _to_sphere(p: Array, direction: Array, radius: float) -> float:
    """Return the positive length at which ``p + length direction`` leaves the region."""
    a = float(direction @ direction)
    b = float(p @ direction)
    c = min(float(p @ p) - radius**2, 0.0)
    root = np.sqrt(b * b - a * c)
    return -c / (b + root) if b > 0 else (root - b) / a


def _downhill(model: _Quadratic, p: Array, way: Array) -> Array:
    """Follow the way, bent at the bounds, as far as the model still falls."""
    if not model.bounded:
        return p + way
    before = model.change(p)
    fraction = 1.0
    for _ in range(30):
        new = model.inside(p + fraction * way)
        if model.change(new) <= before:
            return new
        fraction /= 2
    return p
