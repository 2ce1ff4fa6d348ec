"""L-BFGS: unconstrained, between bounds, against exact answers and SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from clew.solve import LBFGS
from clew.solve.methods.lbfgs import Curvature
from clew.solve.objective import Objective
from tests.solve.functions import Smooth, rosenbrock, run


@pytest.mark.parametrize("size", [2, 10, 100])
def test_rosenbrock(size: int) -> None:
    objective = rosenbrock(size)
    state = run(LBFGS(), objective, np.tile([-1.2, 1.0], size // 2))
    assert state["stop"] == "gradient"
    np.testing.assert_allclose(state["x"], 1.0, rtol=1e-5)
    assert objective.calls < 9 * size + 60


def test_no_more_evaluations_than_scipy() -> None:
    ours, theirs = rosenbrock(50), rosenbrock(50)
    start = np.tile([-1.2, 1.0], 25)
    run(LBFGS(), ours, start)
    options = {"maxiter": 9999, "maxfun": 9999, "gtol": 1e-7, "ftol": 0}
    minimize(theirs.value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    assert ours.calls < 1.3 * theirs.calls


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 0.5), (1.2, 3.0), (-1.5, 0.9)])
def test_bounds_active_at_the_solution(lower: float, upper: float) -> None:
    objective = rosenbrock(6, lower=lower, upper=upper)
    start = np.clip(np.tile([-1.2, 1.0], 3), lower, upper)
    state = run(LBFGS(tolerance=1e-10), objective, start)
    gradient = objective.gradient(state["x"])
    at_low, at_high = state["x"] == lower, state["x"] == upper
    assert (at_low | at_high).any()
    assert np.all(gradient[at_low] >= 0)
    assert np.all(gradient[at_high] <= 0)
    inside = ~(at_low | at_high)
    assert np.all(np.abs(gradient[inside]) <= 1e-9 * state["steepest"])


def test_a_quadratic_with_many_active_bounds() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(80, 80))
    matrix = matrix @ matrix.T + np.diag(np.logspace(0, 3, 80))
    right = 50 * rng.normal(size=80)
    objective = Smooth(
        lambda x: 0.5 * x @ matrix @ x - right @ x, lambda x: matrix @ x - right, 80, -0.05, 0.1
    )
    state = run(LBFGS(tolerance=1e-10), objective, np.zeros(80))
    held = (state["x"] == -0.05) | (state["x"] == 0.1)
    assert held.sum() > 20
    # the free part solves its linear system exactly
    rest = right[~held] - matrix[np.ix_(~held, held)] @ state["x"][held]
    exact = np.linalg.solve(matrix[np.ix_(~held, ~held)], rest)
    np.testing.assert_allclose(state["x"][~held], exact, rtol=1e-6, atol=1e-9)


def test_one_sided_bounds_only_hold_one_side() -> None:
    objective = Smooth(
        lambda x: np.sum((x - np.array([-3.0, 4.0])) ** 2),
        lambda x: 2 * (x - np.array([-3.0, 4.0])),
        2,
        lower=np.zeros(2),
    )
    state = run(LBFGS(), objective, np.array([1.0, 1.0]))
    np.testing.assert_allclose(state["x"], [0.0, 4.0], atol=1e-12)


def test_the_step_inverts_the_curvature_matrix() -> None:
    rng = np.random.default_rng(1)
    hessian = np.diag(np.arange(1.0, 7.0))
    moves = rng.normal(size=(3, 6))
    turns = moves @ hessian
    model = Curvature(moves, turns)
    matrix = model.theta * np.eye(6) - model.wide.T @ model.middle @ model.wide
    np.testing.assert_allclose(matrix @ moves[-1], turns[-1], rtol=1e-10)  # the secant equation
    free = np.full(6, np.inf)
    gradient = rng.normal(size=6)
    direction = model.direction(Objective(-free, free), np.zeros(6), gradient)
    np.testing.assert_allclose(matrix @ direction, -gradient, rtol=1e-9, atol=1e-12)


def test_the_cauchy_point_is_the_first_minimum_of_the_path() -> None:
    rng = np.random.default_rng(2)
    root = rng.normal(size=(6, 6))
    moves = rng.normal(size=(2, 6))
    model = Curvature(moves, moves @ (root @ root.T + np.eye(6)))
    matrix = model.theta * np.eye(6) - model.wide.T @ model.middle @ model.wide
    objective = Objective(np.full(6, -0.3), np.full(6, 0.4))
    x, gradient = rng.uniform(-0.2, 0.3, 6), rng.normal(size=6)

    def along(time: float) -> float:
        step = objective.project(x - time * gradient) - x
        return float(gradient @ step + 0.5 * step @ matrix @ step)

    point = model._cauchy_point(objective, x, gradient) - x
    found = float(gradient @ point + 0.5 * point @ matrix @ point)
    times = np.linspace(0, 5, 200_001)
    values = np.array([along(time) for time in times[:20_000]])
    first = int(np.argmax(np.diff(values) > 0))
    assert found == pytest.approx(values[first], rel=1e-6)


def test_the_limit_of_precision_is_met_and_said() -> None:
    objective = rosenbrock(2)
    state = run(LBFGS(tolerance=1e-300), objective, [-1.2, 1.0])
    assert state["stop"] in ("precision", "gradient")
    np.testing.assert_allclose(state["x"], 1.0, rtol=1e-8)


def test_a_wall_of_infinity_is_backed_away_from() -> None:
    def function(x: np.ndarray) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sum(x - np.log(x)))

    objective = Smooth(function, lambda x: 1 - 1 / x, 3)
    state = run(LBFGS(), objective, np.array([1e-3, 5.0, 100.0]))
    np.testing.assert_allclose(state["x"], 1.0, rtol=1e-5)
