"""Newton-CG: exact curvature, negative curvature, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from clew.solve import NewtonCG
from tests.solve.functions import Smooth, rosenbrock, run


def test_rosenbrock_in_few_steps() -> None:
    objective = rosenbrock(2)
    state = run(NewtonCG(), objective, [-1.2, 1.0])
    assert state["stop"] == "gradient"
    np.testing.assert_allclose(state["x"], 1.0, rtol=1e-7)
    assert objective.calls < 40


def test_a_quadratic_takes_one_model() -> None:
    matrix = np.diag([1.0, 10.0, 100.0])
    objective = Smooth(
        lambda x: 0.5 * x @ matrix @ x - x.sum(),
        lambda x: matrix @ x - 1,
        3,
        hessian=lambda x: matrix,
    )
    state = run(NewtonCG(radius=1e3), objective, np.zeros(3))
    np.testing.assert_allclose(state["x"], [1, 0.1, 0.01], rtol=1e-7)


def test_negative_curvature_is_left() -> None:
    # a saddle at the start: the gradient is tiny along x, where the loss curves down
    objective = Smooth(
        lambda x: x[0] ** 4 - x[0] ** 2 + x[1] ** 2,
        lambda x: np.array([4 * x[0] ** 3 - 2 * x[0], 2 * x[1]]),
        2,
        hessian=lambda x: np.diag([12 * x[0] ** 2 - 2, 2.0]),
    )
    state = run(NewtonCG(tolerance=1e-12), objective, [1e-3, 1.0])
    np.testing.assert_allclose(state["x"], [np.sqrt(0.5), 0.0], atol=1e-9)


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 0.5), (1.2, 3.0), (-1.5, 0.9)])
def test_bounds_active_at_the_solution(lower: float, upper: float) -> None:
    objective = rosenbrock(2, lower=lower, upper=upper)
    state = run(NewtonCG(), objective, np.clip([-1.2, 1.0], lower, upper))
    best = {0.5: [0.5, 0.25], 3.0: [1.2, 1.44], 0.9: [0.9, 0.81]}
    np.testing.assert_allclose(state["x"], best[upper], rtol=1e-8)


def test_a_large_bounded_quadratic() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(100, 100))
    matrix = matrix @ matrix.T + np.eye(100)
    right = 20 * rng.normal(size=100)
    objective = Smooth(
        lambda x: 0.5 * x @ matrix @ x - right @ x,
        lambda x: matrix @ x - right,
        100,
        -0.1,
        0.2,
        hessian=lambda x: matrix,
    )
    state = run(NewtonCG(), objective, np.zeros(100))
    gradient = objective.gradient(state["x"])
    low, high = state["x"] == -0.1, state["x"] == 0.2
    assert low.any()
    assert high.any()
    assert np.all(gradient[low] > 0)
    assert np.all(gradient[high] < 0)
    assert np.max(np.abs(gradient[~low & ~high])) <= 1e-8 * state["steepest"]
