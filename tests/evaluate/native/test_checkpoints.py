"""Checkpointed loops in native code: what they keep, what they compute again, what they give."""

from __future__ import annotations

import ctypes
import resource
import sys

import numpy as np
import pytest

import clew
from clew.core.errors import MemoryLimitError
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.run import Native
from clew.evaluate.native.snapshots import split_point
from clew.loops import replay, schedule
from clew.simplify import simplify
from tests.evaluate.native.comparing import as_tuple, differs
from tests.evaluate.native.compiling import linked

GENERATOR = np.random.default_rng(5)
LONG = GENERATOR.normal(size=400)


def agree(f, *args):
    """Hold native code against the reference evaluator, twice: with fresh and used memory."""
    graph = simplify(clew.trace(f)(*args))
    expected = as_tuple(clew.evaluate(graph, *args))
    native = Native(graph, level=1)
    for _ in range(2):
        for number, pair in enumerate(zip(native(*args), expected, strict=True)):
            wrong = differs(*pair)
            assert not wrong, f"output {number}: {wrong}"


def until(x, steps, **memory):
    """Return a loop that a condition ends after so many steps, one array in its carry."""
    body = lambda c: (np.sin(c[0]) + 0.1 * x, c[1] + 1)
    return np.sum(clew.while_loop(lambda c: c[1] < steps, body, (x, 0), **memory)[0])


def counted(x, steps, **memory):
    return np.sum(clew.fori_loop(0, steps, lambda i, c: np.sin(c) + 0.1 * x * i, x, **memory))


def fixed(x, steps, **memory):
    step = lambda c, _: (np.sin(c) + 0.1 * x, None)
    return np.sum(clew.scan(step, x, length=int(steps), **memory)[0])


# --- the schedule ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written_split_point():
    module = Module()
    e = Emitter(module, "f", [("i64", "n", ""), ("i64", "s", "")], "i64", linkage="")
    e.ret(f"i64 {split_point(e, Value(INT64, '%n'), Value(INT64, '%s')).name}")
    module.add(e)
    library = linked(module, ["f"])
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    yield function(library.address("f"))
    assert library.size


def test_split_points_are_those_of_the_schedule(written_split_point):
    for length in [*range(1, 60), 1000, 10**6, 10**9]:
        for snapshots in (2, 3, 4, 7, 30, 1000):
            expected = schedule.split_point(length, snapshots)
            assert written_split_point(length, snapshots) == expected, (length, snapshots)


@pytest.fixture
def steps_again(monkeypatch):
    """Return a list to which the reference's replays append the steps that they run."""
    found = []

    class Counting(replay._Walk):
        def _advanced(self, first, last, state):
            found.append(last - first)
            return super()._advanced(first, last, state)

        def _recorded(self, first, last, state):
            found.append(last - first - 1)  # nobody needs the state behind a stretch
            return super()._recorded(first, last, state)

    monkeypatch.setattr(replay, "_Walk", Counting)
    return found


@pytest.mark.parametrize("checkpoint", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("loop", [until, counted, fixed])
def test_as_many_steps_are_computed_again_as_by_reference(loop, checkpoint, steps_again):
    for steps in (1, 2, 12, 50):
        # There, the reference doubles its stride for a step that the condition then refuses.
        last = loop is until and steps in {checkpoint << k for k in range(8)}
        gradient = clew.grad(lambda x, n, c=checkpoint: loop(x, n, checkpoint=c))
        if loop is fixed:
            f, args = (lambda x, n=steps, g=gradient: g(x, n)), (LONG[:20],)
        else:
            f, args = gradient, (LONG[:20], np.int64(steps))
        steps_again.clear()
        clew.evaluate(simplify(clew.trace(f)(*args)), *args)
        report = clew.profile(f, runs=1)(*args)
        rows = iter(report.rows)
        place = next(r for r in rows if r.step.equations[0].primitive.name == "replay")
        again = next((r for r in rows if "sin" in r.step.names), None)
        assert place.depth == 0
        calls = 0 if again is None else again.calls
        assert calls <= sum(steps_again) if last else calls == sum(steps_again)


# --- results -----------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [1, 2, 3, 7, 40, "auto"])
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 8, 55])
@pytest.mark.parametrize("loop", [until, counted])
def test_loops_of_unknown_length(loop, steps, checkpoint):
    f = lambda x, n: loop(x, n, checkpoint=checkpoint)
    for x in (LONG[:3], LONG[:40]):
        agree(lambda x, n: (f(x, n), clew.grad(f)(x, n)), x, np.int64(steps))
    hvp = lambda x, n: clew.hvp(lambda x: f(x, n), (x,), (np.cos(x),))
    agree(hvp, LONG[:3], np.int64(steps))


