"""A model as an objective: exact derivatives, minibatches, complex residuals, large Jacobians."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.errors import DerivativeError, InputError, ShapeError
from clew.solve import Problem, model_objective, solve
from clew.solve.model_objective import ModelObjective

X = np.linspace(0, 2, 30)
START = {"a": 1.5, "b": np.array([0.7, -0.2])}


def _wave(p):
    return p["a"] * np.exp(-p["b"][0] * X) + p["b"][1] * X**2


def _objective(**settings) -> ModelObjective:
    return ModelObjective(Problem(_wave, START, target=np.sin(X), **settings))


def _slope(objective: ModelObjective, x: np.ndarray) -> np.ndarray:
    h = 1e-6
    eye = np.eye(x.size)
    return np.array(
        [(objective.value(x + h * e) - objective.value(x - h * e)) / (2 * h) for e in eye]
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weights": np.linspace(0, 2, 30)},
        {"robust": ("huber", 0.3)},
        {"robust": ("cauchy", 0.3), "weights": 2.0},
        {"fixed": ["b[0]"]},
        {"residual": lambda y, t: {"one": y - t, "two": (y[:3] + t[:3]) ** 2}},
    ],
)
def test_every_derivative_agrees_with_differences(settings) -> None:
    objective = _objective(**settings)
    x = objective.problem.space.start
    loss, gradient = objective.value_and_gradient(x)
    assert loss == pytest.approx(objective.value(x), rel=1e-12)
    np.testing.assert_allclose(gradient, _slope(objective, x), rtol=1e-6)
    linear_loss, model = objective.linearise(x)
    assert linear_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(model.gradient, gradient, rtol=1e-9)
    v = np.arange(1.0, x.size + 1)
    h = 1e-5
    ahead, behind = (objective.value_and_gradient(x + s * h * v)[1] for s in (1, -1))
    np.testing.assert_allclose(
        objective.hessian_product(x, v), (ahead - behind) / (2 * h), rtol=1e-6
    )


def test_the_loss_is_what_the_documentation_says() -> None:
    weights = np.linspace(0, 2, 30)
    objective = _objective(weights=weights)
    residual = _wave(START) - np.sin(X)
    assert objective.value(objective.problem.space.start) == pytest.approx(
        0.5 * np.sum(weights * residual**2), rel=1e-12
    )


def test_the_model_is_traced_once() -> None:
    calls = []

    def model(p):
        calls.append(type(p["a"]).__name__)
        return _wave(p)

    solution = solve(Problem(model, START, target=np.sin(X)), "lbfgs")
    assert solution.steps > 5
    assert len(calls) <= 6  # once plainly, and once for each function of it that was needed


def test_jacobians_too_large_to_form_give_the_same_answer(monkeypatch) -> None:
    dense = solve(Problem(_wave, START, target=np.sin(X)))
    monkeypatch.setattr(model_objective, "DENSE_BYTES", 100)
    problem = Problem(_wave, START, target=np.sin(X))
    assert not ModelObjective(problem).dense
    products = solve(problem)
    assert products.converged
    np.testing.assert_allclose(products.vector, dense.vector, rtol=1e-4)
    with pytest.raises(InputError, match="too large to form"):
        products.uncertainty()


def test_more_parameters_than_residuals() -> None:
    matrix = np.random.default_rng(0).normal(size=(5, 40))
    problem = Problem(lambda p: matrix @ p, np.zeros(40), target=np.arange(5.0))
    solution = solve(problem)
    np.testing.assert_allclose(matrix @ solution.params, np.arange(5.0), atol=1e-9)


def test_complex_residuals_count_as_two_real_ones() -> None:
    wave = np.exp(1j * X)
    target = (2 - 3j) * wave + 0.1 * X
    problem = Problem(lambda p: p["z"] * wave, {"z": 1.0 + 0.0j}, target=target)
    for method in ("lm", "lbfgs", "newton-cg"):
        solution = solve(problem, method)
        exact = np.vdot(wave, target) / np.vdot(wave, wave)
        np.testing.assert_allclose(solution.params["z"], exact, rtol=1e-7)
    loss = 0.5 * np.sum(np.abs(exact * wave - target) ** 2)
    assert solution.loss == pytest.approx(loss, rel=1e-10)


def test_float32_parameters_stay_float32() -> None:
    seen = []

    def model(p):
        seen.append(p["a"].dtype)
        return p["a"] * X

    solution = solve(Problem(model, {"a": np.ones(1, np.float32)}, target=3 * X))
    assert set(seen) == {np.dtype(np.float32)}
    assert solution.params["a"].dtype == np.float32
    np.testing.assert_allclose(solution.params["a"], 3, rtol=1e-6)


# --- minibatches ---------------------------------------------------------------------------


def _line(p, x):
    return p["a"] + p["b"] * x


def _regression(**settings) -> Problem:
    y = 1.0 + 2.0 * X + 0.1 * np.sin(50 * X)
    return Problem(_line, {"a": 0.0, "b": 0.0}, target=y, data=X, **settings)


def test_an_epoch_sees_every_row_once_and_sums_to_the_whole() -> None:
    weights = np.linspace(1, 2, 30)
    objective = ModelObjective(_regression(weights=weights), batch=6, seed=2)
    x = np.array([0.3, -0.4])
    whole = ModelObjective(_regression(weights=weights)).value_and_gradient(x)
    parts = [objective.value_and_gradient(x, step) for step in range(5)]
    assert np.mean([loss for loss, _ in parts]) == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(np.mean([g for _, g in parts], axis=0), whole[1], rtol=1e-12)
    again = [objective.value_and_gradient(x, step)[0] for step in range(5, 10)]
    assert again != [loss for loss, _ in parts]  # another order in the next epoch


def test_minibatches_choose_adam_and_reach_the_line() -> None:
    solution = solve(_regression(), batch=10, steps=3000, learning_rate=0.02, seed=1)
    assert solution.method.name == "adam"
    np.testing.assert_allclose(solution.vector, [1, 2], atol=0.05)
    assert solution.loss == pytest.approx(
        ModelObjective(_regression()).value(solution.vector), rel=1e-12
    )


def test_the_seed_decides_the_order() -> None:
    one, same, other = (
        solve(_regression(), batch=4, steps=20, seed=seed).vector for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_loss_of_minibatches_gets_rows_of_the_target() -> None:
    problem = Problem(
        _line,
        {"a": 0.0, "b": 0.0},
        target=1 + 2 * X,
        loss=lambda y, t: np.mean(np.abs(y - t) ** 3),
        data=X,
    )
    solution = solve(problem, batch=7, steps=500, learning_rate=0.02)
    first = np.mean((1 + 2 * X) ** 3)
    assert solution.loss < 1e-3 * first


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: solve(Problem(_wave, START, target=X), batch=3), InputError, "no data= to take"),
        (lambda: solve(_regression(), batch=0), InputError, "batch=0"),
        (
            lambda: solve(_regression(), "lbfgs", batch=3),
            InputError,
            "needs all data at every step",
        ),
        (
            lambda: solve(
                Problem(lambda p, d: p * d["x"], 1.0, target=X, data={"x": X, "z": X[:5]}), batch=3
            ),
            ShapeError,
            "data x: 30, data z: 5, target: 30",
        ),
    ],
)
def test_bad_batches_are_explained(make, kind, message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_a_scalar_is_asked_for() -> None:
    with pytest.raises(DerivativeError, match=r"the loss has shape \(30,\) and dtype float64"):
        solve(Problem(_wave, START, loss=lambda y: y**2))
    with pytest.raises(DerivativeError, match=r"the model's result has shape \(30,\)"):
        solve(Problem(_wave, START))
    with pytest.raises(DerivativeError, match=r"the loss has shape .* complex128"):
        solve(Problem(_wave, START, loss=lambda y: np.sum(y) + 0j))
    with pytest.raises(DerivativeError, match="type dict"):
        solve(Problem(lambda p: {"a": p["a"]}, {"a": 1.0}))
