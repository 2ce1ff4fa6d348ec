"""Normalisation: closed forms, invariances, calibration, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from clew.core.errors import InputError, ShapeError
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)


def layer_and_input(shape):
    gamma, beta = GENERATOR.normal(size=(2, shape[-1]))
    return nn.BatchNorm(gamma, beta), GENERATOR.normal(2.0, 3.0, shape)


@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 3), (2, 3)])
def test_batch_norm_values(shape):
    layer, x = layer_and_input(shape)
    axes = tuple(range(len(shape) - 1))
    normal = (x - x.mean(axis=axes)) / np.sqrt(x.var(axis=axes) + 1e-5)
    np.testing.assert_allclose(layer(x), layer.gamma * normal + layer.beta, rtol=1e-11)


@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 3)])
def test_batch_norm_derivatives(shape):
    layer, x = layer_and_input(shape)
    assert check_derivatives(lambda layer, x: layer(x), layer, x, order=2).forward < 1e-6


def test_the_gradient_does_not_see_shift_or_scale_of_the_batch():
    layer, x = layer_and_input((8, 3))
    layer = nn.BatchNorm(layer.gamma, layer.beta, epsilon=0.0)
    slope = GENERATOR.normal(size=x.shape)
    found = clew.grad(lambda x: np.sum(slope * layer(x)))(x)
    scale = np.abs(found).max()
    assert np.abs(found.sum(axis=0)).max() < 1e-13 * scale * len(x)
    assert np.abs((found * (x - x.mean(axis=0))).sum(axis=0)).max() < 1e-12 * scale * len(x)


def test_calibrated_uses_the_population():
    layer, x = layer_and_input((50, 3))
    ready = layer.calibrated(x)
    expected = (x[:1] - x.mean(axis=0)) / np.sqrt(x.var(axis=0, ddof=1) + 1e-5)
    np.testing.assert_allclose(ready(x[:1]), layer.gamma * expected + layer.beta, rtol=1e-12)


def test_calibrate_a_stack():
    net = nn.Sequential(
        [nn.Dense.create(GENERATOR, 3, 4), nn.BatchNorm.create(4), np.tanh, nn.BatchNorm.create(4)]
    )
    x = GENERATOR.normal(size=(2000, 3))
    ready = nn.calibrate(net, x)
    np.testing.assert_allclose(ready(x), net(x), atol=2e-3)
    np.testing.assert_allclose(ready(x[:5]), ready(x)[:5], rtol=1e-10)


def test_standardise_derivatives():
    gamma, beta, mu = GENERATOR.normal(size=(3, 4))
    layer = nn.Standardise(gamma, beta, mu, GENERATOR.uniform(0.5, 2.0, 4))
    x = GENERATOR.normal(size=(6, 4))
    assert check_derivatives(lambda layer, x: layer(x), layer, x, order=2).forward < 1e-7


def test_layer_norm():
    gamma, beta = GENERATOR.normal(size=(2, 6))
    layer = nn.LayerNorm(gamma, beta)
    x = GENERATOR.normal(3.0, 2.0, (4, 6))
    normal = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(x), gamma * normal + beta, rtol=1e-11)
    assert check_derivatives(lambda layer, x: layer(x), layer, x, order=2).forward < 1e-6


def test_one_example_has_no_variance():
    with pytest.raises(InputError, match=r"bn: a batch of shape \(1, 3\) has one example"):
        nn.BatchNorm.create(3, name="bn")(np.ones((1, 3)))


@pytest.mark.parametrize("layer", [nn.BatchNorm, nn.LayerNorm, nn.Standardise])
def test_a_wrong_width_is_named(layer):
    with pytest.raises(ShapeError, match=r"the layer takes \(\.\.\., 3\)"):
        layer.create(3)(np.ones((5, 4)))
