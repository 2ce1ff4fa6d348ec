"""Levenberg-Marquardt and Gauss-Newton against certified and analytic answers."""

from __future__ import annotations

import numpy as np
import pytest

from clew.solve import GaussNewton, LevenbergMarquardt
from tests.solve.functions import Residuals, run
from tests.solve.nist import PROBLEMS

# Far starts from which an undamped or damped Gauss-Newton run leaves for a plateau: MGH10 and
# BoxBOD from their first start also defeat MINPACK within a few hundred evaluations.
REACHED = [
    (name, start)
    for name in PROBLEMS
    for start in (0, 1)
    if (name, start) not in {("MGH10", 0), ("BoxBOD", 0)}
]


def _objective(name: str, **bounds: np.ndarray) -> Residuals:
    problem = PROBLEMS[name]
    size = len(problem.certified)
    return Residuals(lambda b: problem.model(b, problem.x) - problem.y, size, **bounds)


@pytest.mark.parametrize(("name", "start"), REACHED)
def test_levenberg_marquardt_finds_the_certified_values(name: str, start: int) -> None:
    problem = PROBLEMS[name]
    state = run(LevenbergMarquardt(), _objective(name), problem.starts[start])
    assert state["stop"] in ("gradient", "step", "reduction", "precision")
    np.testing.assert_allclose(state["x"], problem.certified, rtol=2e-7)
    np.testing.assert_allclose(2 * state["loss"], problem.squares, rtol=1e-9)


@pytest.mark.parametrize("name", ["Misra1a", "MGH09", "Thurber"])
def test_gauss_newton_finds_the_certified_values_from_near(name: str) -> None:
    problem = PROBLEMS[name]
    state = run(GaussNewton(), _objective(name), problem.starts[1])
    np.testing.assert_allclose(state["x"], problem.certified, rtol=1e-6)


def test_the_run_does_not_depend_on_units() -> None:
    problem = PROBLEMS["Misra1a"]
    units = np.array([1e-3, 1e6])
    scaled = Residuals(lambda b: problem.model(b / units, problem.x) - problem.y, 2)
    plain = run(LevenbergMarquardt(), _objective("Misra1a"), problem.starts[0])
    other = run(LevenbergMarquardt(), scaled, np.array(problem.starts[0]) * units)
    np.testing.assert_allclose(other["x"] / units, plain["x"], rtol=1e-8)
    assert other["loss"] == pytest.approx(plain["loss"], rel=1e-10)


@pytest.mark.parametrize("method", [LevenbergMarquardt(), GaussNewton()])
def test_a_linear_problem_takes_one_step(method: LevenbergMarquardt) -> None:
    matrix = np.random.default_rng(3).normal(size=(30, 4))
    right = np.arange(30.0)
    objective = Residuals(lambda x: matrix @ x - right, 4, jacobian=lambda x: matrix)
    state = run(method, objective, np.zeros(4))
    np.testing.assert_allclose(state["x"], np.linalg.lstsq(matrix, right)[0], rtol=1e-9)


@pytest.mark.parametrize("method", [LevenbergMarquardt(), GaussNewton()])
def test_bounds_active_at_the_solution(method: LevenbergMarquardt) -> None:
    from scipy.optimize import lsq_linear

    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(40, 8))
    right = 3 * rng.normal(size=40)
    reference = lsq_linear(matrix, right, bounds=(-0.2, 0.3), tol=1e-14)
    objective = Residuals(lambda x: matrix @ x - right, 8, -0.2, 0.3, jacobian=lambda x: matrix)
    state = run(method, objective, np.zeros(8))
    on_bound = (state["x"] == -0.2) | (state["x"] == 0.3)
    assert 2 <= on_bound.sum() < 8
    np.testing.assert_allclose(state["x"], reference.x, atol=1e-7)
    assert state["loss"] <= reference.cost * (1 + 1e-12)


def test_a_start_on_a_wrong_bound_leaves_it() -> None:
    problem = PROBLEMS["Misra1a"]
    objective = _objective("Misra1a", lower=np.array([100.0, 1e-5]), upper=np.array([400.0, 1e-2]))
    state = run(LevenbergMarquardt(), objective, [400.0, 1e-5])
    np.testing.assert_allclose(state["x"], problem.certified, rtol=1e-7)


def test_a_singular_jacobian_is_survived() -> None:
    # Powell's singular function: J has rank 2 at the solution, which is 0
    def residual(x: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                x[0] + 10 * x[1],
                np.sqrt(5) * (x[2] - x[3]),
                (x[1] - 2 * x[2]) ** 2,
                np.sqrt(10) * (x[0] - x[3]) ** 2,
            ]
        )

    state = run(LevenbergMarquardt(), Residuals(residual, 4), [3.0, -1.0, 0.0, 1.0])
    assert state["loss"] < 1e-20
    assert np.max(np.abs(state["x"])) < 1e-4


def test_brown_badly_scaled() -> None:
    # More, Garbow and Hillstrom (1981), problem 4: the answer is (1e6, 2e-6)
    def residual(x: np.ndarray) -> np.ndarray:
        return np.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])

    for method in (LevenbergMarquardt(), GaussNewton()):
        state = run(method, Residuals(residual, 2), [1.0, 1.0])
        np.testing.assert_allclose(state["x"], [1e6, 2e-6], rtol=1e-9)


def test_a_trial_that_is_not_finite_is_refused() -> None:
    data = np.log(np.array([3.0, 3.1, 2.9]))
    objective = Residuals(lambda x: np.log(x[0]) - data, 1)
    state = run(LevenbergMarquardt(damping=1e-8), objective, [1e-3])
    np.testing.assert_allclose(state["x"][0], np.exp(data.mean()), rtol=1e-9)


def test_a_perfect_fit_ends_at_once() -> None:
    objective = Residuals(lambda x: x - np.ones(2), 2)
    state = run(LevenbergMarquardt(), objective, [1.0, 1.0])
    assert state["stop"] == "gradient"
    assert state["loss"] == 0
