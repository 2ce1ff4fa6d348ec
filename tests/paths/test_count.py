"""Path counts against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.errors import InputError
from clew.paths import count_paths


@pytest.mark.parametrize("depth", [0, 1, 5, 60])
def test_residual_stack_has_two_to_the_depth(depth):
    def stack(x):
        for _ in range(depth):
            x = x + np.tanh(0.5 * x)
        return x

    assert count_paths(clew.trace(stack)(np.ones(2))) == 2**depth


@pytest.mark.parametrize("depth", [1, 2, 8, 40])
def test_dense_stack(depth):
    def stack(x):
        heard = [x]
        for _ in range(depth):
            heard.append(np.tanh(np.sum(np.stack(heard), axis=0)))
        return heard[-1]

    assert count_paths(clew.trace(stack)(1.0)) == 2 ** (depth - 1)


def test_skip_stack_is_fibonacci():
    def stack(x):
        before, last = x * 0.0 + clew.stop_gradient(x), x
        for _ in range(10):
            before, last = last, np.tanh(last) + np.tanh(before)
        return last

    # x reaches the first layer once; ``x * 0.0`` is one more way in, from the layer below.
    fibonacci = [1, 1]
    for _ in range(10):
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    assert count_paths(clew.trace(stack)(1.0)) == fibonacci[10] + fibonacci[9]


def test_uses_in_one_equation_count_and_cuts_do_not():
    assert count_paths(clew.trace(lambda x: x * x)(1.0)) == 2
    assert count_paths(clew.trace(lambda x: np.floor(x) + clew.stop_gradient(x))(1.0)) == 0
    assert count_paths(clew.trace(lambda x, y: x * y + y)(1.0, 2.0), source=1) == 2


def test_loops_count_as_if_written_out():
    def looped(x):
        return clew.scan(lambda c, _: (c + c * 0.5 + x, c), x, length=9)[0]

    def written_out(x):
        c = x
        for _ in range(9):
            c = c + c * 0.5 + x
        return c

    assert count_paths(clew.trace(looped)(1.0)) == count_paths(clew.trace(written_out)(1.0))
    fibonacci = lambda c, _: ((c[1], c[0] + c[1]), None)
    graph = clew.trace(lambda x: clew.scan(fibonacci, (0.0 * x, x), length=100)[0][0])(1.0)
    first, second = 1, 1
    for _ in range(100):
        first, second = second, first + second
    assert count_paths(graph) == first


def test_loops_of_unknown_length_and_branches_are_refused():
    graph = clew.trace(lambda x: clew.while_loop(lambda c: c < 9.0, lambda c: c * 2.0, x))(1.0)
    with pytest.raises(InputError, match=r"while_loop at test_count\.py"):
        count_paths(graph)
    graph = clew.trace(lambda x: clew.cond(x > 0, np.sin, np.cos, x))(1.0)
    with pytest.raises(InputError, match=r"switch at test_count\.py"):
        count_paths(graph)