def test_fewer_steps_than_none():
    f = lambda x, n: counted(x, n, checkpoint=3)
    agree(lambda x, n: (f(x, n), clew.grad(f)(x, n)), LONG[:40], np.int64(-4))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", [2, 30])
def test_a_checkpointed_scan_that_stacks(reverse, checkpoint):
    def f(x):
        step = lambda c, r: (np.sin(c) * r + 0.3, c * r)
        rows = np.stack([x * (0.2 * i) for i in range(9)])
        options = {"reverse": reverse, "checkpoint": checkpoint}
        last, ys = clew.scan(step, x, rows, **options)
        return np.sum(last) + np.sum(np.cos(ys))

    for x in (LONG[:3], LONG[:40]):
        agree(clew.grad(f), x)
        agree(clew.grad(lambda x: np.sum(np.sin(clew.grad(f)(x)))), x)


@pytest.mark.parametrize("dtype", ["f4", "c16"])
def test_carries_of_several_dtypes(dtype):
    def f(x):
        def body(c):
            value, flags, count = c
            value = np.where(flags, value * 0.9, np.sin(value))
            return value, flags ^ (count % 3 == 0), count + np.int8(1)

        start = (x.astype(dtype), np.arange(x.size) % 2 == 0, np.int8(0))
        last = clew.while_loop(lambda c: c[2] < 25, body, start, checkpoint=4)[0]
        return np.sum(np.abs(last) ** 2)

    real = "f4" if dtype == "f4" else "f8"
    for x in (LONG[:3].astype(real), LONG[:40].astype(real)):
        agree(clew.grad(f), x)


def test_snapshots_outlive_the_step_that_kept_them():
    """A loop keeps them at each of its steps, for a way back that comes after the last."""

    def f(x):
        def step(c, r):
            bent = until(c * r, 3 + np.floor(4 * np.abs(r)).astype(np.int64), checkpoint=2)
            return c * 0.5 + bent, fixed(c, 5, checkpoint=2)

        last, ys = clew.scan(step, x, np.linspace(0.1, 2.0, 6))
        return np.sum(last) + np.sum(ys)

    for x in (LONG[:3] + 0.0, LONG[:20]):
        agree(clew.grad(f), x)
    agree(clew.grad(lambda x: np.sum(np.sin(clew.grad(f)(x)))), LONG[:3])


def test_in_branches_and_groups():
    def f(x):
        many = lambda x: until(x, 9, checkpoint=2) * x
        few = lambda x: fixed(x, 8, checkpoint=3) * np.sin(x)
        chosen = clew.cond(x[0] > 0, many, few, x)
        return np.sum(clew.checkpoint(lambda x: clew.cond(x[1] > 0, few, many, x))(chosen))

    for x in (LONG[:3], -LONG[:3], LONG[:20], -LONG[:20]):
        agree(clew.grad(f), x)
    agree(clew.hessian(f), LONG[:3])


def test_two_ways_back_read_the_same_snapshots():
    def f(x):
        (value, _) = clew.while_loop(
            lambda c: c[1] < 30, lambda c: (np.sin(c[0]) + 0.1 * x, c[1] + 1), (x, 0), checkpoint=3
        )
        return value

    agree(clew.jacobian(f, mode="reverse"), LONG[:3])
    agree(clew.jacobian(clew.grad(lambda x: np.sum(f(x) ** 2)), mode="forward"), LONG[:3])


