"""Bounds as smooth functions of free parameters."""

from __future__ import annotations

import numpy as np

from clew.solve import LBFGS, LevenbergMarquardt, NewtonCG
from clew.solve.objective import Reparameterised
from tests.solve.functions import Residuals, rosenbrock, run

LOWER = np.array([-np.inf, 0.0, -np.inf, -1.0])
UPPER = np.array([np.inf, np.inf, 2.0, 3.0])


def _objective() -> Reparameterised:
    inner = rosenbrock(4)
    inner.lower, inner.upper = LOWER, UPPER
    return Reparameterised(inner)


def test_there_and_back() -> None:
    objective = _objective()
    x = np.array([-7.0, 0.3, -5.0, 2.9])
    np.testing.assert_allclose(objective.point(objective.outer(x)), x, rtol=1e-12)


def test_every_number_lands_between_the_bounds() -> None:
    objective = _objective()
    for z in (-1e8, -3.0, 0.0, 3.0, 1e8):
        x = objective.point(np.full(4, z))
        assert np.all(x >= LOWER)
        assert np.all(x <= UPPER)


def test_a_start_on_a_bound_keeps_a_gradient() -> None:
    objective = _objective()
    z = objective.outer(np.array([1.0, 0.0, 2.0, 3.0]))
    assert np.all(np.isfinite(z))
    assert np.all(np.abs(objective.slopes(z)[0]) > 0.04)


def test_slopes_are_derivatives_of_the_point() -> None:
    objective = _objective()
    z = np.array([0.4, -1.7, 2.2, -0.8])
    first, second = objective.slopes(z)
    h = 1e-5
    ahead, behind = objective.point(z + h), objective.point(z - h)
    np.testing.assert_allclose((ahead - behind) / (2 * h), first, rtol=1e-8)
    change = (objective.slopes(z + h)[0] - objective.slopes(z - h)[0]) / (2 * h)
    np.testing.assert_allclose(change, second, rtol=1e-7, atol=1e-12)


def test_gradient_and_hessian_follow_the_chain_rule() -> None:
    objective = _objective()
    z, v = np.array([0.4, -0.7, 0.2, -0.8]), np.array([1.0, 2.0, -1.0, 0.5])
    h = 1e-5
    slope = (objective.value(z + h * v) - objective.value(z - h * v)) / (2 * h)
    gradient = objective.value_and_gradient(z)[1]
    np.testing.assert_allclose(gradient @ v, slope, rtol=1e-7)
    ahead, behind = (objective.value_and_gradient(z + s * h * v)[1] for s in (1, -1))
    product = objective.hessian_product(z, v)
    np.testing.assert_allclose(product, (ahead - behind) / (2 * h), rtol=1e-7)


def test_methods_reach_the_bound() -> None:
    for method in (LBFGS(), NewtonCG()):
        inner = rosenbrock(2)
        inner.lower, inner.upper = np.full(2, -2.0), np.full(2, 0.5)
        objective = Reparameterised(inner)
        state = run(method, objective, objective.outer(np.array([-1.2, 0.4])))
        np.testing.assert_allclose(objective.point(state["x"]), [0.5, 0.25], rtol=1e-6)


def test_least_squares_see_the_scaled_jacobian() -> None:
    x = np.linspace(0, 1, 20)
    inner = Residuals(lambda p: p[0] * np.exp(-p[1] * x) - 2 * np.exp(-3 * x), 2, 0.0, 10.0)
    objective = Reparameterised(inner)
    state = run(LevenbergMarquardt(), objective, objective.outer(np.array([5.0, 0.5])))
    np.testing.assert_allclose(objective.point(state["x"]), [2.0, 3.0], rtol=1e-8)
