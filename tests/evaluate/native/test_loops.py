"""Loops in native code do what the same loops do in plain Python."""

from __future__ import annotations

import resource
import warnings

import numpy as np
import pytest

import clew
from clew.core import pytree
from clew.core.errors import ClewError, MemoryLimitError, RunError
from clew.evaluate.native.program import Program
from clew.evaluate.native.run import Native
from clew.loops.check import check
from clew.simplify import simplify
from tests.evaluate.native.comparing import differs

GENERATOR = np.random.default_rng(11)
X = GENERATOR.normal(size=(7, 3))
LONG = GENERATOR.normal(size=1000)


def flat(results):
    """Return the arrays in tuples; one object reached twice is two."""
    if isinstance(results, (tuple, list)):
        return [x for each in results for x in flat(each)]
    return [np.asarray(results)]


def agree(f, *args, expected=None, gradient=False):
    """Hold native code against a run in Python; optionally the gradient too."""
    expected = flat(f(*args) if expected is None else expected)
    found = flat(clew.jit(f)(*args))
    compare(found, expected)
    graph = simplify(clew.trace(f)(*args))
    for _ in range(2):  # a second run begins with used memory
        compare(Native(graph)(*flat(args)), expected)
    if gradient:
        of_all = clew.grad(lambda *inner: total(f(*inner)))
        agree(of_all, *args)


def total(results):
    leaves = pytree.flatten(results)[0]
    return sum(
        np.sum(np.sin(x) * np.arange(1.0, 1.0 + np.size(x)).reshape(np.shape(x))) for x in leaves
    )


def compare(found, expected):
    assert len(found) == len(expected)
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        wrong = differs(mine, theirs)
        assert not wrong, f"output {number}: {wrong}"


# --- scan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 40), (1, 3), (7, 5, 6)])
def test_scan(reverse, shape):
    xs = GENERATOR.normal(size=shape)

    def f(xs, start):
        step = lambda c, x: (np.tanh(c) * 0.5 + x, np.sin(c) * x)
        return clew.scan(step, start, xs, reverse=reverse)

    agree(f, xs, np.ones(shape[1:]), gradient=True)


def test_scan_against_plain_python():
    def f(xs):
        return clew.scan(lambda c, x: (c * 0.9 + x, c - x), np.zeros(3), xs)

    carry, ys = np.zeros(3), []
    for x in X:
        ys.append(carry - x)
        carry = carry * 0.9 + x
    agree(f, X, expected=(carry, np.stack(ys)))


def test_no_steps():
    def f(xs, c):
        total, ys = clew.scan(lambda c, x: (c + x, c * x), c, xs)
        return total, ys, clew.fori_loop(3, 3, lambda i, c: c * 2.0, c)

    agree(f, np.zeros((0, 3)), np.arange(3.0))
    agree(f, np.zeros((0, 30)), np.arange(30.0))


def test_arrays_without_elements():
    def f(xs, c):
        return clew.scan(lambda c, x: (c + x, c * 2.0), c, xs)

    agree(f, np.zeros((4, 0)), np.zeros(0))
    agree(f, np.zeros((4, 3, 0)), np.zeros((3, 0)))


@pytest.mark.parametrize("dtype", ["f4", "i8", "i4", "u1", "?", "c16", "c8"])
@pytest.mark.parametrize("size", [3, 50])
def test_carries_of_every_dtype(dtype, size):
    start = (GENERATOR.integers(0, 5, size)).astype(dtype)
    xs = (GENERATOR.integers(0, 5, (6, size))).astype(dtype)

    def f(start, xs):
        if dtype == "?":
            return clew.scan(lambda c, x: (c ^ x, c & ~x), start, xs)
        return clew.scan(lambda c, x: (c + x, c * x), start, xs)

    agree(f, start, xs)


def test_held_scalar_small_and_large():
    def f(a, b, w):
        step = lambda c, x: (np.tanh(w @ c + b) * a, np.sum(c) + x)
        return clew.scan(step, np.ones(20), np.arange(5.0))

    agree(f, 0.7, np.array(0.1), GENERATOR.normal(size=(20, 20)) * 0.2, gradient=True)


