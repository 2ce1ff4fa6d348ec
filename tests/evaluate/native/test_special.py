"""Polygamma functions, erfinv and Bessel functions in native code, against mpmath and SciPy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.special

import clew
from clew.evaluate.native.math import has_math, special
from clew.ops.special import erfinv, i0, i1, polygamma
from tests.evaluate.native.comparing import assert_same

INF, NAN = float("inf"), float("nan")


def points(seed=1):
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.uniform(-12, 0, 60), generator.uniform(0, 40, 60)])


@pytest.mark.parametrize("order", [1, 2, 3, 12, 13, 40])
def test_polygamma_is_accurate(order):
    x = points()
    found = clew.jit(lambda x: polygamma(float(order), x))(x)
    exact = np.array([float(mpmath.polygamma(order, v)) for v in x])
    # Left of 0 terms of both signs may cancel: the error is one of the largest of them.
    largest = scipy.special.gamma(order + 1) / np.abs(x - np.rint(x)) ** (order + 1)
    size = np.abs(exact) + np.where(x > 0, 0, largest)
    assert np.max(np.abs(found - exact) / size) < (order + 4) * 4e-16


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_orders_known_and_unknown_agree(dtype):
    x = np.linspace(0.25, 9, 50).astype(dtype)
    for order in (0, 1, 2, 5):
        known = clew.jit(lambda x, n=order: polygamma(dtype(n), x))(x)
        unknown = clew.jit(polygamma)(np.full_like(x, order), x)
        assert known.dtype == unknown.dtype == dtype
        np.testing.assert_allclose(known, unknown, rtol=4 * np.finfo(dtype).eps)


def test_polygamma_at_poles_and_ends():
    x = np.array([0.0, -1.0, -7.0, INF, -INF, NAN, 1e-200, 1e300, 1e10])
    for order in (1.0, 2.0, 30.0):
        found = clew.jit(lambda x, n=order: polygamma(n, x))(x)
        expected = scipy.special.polygamma(order, x)
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_orders_that_are_no_natural_numbers():
    for order in (0.5, -1.0, -2.0, NAN):
        assert np.isnan(clew.jit(lambda x, n=order: polygamma(n, x))(np.array([0.7, 2.0]))).all()


def test_far_left_of_zero_terms_cancel_exactly():
    x = -1e5 - 0.5
    found = clew.jit(lambda x: polygamma(4.0, x))(np.array([x]))[0]
    beyond = float(mpmath.polygamma(4, 1 - x))
    assert abs(found / beyond - 1) < 1e-13


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("function", [erfinv, i0, i1])
def test_functions_of_scipy(function, dtype):
    x = np.array([0, -0.0, 1, -1, 0.5, -0.99, 1e-7, 2, -3, 8.5, INF, -INF, NAN], dtype)
    assert_same(function, x, scaled=False)
    assert_same(lambda x: np.sum(function(x * 2)), x[:8].reshape(2, 4) / 20)


def test_gradients_and_explanation():
    def loss(x):
        return np.sum(i0(x) + i1(x) * erfinv(x) + scipy.special.psi(x))

    x = np.linspace(0.1, 0.9, 33)
    native = clew.jit(clew.grad(loss))
    np.testing.assert_allclose(native(x), clew.grad(loss)(x), rtol=1e-12)
    assert "call-out" not in str(clew.explain(clew.grad(loss))(x))


def test_without_scipys_function_there_is_no_native_form(monkeypatch):
    monkeypatch.setattr(special, "symbol", lambda name: None)
    assert not has_math("i0", np.dtype(np.float64))
    assert has_math("polygamma", np.dtype(np.float64))


def test_other_signatures_are_refused(monkeypatch):
    monkeypatch.setattr(special, "_SIGNATURE", "double (double)")
    assert special.symbol.__wrapped__("i0") is None
    assert special.symbol.__wrapped__("erfinv") is None
