"""Random programs on small arrays: native code gives what the reference gives.

With those of ``test_large_programs.py`` and ``test_looping_programs.py`` they are 1,000.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.evaluate.native.holding import TOGETHER, hold, threads_as_before
from tests.properties.programs import BINARY, UNARY, programs

__all__ = ["threads_as_before"]
SHAPES = [(), (3,), (2, 3), (3, 1), (15,), (16,), (17,), (33, 3), (5, 2), (4, 4), (40, 2, 3),
          (7, 20), (100,), (20, 30), (1, 50), (50, 1)]  # fmt: skip
STRAIGHT = 600


def drawn(count):
    """Return so many random programs, the same each time."""
    found = []

    @settings(
        max_examples=2 * count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def collect(program):
        found.append(program[0])

    collect()
    assert len(found) >= count
    return found[:count]


def run(steps, x, most):
    """Run the steps of a program; values of more than ``most`` elements are averaged."""
    values = [x]
    for kind, name, *sources in steps:
        args = [values[source] for source in sources]
        if name == "transpose" and np.size(args[0]) > 10_000:
            value = args[0] * np.mean(args[0])  # the product with itself would be far too large
        elif kind == "unary":
            value = UNARY[name](args[0])
        else:
            try:
                np.broadcast_shapes(*(np.shape(arg) for arg in args))
            except ValueError:
                args[1] = np.mean(args[1])
            value = BINARY[name](*args)
        values.append(np.mean(value) if np.size(value) > most else value)
    return sum(np.mean(np.sin(value)) for value in values[1:])


def operand(number, shapes):
    draw = np.random.default_rng(number)
    values = np.asarray(draw.uniform(-1.5, 1.5, shapes[number % len(shapes)]))
    return values.astype(np.float32 if number // TOGETHER % 4 == 3 else np.float64)


@pytest.fixture(scope="module")
def all_steps():
    return drawn(STRAIGHT)


@pytest.mark.parametrize("group", range(STRAIGHT // TOGETHER))
def test_straight_programs(all_steps, group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [lambda x, s=all_steps[n]: run(s, x, 10_000) for n in numbers]
    hold(functions, [operand(n, SHAPES) for n in numbers], level=3 if group % 4 == 0 else 1)