def test_nested_scans_and_their_stacks():
    def f(xs):
        def outer(c, row):
            def inner(d, x):
                return d * 0.9 + x, np.sin(d) * x

            last, ys = clew.scan(inner, c, row)
            return last, ys

        return clew.scan(outer, 0.5, xs)

    agree(f, X, gradient=True)


def test_nested_scans_of_large_carries():
    def f(xs):
        def outer(c, row):
            last, ys = clew.scan(lambda d, x: (d * 0.9 + x, np.sum(d) * x), c, row)
            return last, (ys, np.max(last))

        return clew.scan(outer, np.linspace(0, 1, 40), xs)

    agree(f, X, gradient=True)


def test_a_carry_that_does_not_change_and_one_that_is_not_read():
    def f(x, y):
        step = lambda c, t: ((c[0], c[0] * t, c[1]), c[2])
        return clew.scan(step, (x, y, x), np.arange(4.0))

    agree(f, np.ones(3), np.zeros(3))
    agree(f, np.linspace(0, 1, 40), np.linspace(1, 2, 40))


@pytest.mark.parametrize("size", [3, 40])
def test_carries_exchanged_returned_twice_and_stacked(size):
    x, y = GENERATOR.normal(size=(2, size))

    def swap(x, y):
        return clew.fori_loop(0, 5, lambda i, c: (c[1], c[0]), (x, y))

    def turn(x, y):
        return clew.scan(lambda c, t: ((c[1], c[0] + t), (c[0], c[1])), (x, y), np.arange(5.0))

    def twice(x, y):
        def step(c, t):
            new = c[0] * 0.5 + c[1]
            return (new, new), (new, new, c[0])

        return clew.scan(step, (x, y), np.arange(5.0))

    for f in (swap, turn, twice):
        agree(f, x, y)
        agree(clew.grad(lambda x, y, f=f: total(f(x, y))), x, y)


# --- writing in place ---------------------------------------------------------------------------


def test_writing_single_elements():
    def f(x):
        def body(i, c):
            c = c.copy()
            c[i] = c[i - 1] * 0.5 + i
            return c

        return clew.fori_loop(1, 1000, body, x)

    expected = LONG.copy()
    for i in range(1, 1000):
        expected[i] = expected[i - 1] * 0.5 + i
    agree(f, LONG, expected=expected)
    agree(clew.grad(lambda x: np.sum(f(x) ** 2)), LONG)


def test_reading_the_old_value_after_the_write():
    def f(x):
        def body(i, c):
            array, seen = c
            new = array.copy()
            new[i] = 7.0
            return new, seen + array[i] * 2.0 + np.sum(array)

        return clew.fori_loop(0, 1000, body, (x, 0.0))

    array, seen = LONG.copy(), 0.0
    for i in range(1000):
        seen += array[i] * 2.0 + np.sum(array)
        array[i] = 7.0
    agree(f, LONG, expected=(array, seen))


def test_a_written_carry_that_is_also_stacked():
    def f(x):
        def step(c, i):
            new = c.copy()
            new[i] = new[i] * 2.0
            return new, new

        return clew.scan(step, x, np.arange(5))

    def old_too(x):
        def step(c, i):
            new = c.copy()
            new[3] = new[3] * 2.0 + i
            return new, (c, new)

        return clew.scan(step, x, np.arange(5))

    for g in (f, old_too):
        agree(g, LONG[:40])
        agree(clew.grad(lambda x, g=g: total(g(x))), LONG[:40])


def test_a_written_carry_returned_in_two_places():
    def f(x, y):
        def body(i, c):
            a, b = c
            new = a.copy()
            new[2:5] = new[3:6] + b[:3]
            return new, new

        return clew.fori_loop(0, 4, body, (x, y))

    agree(f, LONG[:30], LONG[30:60])


def test_written_carries_exchanged():
    def f(x, y):
        def body(i, c):
            a, b = c
            a, b = a.copy(), b.copy()
            a[i] = b[i + 1]
            b[i + 2] = a[i] * 3.0
            return b, a

        return clew.fori_loop(0, 20, body, (x, y))

    agree(f, LONG[:50], LONG[50:100])


