"""SciPy's constrained methods with exact derivatives, against published answers."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.errors import InputError, ShapeError
from clew.solve import SLSQP, Constraint, Problem, solve

BOTH = ["slsqp", "trust-constr"]


def _hock_schittkowski_71() -> Problem:
    # Hock and Schittkowski, Test Examples for Nonlinear Programming Codes (1981), problem 71
    return Problem(
        lambda p: p["x"][0] * p["x"][3] * (p["x"][0] + p["x"][1] + p["x"][2]) + p["x"][2],
        {"x": np.array([1.0, 5.0, 5.0, 1.0])},
        bounds={"x": (1.0, 5.0)},
        constraints=[
            Constraint(lambda p: np.prod(p["x"]), lower=25.0, name="product"),
            Constraint(lambda p: np.sum(p["x"] ** 2), lower=40.0, upper=40.0, name="sphere"),
        ],
    )


@pytest.mark.parametrize("method", BOTH)
def test_hock_schittkowski_71(method: str) -> None:
    solution = solve(_hock_schittkowski_71(), method)
    assert solution.converged, solution.status
    assert solution.loss == pytest.approx(17.0140173, rel=1e-7)
    x = solution.params["x"]
    np.testing.assert_allclose(x, [1.0, 4.7429994, 3.8211503, 1.3794082], rtol=1e-5)
    assert np.all(x >= 1)
    assert np.all(x <= 5)
    assert np.prod(x) == pytest.approx(25.0, rel=1e-6)
    assert np.sum(x**2) == pytest.approx(40.0, rel=1e-6)


@pytest.mark.parametrize("method", BOTH)
def test_vector_constraints_with_both_ends(method: str) -> None:
    # the nearest point of a box turned by 45 degrees, worked out by hand
    def corners(p):
        return np.stack([p["x"] + p["y"], p["x"] - p["y"]])

    problem = Problem(
        lambda p: (p["x"] - 3.0) ** 2 + (p["y"] - 1.0) ** 2,
        {"x": 0.0, "y": 0.0},
        constraints=Constraint(corners, lower=[-1.0, -1.0], upper=[1.0, 1.0]),
    )
    solution = solve(problem, method)
    np.testing.assert_allclose(solution.vector, [1.0, 0.0], atol=1e-6)


def test_automatic_choice_takes_least_squares_with_constraints() -> None:
    x = np.linspace(0, 1, 20)
    problem = Problem(
        lambda p: p["a"] + p["b"] * x,
        {"a": 0.0, "b": 0.0},
        target=1 + 2 * x,
        constraints=[Constraint(lambda p: p["a"] + p["b"], upper=2.5)],
    )
    solution = solve(problem)
    assert solution.method.name == "slsqp"
    # the constrained minimum is the projection of (1, 2) in the metric of the normal matrix
    design = np.stack([np.ones(20), x], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    row = np.ones(2)
    wanted = np.array([1.0, 2.0]) - inverse @ row * 0.5 / (row @ inverse @ row)
    np.testing.assert_allclose(solution.vector, wanted, rtol=1e-6)


@pytest.mark.parametrize("method", BOTH)
def test_an_impossible_problem_is_not_called_solved(method: str) -> None:
    problem = Problem(
        lambda p: p["x"] ** 2,
        {"x": 1.0},
        constraints=[
            Constraint(lambda p: p["x"], lower=2.0),
            Constraint(lambda p: p["x"], upper=1.0),
        ],
    )
    solution = solve(problem, method, steps=200)
    assert not solution.converged
    if solution.status.kind == "scipy":
        assert "the constraints are violated by" in solution.status.sentence


@pytest.mark.parametrize("method", BOTH)
def test_they_also_solve_problems_without_constraints(method: str) -> None:
    problem = Problem(lambda p: np.sum((p - np.array([1.0, -2.0])) ** 2), np.zeros(2))
    np.testing.assert_allclose(solve(problem, method).params, [1.0, -2.0], atol=1e-6)


def test_the_step_limit_stops_scipy() -> None:
    solution = solve(_hock_schittkowski_71(), SLSQP(), steps=3)
    assert solution.status.kind == "steps"
    assert solution.steps == 3


@pytest.mark.parametrize("method", ["lm", "lbfgs", "adam", "newton-cg", "multi-start"])
def test_other_methods_refuse_constraints(method: str) -> None:
    x = np.arange(3.0)
    problem = Problem(
        lambda p: p * x, 1.0, target=x, constraints=[Constraint(lambda p: p, lower=0)]
    )
    with pytest.raises(InputError, match="takes bounds but no constraints") as caught:
        solve(problem, method)
    assert "slsqp" in caught.value.fix


@pytest.mark.parametrize("method", BOTH)
def test_a_constraint_that_depends_on_nothing(method: str) -> None:
    problem = Problem(
        lambda p: (p["x"] - 2) ** 2, {"x": 0.5}, constraints=Constraint(lambda p: np.ones(2), 0, 2)
    )
    assert solve(problem, method).params["x"] == pytest.approx(2.0, abs=1e-6)


def test_bad_constraints_are_refused() -> None:
    with pytest.raises(InputError, match=r"lower=2 is above upper=1"):
        Constraint(lambda p: p, lower=2, upper=1)
    with pytest.raises(InputError, match="has no end"):
        Constraint(lambda p: p)
    with pytest.raises(InputError, match="a constraint is a function"):
        Problem(lambda p: p, 1.0, constraints=[lambda p: p])
    wide = Constraint(lambda p: p * np.ones(3), lower=np.zeros(2), name="wide")
    with pytest.raises(ShapeError, match="Constraint wide: the function gives 3 values"):
        solve(Problem(lambda p: p**2, 1.0, constraints=[wide]))
    with pytest.raises(InputError, match="cannot be combined with constraints"):
        solve(_hock_schittkowski_71(), reparameterise=True)


def test_a_parameter_that_only_a_constraint_hears() -> None:
    # least x with x y = 8 and y at most 4: x = 2
    problem = Problem(
        lambda p: p["x"] ** 2,
        {"x": 3.0, "y": 1.0},
        bounds={"y": (0.5, 4.0)},
        constraints=[Constraint(lambda p: p["x"] * p["y"], 8.0, 8.0)],
    )
    found = solve(problem, "slsqp").params
    assert float(found["x"]) == pytest.approx(2.0, rel=1e-7)
    unheard = Problem(
        lambda p: p["x"] ** 2,
        {"x": 3.0, "y": 1.0},
        constraints=[Constraint(lambda p: p["x"], lower=1.0)],
    )
    with pytest.raises(InputError, match="no path from 'y' to the loss"):
        solve(unheard, "slsqp")
