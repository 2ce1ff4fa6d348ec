"""Random nestings of every control-flow form, with first and second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from tests.evaluate.native.holding import hold, threads_as_before
from tests.loops.test_random import expression

__all__ = ["threads_as_before"]
POLICIES = [{}, {"checkpoint": 1}, {"checkpoint": 2}, {"checkpoint": 4}, {"checkpoint": "auto"}]
FORMS = ["repeat", "over", "count", "until", "choose", "switch", "again", "batch"]
TOGETHER = 8
GROUPS = 8


def nested(draw, depth):
    """Return ``f(a, x)``: a process over a pair of vectors, forms within forms."""
    step = expression(draw)
    if not depth:
        return step
    inner = nested(draw, depth - 1)
    form = FORMS[draw.integers(0, len(FORMS))]
    policy = POLICIES[draw.integers(0, len(POLICIES))]
    steps = int(draw.integers(1, 8))
    body = lambda a, x: inner(step(a, x), x)

    def process(a, x):
        if form == "repeat":
            return clew.scan(lambda c, _: (body(c, x), None), a, length=steps, **policy)[0]
        if form == "over":
            rows = np.stack([x * (0.3 + i) for i in range(steps)])
            last, ys = clew.scan(lambda c, r: (body(c, r), c * r), a, rows, **policy)
            return last + 0.1 * np.sum(ys, axis=0)
        if form == "count":
            count = np.floor(3.0 * np.abs(np.sum(x))).astype(np.int64)
            return clew.fori_loop(0, count, lambda i, c: body(c, x) + 0.01 * i, a, **policy)
        if form == "until":
            start = (a, 0.2 * np.sum(a * a), 0)
            going = lambda c: (c[1] < 1.5) & (c[2] < 9)
            grown = lambda c: (
                body(c[0], x),
                c[1] * 1.2 + 0.1 + 0.1 * np.sum(c[0][0]) ** 2,
                c[2] + 1,
            )
            last, size, _ = clew.while_loop(going, grown, start, **policy)
            return np.tanh(last * size)
        return chosen(a, x)

    def chosen(a, x):
        if form == "choose":
            other = lambda a: np.cos(a) * x
            return clew.cond(np.sum(a) > 0.1, lambda a: body(a, x), other, a)
        if form == "switch":
            which = np.floor(np.abs(3.0 * np.sum(a[0]))).astype(np.int64)
            return clew.switch(which, [lambda a: body(a, x), lambda a: inner(a, x), np.sin], a)
        if form == "again":
            return clew.checkpoint(body)(a, x)
        rows = np.stack([a, 0.7 * a[::-1], a + x])
        return np.sum(clew.vmap(lambda row: body(row, x))(rows), axis=0)

    return process


def program(seed, depth=3):
    """Return a random process as a function of a vector, and the vector."""
    draw = np.random.default_rng(seed)
    process, weights = nested(draw, depth), draw.normal(size=2)
    start = lambda x: np.stack([x[0], x[1] * x[1]])
    return lambda x: process(start(x), x) @ weights, draw.normal(size=2)


def second(f):
    """Return a function whose gradient is made of second derivatives."""
    return lambda x: clew.grad(f)(x) @ np.array([0.6, -0.8])


@pytest.mark.parametrize("group", range(GROUPS))
def test_first_derivatives(group):
    seeds = range(group * TOGETHER, (group + 1) * TOGETHER)
    functions, operands = zip(*map(program, seeds), strict=True)
    hold(functions, operands, level=3 if group % 4 == 0 else 1)


@pytest.mark.parametrize("group", range(GROUPS))
def test_second_derivatives(group):
    seeds = range(1000 + group * TOGETHER, 1000 + (group + 1) * TOGETHER)
    functions, operands = zip(*(program(seed, depth=2) for seed in seeds), strict=True)
    hold([second(f) for f in functions], operands, level=3 if group % 4 == 0 else 1)
