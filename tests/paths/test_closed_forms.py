"""Numbers of paths at block level against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

import clew
from clew import nn

SIZES = range(1, 61)


def tanh_block(name, *inputs):
    with clew.scope(name):
        return np.tanh(sum(inputs))


def fibonacci(number):
    before, last = 0, 1
    for _ in range(number):
        before, last = last, before + last
    return before


@pytest.fixture(scope="module")
def residual():
    def net(x):
        for number in range(60):
            x = x + tanh_block(f"block{number}", x)
        return x

    return clew.flow(net, level="scope:1")(0.3)


@pytest.mark.parametrize("blocks", SIZES)
def test_residual_net_is_binomial(residual, blocks):
    source = f"block{60 - blocks - 1}" if blocks < 60 else None
    assert residual.count(source) == 2**blocks
    assert residual.lengths(source) == {k: math.comb(blocks, k) for k in range(blocks + 1)}
    assert (residual.shortest(source), residual.longest(source)) == (0, blocks)


def test_a_thousand_blocks():
    def net(x):
        for number in range(1000):
            x = x + tanh_block(f"block{number}", x)
        return x

    assert clew.flow(net, level="scope:1")(0.3).count() == 2**1000


@pytest.fixture(scope="module")
def dense():
    def net(x):
        heard = [x]
        for number in range(61):
            heard.append(tanh_block(f"layer{number}", *heard))
        return heard[-1]

    return clew.flow(net, level="scope:1")(0.1)


@pytest.mark.parametrize("apart", SIZES)
def test_dense_net_doubles_with_every_layer_between(dense, apart):
    ends = {"source": f"layer{60 - apart}", "sink": "layer60"}
    assert dense.count(**ends) == 2 ** (apart - 1)
    assert dense.shortest(**ends) == 1
    assert dense.lengths(**ends) == {k + 1: math.comb(apart - 1, k) for k in range(apart)}


@pytest.mark.parametrize("layers", SIZES)
def test_stack_that_hears_two_below_is_fibonacci(layers):
    generator = np.random.default_rng(0)
    cells = [nn.RNNCell.create(generator, 2, 2) for _ in range(layers)]
    stack = nn.RecurrentStack(cells, reach=2)
    heard = clew.flow(lambda x: np.sum(stack(x, stack.initial())[-1]), level="scope:2")
    flow = heard(np.ones(2))
    assert flow.count() == fibonacci(layers + 1)
    assert flow.shortest() == layers // 2 + layers % 2
    assert flow.longest() == layers
    # Choosing j pairs of layers that are passed as one step: C(layers - j, j) ways.
    ways = {layers - j: math.comb(layers - j, j) for j in range(layers // 2 + 1)}
    assert flow.lengths() == dict(sorted(ways.items()))


@pytest.mark.parametrize("depth", range(1, 8))
def test_tree_net_has_one_path_for_each_leaf(depth):
    generator = np.random.default_rng(depth)
    cell = nn.TreeCell.create(generator, 3)
    depths = {}

    def grown(below, name):
        if not below or (generator.random() < 0.3 and name):
            depths[name or "root"] = len(name)
            return nn.Tree(name or "root")
        return nn.Tree(f"node{name}", (grown(below - 1, f"{name}l"), grown(below - 1, f"{name}r")))

    tree = nn.Tree("top", (grown(depth - 1, "l"), grown(depth - 1, "r")))
    words = {name: generator.normal(size=3) for name in depths}

    def loss(words):
        return np.sum(nn.fold(tree, words.__getitem__, lambda label, *parts: cell(*parts)))

    flow = clew.flow(loss, level="scope:1")(words)
    assert {name: flow.lengths(name) for name in depths} == {
        name: {deep: 1} for name, deep in depths.items()
    }


@pytest.mark.parametrize(("time", "layers"), [(1, 1), (3, 2), (7, 4), (12, 9)])
def test_grid_of_time_and_layers_is_binomial(time, layers):
    """A cell hears the one below and the one before: lattice paths."""

    def net(x):
        rows = [x] * time
        for layer in range(layers):
            before, new = x, []
            for t, below in enumerate(rows):
                new.append(tanh_block(f"cell{layer}at{t}", below, before))
                before = new[-1]
            rows = new
        return rows[-1]

    flow = clew.flow(net, level="scope:1")(0.1)
    for layer in range(layers):
        for t in range(time):
            up, on = layers - 1 - layer, time - 1 - t
            source = f"cell{layer}at{t}"
            assert flow.count(source) == math.comb(up + on, up)
            expected = {up + on: math.comb(up + on, up)}
            assert flow.lengths(source) == expected


def test_grid_through_a_scan_is_the_same():
    """Layers in a scan over time: every step's cells are nodes of their own."""
    time, layers = 6, 4

    def net(states):
        def step(states, _):
            below, new = 0.1, []
            for number, state in enumerate(states):
                below = tanh_block(f"layer{number}", below, state)
                new.append(below)
            return tuple(new), None

        return clew.scan(step, states, length=time)[0][-1]

    flow = clew.flow(net, level="scope:1")(tuple(np.linspace(0.1, 0.4, layers)))
    for layer in range(layers):
        for t in range(time):
            up, on = layers - 1 - layer, time - 1 - t
            ways = math.comb(up + on, up)
            assert flow.count(f"layer{layer}#{t + 1}") == ways
            assert flow.lengths(f"layer{layer}#{t + 1}") == {up + on: ways}
