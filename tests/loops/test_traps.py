"""Cases that other libraries are known to get wrong, and derivatives worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import clew

MEMORY = [{}, {"checkpoint": 3}, {"checkpoint": "auto"}]


@pytest.fixture(params=MEMORY, ids=str)
def memory(request):
    return request.param


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance)


def differences(f, x):
    h = 1e-5 * max(1.0, abs(x))
    return (8.0 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12.0 * h)


# --- third derivatives ---------------------------------------------------------------------------


def test_third_derivative_through_a_scan(memory):
    power = lambda x: clew.scan(lambda c, _: (c * x, None), x, length=7, **memory)[0]
    third = clew.grad(clew.grad(clew.grad(power)))
    close(third(1.3), 8 * 7 * 6 * 1.3**5)


def test_third_derivative_of_repeated_squares(memory):
    """Where PyTensor gave 20171.5 (pymc-devs/pytensor, issue 1772)."""
    power = lambda x: clew.scan(lambda c, _: (c**2, None), x, length=4, **memory)[0]
    third = clew.grad(clew.grad(clew.grad(power)))(0.95)
    close(third, 16 * 15 * 14 * 0.95**13)
    assert round(float(third), 1) == 1724.8


def test_third_derivative_with_a_nonlinear_carry(memory):
    def tower(x):
        return clew.scan(lambda c, _: (np.exp(0.5 * c) * x, None), x, length=3, **memory)[0]

    def unrolled(x):
        c = x
        for _ in range(3):
            c = np.exp(0.5 * c) * x
        return c

    third = lambda f: clew.grad(clew.grad(clew.grad(f)))
    close(third(tower)(0.7), third(unrolled)(0.7))
    close(third(tower)(0.7), differences(clew.grad(clew.grad(unrolled)), 0.7), 1e-8)


# --- arrays read and written in a loop -----------------------------------------------------------


def test_reads_after_writes_in_a_carried_array(memory):
    def running(x):
        def step(a, i):
            a[i] = a[i] * a[i - 1]  # reads what the last step wrote
            return a, None

        a, _ = clew.scan(step, x, np.arange(1, 6), **memory)
        return a[-1]

    x = np.array([1.1, 0.7, 1.3, 0.9, 1.2, 0.8])
    close(running(x), np.prod(x))
    close(clew.grad(running)(x), np.prod(x) / x)


def plastic(strain, start, **memory):
    """Plastic flow of a bar under a cyclic strain: step i reads entry i, writes entry i + 1."""
    stiffness, limit, count = 1000.0, 2.0, 60

    def step(carry, i):
        flow, total = carry
        trial = stiffness * (strain * np.sin(2.0 * np.pi * i / count) - flow[i])
        excess = np.maximum(np.abs(trial) - limit, 0.0) / stiffness
        flow[i + 1] = flow[i] + np.sign(trial) * excess
        return (flow, total + excess), None

    return clew.scan(step, (start, 0.0), np.arange(count), **memory)[0][1]


def test_plasticity_whose_array_is_read_after_it_was_written(memory):
    """Where Taichi gave 4.8 times as much (taichi-dev/taichi, issue 8802)."""
    f = lambda strain: plastic(strain, np.zeros(61), **memory)
    slope = clew.grad(f)(0.0045)
    assert round(float(slope), 6) == 3.895472
    close(slope, differences(f, 0.0045), 1e-6)


def test_an_array_overwritten_after_the_forward_pass_read_it(memory):
    def wiped(x):
        def step(carry, i):
            a, total = carry
            total = total + np.sin(a[i]) * a[i - 1]
            a[i] = 2.0 * total
            return (a, total), None

        (_, total), _ = clew.scan(step, (x, 0.0), np.array([1, 2, 1, 2]), **memory)
        return total

    def by_hand(x):
        a, total = list(x), 0.0
        for i in (1, 2, 1, 2):
            total = total + np.sin(a[i]) * a[i - 1]
            a[i] = 2.0 * total
        return total

    x = np.array([0.3, 0.8, -0.4])
    close(wiped(x), by_hand(x))
    gradient = [
        differences(lambda v, k=k: by_hand([*x[:k], v, *x[k + 1 :]]), x[k]) for k in range(3)
    ]
    close(clew.grad(wiped)(x), gradient, 1e-9)


def test_the_caller_keeps_his_array():
    x = np.zeros(3)

    def step(a, i):
        a[i] = 1.0
        return a, None

    clew.scan(step, x, np.arange(3))
    assert not x.any()


# --- branches not taken --------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.sqrt, np.log, lambda x: 1.0 / x], ids=["sqrt", "log", "1/x"])
def test_untaken_branches_at_zero(bad, memory):
    def guarded(x):
        step = lambda c, _: (c + np.where(x > 0.0, bad(x), 2.0 * x), None)
        return np.sum(clew.scan(step, np.zeros(3), length=4, **memory)[0])

    def branched(x):
        step = lambda c, v: (c + clew.cond(v > 0.0, bad, lambda v: 2.0 * v, v), None)
        return clew.scan(step, 0.0, x, **memory)[0]

    x = np.array([0.0, -1.0, 0.0])
    close(clew.grad(guarded)(x), [8.0, 8.0, 8.0])
    close(clew.grad(branched)(x), [2.0, 2.0, 2.0])
    xs = np.array([[0.0], [-1.0]])
    close(clew.vmap(clew.grad(branched))(xs), [[2.0], [2.0]])


# --- loops of unknown length ---------------------------------------------------------------------


def test_newton_iteration_against_the_root_itself(memory):
    def root(a):
        better = lambda c: 0.5 * (c + a / c)
        unfinished = lambda c: np.abs(c * c - a) > 1e-8 * a
        # The derivative converges one step after the value.
        return better(better(clew.while_loop(unfinished, better, a, **memory)))

    for a in (0.3, 2.0, 17.0):
        close(root(a), np.sqrt(a))
        close(clew.grad(root)(a), 0.5 / np.sqrt(a))
        close(clew.grad(root)(a), differences(root, a), 1e-6)


def collatz(start, x, **memory):
    """The steps of a data-dependent number, each scaling x by what it did."""

    def step(c):
        n, y = c
        even = n % 2 == 0
        return clew.cond(
            even,
            lambda n, y: (n // 2, y * 0.9),
            lambda n, y: (3 * n + 1, y * y / (1.0 + y)),
            n,
            y,
        )

    return clew.while_loop(lambda c: c[0] > 1, step, (start, x), **memory)[1]


def test_collatz_by_hand(memory):
    for start in (1, 6, 27):
        n, y, slope = start, 1.7, 1.0
        while n > 1:
            if n % 2 == 0:
                n, y, slope = n // 2, 0.9 * y, 0.9 * slope
            else:
                n, slope = 3 * n + 1, slope * (y * y + 2.0 * y) / (1.0 + y) ** 2
                y = y * y / (1.0 + y)
        found = lambda x, start=start: collatz(start, x, **memory)
        close(found(1.7), y)
        close(clew.grad(found)(1.7), slope)


def test_collatz_of_many_starts_at_once(memory):
    starts = np.array([1, 6, 27, 4, 97])
    xs = np.linspace(1.2, 2.0, 5)
    run = lambda start, x: collatz(start, x, **memory)
    close(clew.vmap(run)(starts, xs), [run(s, x) for s, x in zip(starts, xs, strict=True)])
    slopes = clew.vmap(clew.grad(run, argnums=1))(starts, xs)
    close(slopes, [clew.grad(run, argnums=1)(s, x) for s, x in zip(starts, xs, strict=True)])


def test_adaptive_steps_against_the_exact_solution(memory):
    def decay(rate):
        """Heun's method for y' = -rate y with a step from the error estimate."""

        def step(c):
            t, y, h = c
            h = np.minimum(h, 1.0 - t)
            slope = -rate * y
            half = y + h * slope
            better = y + 0.5 * h * (slope - rate * half)
            error = np.abs(better - half)
            grown = clew.stop_gradient(h * np.clip(0.9 * np.sqrt(1e-8 / error), 0.2, 5.0))
            return t + h, better, grown

        late = clew.while_loop(lambda c: c[0] < 1.0, step, (0.0, 1.0, 0.01), **memory)
        return late[1]

    close(clew.grad(decay)(1.3), -np.exp(-1.3), 1e-4)
    held = lambda r: clew.grad(decay)(r)
    close(clew.jvp(decay, (1.3,), (1.0,))[1], held(1.3))

    def by_hand(rate):
        t, y, h, slope_of_y = 0.0, 1.0, 0.01, 0.0
        while t < 1.0:
            h = min(h, 1.0 - t)
            half = y - h * rate * y
            slope_of_half = slope_of_y - h * (y + rate * slope_of_y)
            better = y - 0.5 * h * rate * (y + half)
            slope_of_y -= 0.5 * h * (y + half + rate * (slope_of_y + slope_of_half))
            grown = h * np.clip(0.9 * np.sqrt(1e-8 / abs(better - half)), 0.2, 5.0)
            t, y, h = t + h, better, grown
        return slope_of_y

    close(held(1.3), by_hand(1.3))


def test_no_step_at_all(memory):
    f = lambda x: clew.while_loop(lambda c: c < 0.0, lambda c: c * x, x, **memory)
    close(clew.grad(f)(2.0), 1.0)
    g = lambda x: clew.scan(lambda c, _: (c * x, c), x, length=0, **memory)[0]
    close(clew.grad(g)(2.0), 1.0)
    assert clew.scan(lambda c, x: (c, x), 0.0, np.zeros((0, 2)))[1].shape == (0, 2)


def test_nested_problems_agree_in_every_order(memory):
    """The gradient of a process that takes the gradient of a process in each step."""

    def inner(x, a):
        c = clew.while_loop(lambda c: c < 3.0, lambda c: c * (1.1 + a * a) + 0.1 * x, 1.0 + x * a)
        return np.sin(c) * x

    def descend(a):
        step = lambda x, _: (x - 0.05 * clew.grad(inner)(x, a), None)
        return clew.scan(step, 0.4, length=5, **memory)[0]

    forward = lambda f: lambda a: clew.jvp(f, (a,), (1.0,))[1]
    first = clew.grad(descend)(0.6)
    close(forward(descend)(0.6), first, 1e-10)
    close(first, differences(descend, 0.6), 1e-7)
    second = clew.grad(clew.grad(descend))(0.6)
    for order in (
        forward(forward(descend)),
        forward(clew.grad(descend)),
        clew.grad(forward(descend)),
    ):
        close(order(0.6), second, 1e-10)
