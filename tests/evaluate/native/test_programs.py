"""1,000 random programs, with ``test_looping_programs.py``: native code gives the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.evaluate.native.holding import TOGETHER, hold, threads_as_before
from tests.properties.programs import BINARY, UNARY, programs

__all__ = ["threads_as_before"]
SHAPES = [(), (3,), (2, 3), (3, 1), (15,), (16,), (17,), (33, 3), (5, 2), (4, 4), (40, 2, 3),
          (7, 20), (100,), (20, 30), (1, 50), (50, 1)]  # fmt: skip
LARGE = [(300, 300), (40_000,), (20_000, 3), (5000, 2, 4), (3, 20_000)]
STRAIGHT, WIDE = 600, 100


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
    return drawn(STRAIGHT + WIDE)


@pytest.mark.parametrize("group", range(STRAIGHT // TOGETHER))
def test_straight_programs(all_steps, group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [lambda x, s=all_steps[n]: run(s, x, 10_000) for n in numbers]
    hold(functions, [operand(n, SHAPES) for n in numbers], level=3 if group % 4 == 0 else 1)


@pytest.mark.parametrize("group", range(WIDE // TOGETHER))
def test_programs_on_large_arrays(all_steps, group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [lambda x, s=all_steps[STRAIGHT + n]: run(s, x, 200_000) for n in numbers]
    hold(functions, [operand(n, LARGE) for n in numbers], level=3)
