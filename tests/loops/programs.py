"""Processes written twice: with Clew's loops, and in plain Python for the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import clew

W = np.array([[0.3, -0.2, 0.5], [0.1, 0.4, -0.3], [-0.6, 0.2, 0.1]])
X = np.array([0.4, -0.3, 0.8])


@dataclass(frozen=True)
class Program:
    """``looped(x, **memory)`` and ``plain(x)`` take three numbers to one."""

    name: str
    looped: Callable[..., Any]
    plain: Callable[[Any], Any]


def recurrent_looped(x, **memory):
    drive = np.stack([x, x * x, np.sin(x), x + 1.0])
    step = lambda c, u: (np.tanh(W @ c + u), np.sum(c * u))
    last, sums = clew.scan(step, x, drive, **memory)
    return np.sum(last * x) + np.sum(sums * sums)


def recurrent_plain(x):
    c, total = x, 0.0
    for u in (x, x * x, np.sin(x), x + 1.0):
        c, y = np.tanh(W @ c + u), np.sum(c * u)
        total = total + y * y
    return np.sum(c * x) + total


def backwards_looped(x, **memory):
    drive = np.stack([x, x * x, np.sin(x), x + 1.0])
    step = lambda c, u: (c * u + x[0], c[1] * u[2])
    last, ys = clew.scan(step, x, drive, reverse=True, **memory)
    return np.sum(last) + np.sum(ys * np.arange(4.0))


def backwards_plain(x):
    c, total = x, 0.0
    for t, u in reversed(list(enumerate((x, x * x, np.sin(x), x + 1.0)))):
        c, y = c * u + x[0], c[1] * u[2]
        total = total + y * t
    return np.sum(c) + total


def powers_looped(x, **memory):
    return np.sum(clew.fori_loop(2, 7, lambda i, c: np.sin(c) * x + i * 0.1, x, **memory))


def powers_plain(x):
    c = x
    for i in range(2, 7):
        c = np.sin(c) * x + i * 0.1
    return np.sum(c)


def growing_looped(x, **memory):
    start = (x[0] * x[0], 1.0)
    body = lambda c: (c[0] + 0.3 * np.cos(c[0] * x[1]) + 0.7, c[1] * np.exp(0.1 * c[0] * x[2]))
    last = clew.while_loop(lambda c: c[0] < 5.0, body, start, **memory)
    return last[0] * last[1]


def growing_plain(x):
    a, b = x[0] * x[0], 1.0
    while a < 5.0:
        a, b = a + 0.3 * np.cos(a * x[1]) + 0.7, b * np.exp(0.1 * a * x[2])
    return a * b


def nested_looped(x, **memory):
    def outer(c, u):
        inner = lambda d, _: (np.sin(d) * u + x[1], None)
        d, _ = clew.scan(inner, c * x[0], length=3, **memory)
        return d + c, d * u

    last, ys = clew.scan(outer, x[2], np.stack([x[0], x[1], 0.5 * x[2]]), **memory)
    return last * np.sum(ys)


def nested_plain(x):
    c, total = x[2], 0.0
    for u in (x[0], x[1], 0.5 * x[2]):
        d = c * x[0]
        for _ in range(3):
            d = np.sin(d) * u + x[1]
        c, total = d + c, total + d * u
    return c * total


def ragged_looped(x, **memory):
    def outer(c, u):
        inner = lambda d: d * (1.2 + 0.1 * np.sin(d)) + u * u
        d = clew.while_loop(lambda d: d < 4.0, inner, c * c + 0.1, **memory)
        return d - 3.0 * u, d

    last, ys = clew.scan(outer, x[2], np.stack([x[0], x[1], 0.5 * x[2]]), **memory)
    return last * np.sum(ys)


def ragged_plain(x):
    c, total = x[2], 0.0
    for u in (x[0], x[1], 0.5 * x[2]):
        d = c * c + 0.1
        while d < 4.0:
            d = d * (1.2 + 0.1 * np.sin(d)) + u * u
        c, total = d - 3.0 * u, total + d
    return c * total


def branching_looped(x, **memory):
    def step(c, u):
        up = lambda c: np.sqrt(c + 2.0) * u
        down = lambda c: clew.while_loop(lambda d: d < 1.0, lambda d: d + x[0] ** 2 + 0.3, c)
        c = clew.cond(c > 0.3, up, down, c)
        return c - 0.5, c * c

    last, ys = clew.scan(step, x[2], np.stack([x[0], x[1], x[2], x[0] * x[1]]), **memory)
    return last + np.sum(ys * ys)


def branching_plain(x):
    c, total = x[2], 0.0
    for u in (x[0], x[1], x[2], x[0] * x[1]):
        if c > 0.3:
            c = np.sqrt(c + 2.0) * u
        else:
            while c < 1.0:
                c = c + x[0] ** 2 + 0.3
        total = total + (c * c) ** 2
        c = c - 0.5
    return c + total


def counted_looped(x, **memory):
    steps = np.floor(np.abs(x[0] * 10.0)).astype(int)
    return clew.fori_loop(0, steps, lambda i, c: np.sin(c * x[1]) + x[2] * i, x[2], **memory)


def counted_plain(x):
    c = x[2]
    for i in range(int(np.floor(np.abs(x[0] * 10.0)))):
        c = np.sin(c * x[1]) + x[2] * i
    return c


def switched_looped(x, **memory):
    branches = [lambda c: c * c, lambda c: np.sin(c) * x[0], lambda c: np.exp(c) - x[1]]
    step = lambda c, i: (clew.switch(i, branches, c), c)
    last, ys = clew.scan(step, x[2], np.array([0, 2, 1, 1, 2]), **memory)
    return last + np.sum(ys) * x[1]


def switched_plain(x):
    c, total = x[2], 0.0
    for i in (0, 2, 1, 1, 2):
        total = total + c
        c = (lambda c: c * c, lambda c: np.sin(c) * x[0], lambda c: np.exp(c) - x[1])[i](c)
    return c + total * x[1]


def buffer_looped(x, **memory):
    def step(c, i):
        buffer = c + 0.0
        buffer[i] = np.sin(buffer[i - 1]) * x[1] + buffer[i]
        buffer[i - 1] = buffer[i] * x[2]
        return buffer, buffer[0]

    start = np.stack([x[0], x[1], x[2], x[0] * x[1], x[2] * x[2]])
    last, ys = clew.scan(step, start, np.array([1, 2, 3, 4, 2]), **memory)
    return np.sum(last * last) + np.sum(ys)


def buffer_plain(x):
    buffer = np.stack([x[0], x[1], x[2], x[0] * x[1], x[2] * x[2]])
    total = 0.0
    for i in (1, 2, 3, 4, 2):
        buffer[i] = np.sin(buffer[i - 1]) * x[1] + buffer[i]
        buffer[i - 1] = buffer[i] * x[2]
        total = total + buffer[0]
    return np.sum(buffer * buffer) + total


def recomputed_looped(x, **_):
    inner = clew.checkpoint(lambda c: np.sin(c) * x + np.exp(-c * c))
    return np.sum(inner(inner(inner(x))))


def recomputed_plain(x):
    c = x
    for _ in range(3):
        c = np.sin(c) * x + np.exp(-c * c)
    return np.sum(c)


NAMES = (
    "recurrent backwards powers growing nested ragged branching counted switched buffer recomputed"
)
PROGRAMS = [
    Program(name, globals()[f"{name}_looped"], globals()[f"{name}_plain"]) for name in NAMES.split()
]