def test_writes_that_follow_each_other_happen_in_place():
    def f(x):
        def body(i, c):
            c = c.copy()
            c[i] = c[i - 1] * 0.5
            c[i - 1] += 1.0
            c[0] = c[i]
            return c

        return clew.fori_loop(1, 1000, body, x)

    expected = LONG.copy()
    for i in range(1, 1000):
        expected[i] = expected[i - 1] * 0.5
        expected[i - 1] += 1.0
        expected[0] = expected[i]
    agree(f, LONG, expected=expected)
    text = Program(simplify(clew.trace(f)(LONG))).module.text()
    assert text.count("@llvm.memcpy") <= 3  # the declaration, into the loop, and out of it


def test_two_writes_in_one_step_and_a_view_of_what_is_written():
    def f(x):
        def body(i, c):
            c = c.copy()
            c[i] = np.sum(c[::2])
            c[1:] += c[:-1] * 0.1
            c[::-1][3] = c[2]
            return c

        return clew.fori_loop(0, 10, body, x)

    agree(f, LONG[:40], gradient=True)


def test_writing_into_held_arrays_and_inputs_leaves_them():
    def f(x, w):
        def step(c, i):
            new = w + 0.0 * c
            new[i] = c
            return np.sum(new * w), new

        first = np.concatenate([x[:1] * 100.0, x[1:]])
        return clew.scan(step, 1.0, np.arange(4)), first, x, w

    x, w = LONG[:30].copy(), LONG[30:60].copy()
    before = x.copy(), w.copy()
    agree(f, x, w, expected=clew.evaluate(clew.trace(f)(x, w), x, w))
    assert np.array_equal(before[0], x)
    assert np.array_equal(before[1], w)


def test_rows_written_and_read_in_a_table():
    def f(table):
        def body(i, t):
            t = t.copy()
            t[i] = t[i - 1] + np.sin(t[i - 2])
            return t

        return clew.fori_loop(2, 20, body, table)

    agree(f, GENERATOR.normal(size=(20, 30)), gradient=True)


def test_scatter_in_a_loop():
    places = GENERATOR.integers(0, 40, (6, 10))

    def f(x):
        def step(c, i):
            c = c.copy()
            np.add.at(c, i, c[i] * 0.1 + 1.0)
            return c, np.sum(c)

        return clew.scan(step, x, places)

    agree(f, LONG[:40], gradient=True)


# --- while, cond, switch ------------------------------------------------------------------------


def halving(x):
    return clew.while_loop(
        lambda c: c[0] > 0.01, lambda c: (c[0] * 0.5, c[1] + np.sin(c[0])), (x, x)
    )


def test_while_and_its_derivatives():
    agree(halving, 3.0, gradient=True)
    agree(halving, 0.001, gradient=True)
    agree(clew.hessian(lambda x: np.sum(np.stack(halving(x)))), 3.0)


def large_while(x):
    def body(c):
        n, v = c
        return n + 1, np.tanh(v) * 0.9 + x

    return clew.while_loop(lambda c: (c[0] < 12) & (np.sum(c[1] ** 2) > 0.1), body, (0, x))[1]


def test_while_with_a_large_carry():
    agree(large_while, LONG[:40], gradient=True)
    f = lambda x: np.sum(large_while(x) ** 3)
    agree(lambda x: clew.hvp(f, (x,), (np.cos(x),)), LONG[:40])


def test_many_steps_make_the_tape_grow():
    def f(x):
        return clew.while_loop(
            lambda c: c[1] < 1000, lambda c: (np.sin(c[0]) + 1.0, c[1] + 1), (x, 0)
        )[0]

    agree(f, 0.3, gradient=True)


def while_in_while(x):
    def outer(c):
        value, n = c
        inner = clew.while_loop(lambda d: d > 0.1, lambda d: d * 0.6 * np.cos(0.1 * d), value + 1.0)
        return value * 0.7 + inner, n + 1

    return clew.while_loop(lambda c: (c[1] < 6) & (c[0] > 0.2), outer, (x, 0))[0]


def while_in_scan(xs):
    def step(c, x):
        found = clew.while_loop(
            lambda d: np.abs(d) > 0.3, lambda d: d * 0.5 + 0.01 * x, c + 3.0 * x
        )
        return found + 0.1 * c, found

    return clew.scan(step, 1.0, xs)


