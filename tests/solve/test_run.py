"""Runs: which method is chosen, how they end, what they record."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import InputError
from clew.solve import (
    LBFGS,
    METHODS,
    Adam,
    Constraint,
    Cosine,
    Problem,
    solve,
)
from clew.solve.choice import automatic
from tests.solve.nist import PROBLEMS

X = np.linspace(0, 1, 12)


def _decay() -> Problem:
    return Problem(
        lambda p: p["a"] * np.exp(-p["b"] * X),
        {"a": 1.0, "b": 0.2},
        target=2 * np.exp(-1.5 * X) + 0.01 * np.sin(30 * X),
        bounds={"a": (0.0, 10.0), "b": (0.0, None)},
    )


BEST = np.array([1.9960517, 1.48811])


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_goes_towards_the_same_answer(name: str) -> None:
    rates = {"learning_rate": 0.3 if name == "adagrad" else 0.05}
    options = rates if METHODS[name].takes_batches else {}
    if name == "adamw":
        options["weight_decay"] = 0.0
    solution = solve(_decay(), name, steps=3000 if options else None, **options)
    first = solution.history.loss[0]
    assert solution.loss < 1e-3 * first
    if not options:
        assert solution.converged, solution.status
        np.testing.assert_allclose(solution.vector, solve(_decay()).vector, rtol=1e-5)


@pytest.mark.parametrize("name", ["lbfgs", "lm", "newton-cg", "gauss-newton", "momentum"])
def test_smooth_bounds_find_the_same_answer(name: str) -> None:
    options = {"learning_rate": 0.01, "steps": 4000} if name == "momentum" else {}
    solution = solve(_decay(), name, reparameterise=True, **options)
    np.testing.assert_allclose(solution.vector, solve(_decay()).vector, rtol=1e-5)


def test_automatic_choice() -> None:
    def model(p):
        return np.sum(p["x"]) * X

    start = {"x": np.ones(300)}
    rule = [Constraint(lambda p: p["x"], lower=0)]
    assert automatic(Problem(model, start, target=X), False) == "lm"
    assert automatic(Problem(model, start, loss=np.sum), False) == "lbfgs"
    assert automatic(Problem(model, start, target=X), True) == "adam"
    assert automatic(Problem(model, start, target=X, constraints=rule), False) == "trust-constr"
    assert automatic(Problem(model, {"x": np.ones(3)}, constraints=rule), False) == "slsqp"


def test_method_objects_and_names_are_the_same_method() -> None:
    schedule = Cosine(0.05, 100)
    one = solve(_decay(), Adam(learning_rate=schedule), steps=50)
    two = solve(_decay(), "adam", learning_rate=schedule, steps=50)
    np.testing.assert_array_equal(one.vector, two.vector)
    assert solve(_decay(), "L-BFGS").method == LBFGS()
    assert solve(_decay(), "gauss_newton").method.name == "gauss-newton"
    assert solve(_decay(), LBFGS(), tolerance=1e-3).method.tolerance == 1e-3


def test_the_history_has_a_row_for_every_step() -> None:
    numbers = []
    solution = solve(_decay(), "sgd", steps=17, callback=lambda step: numbers.append(step.number))
    history = solution.history
    assert numbers == list(range(1, 18))
    assert len(history) == 18
    assert solution.steps == 17
    assert history.step_length[0] == 0
    assert np.all(history.step_length[1:] > 0)
    assert np.all(np.diff(history.elapsed) >= 0)
    assert history.loss[-1] == solution.loss


def test_the_gradient_of_every_row_is_that_of_its_point() -> None:
    from clew.solve.model_objective import ModelObjective

    points = []
    solution = solve(_decay(), callback=lambda step: points.append(step.vector))
    objective = ModelObjective(_decay())
    for number, x in enumerate(points, 1):
        loss, model = objective.linearise(x)
        assert solution.history.loss[number] == pytest.approx(loss, rel=1e-12)
        cosine = model.cosine(np.ones(2, bool))
        assert solution.history.gradient_norm[number] == pytest.approx(cosine, rel=1e-6, abs=1e-13)


def test_the_callback_can_end_the_run_and_sees_the_tree() -> None:
    seen = []

    def enough(step) -> bool:
        seen.append(step.params["a"])
        return step.loss < 0.5

    solution = solve(_decay(), "sgd", learning_rate=0.05, callback=enough)
    assert solution.status.kind == "callback"
    assert not solution.converged
    assert solution.loss < 0.5
    assert solution.params["a"] == seen[-1]


def test_no_steps_give_the_start() -> None:
    solution = solve(_decay(), steps=0)
    assert solution.status.kind == "steps"
    assert solution.params == {"a": 1.0, "b": 0.2}
    assert len(solution.history) == 1


def test_the_best_point_is_kept_when_a_method_overshoots() -> None:
    problem = Problem(lambda p: np.sum(p**2), np.array([1.0]))
    solution = solve(problem, "momentum", learning_rate=0.4, steps=7)
    assert solution.loss == solution.history.loss.min()
    assert solution.loss < solution.history.loss[-1]


def test_endings_are_told_apart() -> None:
    kinds = {
        "gradient": solve(_decay(), "lbfgs"),
        "steps": solve(_decay(), "adam", steps=3),
        "optimal": solve(_decay(), "slsqp"),
        "starts": solve(_decay(), "multi-start", starts=3),
    }
    for kind, solution in kinds.items():
        assert solution.status.kind == kind
        assert solution.status.sentence[0].isupper()
        assert solution.status.sentence.endswith((".", ".)"))
        assert solution.converged == (kind != "steps")


def test_a_plateau_is_not_called_a_solution() -> None:
    data = PROBLEMS["BoxBOD"]
    problem = Problem(
        lambda b: data.model(b, data.x), np.array(data.starts[0], float), target=data.y
    )
    solution = solve(problem)
    assert not solution.converged
    assert solution.status.kind == "stuck"
    assert "start elsewhere" in solution.status.sentence


def test_a_fit_to_rounding_is_called_a_solution() -> None:
    problem = Problem(
        lambda p: p["a"] * np.exp(-p["b"] * X), {"a": 1.0, "b": 0.2}, target=2 * np.exp(-1.5 * X)
    )
    for method in ("lm", "gauss-newton", "lbfgs"):
        solution = solve(problem, method)
        assert solution.converged, solution.status
        np.testing.assert_allclose(solution.vector, [2.0, 1.5], rtol=1e-6)


def test_value_dependent_branches_are_followed() -> None:
    def model(p):
        y = p["a"] * X
        if p["a"] > 2:  # a kink that the path to the answer crosses
            y = y + (p["a"] - 2) * X**2
        return y

    solution = solve(Problem(model, {"a": 0.5}, target=3 * X + X**2))
    assert solution.params["a"] == pytest.approx(3.0, rel=1e-8)


@pytest.mark.parametrize("offset", [0.0, -50.0])
def test_a_loss_without_bottom_is_not_said_to_be_solved(offset):
    problem = Problem(lambda p: p["a"], {"a": 1.0}, loss=lambda y: offset - y)
    solution = solve(problem, "lbfgs")
    assert not solution.converged
    assert solution.status.kind != "precision"


@pytest.mark.parametrize("bottom", [-5.0, 5.0])
def test_the_sign_of_the_loss_does_not_matter(bottom):
    problem = Problem(lambda p: p["a"], {"a": 1.0}, loss=lambda y: np.cosh(y - 3.0) - 1.0 + bottom)
    solution = solve(problem, "lbfgs")
    assert solution.converged
    assert solution.params["a"] == pytest.approx(3.0, rel=1e-6)


# --- runs that turn bad --------------------------------------------------------------------------

BOTTOMLESS = {
    "linear": lambda p: -p["a"],
    "cubic": lambda p: -(p["a"] ** 3),
    "exponential": lambda p: -np.exp(p["a"]),
    "logarithm": lambda p: np.log(p["a"]),  # down to -inf at 0, NaN beyond
}


@pytest.mark.parametrize(
    "name", ["slsqp", "trust-constr", "newton-cg", "lbfgs", "adam", "momentum"]
)
@pytest.mark.parametrize("loss", list(BOTTOMLESS))
def test_a_run_without_end_stops_with_a_sentence_and_finite_parameters(name, loss):
    options = {"learning_rate": 0.5} if name == "adam" else {}
    solution = solve(Problem(BOTTOMLESS[loss], {"a": 1.0}), name, **options)
    assert not solution.converged
    assert solution.status.sentence.endswith(".")
    assert np.isfinite(solution.params["a"])
    assert np.isfinite(solution.loss)
    assert np.isfinite(solution.history.loss).all()
    bad = solution.status.kind == "not finite"
    assert (solution.explanation is not None) == bad


def test_parameters_that_run_away_are_told():
    for name in ("slsqp", "trust-constr", "newton-cg"):
        solution = solve(Problem(BOTTOMLESS["linear"], {"a": 1.0}), name)
        assert solution.status.kind == "unbounded"
        assert "seems to have no lowest value" in solution.status.sentence
        assert solution.params["a"] > 1e70


def test_a_loss_that_is_no_number_is_explained_with_its_line_and_parameters():
    def model(p):
        return np.log(p["a"]) + np.sum(p["b"] ** 2)  # here: the logarithm

    start = {"a": 1.0, "b": np.array([1.0, 2.0])}
    solution = solve(Problem(model, start), "sgd", learning_rate=0.4, steps=100)
    assert solution.status.kind == "not finite"
    with open(__file__) as source:
        line = next(n for n, text in enumerate(source, 1) if text.endswith("the logarithm\n"))
    found = solution.explanation
    assert (found.found, found.name, found.where.line) == ("nan", "log", line)
    text = str(solution.status)
    assert f"the first nan is log in the forward pass at test_run.py:{line}, of -" in text
    assert ", with a = -" in text
    assert "b " not in text.split(", with ")[1]
    assert "Lower the learning rate" in solution.status.sentence
    assert solution.params["a"] > 0


def test_the_turn_of_a_loop_is_in_the_sentence():
    def model(p):
        def step(c, a):
            return c + np.sqrt(p["a"] - a), None

        return p["a"] * 3 + clew.scan(step, 0.0, np.array([-10.0, 0.5, 0.2]))[0]

    solution = solve(Problem(model, {"a": 1.0}), "sgd", learning_rate=0.05)
    assert solution.status.kind == "not finite"
    assert "the first nan is sqrt" in solution.status.sentence
    assert "iteration 1 of scan" in solution.status.sentence


def test_a_gradient_that_is_no_number_at_the_start_is_explained():
    problem = Problem(lambda p: np.sqrt(p["a"] * p["a"]) + p["a"], {"a": 0.0})
    with pytest.raises(InputError, match=r"no step can be taken: the first .* in the backward"):
        solve(problem, "lbfgs")


def test_arrays_are_named_by_their_range():
    problem = Problem(lambda p: np.sum(np.log(p["x"]) + p["x"]), {"x": np.array([0.5, 2.0, 3.0])})
    solution = solve(problem, "sgd", learning_rate=1.0)
    assert "with x from -" in solution.status.sentence


def test_errors_of_the_model_are_not_taken_for_those_of_scipy():
    calls = []

    def model(p):
        calls.append(1)
        if p["a"] < 0.5:
            raise ValueError("out of range")
        return (p["a"] + 1.0) ** 2

    rule = Constraint(lambda p: p["a"], lower=-3.0)
    with pytest.raises(ValueError, match="out of range"):
        solve(Problem(model, {"a": 1.0}, constraints=[rule]), "trust-constr")


def test_a_good_run_has_nothing_to_explain():
    assert solve(_decay()).explanation is None
