"""Memory as chosen and as predicted, measured with tracemalloc."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import clew
from clew.core.memory import available_memory, require_memory


def pendulum(parameters, steps, **memory):
    gravity, start, speed = parameters[0], parameters[1], parameters[2]

    def step(c, _):
        angle, speed = c
        speed = speed - 1e-3 * gravity * np.sin(angle)
        return (angle + 1e-3 * speed, speed), None

    (angle, speed), _ = clew.scan(step, (start, speed), length=steps, **memory)
    return angle * angle + speed


def decaying(x, steps, **memory):
    step = lambda c: (c[0] + 1, c[1] * 0.999 + np.tanh(c[1]) * x * 1e-3)
    return np.sum(clew.while_loop(lambda c: c[0] < steps, step, (0, x), **memory)[1])


START = np.array([9.81, 1.0, 0.0])


def peak_of(function, *args):
    function(*args)  # what is imported and compiled once is not counted
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function(*args)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "memory",
    [{}, {"checkpoint": "auto"}, {"checkpoint": "auto", "memory": 2**22}],
    ids=str,
)
def test_peak_is_as_predicted(memory):
    loss = lambda p: pendulum(p, 200_000, **memory)
    predicted = clew.cost(loss)(START).gradient
    assert predicted is not None
    measured = peak_of(clew.grad(loss), START)
    assert measured == pytest.approx(predicted.peak, rel=0.1)


def test_peak_with_arrays_as_carry():
    def loss(x, **memory):
        step = lambda c, _: (np.tanh(c) + 0.1 * x, None)
        return np.sum(clew.scan(step, x, length=300, **memory)[0])

    x = np.linspace(-1.0, 1.0, 5000)
    for memory in ({}, {"checkpoint": 8}, {"checkpoint": "auto", "memory": 2**21}):
        predicted = clew.cost(lambda x, memory=memory: loss(x, **memory))(x).gradient
        assert predicted is not None
        measured = peak_of(clew.grad(lambda x, memory=memory: loss(x, **memory)), x)
        assert measured == pytest.approx(predicted.peak, rel=0.1)


def test_snapshots_bound_memory_whatever_the_length():
    small, large = (
        peak_of(clew.grad(lambda p, n=n: pendulum(p, n, checkpoint=50)), START)
        for n in (2_000, 50_000)
    )
    assert large < small + 20_000


def test_snapshots_of_a_while_loop_are_bounded_too():
    x = np.linspace(0.5, 1.0, 400)
    taped = peak_of(clew.grad(lambda x: decaying(x, 1000)), x)
    kept = peak_of(clew.grad(lambda x: decaying(x, 1000, checkpoint=20)), x)
    assert taped > 1000 * x.nbytes
    assert kept < 80 * x.nbytes


def test_auto_saves_everything_if_it_fits_and_snapshots_if_not():
    def snapshots_of(**memory):
        graph = clew.trace(clew.grad(lambda p: pendulum(p, 1000, checkpoint="auto", **memory)))
        loops = [e for e in graph(START).equations if e.primitive.name == "loop"]
        return loops[0].params["snapshots"]

    assert snapshots_of() is None
    assert snapshots_of(memory=1000 * 8) is None
    assert snapshots_of(memory=1000 * 8 - 1) == 7999 // 32


def test_a_tape_past_its_budget():
    x = np.ones(100)
    loss = lambda x: decaying(x, 500, memory=100_000)
    with pytest.raises(
        clew.MemoryLimitError, match=r"while_loop: its tape takes .* allows 97.7 KiB"
    ):
        clew.grad(loss)(x)
    fits = clew.grad(lambda x: decaying(x, 500, memory=100_000, checkpoint="auto"))(x)
    np.testing.assert_allclose(fits, clew.grad(lambda x: decaying(x, 500))(x), rtol=1e-12)


def test_a_run_that_cannot_fit_stops_before_it_starts():
    steps = 10**13
    with pytest.raises(clew.MemoryLimitError) as caught:
        clew.grad(lambda p: pendulum(p, steps))(START)
    text = str(caught.value)
    assert "too much" in text
    assert "test_memory.py" in text
    assert 'checkpoint="auto"' in text


def test_a_graph_that_fits_is_not_refused():
    require_memory("f", clew.trace(lambda x: x * 2.0)(np.ones(3)))
    assert available_memory() > 2**20


def test_checkpoint_of_a_function_keeps_its_arguments_only():
    deep = lambda x: np.sin(np.exp(np.sin(np.tanh(np.sin(x * x)))))
    x = np.linspace(0.0, 1.0, 100_000)
    plain = peak_of(clew.grad(lambda x: np.sum(deep(deep(deep(x))))), x)
    again = clew.checkpoint(deep)
    kept = peak_of(clew.grad(lambda x: np.sum(again(again(again(x))))), x)
    assert kept < 0.75 * plain


def test_hessian_products_and_batches_keep_the_bound():
    x = np.linspace(-1.0, 1.0, 500)

    def loss(x, **memory):
        step = lambda c, _: (np.tanh(c) + 0.1 * x, None)
        return np.sum(clew.scan(step, x, length=1000, **memory)[0] ** 2)

    product = lambda **memory: clew.hvp(lambda x: loss(x, **memory), (x,), (np.cos(x),))
    np.testing.assert_allclose(product(checkpoint=35), product(), rtol=1e-10)
    assert peak_of(lambda: product(checkpoint=35)) < 0.3 * peak_of(product)
    rows = np.stack([x, 0.5 * x])
    batch = lambda **memory: clew.vmap(clew.grad(lambda x: loss(x, **memory)))(rows)
    np.testing.assert_allclose(batch(checkpoint=35), batch(), rtol=1e-12)
    assert peak_of(lambda: batch(checkpoint=35)) < 0.3 * peak_of(batch)


def test_batches_of_while_loops_keep_the_bound():
    starts = np.linspace(0.5, 1.0, 6)
    lengths = np.array([900, 1000, 10, 500, 0, 1])

    def loss(x, steps, **memory):
        wide = x * np.ones(200)
        step = lambda c: (c[0] + 1, c[1] * 0.999 + np.tanh(c[1]) * wide * 1e-3)
        return np.sum(clew.while_loop(lambda c: c[0] < steps, step, (0, wide), **memory)[1] ** 2)

    def counted(x, steps, **memory):
        wide = x * np.ones(200)
        step = lambda i, c: c * 0.999 + np.tanh(c) * wide * 1e-3
        return np.sum(clew.fori_loop(0, steps, step, wide, **memory) ** 2)

    for f in (loss, counted):
        batch = lambda f=f, **memory: clew.vmap(clew.grad(lambda x, n: f(x, n, **memory)))(
            starts, lengths
        )
        np.testing.assert_allclose(batch(checkpoint=32), batch(), rtol=1e-11)
        assert peak_of(lambda batch=batch: batch(checkpoint=32)) < 0.2 * peak_of(batch)
        for memory in ({"checkpoint": 1}, {"checkpoint": "auto", "memory": 100_000}):
            np.testing.assert_allclose(batch(**memory), batch(), rtol=1e-11)


def test_second_derivatives_of_batches_of_checkpointed_while_loops():
    def f(x, **memory):
        step = lambda c: (c[0] + 1, np.sin(c[1]) + 0.3 * x)
        return clew.while_loop(lambda c: c[0] < 8.0 * x, step, (0, x), **memory)[1]

    def twice(f):
        return clew.grad(clew.grad(f))

    def product(f):
        return lambda x: clew.hvp(f, (x,), (1.0,))

    def third(f):
        return lambda x: clew.jvp(twice(f), (x,), (1.0,))[1]

    xs = np.array([0.3, 1.7, 0.0, 2.4])
    for order in (twice, product, third):
        expected = [order(f)(x) for x in xs]
        for snapshots in (1, 3):
            kept = order(lambda x, n=snapshots: f(x, checkpoint=n))
            np.testing.assert_allclose(clew.vmap(kept)(xs), expected, rtol=1e-10)
            nested = clew.vmap(clew.vmap(kept))(xs.reshape(2, 2))
            np.testing.assert_allclose(nested.ravel(), expected, rtol=1e-10)


@pytest.mark.parametrize("snapshots", [1, 3])
@pytest.mark.parametrize("counted", [False, True])
def test_derivatives_of_batches_of_gradients(snapshots, counted):
    """Batched first, differentiated then: snapshots and replay must still fit each other."""

    def f(x, **memory):
        if counted:
            steps = np.floor(4.0 * x).astype(int)
            return clew.fori_loop(0, steps, lambda i, c: np.sin(c) + 0.3 * x * i, x, **memory)
        step = lambda c: (c[0] + 1, np.sin(c[1]) + 0.3 * x)
        return clew.while_loop(lambda c: c[0] < 4.0 * x, step, (0, x), **memory)[1]

    xs = np.array([0.3, 1.7, 0.0, 2.4])
    second = np.array([clew.grad(clew.grad(f))(x) for x in xs])
    third = np.array([clew.grad(clew.grad(clew.grad(f)))(x) for x in xs])
    slopes = clew.vmap(clew.grad(lambda x: f(x, checkpoint=snapshots)))
    curves = lambda xs: clew.jvp(slopes, (xs,), (np.ones(4),))[1]
    np.testing.assert_allclose(curves(xs), second, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(clew.grad(lambda xs: np.sum(slopes(xs)))(xs), second, rtol=1e-10)
    found = clew.grad(lambda xs: np.sum(curves(xs)))(xs)
    np.testing.assert_allclose(found, third, rtol=1e-9, atol=1e-11)
    pairs = xs.reshape(2, 2)
    nested = clew.jvp(clew.vmap(slopes), (pairs,), (np.ones((2, 2)),))[1]
    np.testing.assert_allclose(nested.ravel(), second, rtol=1e-10, atol=1e-12)


def test_auto_does_not_trust_tapes_whose_length_nobody_knows():
    """Each step runs a loop of its own, of a length known only when running."""

    def loss(x, **memory):
        inner = lambda c: (c[0] + 1, np.sin(c[1]) * x)
        step = lambda c, _: (clew.while_loop(lambda d: d[0] < 60, inner, (0, c))[1] + 0.1, None)
        return clew.scan(step, x, length=300, **memory)[0]

    gradient = lambda **memory: clew.grad(lambda x: loss(x, **memory))(0.9)
    kept = {"checkpoint": "auto", "memory": 2**13}
    np.testing.assert_allclose(gradient(**kept), gradient(), rtol=1e-12)
    assert peak_of(lambda: gradient(**kept)) < 0.6 * peak_of(gradient)


def test_advice_where_snapshots_are_taken_already():
    f = lambda x: clew.scan(
        lambda c, _: (np.sin(c) * x, None), x, length=2000, checkpoint="auto", memory=8000
    )[0]
    with pytest.raises(clew.MemoryLimitError, match=r"clew\.hvp"):
        clew.grad(clew.grad(f))(0.5)
    assert np.isfinite(clew.hvp(f, (0.5,), (1.0,)))