def scan_in_while(x):
    def body(c):
        v, n = c
        last, ys = clew.scan(lambda d, t: (d * 0.8 + t * v, np.sin(d)), v, np.arange(4.0) * 0.1)
        return last * 0.5 + np.sum(ys) * 0.01, n + 1

    return clew.while_loop(lambda c: c[1] < 5, body, (x, 0))[0]


def test_tapes_of_tapes():
    agree(while_in_while, 2.0, gradient=True)
    agree(while_in_scan, X[:, 0], gradient=True)
    agree(scan_in_while, 1.3, gradient=True)


def test_second_derivatives_through_tapes_of_tapes():
    agree(clew.grad(clew.grad(while_in_while)), 2.0)
    agree(clew.grad(clew.grad(scan_in_while)), 1.3)
    agree(clew.hessian(lambda xs: total(while_in_scan(xs))), X[:, 0])


def test_a_batch_of_while_loops():
    xs = np.array([0.3, 3.0, 40.0])
    agree(clew.vmap(halving), xs)
    agree(clew.grad(lambda xs: total(clew.vmap(halving)(xs))), xs)
    agree(clew.vmap(clew.grad(while_in_while)), xs)


def test_a_loop_over_a_traced_number_of_steps():
    def f(n, x):
        return clew.fori_loop(0, n, lambda i, c: np.sin(c) + 0.1 * i, x)

    for n in (0, 1, 100):
        agree(f, n, 0.5)
        agree(clew.grad(f, 1), n, 0.5)
    agree(f, 5, LONG[:40])
    agree(clew.grad(lambda n, x: np.sum(f(n, x)), 1), 5, LONG[:40])


def test_branches():
    def f(x, y):
        first = clew.cond(x > 0, lambda a, b: (a * b, b), lambda a, b: (a - b, np.sin(b)), x, y)
        which = np.floor(np.abs(x)).astype(np.int64)
        branches = [lambda b: b * 2.0, lambda b: np.cos(b), lambda b: b[::-1] + 1.0]
        return first, clew.switch(which, branches, y)

    for x in (-2.5, -0.5, 1.5, 7.0):
        for size in (3, 40):
            agree(f, x, LONG[:size])
            agree(clew.grad(lambda x, y: total(f(x, y)), (0, 1)), x, LONG[:size])


def test_branches_in_loops():
    def f(xs):
        def step(c, x):
            new = clew.cond(x > 0, lambda c: c * 0.5 + x, lambda c: np.sin(c) - x, c)
            return new, new * 2.0

        return clew.scan(step, np.ones(3), xs)

    agree(f, LONG[:9], gradient=True)


def test_loops_in_branches():
    def f(x):
        many = lambda x: clew.fori_loop(0, 20, lambda i, c: np.sin(c) + x, x)
        until = lambda x: clew.while_loop(lambda c: c > 0.1, lambda c: c * 0.5, x)
        return clew.cond(x > 1.0, many, until, x)

    for x in (0.7, 1.3):
        agree(f, x, gradient=True)


def test_large_branches_in_a_loop_write_in_place():
    def f(x):
        def body(i, c):
            def write(c):
                c = c.copy()
                c[i] = -1.0
                return c

            return clew.cond(i % 2 == 0, write, lambda c: c * 1.01, c)

        return clew.fori_loop(0, 10, body, x)

    agree(f, LONG[:40], gradient=True)


# --- what may fail, or calls Python -------------------------------------------------------------


def test_checkpointed_loops():
    def f(x, n):
        return clew.fori_loop(0, 30, lambda i, c: np.sin(c) + x, x, checkpoint=n)

    for n in (3, "auto"):
        agree(lambda x, n=n: f(x, n), 0.4)
        agree(clew.grad(lambda x, n=n: f(x, n)), 0.4)
        agree(clew.grad(lambda x, n=n: np.sum(f(x, n))), LONG[:40])


def test_rematerialised_functions():
    def f(x):
        inner = clew.checkpoint(lambda x: np.sin(np.exp(np.cos(x))))
        return clew.scan(lambda c, t: (inner(c) + t, inner(c)), x, np.arange(4.0))

    agree(f, 0.3, gradient=True)
    agree(f, LONG[:40], gradient=True)


