"""Multi-start on losses with many minima."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.errors import InputError
from clew.solve import LevenbergMarquardt, MultiStart, Problem, solve
from clew.solve.objective import Objective


def _rastrigin(p):
    # Rastrigin (1974): 121 minima in this square, the least of them 0 at the origin
    return 20 + np.sum(p**2 - 10 * np.cos(2 * np.pi * p))


def test_the_lowest_of_many_minima_is_found() -> None:
    problem = Problem(_rastrigin, np.array([4.4, -3.7]), bounds=(-5.12, 5.12))
    alone = solve(problem, "lbfgs")
    assert alone.loss > 1
    solution = solve(problem, "multi-start", starts=120, seed=1)
    assert solution.converged
    assert solution.loss < 1e-10
    assert "Tried 120 starts" in solution.status.sentence


def test_a_frequency_that_least_squares_alone_misses() -> None:
    x = np.linspace(0, 4, 60)
    problem = Problem(
        lambda p: p["size"] * np.sin(p["turn"] * x),
        {"size": 1.0, "turn": 1.0},
        target=1.7 * np.sin(7.3 * x),
        bounds={"size": (0, 5), "turn": (0.1, 20)},
    )
    assert solve(problem).loss > 1
    solution = solve(problem, MultiStart(starts=24, inner=LevenbergMarquardt()))
    assert solution.converged
    np.testing.assert_allclose(solution.vector, [1.7, 7.3], rtol=1e-6)


def test_the_points_are_a_latin_hypercube_between_the_bounds() -> None:
    objective = Objective(np.array([0.0, -np.inf, 2.0]), np.array([1.0, np.inf, np.inf]))
    points = MultiStart(starts=10, seed=4).points(objective, np.array([0.5, -2.0, 3.0]))
    np.testing.assert_array_equal(points[0], [0.5, -2.0, 3.0])
    assert np.all(points >= objective.lower)
    assert np.all(points <= objective.upper)
    cells = np.floor(points[1:, 0] * 10)
    assert len(set(cells)) == 9
    again = MultiStart(starts=10, seed=5).points(objective, np.array([0.5, -2.0, 3.0]))
    assert not np.array_equal(points[1:], again[1:])


def test_starts_where_the_model_fails_are_passed_over() -> None:
    problem = Problem(lambda p: (np.log(p["x"]) - 1) ** 2, {"x": 1.0}, bounds={"x": (-2.0, 5.0)})
    solution = solve(problem, "multi-start", starts=12)
    assert solution.params["x"] == pytest.approx(np.e, rel=1e-6)
    assert "began where the loss is not a number" in solution.status.sentence


def test_methods_that_cannot_be_started_often_are_refused() -> None:
    problem = Problem(_rastrigin, np.zeros(2))
    with pytest.raises(InputError, match="slsqp cannot be run from many starts"):
        solve(problem, "multi-start", inner="slsqp")
    with pytest.raises(InputError, match="for least squares"):
        solve(problem, "multi-start", inner="lm")
