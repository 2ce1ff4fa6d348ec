"""Running and sorted values, special functions: against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import clew
from clew.ops import cumulative, sort, special
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(9)
X = GENERATOR.normal(size=(3, 5))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("zeros", [0, 1, 3])
def test_cumprod_has_exact_derivatives_at_zeros(axis, zeros):
    x = X.copy()
    x.ravel()[[1, 6, 8][:zeros]] = 0.0
    np.testing.assert_array_equal(cumulative.cumprod(x, axis=axis), np.cumprod(x, axis=axis))
    check_derivatives(lambda x: cumulative.cumprod(x, axis=axis), x, order=3, tolerance=1e-6)


def test_product_of_zeros_has_exact_gradient():
    gradient = clew.grad(np.prod)
    np.testing.assert_array_equal(gradient(np.array([0.0, 2.0, 3.0])), [6.0, 0.0, 0.0])
    np.testing.assert_array_equal(gradient(np.array([0.0, 0.0, 3.0])), [0.0, 0.0, 0.0])
    hessian = clew.hessian(np.prod)(np.array([0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(hessian, [[0, 3, 0], [3, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("record", [cumulative.cummax, cumulative.cummin])
def test_running_extremes(record):
    reference = np.maximum if record is cumulative.cummax else np.minimum
    np.testing.assert_array_equal(record(X, axis=1), reference.accumulate(X, axis=1))
    check_derivatives(lambda x: record(x, axis=0), X, step=1e-4)


def test_ties_share_the_gradient():
    x = np.array([1.0, 3.0, 3.0])
    np.testing.assert_array_equal(clew.grad(np.max)(x), [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(clew.grad(lambda x: np.maximum(x, 3.0).sum())(x), [0, 0.5, 0.5])


def test_sort_carries_gradients_through_the_permutation():
    weights = np.arange(5.0)
    gradient = clew.grad(lambda x: np.sum(np.sort(x, axis=1) * weights))(X)
    np.testing.assert_array_equal(gradient, np.argsort(np.argsort(X, axis=1), axis=1))
    assert np.isnan(sort.sort(np.array([1.0, np.nan, 0.0]), axis=0)[-1])
    keys = np.array([1, 0, 1, 0])
    np.testing.assert_array_equal(sort.argsort(keys, axis=0), [1, 3, 0, 2])


def test_searchsorted_maps_over_rows():
    rows, wanted = np.sort(X, axis=1), X[:, :2]
    mapped = clew.vmap(lambda a, v: np.searchsorted(a, v))(rows, wanted)
    expected = np.stack([np.searchsorted(a, v) for a, v in zip(rows, wanted, strict=True)])
    np.testing.assert_array_equal(mapped, expected)


@pytest.mark.parametrize(
    "name", ["erf", "erfc", "gammaln", "digamma", "expit", "logit", "i0", "i1", "ndtr", "erfinv"]
)
def test_scipy_ufuncs_trace(name):
    x = GENERATOR.uniform(0.1, 0.9, 6)
    function = getattr(scipy.special, name)
    np.testing.assert_array_equal(clew.evaluate(clew.trace(function)(x), x), function(x))
    check_derivatives(function, x, order=3)


def test_expit_and_logaddexp_are_stable_far_out():
    far = np.array([-800.0, 0.0, 800.0])
    np.testing.assert_array_equal(special.expit(far), [0.0, 0.5, 1.0])
    gradient = clew.grad(lambda x: np.sum(np.logaddexp(0.0, x)))(far)
    np.testing.assert_allclose(gradient, [0.0, 0.5, 1.0], atol=1e-300)
