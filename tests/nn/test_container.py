"""Chains, residual blocks, dense blocks."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from clew.core import pytree
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(0)


def test_sequential():
    first, second = nn.Dense.create(GENERATOR, 3, 4), nn.Dense.create(GENERATOR, 4, 2)
    net = nn.Sequential([first, nn.relu, second])
    x = GENERATOR.normal(size=(5, 3))
    np.testing.assert_array_equal(net(x), second(nn.relu(first(x))))
    assert isinstance(net.layers, tuple)


def test_residual():
    body, shortcut = nn.Dense.create(GENERATOR, 3, 4, np.tanh), nn.Dense.create(GENERATOR, 3, 4)
    x = GENERATOR.normal(size=(5, 3))
    np.testing.assert_array_equal(nn.Residual(body, shortcut)(x), shortcut(x) + body(x))
    same = nn.Dense.create(GENERATOR, 3, 3, np.tanh)
    np.testing.assert_array_equal(nn.Residual(same)(x), x + same(x))


def test_residual_slope_has_the_identity_in_it():
    block = nn.Residual(nn.Dense(np.zeros((3, 3)), activation=np.tanh))
    np.testing.assert_array_equal(clew.jacobian(block)(np.ones(3)), np.eye(3))


def test_dense_block():
    layers = [nn.Dense.create(GENERATOR, 3 + 2 * number, 2, np.tanh) for number in range(4)]
    x = GENERATOR.normal(size=(5, 3))
    heard = x
    for layer in layers:
        heard = np.concatenate([heard, layer(heard)], axis=1)
    np.testing.assert_array_equal(nn.DenseBlock(layers)(x), heard)
    assert check_derivatives(lambda net, x: net(x), nn.DenseBlock(layers), x).forward < 1e-8


def test_functions_are_structure():
    one, other = nn.Sequential([np.tanh]), nn.Sequential([nn.relu])
    assert pytree.flatten(one)[0] == []
    assert pytree.flatten(one)[1] != pytree.flatten(other)[1]
    assert repr(one) == "Sequential(layers=(Function(function=tanh)))"


@pytest.mark.parametrize("count", [1, 6])
def test_gradient_norms(count):
    net = nn.Sequential([nn.Dense.create(GENERATOR, 3, 3) for _ in range(count)])
    x = GENERATOR.normal(size=(4, 3))
    gradient = clew.grad(lambda net: np.sum(net(x) ** 2))(net)
    expected = [
        np.sqrt(np.sum(layer.weight**2) + np.sum(layer.bias**2)) for layer in gradient.layers
    ]
    np.testing.assert_allclose(nn.gradient_norms(gradient, lambda net: net.layers), expected)
