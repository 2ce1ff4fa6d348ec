"""Modules are trees: gradients, sharing, scopes, problems."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from clew.core import pytree
from clew.testing import check_derivatives


def make(seed: int = 0) -> nn.Sequential:
    generator = np.random.default_rng(seed)
    return nn.Sequential(
        [nn.Dense.create(generator, 3, 4, np.tanh), nn.Dense.create(generator, 4, 2)]
    )


def test_a_network_is_its_parameters():
    leaves, structure = pytree.flatten(make())
    assert [leaf.shape for leaf in leaves] == [(3, 4), (4,), (4, 2), (2,)]
    assert structure.names[0] == "layers[0].weight"
    again = structure.unflatten(leaves)
    x = np.arange(3.0)
    np.testing.assert_array_equal(again(x), make()(x))
    assert nn.parameter_count(make()) == 3 * 4 + 4 + 4 * 2 + 2


def test_the_gradient_is_a_network():
    x = np.random.default_rng(1).normal(size=(5, 3))
    gradient = clew.grad(lambda net: np.sum(net(x) ** 2))(make())
    assert isinstance(gradient, nn.Sequential)
    assert gradient.layers[1].weight.shape == (4, 2)
    assert check_derivatives(lambda net: net(x), make()).forward < 1e-8


def test_shared_arrays_are_one_parameter_and_its_gradient_the_sum():
    weight = np.random.default_rng(0).normal(size=(3, 3))
    twice = nn.Sequential([nn.Dense(weight), nn.Dense(weight)])
    apart = nn.Sequential([nn.Dense(weight), nn.Dense(weight.copy())])
    assert nn.parameter_count(twice) == 9
    assert nn.parameter_count(apart) == 18
    x = np.ones(3)
    one = clew.grad(lambda net: np.sum(net(x) ** 3))(twice)
    two = clew.grad(lambda net: np.sum(net(x) ** 3))(apart)
    assert one.layers[0].weight is one.layers[1].weight
    expected = two.layers[0].weight + two.layers[1].weight
    np.testing.assert_allclose(one.layers[0].weight, expected, rtol=1e-14)


def test_modules_of_different_structure_differ():
    plain = pytree.flatten(nn.Dense(np.ones((2, 2))))[1]
    active = pytree.flatten(nn.Dense(np.ones((2, 2)), activation=np.tanh))[1]
    assert plain == pytree.flatten(nn.Dense(np.zeros((2, 2))))[1]
    assert plain != active


def test_scopes_are_numbered_and_nested():
    generator = np.random.default_rng(0)
    body = nn.Sequential([nn.Dense.create(generator, 3, 3), np.tanh], name="body")
    net = nn.Sequential([nn.Residual(body), nn.Residual(body, name="last")], name="model")
    scopes = list(dict.fromkeys(each.scope for each in clew.trace(net)(np.ones(3)).equations))
    assert scopes == [
        "model/residual0/body/dense0",
        "model/residual0/body/tanh1",
        "model/residual0",
        "model/last1/body/dense0",
        "model/last1/body/tanh1",
        "model/last1",
    ]


def test_a_module_of_ones_own():
    @nn.module
    class Scale(nn.Module):
        factor: object
        power: int = nn.static(default=1)

        def forward(self, x):
            return self.factor * x**self.power

    layer = Scale(2.0, power=3)
    assert layer.label == "scale"
    assert repr(layer) == "Scale(factor=2.0, power=3)"
    assert float(clew.grad(lambda layer: layer(2.0))(layer).factor) == 8.0
    with pytest.raises(AttributeError):
        layer.factor = 1.0


def test_a_problem_starts_from_a_network():
    x = np.random.default_rng(1).normal(size=(20, 3))
    goal = make()(x)
    start = pytree.map(lambda leaf: leaf + 0.05, make())
    problem = clew.Problem(lambda net: net(x), start, target=goal)
    solution = clew.solve(problem)
    assert isinstance(solution.params, nn.Sequential)
    np.testing.assert_allclose(solution.params(x), goal, atol=1e-7)


def test_a_jitted_network_is_traced_once():
    calls = []

    @clew.jit
    def run(net, x):
        calls.append(1)
        return net(x)

    x = np.ones(3)
    for seed in (0, 1):
        np.testing.assert_allclose(run(make(seed), x), make(seed)(x), rtol=1e-14)
    assert len(calls) == 1
