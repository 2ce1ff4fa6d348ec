"""Products of what is scanned leave the loop, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.testing import check_derivatives

GENERATOR = np.random.default_rng(3)
W, U = GENERATOR.normal(size=(2, 24, 24)) / 5
XS = GENERATOR.normal(size=(6, 24))


def recurrent(w, u, xs, reverse=False, **memory):
    def step(h, x):
        h = np.tanh(x @ w + h @ u)
        return h, h * x[0]

    h, ys = clew.scan(step, np.zeros(24), xs, reverse=reverse, **memory)
    return np.sum(h * h) + np.sum(ys)


def plain(w, u, xs, reverse=False):
    h, total = np.zeros(24), 0.0
    for x in xs[::-1] if reverse else xs:
        h = np.tanh(x @ w + h @ u)
        total += np.sum(h * x[0])
    return np.sum(h * h) + total


def products_in(graph):
    """How many products are outside and inside loops."""
    outside = sum(e.primitive.name == "contract" for e in graph.equations)
    loops = [e for e in graph.equations if e.primitive.name == "loop"]
    inside = [e for each in loops for e in each.params["body"].equations]
    return outside, sum(e.primitive.name == "contract" for e in inside)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_value_is_the_loops(reverse):
    found = recurrent(W, U, XS, reverse)
    assert found == pytest.approx(plain(W, U, XS, reverse), rel=1e-13)
    traced = clew.jit(lambda *x: recurrent(*x, reverse))(W, U, XS)
    assert traced == pytest.approx(found, rel=1e-13)


def test_one_product_is_outside_and_one_inside():
    assert products_in(clew.trace(recurrent)(W, U, XS)) == (1, 1)


def test_derivatives():
    check_derivatives(recurrent, W[:, :], U, XS, order=1, tolerance=1e-6)


def test_loops_with_checkpoints_keep_little():
    graph = clew.trace(lambda *x: recurrent(*x, checkpoint=2))(W, U, XS)
    assert products_in(graph) == (0, 2)


def test_what_does_not_fit_stays():
    graph = clew.trace(lambda *x: recurrent(*x, memory=6 * 24 * 8 - 1))(W, U, XS)
    assert products_in(graph) == (0, 2)


def test_small_products_and_single_steps_stay():
    small = clew.trace(lambda w, u, xs: recurrent_of(3, w, u, xs))(W[:3, :3], U[:3, :3], XS[:, :3])
    assert products_in(small) == (0, 2)
    assert products_in(clew.trace(recurrent)(W, U, XS[:1])) == (0, 2)


def recurrent_of(size, w, u, xs):
    step = lambda h, x: (np.tanh(x @ w + h @ u), None)
    return np.sum(clew.scan(step, np.zeros(size), xs)[0])
