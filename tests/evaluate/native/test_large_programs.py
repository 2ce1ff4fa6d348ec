"""Random programs on arrays that threads share out: native code gives what the reference gives."""

from __future__ import annotations

import pytest

from tests.evaluate.native.holding import TOGETHER, hold, threads_as_before
from tests.evaluate.native.test_programs import STRAIGHT, drawn, operand, run

__all__ = ["threads_as_before"]
LARGE = [(300, 300), (40_000,), (20_000, 3), (5000, 2, 4), (3, 20_000)]
WIDE = 100


@pytest.fixture(scope="module")
def all_steps():
    return drawn(STRAIGHT + WIDE)[STRAIGHT:]


@pytest.mark.parametrize("group", range(WIDE // TOGETHER))
def test_programs_on_large_arrays(all_steps, group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [lambda x, s=all_steps[n]: run(s, x, 200_000) for n in numbers]
    hold(functions, [operand(n, LARGE) for n in numbers], level=3)
