"""Random programs with loops, branches and writes: native code gives what the reference gives."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from tests.evaluate.native import test_large_programs, test_programs
from tests.evaluate.native.holding import TOGETHER, hold, threads_as_before
from tests.loops.test_random import POLICIES, Looped
from tests.loops.test_random import program as process_of

__all__ = ["threads_as_before"]
LOOPED, WRITING = 200, 100


def writing(draw):
    """Return a loop that writes into the arrays that it carries."""
    size, count = int(draw.choice([5, 20, 40])), int(draw.integers(2, 6))
    kinds = draw.integers(0, 6, 3)
    first = draw.integers(0, size - 1, (count, 3))

    def process(x):
        start = np.sin(x + np.arange(float(size)))

        def step(carry, places):
            a, b = carry
            a, b = a + 0.0 * b, b * 1.0 + 0.0 * a
            for number, kind in enumerate(kinds):
                i = places[number]
                if kind == 0:
                    a[i] = np.sin(b[i - 1]) + a[i]
                elif kind == 1:
                    a[1:] = a[1:] * 0.9 + b[:-1] * 0.1
                elif kind == 2:
                    b[i] = a[i] * a[i - 1]
                elif kind == 3:
                    a, b = b, a
                elif kind == 4:
                    b[::2] += np.sum(a) * 0.01
                else:
                    a[i] += np.tanh(b[-1])
            return (a, b), (a[0], b)

        (a, b), (ys, zs) = clew.scan(step, (start, np.cos(start)), first)
        return np.mean(a * b) + np.mean(ys) + np.mean(np.sin(zs))

    return process


@pytest.mark.parametrize("group", range(LOOPED // TOGETHER))
def test_programs_with_loops_and_branches(group):
    functions, operands = [], []
    for seed in range(group * TOGETHER, (group + 1) * TOGETHER):
        draw = np.random.default_rng(seed)
        process = process_of(draw)
        start = draw.uniform(-1.0, 1.0, 2)
        ways = Looped(POLICIES[seed % len(POLICIES)])
        functions.append(lambda x, f=process, a=start, w=ways: np.sum(f(w, a, x)))
        operands.append(draw.uniform(-1.0, 1.0, 2))
    hold(functions, operands, level=3 if group % 4 == 0 else 1)


@pytest.mark.parametrize("group", range(WRITING // TOGETHER))
def test_programs_that_write_into_arrays(group):
    seeds = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [writing(np.random.default_rng(seed)) for seed in seeds]
    hold(
        functions,
        [np.float64(np.random.default_rng(seed).normal()) for seed in seeds],
        level=3 if group % 4 == 0 else 1,
    )


def test_the_counts_add_up_to_a_thousand():
    straight = test_programs.STRAIGHT + test_large_programs.WIDE
    assert straight + LOOPED + WRITING == 1000
