"""Random processes, nested and branching, against the same written out in Python."""

from __future__ import annotations

import numpy as np
import pytest

import clew

POLICIES = [{}, {}, {"checkpoint": 1}, {"checkpoint": 2}, {"checkpoint": 5}, {"checkpoint": "auto"}]
UNARY = [np.sin, np.tanh, lambda v: v * v * 0.3, lambda v: np.exp(0.2 * v), lambda v: -v]
BINARY = [lambda a, b: a * b, lambda a, b: a + 0.5 * b, lambda a, b: a / (2.0 + b * b), np.maximum]
MIX = np.array([[0.6, -0.4], [0.3, 0.8]])


class Looped:
    """The constructs as Clew's loops."""

    def __init__(self, policy):
        self.policy = policy

    def repeat(self, count, step, carry):
        return clew.scan(lambda c, _: (step(c), None), carry, length=count, **self.policy)[0]

    def over(self, rows, step, carry):
        return clew.scan(step, carry, rows, **self.policy)

    def until(self, condition, step, carry):
        return clew.while_loop(condition, step, carry, **self.policy)

    def choose(self, predicate, one, other, value):
        return clew.cond(predicate, one, other, value)


class Plain:
    """The same in Python."""

    def repeat(self, count, step, carry):
        for _ in range(count):
            carry = step(carry)
        return carry

    def over(self, rows, step, carry):
        ys = []
        for i in range(rows.shape[0]):
            carry, y = step(carry, rows[i])
            ys.append(y)
        return carry, np.stack(ys)

    def until(self, condition, step, carry):
        while condition(carry):
            carry = step(carry)
        return carry

    def choose(self, predicate, one, other, value):
        return one(value) if predicate else other(value)


def expression(draw):
    """Return a random smooth function of a pair of vectors."""
    kinds = draw.integers(0, 4, 4)
    unary = [UNARY[i] for i in draw.integers(0, len(UNARY), 4)]
    binary = [BINARY[i] for i in draw.integers(0, len(BINARY), 4)]

    def function(a, b):
        for kind, one, two in zip(kinds, unary, binary, strict=True):
            if kind == 0:
                a, b = one(a), a
            elif kind == 1:
                a, b = two(a, b), b
            elif kind == 2:
                a = MIX @ a + 0.1
            else:
                a, b = np.stack([b[1], a[0]]), two(b, a)
        return np.tanh(a) + 0.1 * b

    return function


def program(draw, depth=2):
    """Return ``f(ways, a, x)``: a process over a vector ``a`` with parameters ``x``."""
    inner = program(draw, depth - 1) if depth else None
    step = expression(draw)
    kind = draw.integers(0, 4) if depth else 4
    count = int(draw.integers(1, 6))

    def body(ways, a, x):
        a = step(a, x)
        return a if inner is None else inner(ways, a, x)

    def process(ways, a, x):
        if kind == 0:
            return ways.repeat(count, lambda c: body(ways, c, x), a)
        if kind == 1:
            rows = np.stack([x * (0.3 + i) for i in range(count)])
            last, ys = ways.over(rows, lambda c, r: (body(ways, c, r), c * r), a)
            return last + 0.1 * ys.sum(axis=0)
        if kind == 2:
            start = (a, 0.2 * np.sum(a * a))
            going = lambda c: c[1] < 1.5
            grown = lambda c: (body(ways, c[0], x), c[1] * 1.3 + 0.2 + 0.1 * np.sum(c[0] * x) ** 2)
            last, size = ways.until(going, grown, start)
            return last * size
        if kind == 3:
            other = lambda a: np.cos(a) * x
            return ways.choose(np.sum(a) > 0.1, lambda a: body(ways, a, x), other, a)
        return body(ways, a, x)

    return process


def same(found, expected, tolerance):
    scale = 1e-3 + np.max(np.abs(np.asarray(expected)))
    assert np.max(np.abs(np.asarray(found) - np.asarray(expected))) <= tolerance * scale


@pytest.mark.parametrize("seed", range(120))
def test_random_process(seed):
    draw = np.random.default_rng(seed)
    process = program(draw)
    ways = Looped(POLICIES[draw.integers(0, len(POLICIES))])
    f = lambda x: np.sum(process(ways, np.stack([x[0], x[1] * x[1]]), x))
    g = lambda x: np.sum(process(Plain(), np.stack([x[0], x[1] * x[1]]), x))
    x, v = draw.normal(size=2), draw.normal(size=2)
    same(f(x), g(x), 1e-12)
    gradient = clew.grad(g)(x)
    same(clew.grad(f)(x), gradient, 1e-11)
    same(clew.jvp(f, (x,), (v,))[1], gradient @ v, 1e-11)
    second = clew.hvp(g, (x,), (v,))
    same(clew.hvp(f, (x,), (v,)), second, 1e-10)
    same(clew.grad(lambda x: clew.grad(f)(x) @ v)(x), second, 1e-10)
    many = draw.normal(size=(3, 2))
    gradients = np.stack([np.asarray(clew.grad(g)(row)) for row in many])
    same(clew.vmap(clew.grad(f))(many), gradients, 1e-11)
    same(clew.grad(lambda rows: np.sum(clew.vmap(f)(rows)))(many), gradients, 1e-11)
