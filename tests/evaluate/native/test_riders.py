"""Kernels that run in the chunks of the product before them give what they give alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clew
from clew.evaluate.native.notes import Notes, StepNote
from clew.evaluate.native.program import Program
from clew.nn import convolution
from clew.simplify import simplify

RNG = np.random.default_rng(0)
A = RNG.normal(size=(130, 140))
B = RNG.normal(size=(140, 150))
SMALL = RNG.normal(size=150)
RIDING = {
    "bias and activation": lambda a, b, c: np.tanh(a @ b + c),
    "sums of rows": lambda a, b, c: np.sum((a @ b) * c, axis=1),
    "sums of columns": lambda a, b, c: np.sum(a @ b, axis=0) * c,
    "everything": lambda a, b, c: np.sum(np.sin(a @ b + c)),
    "largest of each row": lambda a, b, c: np.max(a @ b + c, axis=1),
    "the product itself is returned": lambda a, b, c: (a @ b, np.exp(-((a @ b) ** 2)) * c),
    "another array": lambda a, b, c: (a @ b, np.exp(c)),
}
WALKING = {
    "turned": lambda a, b, c: (a @ b) + np.sum((a @ b).T[:10], axis=0)[:, None],
    "upside down": lambda a, b, c: (a @ b)[::-1] * c,
    "other rows": lambda a, b, c: (a @ b)[1:] - (a @ b)[:-1] * c,
    "rows by number": lambda a, b, c: (a @ b)[np.argsort(np.abs(c))[:90] % 130] * 2.0,
    "folded": lambda a, b, c: np.sum(np.reshape(a @ b, (150, 130)) * c[:, None]),
}


def steps_of(f: Any, *args: Any) -> list[StepNote]:
    """The notes of the program that a function becomes."""
    notes = Notes()
    Program(simplify(clew.trace(f)(*args)), notes)
    return notes.steps


def agree(f: Any, *args: Any) -> None:
    """Compare native code on one thread and on two with the reference evaluator."""
    expected = f(*args)
    before = clew.threads()
    found = []
    for count in (1, 2):
        clew.set_threads(count)
        found.append(clew.jit(f)(*args))
    clew.set_threads(before)
    for one, other, wanted in zip(*(map(list, map(flat, (*found, expected)))), strict=True):
        assert np.array_equal(one, other)
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-12 * np.max(np.abs(wanted)))


def flat(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", RIDING)
def test_kernels_that_ride(name: str) -> None:
    assert any(step.rides for step in steps_of(RIDING[name], A, B, SMALL))
    agree(RIDING[name], A, B, SMALL)


@pytest.mark.parametrize("name", WALKING)
def test_kernels_that_read_what_other_chunks_compute(name: str) -> None:
    steps = steps_of(WALKING[name], A, B, SMALL)
    assert any(step.kind == "product" and step.chunks > 1 for step in steps)
    agree(WALKING[name], A, B, SMALL)


def test_a_kernel_does_not_overwrite_what_other_chunks_have_yet_to_read() -> None:
    def f(a, b):
        a, b = np.sin(a), np.cos(b)  # arrays that nobody needs after the product
        return np.tanh(a @ b) - 1.0

    square = RNG.normal(size=(160, 160))
    agree(f, square, square + 1.0)


def test_gradients_of_layers() -> None:
    def loss(weights, x):
        for weight in weights:
            x = np.maximum(x @ weight + 0.1, 0.0)
        return np.mean(x * x)

    weights = [RNG.normal(size=(140, 140)) / 12 for _ in range(3)]
    f = clew.value_and_grad(loss)
    graph_steps = steps_of(f, weights, A)
    assert sum(step.rides for step in graph_steps) >= 3
    agree(lambda *given: tuple(clew.core.pytree.flatten(f(*given))[0]), weights, A)


def test_in_a_loop() -> None:
    def f(a, b):
        def step(carry, _):
            carry = np.tanh(carry @ b) * 0.9
            return carry, np.sum(carry, axis=0)

        return clew.scan(step, a, length=5)

    agree(f, A, B[:, :140] / 5)


def test_convolutions_by_examples() -> None:
    x, w = RNG.normal(size=(8, 6, 20, 20)), RNG.normal(size=(12, 6, 3, 3))

    def f(x, w):
        y = convolution(x, w, padding="same")
        mean = np.mean(y, axis=(0, 2, 3), keepdims=True)
        return np.maximum(y - mean, 0.0)

    agree(f, x, w)
