"""The example after Veit, Wilber and Belongie (2016)."""

from __future__ import annotations

import doctest
from dataclasses import replace
from math import comb

import numpy as np
import pytest

import clew
from clew import nn
from clew.paths import Flow


@pytest.fixture(scope="module")
def case(example):
    """An untrained network, a small batch, and its gradient by path length."""
    net = example.Network.create(np.random.default_rng(3))
    pictures, digits = example.read_digits()
    batch = pictures[:6], digits[:6]
    flow = clew.flow(lambda x: nn.cross_entropy(net(x), batch[1]), level=["body"])(batch[0])
    return net, batch, flow.gradient_by_length()


def test_it_runs(run):
    status, printed = run("--steps", "100", "--samples", "8")
    assert status == 0, printed
    assert "18014398509481984" in printed
    assert printed.count("ok: ") == 5
    assert "veit.png" in printed
    assert "veit.html" in printed


def test_documentation(example):
    result = doctest.testmod(example)
    assert result.attempted > 0
    assert result.failed == 0


def test_single_paths_against_a_network_that_has_no_other(example, case):
    # cutting, in the network itself, every way but one leaves that path's gradient
    net, (pictures, digits), _ = case
    through = np.zeros((1, example.BLOCKS), bool)
    through[0, [2, 17, 53]] = True

    def one_way(x):
        x = net.stem(x)
        for number in range(example.BLOCKS):
            change = net.block(number).body(x)
            if through[0, number]:
                x = clew.stop_gradient(x) + change
            else:
                x = x + clew.stop_gradient(change)
        return nn.cross_entropy(net.head(x), digits)

    found = example.path_gradients(net, pictures, digits, through)[0]
    assert example.error(found, clew.grad(one_way)(pictures)) < 1e-12


def test_all_short_paths_sum_to_their_parts(example, case):
    net, batch, exact = case
    for length in (0, 1, example.BLOCKS):
        assert example.error(example.walked(net, *batch, length), exact.parts[length]) < 1e-9


def test_samples_of_one_path_are_that_path(example, case):
    net, batch, exact = case
    sampled = example.sample(net, *batch, exact, 5)
    for length in (0, example.BLOCKS):
        assert sampled.norm[length] == pytest.approx(exact.norms[length], rel=1e-9)
        assert sampled.share[length] == pytest.approx(exact.shares[length], rel=1e-6)
        assert sampled.distance[length] == 0.0
    # the distance's square is 1 on average
    assert np.mean(sampled.distance[1:-1] ** 2) == pytest.approx(1.0, abs=0.5)
    bounds = np.array([comb(example.BLOCKS, k) for k in example.LENGTHS]) * sampled.norm
    assert np.all(bounds[2:-2] > exact.norms[2:-2])


def test_carriers_by_trying_all(example):
    norms = np.random.default_rng(0).uniform(size=9) ** 3
    found = example.carriers(norms, 0.7)
    enough = [
        stop - first
        for first in range(9)
        for stop in range(first + 1, 10)
        if norms[first:stop].sum() >= 0.7 * norms.sum()
    ]
    assert len(found) == min(enough)
    assert norms[found.start : found.stop].sum() >= 0.7 * norms.sum()


def test_wrong_parts_are_seen(example, monkeypatch, capsys):
    exact = Flow.gradient_by_length

    def off(flow):
        split = exact(flow)
        return replace(split, parts=split.parts * (1 + 1e-8))

    monkeypatch.setattr(Flow, "gradient_by_length", off)
    monkeypatch.setattr(example, "draw", lambda *arguments: None)
    assert example.main(["--steps", "3", "--samples", "3"]) == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if "MISSED" in line]
    assert "MISSED: parts sum to the gradient" in missed
    assert "MISSED: paths walked sum to their parts" in missed
