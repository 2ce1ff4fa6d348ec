"""Activations against SciPy, in value and derivative, and far out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats

import clew
from clew import nn
from clew.testing import check_derivatives

X = np.array([-30.0, -3.0, -0.7, 0.2, 1.5, 4.0])
REFERENCES = {
    nn.relu: lambda x: np.maximum(x, 0),
    nn.leaky_relu: lambda x: np.maximum(x, 0.01 * x),
    nn.sigmoid: scipy.special.expit,
    nn.softplus: lambda x: -scipy.special.log_expit(-x),
    nn.gelu: lambda x: x * scipy.stats.norm.cdf(x),
    nn.softmax: scipy.special.softmax,
    nn.log_softmax: scipy.special.log_softmax,
}


@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_values(function):
    # 1 + tanh loses what is below rounding of 1, so a sigmoid near 0 is exact only absolutely
    np.testing.assert_allclose(function(X), REFERENCES[function](X), rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_derivatives(function):
    assert check_derivatives(function, X[1:], order=2).forward < 1e-7


@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_far_out(function):
    with np.errstate(all="raise", under="ignore"):
        values = function(np.array([-1e4, 0.0, 1e4]))
    slopes = clew.grad(lambda x: np.sum(function(x)))(np.array([-1e4, 0.0, 1e4]))
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(slopes))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_axis(axis):
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(nn.softmax(x, axis), scipy.special.softmax(x, axis), rtol=1e-14)


def test_rectifier_at_zero():
    assert float(clew.grad(nn.relu)(0.0)) == 0.0
