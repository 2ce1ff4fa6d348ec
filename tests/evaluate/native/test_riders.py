"""Steps that run together, chunk by chunk, give what they give one after the other."""

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


def softmax(a: Any, b: Any, axis: int) -> Any:
    x = a @ b
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


@pytest.mark.parametrize(("axis", "riders"), [(1, 3), (0, 1)])
def test_several_in_a_row(axis: int, riders: int) -> None:
    steps = steps_of(lambda a, b: softmax(a, b, axis), A, B)
    assert sum(step.rides for step in steps) == riders
    agree(lambda a, b: softmax(a, b, axis), A, B)


def test_a_second_kernel_that_reads_other_rows_of_the_first() -> None:
    def f(a, b):
        rows = np.max(np.sin(a @ b), axis=1)
        return rows[::-1] * 2.0, rows[1:] - rows[:-1]

    assert sum(step.rides for step in steps_of(f, A, B)) == 1
    agree(f, A, B)


def test_random_sequences_after_a_product() -> None:
    def follow(x: Any, rng: np.random.Generator) -> Any:
        number = rng.integers(8)
        if number == 0:
            return x - np.mean(x, axis=rng.integers(2), keepdims=True)
        if number == 1:
            return x / (1.0 + np.max(np.abs(x), axis=1, keepdims=True))
        if number == 2:
            return x[::-1] + x
        if number == 3:
            return np.where(x > 0, x, 0.1 * x)
        if number == 4:
            return x * np.sum(x * x)
        if number == 5:
            return x + np.cumsum(x, axis=rng.integers(2))
        return np.tanh(x) * 1.5

    for seed in range(40):

        def f(a: Any, b: Any, seed: int = seed) -> Any:
            rng = np.random.default_rng(seed)
            x = a @ b
            kept = [x]
            for _ in range(rng.integers(2, 6)):
                x = follow(x, rng)
                if rng.random() < 0.4:
                    x = x + kept[rng.integers(len(kept))]
                kept.append(x)
            return x, np.sum(kept[rng.integers(len(kept))], axis=rng.integers(2))

        agree(f, A, B)


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


# --- regions of several products ------------------------------------------------------------------

SQUARE = [RNG.normal(size=(128, 128)) / 12 for _ in range(3)]
ROWS = RNG.normal(size=(120, 128))


def kinds_of(f: Any, *args: Any) -> list[tuple[str, bool]]:
    """The steps of a function, and which of them run with the one before."""
    kept = [step for step in steps_of(f, *args) if step.kind != "registers"]
    return [(step.kind, step.rides) for step in kept]


def test_a_kernel_leads_to_a_product() -> None:
    def f(x, w):
        return np.tanh(x) @ w

    assert kinds_of(f, ROWS, SQUARE[0]) == [("kernel", False), ("product", True)]
    agree(f, ROWS, SQUARE[0])


def test_layers_are_one_region() -> None:
    def f(x, weights):
        for weight in weights:
            x = np.tanh(x @ weight + 0.5)
        return x

    steps = kinds_of(f, ROWS, SQUARE)
    assert steps == [
        ("product", False),
        *[("kernel", True), ("product", True)] * 2,
        ("kernel", True),
    ]
    agree(f, ROWS, SQUARE)


def test_a_product_that_sums_over_chunks_stays_apart() -> None:
    def f(x, w):
        y = np.tanh(x @ w)
        return y.T @ y

    assert kinds_of(f, ROWS, SQUARE[0]) == [
        ("product", False),
        ("kernel", True),
        ("product", False),
    ]
    agree(f, ROWS, SQUARE[0])


def test_rows_that_no_number_of_chunks_divides() -> None:
    x = RNG.normal(size=(127, 128))

    def f(x, weights):
        for weight in weights:
            x = np.tanh(x @ weight)
        return x

    assert not any(kind == "product" and rides for kind, rides in kinds_of(f, x, SQUARE))
    agree(f, x, SQUARE)


def test_batches_of_products_in_a_row() -> None:
    x, w = RNG.normal(size=(6, 90, 70)), RNG.normal(size=(6, 70, 70)) / 8

    def f(x, w):
        y = np.sin(x) @ w
        return np.sum(y * y, axis=2), y @ np.swapaxes(w, 1, 2)

    assert sum(rides for _, rides in kinds_of(f, x, w)) >= 2
    agree(f, x, w)


def test_an_operand_that_the_region_writes_is_read_whole() -> None:
    def f(x, w):
        y = np.tanh(x @ w)  # 128 rows, the columns of the next product
        return x @ y

    square = RNG.normal(size=(128, 128))
    assert kinds_of(f, square, SQUARE[0])[-1] == ("product", False)
    agree(f, square, SQUARE[0])


def test_numbers_computed_meanwhile() -> None:
    def f(x, w, scale):
        y = np.tanh(x)
        factor = np.exp(scale) + 1.0  # of no step of the region
        return (y @ w) * factor, factor

    agree(f, ROWS, SQUARE[0], np.array(0.3))


def test_numbers_that_need_the_region() -> None:
    def f(x, w):
        y = x @ w
        total = np.sum(y)
        return np.tanh(y) / (1.0 + total * total)

    agree(f, ROWS, SQUARE[0])


def test_joined_parts_lead_to_a_product() -> None:
    def f(x, w):
        y = np.concatenate([np.sin(x[:, :64]), np.cos(x[:, 64:])], axis=1)
        return np.tanh(y @ w)

    agree(f, ROWS, SQUARE[0])


def test_pieces_of_workers_in_a_loop() -> None:
    def f(x, w):
        def step(carry, _):
            y = np.tanh(carry @ w)
            z = np.concatenate([y[:, :64] * y[:, 64:], y[:, 64:] + 0.1], axis=1)
            return np.tanh(z @ w), np.sum(z, axis=1)

        return clew.scan(step, x, length=7)

    agree(f, ROWS, SQUARE[0])
    slope = clew.grad(lambda x, w: sum(np.sum(each) for each in f(x, w)), argnums=(0, 1))
    agree(slope, ROWS, SQUARE[0])


def test_random_chains_of_kernels_and_products() -> None:
    def follow(x: Any, rng: np.random.Generator) -> Any:
        number, w = rng.integers(9), SQUARE[rng.integers(3)]
        if number < 3:
            return x @ (w if number else w.T)
        if number == 3:
            return np.tanh(x)
        if number == 4:
            return x / (1.0 + np.max(np.abs(x), axis=1, keepdims=True))
        if number == 5:
            return np.concatenate([np.sin(x[:, :64]), x[:, 64:] * 2.0], axis=1)
        if number == 6:
            return x[::-1] + x
        if number == 7:
            return x - np.mean(x, axis=rng.integers(2), keepdims=True)
        return np.reshape(np.reshape(x, (4, 30, 128)) @ w, (120, 128)) * 0.5

    for seed in range(40):

        def f(x: Any, seed: int = seed) -> Any:
            rng = np.random.default_rng(seed)
            kept = [x]
            for _ in range(rng.integers(3, 9)):
                x = follow(x, rng)
                if rng.random() < 0.3:
                    x = x + kept[rng.integers(len(kept))]
                kept.append(x)
            return x, np.sum(np.abs(kept[rng.integers(len(kept))]), axis=rng.integers(2))

        agree(f, ROWS)
