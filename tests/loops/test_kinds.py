"""What may stand in a loop: dtypes, trees, families of primitives, other transforms."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.core.verify import verify
from clew.testing import check_derivatives

MEMORY = [{}, {"checkpoint": 2}]


@pytest.fixture(params=MEMORY, ids=str)
def memory(request):
    return request.param


def test_single_precision_stays_so(memory):
    f = lambda x: clew.scan(lambda c, _: (np.sin(c) * x, c), x, length=4, **memory)
    x = np.float32(0.7)
    last, ys = f(x)
    assert (last.dtype, ys.dtype) == (np.float32, np.float32)
    gradient = clew.grad(lambda x: f(x)[0])(x)
    assert gradient.dtype == np.float32
    exact = clew.grad(lambda x: f(x)[0])(0.7)
    np.testing.assert_allclose(gradient, exact, rtol=1e-5)  # float32 rounds at 6e-8, 4 steps


def test_complex_carry(memory):
    def f(x):
        step = lambda z, _: (z * z * 0.5 + x * 1j, None)
        z = clew.scan(step, x + 0.3j, length=3, **memory)[0]
        return np.real(z) ** 2 + np.imag(z)

    def g(x):
        z = x + 0.3j
        for _ in range(3):
            z = z * z * 0.5 + x * 1j
        return np.real(z) ** 2 + np.imag(z)

    np.testing.assert_allclose(clew.grad(f)(0.4), clew.grad(g)(0.4), rtol=1e-13)


def test_trees_integers_and_truths_in_a_carry(memory):
    def f(x):
        def step(c, _):
            n = c["n"] + 1
            y = np.where(c["odd"], c["y"] * x, c["y"] + x)
            return {"n": n, "odd": n % 2 == 1, "y": y}, {"y": y, "n": n}

        start = {"n": 0, "odd": False, "y": x}
        last, ys = clew.scan(step, start, length=5, **memory)
        return last["y"] + np.sum(ys["y"] * ys["n"])

    def g(x):
        y, total = x, 0.0
        for n in range(5):
            y = y * x if n % 2 == 1 else y + x
            total = total + y * (n + 1)
        return y + total

    np.testing.assert_allclose(clew.grad(f)(1.3), clew.grad(g)(1.3), rtol=1e-13)
    np.testing.assert_allclose(clew.hvp(f, (1.3,), (1.0,)), clew.hvp(g, (1.3,), (1.0,)), rtol=1e-12)


def test_the_same_array_twice_in_a_carry():
    x = np.array([1.0, 2.0])
    a, b = clew.scan(lambda c, _: ((c[0] + 1.0, c[1] * 2.0), None), (x, x), length=2)[0]
    np.testing.assert_array_equal(a, x + 2.0)
    np.testing.assert_array_equal(b, x * 4.0)


@pytest.mark.parametrize(
    "inner",
    [
        lambda c, x: np.linalg.solve(np.eye(2) * (2.0 + c @ c) + np.outer(x, x), c),
        lambda c, x: np.sort(c * x) + np.cumsum(c),
        lambda c, x: np.real(np.fft.ifft(np.fft.fft(c) * 0.5)) + x,
        lambda c, x: np.stack([np.max(c) * x[0], np.linalg.norm(c + x)]),
        lambda c, x: c[np.array([1, 0])] * x + np.concatenate([c[1:], x[:1]]),
    ],
    ids=["solve", "sort", "fft", "norm", "gather"],
)
def test_families_of_primitives(inner, memory):
    f = lambda x: clew.scan(lambda c, _: (inner(c, x), None), x + 0.1, length=3, **memory)[0]
    check_derivatives(f, np.array([0.7, 0.4]), order=2)


def test_rules_of_the_users_own(memory):
    @clew.custom_rule(pull=lambda t, y, x: t * 3.0)
    def thrice(x):
        return x * 1.0

    f = lambda x: clew.scan(lambda c, _: (thrice(c) * 0.5, None), x, length=4, **memory)[0]
    assert float(clew.grad(f)(2.0)) == 1.5**4
    assert float(clew.jvp(f, (2.0,), (1.0,))[1]) == 1.5**4


def test_composites_and_stopped_gradients(memory):
    soft = clew.composite(lambda x: np.log1p(np.exp(x)))

    def f(x):
        step = lambda c, _: (soft(c) + clew.stop_gradient(c) * x, None)
        return clew.scan(step, 0.3 * x, length=3, **memory)[0]

    def g(x):
        c = 0.3 * x
        for _ in range(3):
            c = soft(c) + clew.stop_gradient(c) * x
        return c

    np.testing.assert_allclose(clew.grad(f)(0.8), clew.grad(g)(0.8), rtol=1e-13)


def test_random_numbers_are_those_of_the_step(memory):
    def f(x):
        step = lambda c, key: (c + x * clew.random.normal(key, (3,)), None)
        keys = np.stack(clew.random.split(clew.random.key(5), 4))
        return np.sum(clew.scan(step, np.zeros(3), keys, **memory)[0])

    drawn = [clew.random.normal(k, (3,)) for k in clew.random.split(clew.random.key(5), 4)]
    np.testing.assert_allclose(clew.grad(f)(2.0), np.sum(drawn), rtol=1e-13)


def test_vmap_over_what_is_scanned_and_held(memory):
    f = lambda w, xs: clew.scan(lambda c, x: (np.tanh(w * c + x), c), 0.5, xs, **memory)
    ws, xs = np.linspace(0.1, 0.9, 3), np.arange(12.0).reshape(3, 4) * 0.1
    last, ys = clew.vmap(f)(ws, xs)
    for i in range(3):
        one, row = f(ws[i], xs[i])
        np.testing.assert_allclose(last[i], one, rtol=1e-14)
        np.testing.assert_allclose(ys[i], row, rtol=1e-14)
    last, _ = clew.vmap(f, in_axes=(None, 1))(0.4, xs.T)
    np.testing.assert_allclose(last[2], f(0.4, xs[2])[0], rtol=1e-14)
    nested = clew.vmap(clew.vmap(lambda w, x: f(w, x)[0], (0, None)), (None, 0))(ws, xs)
    np.testing.assert_allclose(nested[1, 2], f(ws[2], xs[1])[0], rtol=1e-14)


def test_branches_of_a_batch_may_not_end_elsewhere():
    """The loop of a branch that an example does not take would never end on its values."""

    def f(x):
        shrink = lambda x: clew.while_loop(lambda c: c > 1.0, lambda c: c * 0.5, x)
        grow = lambda x: clew.while_loop(lambda c: c < 1.0, lambda c: c * 2.0, x)
        same = lambda x: x
        return clew.switch(np.where(x > 1.0, 0, np.where(x > 0.0, 1, 2)), [shrink, grow, same], x)

    xs = np.array([5.0, -3.0, 0.3, -1.0, 40.0])
    np.testing.assert_allclose(clew.vmap(f)(xs), [0.625, -3.0, 1.2, -1.0, 0.625])
    np.testing.assert_allclose(clew.vmap(clew.grad(f))(xs), [0.125, 1.0, 4.0, 1.0, 1.0 / 64.0])


def test_no_path_through_a_loop():
    gradient = clew.grad(lambda p: clew.scan(lambda c, _: (c * p["a"], None), 1.0, length=2)[0])(
        {"a": 3.0, "b": 1.0}
    )
    assert "unused" in gradient["b"].reason
    only_read = lambda x: clew.while_loop(lambda c: c < x, lambda c: c + 1.0, 0.0)
    assert float(np.asarray(clew.grad(only_read)(3.0))) == 0.0


def test_jit_runs_what_was_traced():
    calls = []

    @clew.jit
    def f(x):
        calls.append(1)
        return clew.while_loop(lambda c: c < 10.0, lambda c: c * x, x)

    assert [float(f(x)) for x in (2.0, 3.0, 1.5)] == [16.0, 27.0, 1.5**6]
    assert len(calls) == 1


def test_graphs_print_and_verify():
    f = lambda x: clew.while_loop(lambda c: c < 10.0, lambda c: c * x, x, checkpoint=3)
    graph = verify(clew.trace(clew.grad(f))(2.0))
    text = str(graph)
    assert "loop" in text
    assert "replay" in text
    assert max(map(len, text.splitlines())) < 400


def test_scopes_and_lines_of_the_body():
    def f(x):
        def step(c, _):
            with clew.scope("inside"):
                return c * x, None

        with clew.scope("outside"):
            return clew.scan(step, x, length=2)[0]

    (loop,) = (e for e in clew.trace(f)(2.0).equations if e.primitive.name == "loop")
    assert loop.scope == "outside"
    (multiply,) = loop.params["body"].equations
    assert multiply.scope == "outside/inside"
    assert multiply.where.file.endswith("test_kinds.py")


def test_a_check_is_not_asked_of_examples_that_are_done():
    def f(x):
        def step(c):
            clew.loops.check(c < 50.0, "too large: {0}", "start lower", c)
            return c * 3.0

        return clew.while_loop(lambda c: c < 50.0, step, x)

    xs = np.array([40.0, 0.5, 3.0])
    np.testing.assert_allclose(clew.vmap(f)(xs), [120.0, 121.5, 81.0])
    np.testing.assert_allclose(clew.vmap(clew.grad(f))(xs), [3.0, 243.0, 27.0])

    def g(x, n):
        def step(i, c):
            clew.loops.check(c < 50.0, "too large: {0}", "start lower", c)
            return c * 3.0

        return clew.fori_loop(0, n, step, x)

    counts = np.array([1, 5, 3])
    np.testing.assert_allclose(clew.vmap(g)(xs, counts), [120.0, 121.5, 81.0])
    np.testing.assert_allclose(clew.vmap(clew.grad(g))(xs, counts), [3.0, 243.0, 27.0])