def test_batches_of_checkpointed_loops():
    f = lambda x: until(x, np.floor(20 * np.abs(np.sum(x))).astype(np.int64), checkpoint=3)
    rows = LONG[:12].reshape(4, 3)
    agree(clew.vmap(clew.grad(f)), rows)
    agree(clew.grad(lambda rows: np.sum(clew.vmap(f)(rows))), rows)


def test_directions_through_a_group_with_a_checkpointed_loop():
    """The loop's condition is the same for all directions, its count has one for each."""

    def f(x, **memory):
        grown = lambda c: clew.while_loop(
            lambda d: np.sum(d) < 2.5, lambda d: d * d + 0.6, c, **memory
        )
        return np.sum(clew.checkpoint(grown)(np.sin(x)))

    hessian = clew.jacobian(clew.grad(lambda x: f(x, checkpoint=2)), mode="forward")
    agree(hessian, LONG[:3])
    np.testing.assert_allclose(hessian(LONG[:3]), clew.hessian(f)(LONG[:3]), rtol=1e-12)


@pytest.mark.parametrize("loop", [until, counted, fixed])
def test_explain_shows_native_code(loop):
    gradient = clew.grad(lambda x: loop(x, np.int64(9), checkpoint=2))
    (program,) = clew.explain(gradient)(LONG[:40]).signatures[0].paths[0].programs
    assert program.reason == ""
    assert not program.call_outs
    names = [step.equations[0].primitive.name for step in program.steps]
    assert {"loop", "replay"} <= set(names)


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [until, counted])
def test_so_many_snapshots_and_no_more(loop):
    """What is allowed is asked for like the reference evaluator does, and refused like it."""
    x, steps = np.linspace(0.5, 1.0, 300), np.int64(100_000)
    carry = x.nbytes + 8  # the number of the step is carried, too
    for room, fits in ((200 * carry, True), (200 * carry - 1, False)):
        gradient = clew.grad(lambda x, n, m=room: loop(x, n, checkpoint=200, memory=m))
        if fits:
            agree(gradient, x, np.int64(500))
            continue
        graph = simplify(clew.trace(gradient)(x, steps))
        with pytest.raises(MemoryLimitError, match="200 snapshots takes") as by_reference:
            clew.evaluate(graph, x, steps)
        native = Native(graph)
        with pytest.raises(MemoryLimitError) as by_native:
            native(x, steps)
        assert str(by_native.value) == str(by_reference.value)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is asked of the C library")
@pytest.mark.parametrize("loop", [until, counted])
def test_memory_does_not_grow_with_the_length(loop):
    x = np.linspace(0.5, 1.0, 20_000)
    gradient = clew.grad(lambda x, n: loop(x, n, checkpoint=10))
    native = Native(simplify(clew.trace(gradient)(x, np.int64(3))))
    native(x, np.int64(40))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    native(x, np.int64(2000))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # 10 snapshots, 10 states and 9 snapshots between are 4.6 MB; a tape would be 320 MB.
    assert after - before < 8_000


def test_a_loop_that_fails_gives_its_memory_back_and_can_run_again():
    from clew.loops.check import check

    def f(x, most):
        def body(c):
            check(np.max(c[0]) < most, "too large", "begin lower")
            return c[0] * 1.5, c[1] + 1

        return np.sum(clew.while_loop(lambda c: c[1] < 12, body, (x, 0), checkpoint=3)[0])

    compiled = clew.jit(clew.grad(f))
    good = compiled(LONG[:40], 1e9)
    for _ in range(3):
        with pytest.raises(clew.RunError, match="too large"):
            compiled(LONG[:40], 5.0)
        np.testing.assert_array_equal(compiled(LONG[:40], 1e9), good)
