"""Notes on programs: what each step is, what it reads, writes and computes, and why not."""

from __future__ import annotations

import numpy as np
import pytest

import clew
from clew.evaluate.native.calling import Native
from clew.evaluate.native.clocks import Clock
from clew.evaluate.native.machine import Machine, machine
from clew.evaluate.native.notes import Notes, StepNote, no_native_form
from clew.evaluate.native.program import Program
from clew.simplify import simplify


def noted(f, *args, gradient=False):
    graph = simplify(clew.trace(clew.value_and_grad(f) if gradient else f)(*args))
    notes = Notes()
    Program(graph, notes)
    return notes.steps


def test_a_kernel_with_its_loops_equations_and_traffic():
    x = np.ones((30, 20))
    step, last = noted(lambda x: np.sum(np.sin(x) * x) + 1.0, x)
    assert (step.kind, step.extents) == ("kernel", (30, 20))
    assert step.names == {"sin": 1, "multiply": 1, "sum": 1}
    assert (step.read, step.written) == (8 * 600, 8)
    assert step.operations == 3 * 600
    assert step.work > step.operations  # a sine is more than one operation
    assert (last.kind, last.names, last.read, last.written) == ("registers", {"add": 1}, 0, 0)


def test_every_array_is_read_once():
    (step,) = noted(lambda x, y: (x + y) * (x - y), np.ones(50), np.ones(50))
    assert (step.read, step.written) == (2 * 8 * 50, 8 * 50)


def test_of_a_part_only_the_part_is_read():
    (step,) = noted(lambda x: np.exp(x[:, 3]), np.ones((100, 9)))
    assert step.read == 8 * 100
    (step,) = noted(lambda x, y: x + y, np.ones((100, 9)), np.ones(9))
    assert step.read == 8 * (900 + 9)
    (step,) = noted(lambda x, i: np.exp(x[i]), np.ones(1000), np.arange(20))
    assert step.read == 8 * (20 + 20)


def test_a_constant_of_one_number_is_not_read():
    (step,) = noted(lambda x: x + np.full(70, 3.0), np.ones(70))
    assert step.read == 8 * 70


def test_a_value_for_a_later_step_is_written_and_read():
    def f(x):
        y = np.exp(x)
        return np.sum(y / np.sum(y))

    first, second = noted(f, np.ones(100))
    assert (first.written, second.read) == (8 * 100 + 8, 8 * 100 + 8)


def test_steps_stand_in_their_loops():
    def f(x):
        inner = lambda c, _: (np.sin(c) * x, None)
        outer = lambda c, _: (clew.scan(inner, c, length=3)[0] + 1.0, None)
        return clew.scan(outer, x, length=7)[0]

    (outer,) = noted(f, np.ones(100))
    assert (outer.kind, outer.length) == ("loop", 7)
    inner, after = outer.inside
    assert (inner.kind, inner.length) == ("loop", 3)
    assert [step.names for step in inner.inside] == [{"sin": 1, "multiply": 1}]
    assert after.names == {"add": 1}


def test_the_length_of_a_while_loop_is_not_known():
    (loop, *_) = noted(lambda x: clew.while_loop(lambda c: c < 9.0, lambda c: c * x, x), 1.5)
    assert (loop.kind, loop.length) == ("loop", None)
    assert machine().seconds(loop) is None


def test_numbers_in_registers_are_one_step():
    (step,) = noted(lambda x: np.sin(x) * x + 2.0, 1.0)
    assert (step.kind, step.names) == ("registers", {"sin": 1, "multiply": 1, "add": 1})
    assert step.operations == 3


def test_a_product_and_what_threads_share():
    (step,) = noted(lambda x, y: x @ y, np.ones((200, 300)), np.ones((300, 400)))
    assert (step.kind, step.operations) == ("product", 2 * 200 * 300 * 400)
    assert step.read == 8 * (200 * 300 + 300 * 400)
    assert step.chunks > 1
    (small,) = noted(np.sin, np.ones(100))
    (large,) = noted(np.sin, np.ones(1_000_000))
    assert (small.chunks, large.chunks > 1) == (1, True)


def test_what_python_evaluates_and_why():
    (step,) = noted(lambda x: np.sort(x), np.ones(100, complex))
    assert (step.kind, step.reason) == ("call-out", "no native form: sort of complex128")
    assert machine().seconds(step) is None


def test_a_guard_is_a_check_and_no_call_out():
    def f(x):
        return np.exp(x) if np.sum(x) > 0 else x

    kinds = [step.kind for step in noted(f, np.ones(100))]
    assert "check" in kinds
    assert "call-out" not in kinds


def test_lines_of_the_source():
    def f(x):
        y = np.sin(x)  # the first line
        return np.sum(y)

    (step,) = noted(f, np.ones(100))
    first = f.__code__.co_firstlineno + 1
    assert [where.line for where in step.lines] == [first, first + 1]


def test_taking_notes_does_not_change_the_program():
    graph = clew.trace(lambda x: np.cumsum(np.sort(x)) @ x)(np.ones(100))
    assert Program(graph).module.text() == Program(graph, Notes()).module.text()


def test_clocks_do_not_change_results():
    rng = np.random.default_rng(0)

    def f(x):
        return clew.scan(lambda c, row: (np.tanh(c @ row), np.sum(c)), x, np.stack([x, x]))

    x = rng.normal(size=(20, 20))
    graph = clew.trace(f)(x)
    notes = Notes(Clock())
    for plain, timed in zip(Native(graph)(x), Native(graph, notes=notes)(x), strict=True):
        assert np.array_equal(plain, timed)
    loop = next(step for step in notes.steps if step.kind == "loop")
    assert [notes.clock.calls(step.row) for step in loop.inside] == [2] * len(loop.inside)
    assert loop.inside


@pytest.mark.parametrize("dtype", [complex, np.float16])
def test_the_reason_names_every_dtype(dtype):
    (equation,) = clew.trace(lambda x: np.argsort(x))(np.ones(9, dtype)).equations
    assert no_native_form(equation) == f"no native form: argsort of {np.dtype(dtype)}, int64"


def test_predictions_follow_traffic_arithmetic_and_length():
    model = Machine(peak=1e11, single=1e9, cached=1e11, memory=1e10, measured=False)
    moving = StepNote("kernel", [], (10**8,), read=10**9, written=10**9, work=10**6)
    assert model.seconds(moving) == pytest.approx(0.2, rel=1e-3)
    computing = StepNote("kernel", [], (10**3,), read=8000, work=10**9)
    assert model.seconds(computing) == pytest.approx(0.02, rel=1e-3)
    product = StepNote("product", [], read=8000, work=10**9)
    assert model.seconds(product) == pytest.approx(0.01, rel=1e-3)
    loop = StepNote("loop", [], length=5, inside=[product, computing])
    assert model.seconds(loop) == pytest.approx(0.15, rel=1e-3)
    unknown = StepNote("loop", [], length=None, inside=[product])
    assert model.seconds(StepNote("loop", [], length=2, inside=[unknown])) is None


def test_the_machine_is_measured():
    found = machine()
    assert found.measured
    assert found.peak > found.single > 1e7
    assert found.cached > 1e8
    assert "measured" in str(found)
