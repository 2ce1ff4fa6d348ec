"""Covariances against closed forms and certified values; what cannot be identified, in words."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.errors import InputError, ShapeError
from clew.solve import Problem, solve
from tests.solve.nist import PROBLEMS

X = np.linspace(0.1, 2, 40)
NOISE = np.random.default_rng(0).normal(size=40)


def test_linear_regression_in_closed_form() -> None:
    design = np.stack([np.ones(40), X, X**2], axis=1)
    y = design @ np.array([1.0, -2.0, 0.5]) + 0.1 * NOISE
    problem = Problem(lambda p: design @ p["c"], {"c": np.zeros(3)}, target=y)
    found = solve(problem).uncertainty()
    residual = y - design @ np.linalg.lstsq(design, y)[0]
    variance = residual @ residual / 37
    covariance = variance * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8)
    np.testing.assert_allclose(found.standard_error["c"], np.sqrt(np.diag(covariance)), rtol=1e-8)
    assert found.residual_deviation == pytest.approx(np.sqrt(variance), rel=1e-10)
    assert found.degrees_of_freedom == 37
    assert found.unidentified == []
    np.testing.assert_allclose(np.diag(found.correlation), 1)


def test_weights_and_known_noise() -> None:
    design = np.stack([np.ones(40), X], axis=1)
    weights = 1 / (0.1 + X) ** 2
    problem = Problem(
        lambda p: design @ p, np.zeros(2), target=design @ [1, 2] + 0.1 * NOISE, weights=weights
    )
    found = solve(problem).uncertainty(noise=1.0)
    exact = np.linalg.inv(design.T @ (weights[:, None] * design))
    np.testing.assert_allclose(found.covariance, exact, rtol=1e-8)


@pytest.mark.parametrize("name", ["Misra1a", "BoxBOD", "MGH09", "Thurber"])
def test_certified_standard_deviations(name: str) -> None:
    data = PROBLEMS[name]
    problem = Problem(
        lambda b: data.model(b, data.x), np.array(data.starts[1], float), target=data.y
    )
    found = solve(problem).uncertainty()
    np.testing.assert_allclose(found.standard_error, data.deviations, rtol=1e-5)


def test_errors_cover_the_truth_as_often_as_they_say() -> None:
    inside = []
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(size=40)
        problem = Problem(
            lambda p: p["a"] * np.exp(-p["b"] * X),
            {"a": 1.5, "b": 0.8},
            target=2 * np.exp(-X) + 0.05 * noise,
        )
        solution = solve(problem)
        error = solution.uncertainty().standard_error
        inside += [abs(solution.params[k] - t) < error[k] for k, t in (("a", 2), ("b", 1))]
    assert 0.62 < np.mean(inside) < 0.745  # 0.683, within 2.7 deviations of 400 correlated draws


def test_a_robust_covariance_is_near_the_one_without_outliers() -> None:
    y = 1 + 2 * X + 0.05 * NOISE
    spoilt = y.copy()
    spoilt[::10] += 4

    def model(p):
        return p["a"] + p["b"] * X

    start = {"a": 0.0, "b": 0.0}
    clean = solve(Problem(model, start, target=y)).uncertainty()
    robust = solve(Problem(model, start, target=spoilt, robust=("huber", 0.1))).uncertainty()
    plain = solve(Problem(model, start, target=spoilt)).uncertainty()
    assert plain.errors[1] > 8 * clean.errors[1]
    assert 0.8 < robust.errors[1] / clean.errors[1] < 2


# --- what the data do not identify ----------------------------------------------------------


def _unidentified(model, start, **settings):
    problem = Problem(model, start, target=3 * X + 0.01 * NOISE, **settings)
    return solve(problem).uncertainty()


def test_a_product() -> None:
    found = _unidentified(
        lambda p: p["light"]["intensity"] * np.sum(p["albedo"]) * X,
        {"light": {"intensity": 1.5}, "albedo": np.array([0.2, 0.5, 0.8])},
        fixed=["albedo[1]", "albedo[2]"],
    )
    assert found.unidentified[0].startswith("albedo[0] and light.intensity: ")
    found = _unidentified(
        lambda p: p["light"]["intensity"] * np.stack([a * X for a in p["albedo"]]).sum(0),
        {"light": {"intensity": 1.5}, "albedo": [0.2, 0.5]},
        fixed=["albedo[1]"],
    )
    assert len(found.unidentified) == 1


def test_a_product_with_an_array_names_it_as_one() -> None:
    shades = np.stack([X, X**2, np.sin(X)])

    problem = Problem(
        lambda p: p["light"]["intensity"] * p["albedo"][:, None] * shades,
        {"light": {"intensity": 1.5}, "albedo": np.array([0.2, 0.5, 0.8])},
        target=2 * np.array([0.3, 0.4, 0.5])[:, None] * shades + 0.01,
    )
    found = solve(problem).uncertainty()
    assert found.unidentified == [
        "albedo[0..2] and light.intensity: only their product is seen "
        "(albedo[0..2] * s and light.intensity / s give the same prediction)"
    ]
    [combination] = found.combinations
    assert combination.kind == "product"
    assert combination.coefficients == pytest.approx((1, -1))
    assert np.all(np.isinf(found.errors))
    jacobian_direction = combination.direction
    x = solve(problem).vector
    moved = problem.predict(problem.space.tree(x + 1e-6 * jacobian_direction))
    np.testing.assert_allclose(moved, problem.predict(problem.space.tree(x)), rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda p: p["a"] / p["b"] * X, "only their ratio is seen (a * s and b * s"),
        (lambda p: p["a"] ** 2 * p["b"] * X, "only a^2 * b is seen"),
        (lambda p: (p["a"] + p["b"]) * X, "only their sum is seen (a + t and b - t"),
        (lambda p: (p["a"] - p["b"]) * X + 1, "only their difference is seen (a + t and b + t"),
        (
            lambda p: (p["a"] + np.sin(p["b"])) * X,
            "to first order the data do not see a change of",
        ),
    ],
)
def test_pairs_are_told_apart(model, words: str) -> None:
    found = _unidentified(model, {"a": 2.0, "b": 0.7})
    [text] = found.unidentified
    assert text.startswith("a and b: ")
    assert words in text


def test_the_answer_does_not_depend_on_units() -> None:
    for unit in (1e-9, 1.0, 1e9):
        found = _unidentified(
            lambda p, u=unit: p["a"] * u * p["b"] * X + p["c"], {"a": 1 / unit, "b": 2.0, "c": 0.1}
        )
        assert len(found.unidentified) == 1
        assert found.unidentified[0].startswith("a and b: only their product is seen")
        assert np.isfinite(found.standard_error["c"])
        assert np.isinf(found.standard_error["a"])


def test_several_at_once_are_told_one_by_one() -> None:
    found = _unidentified(
        lambda p: p["a"] * p["b"] * X + p["c"][0] + p["c"][1] + 0 * p["d"] + p["e"] * X**2,
        {"a": 1.0, "b": 2.0, "c": np.array([0.1, 0.3]), "d": np.ones(3)[0], "e": 0.5},
    )
    assert len(found.unidentified) == 3
    assert found.unidentified[0].startswith("d: the data do not see it at all")
    assert "only their sum is seen" in " ".join(found.unidentified)
    assert "only their product is seen" in " ".join(found.unidentified)
    assert np.isfinite(found.standard_error["e"])


def test_an_array_that_is_not_seen_is_one_line() -> None:
    found = _unidentified(lambda p: p["a"] * X + 0 * np.sum(p["w"]), {"a": 1.0, "w": np.ones(5)})
    assert found.unidentified == [
        "w[0..4]: the data do not see it at all (no residual changes with it)"
    ]


def test_a_parameter_whose_effect_has_died_away_is_not_determined() -> None:
    problem = Problem(
        lambda p: p["a"] + np.exp(-p["b"] * X * 100), {"a": 1.0, "b": 20.0}, target=3 + 0.1 * NOISE
    )
    found = solve(problem).uncertainty()
    assert found.unidentified[0].startswith("b: the data do not see it at all")
    assert np.isfinite(found.standard_error["a"])


def test_parameters_on_a_bound_are_said_to_be_held() -> None:
    problem = Problem(
        lambda p: p["a"] * X + p["b"],
        {"a": 0.5, "b": 0.0},
        target=3 * X + 0.01 * NOISE,
        bounds={"a": (0, 1)},
    )
    solution = solve(problem)
    found = solution.uncertainty()
    assert solution.params["a"] == 1.0
    assert found.held == ["a"]
    assert found.standard_error["a"] == 0
    assert found.standard_error["b"] > 0
    assert "at its upper bound" in str(solution)


def test_as_many_parameters_as_data_leave_no_estimate() -> None:
    problem = Problem(lambda p: p["a"] + p["b"] * X[:2], {"a": 0.0, "b": 0.0}, target=X[:2])
    found = solve(problem).uncertainty()
    assert found.degrees_of_freedom == 0
    assert np.all(np.isnan(found.errors))
    assert np.all(np.isfinite(solve(problem).uncertainty(noise=0.1).errors))


def test_a_scalar_loss_has_no_covariance() -> None:
    solution = solve(Problem(lambda p: p**2, 1.0))
    with pytest.raises(InputError, match="does not say how data scatter") as caught:
        solution.uncertainty()
    assert "residual=" in caught.value.fix


def test_residuals_that_share_noise_say_so() -> None:
    generator = np.random.default_rng(5)
    x = np.linspace(0.0, 1.0, 200)
    copies = 4
    pulls = {True: [], False: []}
    for _ in range(60):
        noise = 0.1 * generator.normal(size=(200, 1)) * (0.5 + x[:, None])
        target = 2.0 + 3.0 * x[:, None] + np.repeat(noise, copies, axis=1)
        for grouped in (True, False):
            problem = Problem(
                lambda p: (p["a"] + p["b"] * x[:, None]) * np.ones(copies),
                {"a": 1.0, "b": 1.0},
                target=target,
                groups=np.arange(200)[:, None] if grouped else None,
            )
            solution = solve(problem)
            error = solution.uncertainty().standard_error
            pulls[grouped].append((float(solution.params["b"]) - 3.0) / float(error["b"]))
    assert 0.8 < np.std(pulls[True]) < 1.25
    assert np.std(pulls[False]) > 1.7  # four copies of one measurement are not four


def test_groups_must_fit() -> None:
    x = np.arange(4.0)
    problem = Problem(lambda p: p["a"] * x, {"a": 1.0}, target=2 * x, groups=np.arange(3))
    with pytest.raises(ShapeError, match="groups of shape"):
        solve(problem).uncertainty()
    with pytest.raises(InputError, match="groups= applies to residuals"):
        Problem(lambda p: p["a"], {"a": 1.0}, loss=lambda y: y**2, groups=np.arange(3))
