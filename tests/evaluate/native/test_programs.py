"""1,000 random programs: native code gives what the reference gives, on one thread and on two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import clew
from clew.core.graph import Graph
from clew.evaluate.native.run import Native
from clew.evaluate.native.threads import set_threads, threads
from clew.simplify import simplify
from tests.evaluate.native.comparing import as_tuple, differs
from tests.loops.test_random import Looped
from tests.loops.test_random import program as process_of
from tests.properties.programs import BINARY, UNARY, programs

TOGETHER = 20
"""Programs in one graph, which takes less time than a graph for each."""
SHAPES = [(), (3,), (2, 3), (3, 1), (15,), (16,), (17,), (33, 3), (5, 2), (4, 4), (40, 2, 3),
          (7, 20), (100,), (20, 30), (1, 50), (50, 1)]  # fmt: skip
LARGE = [(300, 300), (40_000,), (20_000, 3), (5000, 2, 4), (3, 20_000)]
STRAIGHT, WIDE, LOOPED, WRITING = 600, 100, 200, 100


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = threads()
    yield
    set_threads(before)


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


def hold(functions, operands):
    """Compile values and gradients of many programs as one graph, and compare."""

    def all_of_them(*given):
        return [
            part
            for f, x in zip(functions, given, strict=True)
            for part in (f(x), clew.grad(f)(x))
        ]

    with np.errstate(all="ignore"):
        graph: Graph = simplify(clew.trace(all_of_them)(*operands))
        expected = as_tuple(clew.evaluate(graph, *operands))
    set_threads(2)
    native = Native(graph)
    assert not [c for c in native.callouts if c.results], "Python evaluates something"
    found = [np.array(x) for x in native(*operands)]
    set_threads(1)
    again = native(*operands)
    wrong = []
    for number, (mine, other, theirs) in enumerate(zip(found, again, expected, strict=True)):
        text = differs(mine, theirs)
        if text:
            wrong.append(f"program {number // 2}, {'value gradient'.split()[number % 2]}: {text}")
        if mine.tobytes() != np.asarray(other).tobytes():
            wrong.append(f"program {number // 2}: another result on one thread")
    assert not wrong, "\n".join(wrong)


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
    hold(functions, [operand(n, SHAPES) for n in numbers])


@pytest.mark.parametrize("group", range(WIDE // TOGETHER))
def test_programs_on_large_arrays(all_steps, group):
    numbers = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [lambda x, s=all_steps[STRAIGHT + n]: run(s, x, 200_000) for n in numbers]
    hold(functions, [operand(n, LARGE) for n in numbers])


@pytest.mark.parametrize("group", range(LOOPED // TOGETHER))
def test_programs_with_loops_and_branches(group):
    functions, operands = [], []
    for seed in range(group * TOGETHER, (group + 1) * TOGETHER):
        draw = np.random.default_rng(seed)
        process = process_of(draw)
        start = draw.uniform(-1.0, 1.0, 2)
        functions.append(lambda x, f=process, a=start: np.sum(f(Looped({}), a, x)))
        operands.append(draw.uniform(-1.0, 1.0, 2))
    hold(functions, operands)


@pytest.mark.parametrize("group", range(WRITING // TOGETHER))
def test_programs_that_write_into_arrays(group):
    seeds = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions = [writing(np.random.default_rng(seed)) for seed in seeds]
    hold(functions, [np.float64(np.random.default_rng(seed).normal()) for seed in seeds])


def test_the_counts_add_up_to_a_thousand():
    assert STRAIGHT + WIDE + LOOPED + WRITING == 1000
