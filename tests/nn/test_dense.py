"""The dense layer."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from clew.core.errors import ShapeError
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("lead", [(), (5,), (2, 5), (0,)])
def test_values(lead):
    layer = nn.Dense.create(GENERATOR, 3, 4, np.tanh)
    x = GENERATOR.normal(size=(*lead, 3))
    expected = np.tanh(np.einsum("...i,ij->...j", x, layer.weight) + layer.bias)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-13)


def test_without_bias():
    layer = nn.Dense.create(GENERATOR, 3, 4, bias=False, initialise=nn.he_normal)
    assert layer.bias is None
    assert nn.parameter_count(layer) == 12
    x = GENERATOR.normal(size=3)
    np.testing.assert_allclose(layer(x), x @ layer.weight, rtol=1e-14)


def test_derivatives():
    layer = nn.Dense.create(GENERATOR, 3, 4, nn.softplus)
    x = GENERATOR.normal(size=(5, 3))
    assert check_derivatives(lambda layer, x: layer(x), layer, x, order=2).forward < 1e-7


def test_closed_form_gradient():
    layer = nn.Dense.create(GENERATOR, 3, 4)
    x, slope = GENERATOR.normal(size=(5, 3)), GENERATOR.normal(size=(5, 4))
    by_layer, by_x = clew.grad(lambda layer, x: np.sum(slope * layer(x)), argnums=(0, 1))(layer, x)
    np.testing.assert_allclose(by_layer.weight, x.T @ slope, rtol=1e-13)
    np.testing.assert_allclose(by_layer.bias, slope.sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(by_x, slope @ layer.weight.T, rtol=1e-13)


@pytest.mark.parametrize("shape", [(4,), (5, 2), ()])
def test_a_wrong_width_is_named(shape):
    layer = nn.Dense(np.ones((3, 4)), name="encoder")
    with pytest.raises(ShapeError) as caught:
        layer(np.ones(shape))
    assert f"encoder: the input has shape {shape}, the layer takes (..., 3)" in str(caught.value)
    assert "test_dense.py" in str(caught.value.where)
