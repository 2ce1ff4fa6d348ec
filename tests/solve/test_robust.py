"""Robust losses: their formulas, and what outliers do to a fit."""

from __future__ import annotations

import numpy as np
import pytest

from clew.core.errors import InputError
from clew.solve import Problem, solve
from clew.solve.robust import LOSSES, robust_loss

X = np.linspace(-1, 1, 60)


def _line(p):
    return p["slope"] * X + p["height"]


def _spoilt() -> np.ndarray:
    rng = np.random.default_rng(4)
    y = 2.0 * X - 0.5 + 0.02 * rng.normal(size=X.size)
    y[::7] += 5.0
    return y


@pytest.mark.parametrize("name", list(LOSSES))
def test_slope_and_curve_are_derivatives_of_rho(name: str) -> None:
    loss = robust_loss((name, 1.5))
    z = np.array([0.01, 0.5, 0.9, 1.1, 4.0, 100.0])
    h = 1e-6 * z
    np.testing.assert_allclose(
        (loss.rho(z + h) - loss.rho(z - h)) / (2 * h), loss.slope(z), rtol=1e-7
    )
    np.testing.assert_allclose(
        (loss.slope(z + h) - loss.slope(z - h)) / (2 * h), loss.curve(z), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("name", list(LOSSES))
def test_small_residuals_count_as_squares(name: str) -> None:
    residual = np.array([1e-4, -2e-4])
    total = float(robust_loss((name, 1.0)).total(residual))
    assert total == pytest.approx(0.5 * np.sum(residual**2), rel=1e-7)


@pytest.mark.parametrize("name", list(LOSSES))
def test_outliers_do_not_move_the_fit(name: str) -> None:
    start = {"slope": 0.0, "height": 0.0}
    plain = solve(Problem(_line, start, target=_spoilt()))
    robust = solve(Problem(_line, start, target=_spoilt(), robust=(name, 0.05)))
    assert robust.converged
    assert abs(plain.params["height"] + 0.5) > 0.5
    assert abs(robust.params["height"] + 0.5) < (0.01 if name == "cauchy" else 0.03)
    assert abs(robust.params["slope"] - 2.0) < 0.05


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_method_finds_the_same_robust_minimum(name: str) -> None:
    problem = Problem(_line, {"slope": 1.0, "height": 0.0}, target=_spoilt(), robust=(name, 0.3))
    answers = [solve(problem, method).vector for method in ("lm", "lbfgs", "newton-cg")]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5)
    np.testing.assert_allclose(answers[2], answers[0], rtol=1e-5)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'cauchy'"):
        robust_loss("cauchi")
    with pytest.raises(InputError, match="the scale is -1"):
        robust_loss(("huber", -1.0))