def test_calls_of_python_inside_loops():
    a = GENERATOR.normal(size=(3, 3)) + 4 * np.eye(3)

    def f(a, b):
        def step(c, t):
            x = np.linalg.solve(a + t * np.eye(3), c)
            return np.sort(x) + b, x

        return clew.scan(step, b, np.arange(5.0))

    agree(f, a, np.array([1.0, -2.0, 0.5]), gradient=True)
    agree(
        lambda xs: clew.scan(lambda c, x: (np.sort(c)[::-1] + x, c), xs[0], xs),
        LONG.reshape(20, 50),
    )


def test_a_guard_inside_a_body():
    def f(x, n):
        def step(c, t):
            return (c * 2.0 if n > 2 else c + 1.0) + t, c

        return clew.scan(step, x, np.arange(3.0))

    compiled = clew.jit(f)
    for n in (1, 5, 1, 5):
        compare(flat(compiled(1.5, n)), flat(f(1.5, n)))


def failing(x):
    def body(i, c):
        check(c < 10.0, "too large: {0}", "begin lower", c)
        return c * 2.0

    return clew.fori_loop(0, 20, body, x)


def test_a_check_that_fails_names_the_users_line():
    agree(failing, 1e-9)
    with pytest.raises(RunError, match=r"too large: 16\.0") as caught:
        clew.jit(failing)(1.0)
    assert "test_loops.py" in str(caught.value)
    # The code can be run again after a failure.
    compiled = clew.jit(failing)
    for _ in range(3):
        with pytest.raises(RunError):
            compiled(1.0)
        compare(flat(compiled(1e-9)), flat(failing(1e-9)))


def test_a_failing_call_of_python_inside_a_loop():
    def f(a):
        return clew.scan(lambda c, t: (np.linalg.cholesky(c) - t, t), a, np.arange(3.0))[0]

    with pytest.raises((ClewError, np.linalg.LinAlgError)):
        f(-np.eye(3))
    with pytest.raises((ClewError, np.linalg.LinAlgError)):
        clew.jit(f)(-np.eye(3))


def test_a_tape_over_its_budget():
    def f(x):
        condition = lambda c: c[1] < 100_000
        body = lambda c: (np.sin(c[0]), c[1] + 1)
        return np.sum(clew.while_loop(condition, body, (x, 0), memory=10_000)[0])

    with pytest.raises(MemoryLimitError) as by_reference:
        clew.grad(f)(LONG[:40])
    with pytest.raises(MemoryLimitError) as by_native:
        clew.jit(clew.grad(f))(LONG[:40])
    assert "test_loops.py" in str(by_reference.value)
    assert "test_loops.py" in str(by_native.value)


def test_a_condition_may_read_large_values_and_call_python():
    def f(x):
        condition = lambda c: np.linalg.det(np.diag(c)) > 1e-3
        return clew.while_loop(condition, lambda c: c * 0.8, x)

    agree(f, np.array([2.0, 1.0, 3.0]))


def test_tapes_of_tapes_do_not_grow_from_step_to_step():
    def inner(c):
        body = lambda d: (np.tanh(d[0]) * 1.1, d[1] + 1)
        return clew.while_loop(lambda d: d[1] < 20, body, (c, 0))[0]

    def outer(c):
        return np.sum(
            clew.while_loop(lambda d: d[1] < 3, lambda d: (inner(d[0]), d[1] + 1), (c, 0))[0]
        )

    def train(x):
        return clew.fori_loop(0, 2000, lambda i, c: c - 1e-3 * clew.grad(outer)(c), x)

    native = Native(simplify(clew.trace(train)(LONG[:200])))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    native(LONG[:200])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 20_000  # KiB; kept for all steps it would be 190 MB


def test_results_do_not_share_memory():
    def f(x):
        last, ys = clew.scan(lambda c, t: (c + t, c), x, np.arange(3.0))
        return last, last, ys, x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = clew.jit(f)(LONG[:40])
    first = results[0].copy()
    results[1][...] = 5.0
    assert np.array_equal(results[0], first)
