"""What bodies compute from outer values, and values that a body was not meant for."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.loops import check

BAD = [np.sqrt, np.log, lambda x: 1.0 / x]
NAMES = ["sqrt", "log", "1/x"]


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=1e-14)


# --- branches and steps that do not run -----------------------------------------------------------


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
def test_a_branch_not_taken_that_reads_outer_values_only(bad):
    f = lambda x: clew.cond(x > 0, lambda: bad(x), lambda: 2.0 * x)
    close(clew.grad(f)(0.0), 2.0)
    close(clew.jvp(f, (0.0,), (1.0,))[1], 2.0)
    close(clew.vmap(clew.grad(f))(np.array([0.0, 4.0])), [2.0, clew.grad(bad)(4.0)])
    (switch,) = [e for e in clew.trace(f)(1.0).equations if e.primitive.name == "switch"]
    assert [len(branch.equations) > 0 for branch in switch.params["branches"]] == [True, True]


@pytest.mark.parametrize("bad", BAD, ids=NAMES)
@pytest.mark.parametrize("memory", [{}, {"checkpoint": 2}], ids=str)
def test_loops_of_no_step_that_read_outer_values_only(bad, memory):
    def until(x):
        return clew.while_loop(lambda c: c > 0.0, lambda c: c - 1.0 - bad(x) ** 2, x, **memory)

    def counted(x):
        steps = np.floor(x).astype(int)
        return x + clew.fori_loop(0, steps, lambda i, c: c + bad(x), 0.0, **memory)

    def empty(x):
        return x + clew.scan(lambda c, _: (c + bad(x), None), 0.0, length=0, **memory)[0]

    for f in (until, counted, empty):
        close(clew.grad(f)(0.0), 1.0)
        close(clew.jvp(f, (0.0,), (1.0,))[1], 1.0)
        close(clew.vmap(clew.grad(f))(np.array([0.0, 0.9])), [1.0, clew.grad(f)(0.9)])


def test_what_a_branch_computes_runs_only_if_it_is_taken():
    def f(x):
        matrix = np.eye(2) * x
        return clew.cond(x > 0, lambda: np.sum(np.linalg.cholesky(matrix)), lambda: -x)

    close(clew.grad(f)(4.0), 0.5)
    close(clew.grad(f)(-4.0), -1.0)
    close(clew.vmap(clew.grad(f))(np.array([4.0, -4.0])), [0.5, -1.0])


def test_a_check_of_outer_values_belongs_to_its_branch():
    def f(x):
        def root():
            check(x > 0, "{0} has no root", "pass a positive number", x)
            return np.sqrt(x)

        return clew.cond(x > 1.0, root, lambda: x)

    close(clew.grad(f)(-1.0), 1.0)
    close(clew.grad(f)(4.0), 0.25)


def test_loops_in_branches_read_values_from_two_traces_out():
    def f(x):
        def outer(c, u):
            y = c * u
            inner = lambda: clew.while_loop(lambda d: d > y, lambda d: d - np.sqrt(x) * y, c)
            return clew.cond(u > 0.0, inner, lambda: c + x), None

        return clew.scan(outer, x, np.array([0.5, -1.0, 0.25]))[0]

    def plain(x):
        c = x
        for u in (0.5, -1.0, 0.25):
            y = c * u
            if u > 0.0:
                while c > y:
                    c = c - np.sqrt(x) * y
            else:
                c = c + x
        return c

    for order in (clew.grad, lambda f: clew.grad(clew.grad(f))):
        close(order(f)(0.7), order(plain)(0.7))
    close(clew.vmap(clew.grad(f))(np.array([0.7, 0.3])), [clew.grad(plain)(x) for x in (0.7, 0.3)])


def test_work_on_outer_values_is_still_done_once():
    def f(x, w):
        body = lambda c: np.tanh(c) + np.sum(np.exp(w * x)) * 0.1
        return clew.while_loop(lambda c: c < 3.0, body, x)

    graph = clew.trace(f)(0.5, np.ones(4))
    (loop,) = [e for e in graph.equations if e.primitive.name == "loop"]
    inside = [e.primitive.name for e in loop.params["body"].equations]
    assert "exp" not in inside
    assert "tanh" in inside


def test_what_might_fail_is_hoisted_only_where_it_surely_runs():
    def f(x, steps):
        step = lambda i, c: np.linalg.inv(np.eye(2) * x) @ c
        return np.sum(clew.fori_loop(0, steps, step, np.ones(2)))

    def inside(steps):
        (loop,) = [e for e in clew.trace(f)(2.0, steps).equations if e.primitive.name == "loop"]
        return {e.primitive.name for e in loop.params["body"].equations}

    assert "solve" in inside(np.int64(3))
    assert "solve" not in {
        e.primitive.name
        for each in clew.trace(lambda x: f(x, 3))(2.0).equations
        if each.primitive.name == "loop"
        for e in each.params["body"].equations
    }
    close(clew.grad(lambda x: f(x, 0) + x)(0.0), 1.0)
    close(clew.grad(lambda x: f(x, np.floor(x).astype(int)) + x)(0.0), 1.0)
    close(clew.vmap(f)(np.array([0.0, 2.0]), np.array([0, 1])), [2.0, 1.0])


def test_a_loop_that_does_not_change_is_run_once():
    inner = lambda x: clew.scan(lambda d, _: (np.sin(d) * x, None), x, length=50)[0]
    graph = clew.trace(lambda x: clew.scan(lambda c, _: (c + inner(x), None), 0.0, length=10)[0])(
        0.5
    )
    assert graph.cost().operations < 200
    close(
        clew.grad(lambda x: clew.scan(lambda c, _: (c + inner(x), None), 0.0, length=10)[0])(0.5),
        10.0 * clew.grad(inner)(0.5),
    )


def test_the_order_of_what_is_hoisted_does_not_vary():
    def f(x):
        parts = [np.sin(x * i) for i in range(1, 20)]
        return clew.scan(lambda c, _: (sum(c * p for p in parts), None), x, length=3)[0]

    assert len({str(clew.trace(f)(0.5)) for _ in range(5)}) == 1


# --- examples of a batch that are done -----------------------------------------------------------


def test_a_condition_may_be_a_number():
    countdown = lambda n, x: clew.while_loop(lambda c: c[0], lambda c: (c[0] - 1, c[1] * x), (n, x))
    run = lambda n, x: countdown(n, x)[1]
    close(run(5, 2.0), 64.0)
    counts, xs = np.array([2, 4, 0]), np.array([2.0, 3.0, 2.0])
    close(clew.vmap(run)(counts, xs), xs ** (counts + 1))
    close(clew.vmap(clew.grad(run, argnums=1))(counts, xs), (counts + 1) * xs**counts)


def test_examples_that_are_done_do_not_fail():
    def shrinking(n, a):
        """A matrix that is singular once n steps are done."""

        def body(c):
            i, matrix, y = c
            return i - 1, matrix - np.eye(2), np.linalg.solve(matrix, y)

        return np.sum(clew.while_loop(lambda c: c[0] > 0, body, (n, a * np.eye(2), np.ones(2)))[2])

    def rooted(n, a):
        body = lambda c: (c[0] - 1, c[1] - 1.0, c[2] * np.linalg.cholesky(c[1] * np.eye(2))[0, 0])
        return clew.while_loop(lambda c: c[0] > 0, body, (n, a, 1.0))[2]

    def summed(n, x):
        table = np.arange(1.0, 4.0) * x  # entry n of 3 exists only before the end
        return clew.while_loop(
            lambda c: c[0] < 3,
            lambda c: (c[0] + 1, c[1] * c[1] + clew.numpy.array(table)[c[0]]),
            (n, 0.1),
        )[1]

    counts = np.array([1, 3, 2])
    for f, values in ((shrinking, [1.0, 5.0, 4.0]), (rooted, [0.5, 5.0, 4.0]), (summed, [1, 2, 3])):
        values = np.array(values, float)
        each = [f(n, v) for n, v in zip(counts, values, strict=True)]
        close(clew.vmap(f)(counts, values), each)
        slope = clew.grad(f, argnums=1)
        each = [slope(n, v) for n, v in zip(counts, values, strict=True)]
        close(clew.vmap(slope)(counts, values), each)


def test_examples_that_are_done_do_not_read_their_own_parameters():
    def f(x, n):
        """For x = 0, where no step is taken, a step would divide by zero."""

        def body(c):
            i, y = c
            y = clew.scan(lambda a, _: (a + y / x, None), y, length=2)[0]
            return i + 1, np.sum(np.linalg.solve(np.eye(2) * x, np.ones(2))) * 0.1 + y

        return clew.while_loop(lambda c: c[0] < n, body, (0, x))[1]

    xs, counts = np.array([0.0, 2.0, 1.0]), np.array([0, 2, 1])
    expected = [1.0, *(clew.grad(f)(x, int(n)) for x, n in zip(xs[1:], counts[1:], strict=True))]
    close(clew.vmap(clew.grad(f))(xs, counts), expected)
    close(clew.grad(lambda xs: np.sum(clew.vmap(f)(xs, counts)))(xs), expected)


# --- checkpointed functions with checkpointed loops ----------------------------------------------


@pytest.mark.parametrize("snapshots", [1, 2, 5])
def test_a_checkpointed_loop_in_a_checkpointed_function(snapshots):
    def f(x):
        step = lambda c, u: (np.sin(c) * x + u, np.cos(c) * u)
        last, ys = clew.scan(step, 0.5 * x, np.linspace(0.1, 1.0, 7), checkpoint=snapshots)
        return last + np.sum(ys)

    def until(x):
        step = lambda c: c * 1.1 + np.sin(c) * x
        return clew.while_loop(lambda c: c < 3.0, step, 0.5 * x, checkpoint=snapshots)

    for each in (f, until):
        second = clew.grad(clew.grad(each))
        again = clew.grad(clew.grad(clew.checkpoint(each)))
        close(again(0.3), second(0.3))
        third = clew.jvp(again, (0.3,), (1.0,))[1]
        close(third, clew.jvp(second, (0.3,), (1.0,))[1], 1e-10)


def test_a_checkpointed_function_computes_on_outer_values_again():
    def f(x):
        wide = x * np.ones(1000)
        return np.sum(clew.checkpoint(lambda c: np.sin(np.exp(np.sin(wide))) * c)(x))

    graph = clew.trace(clew.grad(f))(0.5)
    outside = [e.primitive.name for e in graph.equations]
    assert "exp" not in outside
    close(clew.grad(f)(0.5), clew.grad(lambda x: 1000.0 * np.sin(np.exp(np.sin(x))) * x)(0.5))
