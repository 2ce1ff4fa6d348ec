"""Problems that make no sense are refused in words: what, where, and what to do."""

from __future__ import annotations

import re
import traceback

import numpy as np
import pytest

from clew import stop_gradient
from clew.core.errors import DerivativeError, DtypeError, InputError, ShapeError
from clew.solve import Adam, Problem, solve

X = np.linspace(0, 1, 8)
START = {"light": 1.0, "albedo": np.array([0.5, 0.5])}


def _model(p):
    return p["light"] * X + p["albedo"][0] - p["albedo"][1] ** 2


def _spoilt() -> np.ndarray:
    target = X.copy()
    target[3] = np.nan
    return target


CASES = [
    (
        lambda: solve(Problem(_model, START, target=np.zeros(7))),
        ShapeError,
        "the prediction has shape (8,), the target has shape (7,)",
        "give residual=",
    ),
    (
        lambda: solve(Problem(_model, START, target={"a": X, "b": X})),
        ShapeError,
        "the prediction holds 1 arrays (one), the target 2 (a, b)",
        "structure of the target",
    ),
    (
        lambda: Problem(_model, START, target=_spoilt()),
        InputError,
        "target is nan at [3], and 1 of its 8 values are not finite",
        "weight 0",
    ),
    (
        lambda: Problem(_model, START, target={"y": np.array([np.inf, 1, 2])}),
        InputError,
        "target y is inf at [0]",
        "weight 0",
    ),
    (
        lambda: Problem(_model, START, target=np.array(["a"])),
        DtypeError,
        "target has dtype <U1",
        "array of numbers",
    ),
    (
        lambda: Problem(_model, {"light": 1, "albedo": np.ones(2)}, target=X),
        DtypeError,
        "start of light has dtype int64",
        "write 1.0",
    ),
    (lambda: Problem(_model, {}, target=X), InputError, "an empty tree", "at least one float"),
    (lambda: Problem(3, START, target=X), InputError, "model is a int", "model(params)"),
    (
        lambda: Problem(_model, START, loss=np.sum, residual=np.negative),
        InputError,
        "both loss= and residual=",
        "least squares",
    ),
    (
        lambda: Problem(_model, START, loss=np.sum, weights=X),
        InputError,
        "weights= applies to residuals",
        "put it into the loss",
    ),
    (
        lambda: Problem(_model, START, loss=np.sum, robust="huber"),
        InputError,
        "robust= applies to residuals",
        "put it into the loss",
    ),
    (
        lambda: Problem(_model, START, target=X, weights=-X),
        InputError,
        "weights hold negative",
        "1 / variance",
    ),
    (
        lambda: solve(Problem(_model, START, target=X, weights=np.ones(5))),
        ShapeError,
        "weights of shape [(5,)] do not fit residuals of shape [(8,)]",
        "one weight per residual",
    ),
    (
        lambda: solve(Problem(lambda p: np.log(-p["light"]) * X, {"light": 1.0}, target=X)),
        InputError,
        "at the start the model gives nan (8 of 8 values are not finite)",
        "start elsewhere",
    ),
    (
        lambda: solve(Problem(lambda p: np.sqrt(p["light"]), {"light": 0.0})),
        InputError,
        "at the start the loss is 0.0 and its gradient inf",
        "start elsewhere",
    ),
    (lambda: solve(_model), InputError, "the problem is a function", "clew.Problem("),
    (
        lambda: solve(Problem(_model, START, target=X), "lbgfs"),
        InputError,
        "there is no method 'lbgfs'",
        "did you mean 'lbfgs'",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), "zzz"),
        InputError,
        "there is no method 'zzz'",
        "choose one of sgd",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), 3),
        InputError,
        "method is a int",
        "method object",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), "adam", learn_rate=1),
        InputError,
        "method 'adam' has no option 'learn_rate'",
        "did you mean 'learning_rate'?",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), Adam(), learning_rate=1),
        InputError,
        "beside a method object",
        "Adam(learning_rate=...)",
    ),
    (
        lambda: solve(Problem(_model, START, loss=np.sum), "lm"),
        InputError,
        "method 'lm' is for least squares",
        "method='lbfgs'",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), steps=-1),
        InputError,
        "steps=-1",
        "0 or more",
    ),
    (
        lambda: solve(Problem(_model, START, target=X), tolerance=0),
        InputError,
        "tolerance=0",
        "positive",
    ),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_bad_input_is_explained(number: int) -> None:
    make, kind, message, fix = CASES[number]
    with pytest.raises(kind, match=re.escape(message)) as caught:
        make()
    assert fix in caught.value.fix
    assert "test_problem.py:" in str(caught.value)


# --- parameters without a path --------------------------------------------------------------


def test_an_ignored_parameter_is_named() -> None:
    def model(p):
        return p["albedo"][0] * X + p["albedo"][1]

    with pytest.raises(InputError, match="no path from 'light' to the loss") as caught:
        solve(Problem(model, START, target=X))
    assert "unused" in caught.value.asked
    assert "fixed=['light']" in caught.value.fix
    assert caught.value.where.line == model.__code__.co_firstlineno
    assert solve(Problem(model, START, target=X, fixed=["light"])).converged


