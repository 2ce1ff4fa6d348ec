"""The damped step between bounds, dense and by products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from clew.solve.linear_models import DenseModel, OperatorModel, bounded_least_squares

FREE = np.full(5, np.inf)


def _models(rows: int = 20) -> tuple[np.ndarray, np.ndarray, DenseModel, OperatorModel]:
    rng = np.random.default_rng(rows)
    matrix, residual = rng.normal(size=(rows, 5)), rng.normal(size=rows)
    operator = OperatorModel(lambda v: matrix @ v, lambda w: matrix.T @ w, residual)
    return matrix, residual, DenseModel.of(matrix, residual), operator


def test_the_triangle_knows_what_the_jacobian_knew() -> None:
    matrix, residual, dense, _ = _models()
    np.testing.assert_allclose(dense.gradient, matrix.T @ residual, rtol=1e-12)
    np.testing.assert_allclose(dense.column_norms, np.linalg.norm(matrix, axis=0), rtol=1e-12)
    assert dense.residual_norm == pytest.approx(np.linalg.norm(residual), rel=1e-12)
    step = np.arange(5.0)
    change = 0.5 * np.sum(residual**2) - 0.5 * np.sum((residual + matrix @ step) ** 2)
    assert dense.reduction(step) == pytest.approx(change, rel=1e-12)


@pytest.mark.parametrize("rows", [3, 5, 20])
def test_the_damped_step_solves_its_normal_equations(rows: int) -> None:
    matrix, residual, dense, operator = _models(rows)
    scale = np.array([1.0, 2.0, 0.5, 3.0, 1.0])
    exact = -np.linalg.solve(matrix.T @ matrix + 0.3 * np.diag(scale**2), matrix.T @ residual)
    np.testing.assert_allclose(dense.step(0.3, scale, -FREE, FREE), exact, rtol=1e-10)
    inexact = operator.step(0.3, scale, -FREE, FREE)
    left = matrix.T @ (residual + matrix @ inexact) + 0.3 * scale**2 * inexact
    assert np.linalg.norm(left) <= 1e-3 * np.linalg.norm(matrix.T @ residual)


def test_without_damping_the_shortest_step_is_taken() -> None:
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    model = DenseModel.of(matrix, np.array([-2.0, -2.0]))
    step = model.step(0.0, np.ones(3), -FREE[:3], FREE[:3])
    np.testing.assert_allclose(step, [1.0, 1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_bounded_least_squares_equals_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(3, 20), rng.integers(1, 12)
    matrix, right = rng.normal(size=(rows, columns)), 3 * rng.normal(size=rows)
    if rows < columns:
        matrix = np.vstack([matrix, 0.1 * np.eye(columns)])
        right = np.concatenate([right, np.zeros(columns)])
    low, high = -rng.uniform(0, 1, columns), rng.uniform(0, 1, columns)
    low[rng.random(columns) < 0.3] = 0.0
    high[rng.random(columns) < 0.3] = np.inf
    high[0] = 0.5
    found = bounded_least_squares(matrix, right, low, high)
    # SciPy's own active-set method wants low < high strictly, which holds here
    wanted = lsq_linear(matrix, right, bounds=(low, high), method="bvls", tol=1e-14)
    assert np.all(found >= low)
    assert np.all(found <= high)
    cost = 0.5 * np.sum((matrix @ found - right) ** 2)
    assert cost <= wanted.cost * (1 + 1e-10)


def test_the_operator_model_respects_bounds() -> None:
    matrix, residual, _, operator = _models()
    low, high = np.full(5, -0.05), np.full(5, 0.05)
    step = operator.step(0.0, np.ones(5), low, high)
    assert np.all(np.abs(step) <= 0.05)
    exact = lsq_linear(matrix, -residual, bounds=(low, high))
    assert operator.reduction(step) > 0.9 * (0.5 * residual @ residual - exact.cost)


def test_columns_scale_as_under_a_change_of_parameters() -> None:
    matrix, residual, dense, operator = _models()
    factors = np.array([2.0, 0.5, 1.0, 3.0, 0.1])
    wanted = matrix.T @ residual * factors
    for model in (dense, operator):
        np.testing.assert_allclose(model.with_columns_scaled(factors).gradient, wanted, rtol=1e-12)
