"""Gradients taken apart by length and by use sum to the gradient."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew import nn
from tests.evaluate.native.test_looping_programs import writing
from tests.loops.programs import PROGRAMS, X
from tests.loops.test_random import Looped
from tests.loops.test_random import program as process_of

TOGETHER = 20
LOOPED, WRITING = 400, 100


def off_by(parts, expected):
    """Return how far a sum is off, relative to what is summed."""
    total = np.sum(parts, axis=0)
    scale = max(np.max(np.abs(expected)), np.max(np.abs(parts)))
    return np.max(np.abs(total - expected)) / scale if scale else np.max(np.abs(total))


def hold(function, at, level="equation"):
    """Check all three gradients of a function of one array against clew.grad."""
    expected = clew.grad(function)(at)
    flow = clew.flow(function, level=level)(at)
    if isinstance(expected, clew.NoPath):
        assert flow.count() == 0
        return
    assert off_by([flow.gradient()], expected) < 1e-12
    assert off_by([use.contribution for use in flow.by_use()], expected) < 1e-12
    split = flow.gradient_by_length()
    assert off_by(split.parts, expected) < 1e-12
    assert np.sum(split.shares) == pytest.approx(1.0, abs=1e-9 * (1 + np.abs(split.shares).max()))
    np.testing.assert_allclose(split.norms, [np.linalg.norm(part) for part in split.parts])


@pytest.mark.parametrize("group", range(LOOPED // TOGETHER))
def test_random_programs_with_loops_and_branches(group):
    for seed in range(group * TOGETHER, (group + 1) * TOGETHER):
        draw = np.random.default_rng(seed)
        process = process_of(draw)
        start = draw.uniform(-1.0, 1.0, 2)
        hold(lambda x, f=process, a=start: np.sum(f(Looped({}), a, x)), draw.uniform(-1.0, 1.0, 2))


@pytest.mark.parametrize("group", range(WRITING // TOGETHER))
def test_random_programs_that_write_into_arrays(group):
    for seed in range(group * TOGETHER, (group + 1) * TOGETHER):
        draw = np.random.default_rng(seed)
        hold(writing(draw), np.float64(draw.normal()))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
@pytest.mark.parametrize("policy", [{}, {"checkpoint": 2}], ids=["saved", "checkpointed"])
def test_loops_that_transforms_make(program, policy):
    """The gradient of a gradient: joint, split and transposed loops, tapes, replays."""
    slope = clew.grad(lambda x: program.looped(x, **policy))
    hold(lambda x: slope(x) @ np.array([1.0, -2.0, 0.5]), X)


def test_batched_loops():
    program = PROGRAMS[0].looped
    hold(lambda x: np.sum(clew.vmap(clew.grad(program))(x) ** 2), np.stack([X, -X, 2 * X]))


# --- networks ------------------------------------------------------------------------------------

WIDTH = 4


def dense_layers(count, generator):
    return [nn.Dense.create(generator, WIDTH, WIDTH, np.tanh) for _ in range(count)]


def residual(generator):
    return nn.Sequential([nn.Residual(each) for each in dense_layers(4, generator)]), (5, WIDTH)


def densely_connected(generator):
    layers = [nn.Dense.create(generator, WIDTH + 2 * i, 2, np.tanh) for i in range(3)]
    return nn.Sequential([nn.DenseBlock(layers), nn.LayerNorm.create(WIDTH + 6)]), (5, WIDTH)


def normalised(generator):
    layers = [(each, nn.BatchNorm.create(WIDTH)) for each in dense_layers(2, generator)]
    return nn.Sequential([part for pair in layers for part in pair]), (5, WIDTH)


@nn.module
class Read(nn.Module):
    stack: nn.RecurrentStack

    def forward(self, x):
        return nn.unroll(self.stack, x)[0][-1]


def recurrent(generator):
    cells = [nn.RNNCell.create(generator, WIDTH, WIDTH) for _ in range(3)]
    return Read(nn.RecurrentStack(cells, reach=2)), (6, 2, WIDTH)


@nn.module
class Twin(nn.Module):
    """One encoder, used twice."""

    encoder: nn.Module

    def forward(self, x):
        return nn.squared_distance(self.encoder(x[:2]), self.encoder(x[2:4]))


def siamese(generator):
    return Twin(nn.Sequential(dense_layers(2, generator))), (5, WIDTH)


@nn.module
class Sentence(nn.Module):
    cell: nn.TreeCell

    def forward(self, x):
        tree = nn.Tree("a", (nn.Tree("b", (nn.Tree("0"), nn.Tree("1"))), nn.Tree("2")))
        return nn.fold(tree, lambda label: x[int(label)], lambda label, *parts: self.cell(*parts))


def tree(generator):
    return Sentence(nn.TreeCell.create(generator, WIDTH)), (5, WIDTH)


NETWORKS = [residual, densely_connected, normalised, recurrent, siamese, tree]


@pytest.mark.parametrize("level", ["equation", "scope:2"])
@pytest.mark.parametrize("make", NETWORKS)
def test_networks(make, level):
    generator = np.random.default_rng(0)
    network, shape = make(generator)
    x = generator.normal(size=shape)
    if make is tree and level == "scope:2":
        level = "scope:1"

    def loss(network):
        found = network(x)
        return np.sum(np.sin(found) * np.arange(1.0, 1.0 + np.size(found)).reshape(found.shape))

    expected = dict(zip(*_named(clew.grad(loss)(network)), strict=True))
    flow = clew.flow(loss, level=level)(network)
    parts = flow.gradient_by_length().parts
    uses = flow.by_use()
    assert set(parts) == set(expected) == {use.source for use in uses}
    for name, gradient in expected.items():
        scale = np.max(np.abs(gradient)) or 1.0
        assert np.max(np.abs(parts[name].sum(axis=0) - gradient)) < 1e-12 * scale
        used = sum(use.contribution for use in uses if use.source == name)
        assert np.max(np.abs(used - gradient)) < 1e-12 * scale
        assert np.max(np.abs(flow.gradient(name) - gradient)) < 1e-12 * scale


def _named(tree):
    from clew.core import pytree

    leaves, structure = pytree.flatten(tree)
    return structure.names, leaves


def test_a_shared_module_is_two_nodes_with_one_set_of_parameters():
    generator = np.random.default_rng(0)
    network, shape = siamese(generator)
    x = generator.normal(size=shape)
    flow = clew.flow(lambda net: np.sum(net(x)), level=["sequential"])(network)
    uses = flow.by_use("encoder.layers[0].weight")
    assert [use.node for use in uses] == ["sequential", "sequential (2)"]
    assert flow.count("encoder.layers[0].weight") == 2 * 2  # the difference is squared as d * d


def test_uses_of_a_loop_are_told_apart_by_step():
    def power(x):
        return clew.scan(lambda c, k: (c * x + k, c), 1.0, np.arange(4.0))[0]

    uses = clew.flow(power)(2.0).by_use()
    assert [use.steps for use in uses] == [(0,), (1,), (2,), (3,)]
    # d/dx of step t: the carry before it, times x for every step after it.
    carries = [1.0, 2.0, 5.0, 12.0]
    expected = [carry * 2.0 ** (3 - t) for t, carry in enumerate(carries)]
    assert [use.contribution for use in uses] == expected
    assert sum(use.share for use in uses) == pytest.approx(1.0)


def test_the_branch_that_where_did_not_take_stays_out():
    def f(x):
        return np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 0.0)), x) * x)

    hold(f, np.array([4.0, -1.0, 0.0]))
    hold(lambda x: np.sum(np.where(x > 0, np.log(x), 1.0 - x)), np.array([4.0, -1.0, 0.0]))


def test_products_of_scanned_inputs_are_used_step_by_step_however_large():
    generator = np.random.default_rng(0)
    for width in (4, 40):
        inputs = generator.normal(size=(3, width))

        def last(weight, inputs=inputs, width=width):
            def step(state, x):
                return np.tanh(0.5 * state + x @ weight), None

            return np.sum(clew.scan(step, np.zeros(width), inputs)[0])

        weight = generator.normal(size=(width, width)) / width
        uses = clew.flow(last)(weight).by_use()
        assert [use.steps for use in uses] == [(0,), (1,), (2,)]
        total = sum(use.contribution for use in uses)
        assert np.allclose(total, clew.grad(last)(weight), rtol=1e-12, atol=1e-14)