@pytest.mark.parametrize("method", ["lm", "adam", "slsqp"])
def test_a_stopped_parameter_is_named(method: str) -> None:
    def model(p):
        return stop_gradient(p["light"]) * X + p["albedo"][0] + p["albedo"][1]

    with pytest.raises(InputError, match=r"no path from 'light' to the loss .*stop_gradient"):
        solve(Problem(model, START, target=X), method)


def test_a_parameter_without_slope_at_the_start_is_allowed() -> None:
    solution = solve(Problem(lambda p: (p["a"] - p["b"] ** 2) ** 2, {"a": 0.5, "b": 0.0}))
    assert solution.loss < 1e-10


# --- faults of the user's own code ----------------------------------------------------------


def test_the_users_traceback_is_kept() -> None:
    def model(p):
        return p["lihgt"] * X

    with pytest.raises(KeyError, match="lihgt") as caught:
        solve(Problem(model, START, target=X))
    lines = traceback.extract_tb(caught.value.__traceback__)
    assert lines[-1].line == 'return p["lihgt"] * X'
    assert any("at its start" in note for note in caught.value.__notes__)


def test_a_fault_in_the_middle_says_at_which_step() -> None:
    def spoil(step) -> None:
        if step.number == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        solve(Problem(_model, START, target=X), "sgd", callback=spoil)
    assert any("after 3 steps" in note for note in caught.value.__notes__)


def test_engine_errors_pass_through_with_the_users_line() -> None:
    def model(p):
        return float(p["light"]) * X + p["albedo"][0]

    with pytest.raises(TypeError) as caught:
        solve(Problem(model, START, target=X))
    assert "test_problem.py" in str(caught.value)


# --- what is allowed ------------------------------------------------------------------------


def test_data_without_weight_may_be_missing() -> None:
    weights = np.ones(8)
    weights[3] = 0
    target = 2 * X
    target[3] = np.nan
    solution = solve(Problem(lambda p: p * X, 1.0, target=target, weights=weights))
    assert solution.params == pytest.approx(2.0, rel=1e-9)
    assert solution.uncertainty().degrees_of_freedom == 6


def test_goals() -> None:
    answers = [
        solve(Problem(lambda p: p * X, 1.0, target=3 * X)),
        solve(Problem(lambda p: p * X, 1.0, target=3 * X, residual=lambda y, t: y - t)),
        solve(Problem(lambda p: p * X, 1.0, residual=lambda y: y - 3 * X)),
        solve(Problem(lambda p: p * X, 1.0, target=3 * X, loss=lambda y, t: np.sum((y - t) ** 2))),
        solve(Problem(lambda p: p * X, 1.0, loss=lambda y: np.sum((y - 3 * X) ** 2))),
        solve(Problem(lambda p: np.sum((p * X - 3 * X) ** 2), 1.0)),
    ]
    assert [each.method.name for each in answers] == ["lm", "lm", "lm", "lbfgs", "lbfgs", "lbfgs"]
    for each in answers:
        assert each.converged
        assert each.params == pytest.approx(3.0, rel=1e-7)


def test_one_array_in_two_places_of_the_prediction_or_target_counts_twice() -> None:
    def model(p):
        y = p * X
        return {"a": y, "b": y}

    solution = solve(Problem(model, 1.0, target={"a": X, "b": 3 * X}))
    assert solution.params == pytest.approx(2.0, rel=1e-9)
    assert solution.uncertainty().degrees_of_freedom == 15
    both = {"a": 2 * X, "b": 2 * X}
    both["b"] = both["a"]
    assert solve(Problem(model, 1.0, target=both)).params == pytest.approx(2.0, rel=1e-9)


def test_pytrees_of_predictions() -> None:
    problem = Problem(
        lambda p: {"a": p["u"] * X, "b": [p["v"] * np.ones((2, 2)), p["u"]]},
        {"u": 1.0, "v": 1.0},
        target={"a": 2 * X, "b": [np.full((2, 2), 3.0), 2.0]},
    )
    np.testing.assert_allclose(solve(problem).vector, [2, 3], rtol=1e-9)


def test_a_loss_that_leaves_the_finite_stops_with_a_sentence() -> None:
    problem = Problem(lambda p: np.log(p["x"]), {"x": 1.0})
    solution = solve(problem, "sgd", learning_rate=0.3, steps=50)
    assert solution.status.kind == "not finite"
    assert np.isfinite(solution.loss)
    assert solution.params["x"] > 0
    assert solution.status.sentence.startswith("Stopped after ")
    assert "Lower the learning rate" in str(solution.status)


def test_printing_says_what_a_reader_wants() -> None:
    target = X + 0.01 * np.cos(9 * X)
    problem = Problem(
        _model, START, target=target, fixed=["albedo[1]"], units={"light": "W"}, name="ball"
    )
    text = str(solve(problem))
    assert text.startswith("ball: Converged after")
    assert re.search(r"light +[01]\.\d+ \+- 0\.\d+ W", text)
    assert re.search(r"albedo\[1\] +0\.5 +\(fixed\)", text)
    assert repr(problem) == "Problem('ball', 2 free parameters, goal: target)"


def test_derivative_errors_name_the_loss() -> None:
    with pytest.raises(DerivativeError, match="a real scalar is minimised"):
        solve(Problem(_model, START, target=X, loss=lambda y, t: y - t))
