"""profile: every step counted and timed, the rest shared out, tables that say what they mean."""

from __future__ import annotations

import ctypes
import threading
import time

import numpy as np
import pytest

import clew
from clew.core.errors import InputError
from clew.evaluate.native.clocks import clocked, ticks_function, ticks_per_second
from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.emitter import Emitter, Module
from clew.evaluate.native.program import Program
from clew.evaluate.native.toolchain import target


def repeated(x):
    return clew.scan(lambda c, _: (np.sin(c) * x, np.sum(c)), x, length=10)


def test_steps_in_loops_are_counted():
    report = clew.profile(repeated, runs=4)(np.ones(1000))
    assert report.runs == 4
    (program,) = report.programs
    assert program.calls == 1.0
    calls = {row.step.kind: (row.depth, row.calls) for row in report.rows}
    assert calls["loop"] == (0, 1.0)
    assert calls["kernel"] == (1, 10.0)


def test_the_turns_of_a_while_loop_are_counted():
    def f(x):
        return clew.while_loop(lambda c: c[0] < 100.0, lambda c: c * 2.0, x)

    report = clew.profile(f, runs=2)(np.ones(50))
    loop = next(row for row in report.rows if row.step.kind == "loop")
    assert loop.predicted is None
    (kernel,) = [row for row in report.rows if row.step.kind == "kernel"]
    assert kernel.calls == 7.0


def test_the_turns_of_a_loop_in_registers_are_counted():
    report = clew.profile(
        lambda x: clew.while_loop(lambda c: c < 100.0, lambda c: c * x, x), runs=3
    )(1.5)
    loop, condition, body = report.rows
    assert (loop.calls, condition.calls, body.calls) == (1.0, 12.0, 11.0)
    assert condition.seconds + body.seconds == pytest.approx(loop.seconds)
    assert condition.seconds == pytest.approx(loop.seconds * 12 / 23)


def test_what_never_ran_took_no_time():
    def f(x):
        start = np.sum(x), 0.0
        return clew.while_loop(lambda c: c[0] < 0.0, lambda c: (c[0], np.sin(c[1]) * 2.0), start)

    report = clew.profile(f, runs=2)(np.ones(50))
    condition, body = [row for row in report.rows if row.depth == 1]
    assert (condition.calls, body.calls) == (1.0, 0.0)
    assert condition.seconds > body.seconds == 0.0


def test_times_nest():
    report = clew.profile(clew.value_and_grad(lambda x: np.sum(repeated(x)[0])))(np.ones(2000))
    assert 0 < report.native_seconds < report.seconds
    (program,) = report.programs
    top = sum(row.seconds for row in program.rows if row.depth == 0)
    assert 0 < top <= program.seconds * (1 + 1e-9)
    above = 0.0
    for row in program.rows:
        assert row.seconds >= 0
        if row.depth == 0:
            above, inside = row.seconds, 0.0
        elif row.depth == 1:
            inside += row.seconds
            assert inside <= above * (1 + 1e-9)


def test_what_is_left_over_belongs_to_the_registers():
    def f(x):
        return clew.scan(lambda c, _: (np.sin(c) * x + c, None), x, length=500)[0]

    report = clew.profile(f)(0.5)
    loop, inside = report.rows
    assert (loop.step.kind, inside.step.kind) == ("loop", "registers")
    assert (loop.clocked, inside.clocked) == (True, False)
    assert inside.calls == 500.0
    assert inside.seconds == pytest.approx(loop.seconds)


def test_rates_and_shares():
    report = clew.profile(lambda x: np.sort(np.exp(x)))(np.ones(10_000))
    first = next(row for row in report.rows if row.step.kind == "kernel")
    assert first.bytes_per_second == pytest.approx(160_000 / first.seconds)
    assert first.operations_per_second == pytest.approx(10_000 / first.seconds)
    assert sum(row.share for row in report.rows) <= 1 + 1e-9
    assert first.share == pytest.approx(first.seconds / report.native_seconds)


def test_what_python_evaluates_counts():
    report = clew.profile(lambda x: np.sort(x) * 2.0, runs=2)(np.ones(20_000, complex))
    (row,) = [row for row in report.rows if row.step.kind == "call-out"]
    assert (row.calls, row.clocked, row.predicted) == (1.0, True, None)
    assert 0 < row.seconds < report.native_seconds


def test_a_function_divided_by_conditions_has_several_programs():
    def f(x):
        return np.exp(x) if np.sum(x) > 0 else x

    report = clew.profile(f, runs=3)(np.ones(5000))
    assert len(report.programs) == 2
    assert [program.calls for program in report.programs] == [1.0, 1.0]
    seconds = [program.seconds for program in report.programs]
    assert seconds == sorted(seconds, reverse=True)


def test_the_function_itself_is_left_alone():
    traced = []

    @clew.jit
    def f(x):
        traced.append(1)
        return np.sin(x)

    f(np.ones(100))
    clew.profile(f, runs=3)(np.ones(100))
    assert len(traced) == 2
    (path,) = clew.explain(f).signatures[0].paths
    assert path.runs == 1
    assert not Program(path.programs[0].graph).module.has("clew_ticks")


def test_another_thread_compiles_without_clocks():
    found = []
    with clocked() as session:
        thread = threading.Thread(target=lambda: found.append(clew.jit(np.sin)(np.ones(9))))
        thread.start()
        thread.join()
    assert len(found) == 1
    assert session.programs == {}


def test_the_reference_evaluator_is_named(monkeypatch):
    monkeypatch.setenv("CLEW_NATIVE", "0")
    report = clew.profile(lambda x: np.sin(x), runs=1)(np.ones(100))
    assert report.programs == ()
    assert report.reference == ("CLEW_NATIVE=0",)
    assert "reference evaluator: CLEW_NATIVE=0" in str(report)


def test_the_table():
    def f(x):
        return np.sum(np.sort(np.exp(x) * 1j).imag)  # the line

    text = str(clew.profile(f, runs=2)(np.ones(10_000)))
    first, head, *rows, last = text.splitlines()
    assert first.startswith("f: ")
    assert "(mean of 2 calls)" in first
    assert head.split() == ["step", "calls", "time", "share", "predicted", "GB/s", "GFLOP/s", "at"]
    assert rows[0].startswith("program (f64[10000]) -> (f64)")
    assert any("call-out sort, no native form: sort of complex128" in row for row in rows)
    line = f.__code__.co_firstlineno + 1
    assert any(row.endswith(f"test_profile.py:{line}") for row in rows)
    assert last.startswith("predicted for ")


def test_runs_must_be_positive():
    for wrong in (0, 1.5, True):
        with pytest.raises(InputError, match="profile: runs="):
            clew.profile(np.sin, runs=wrong)


@pytest.mark.parametrize("triple", ["", "riscv64-unknown-linux-gnu"])
def test_counters_run(triple):
    """The machine's own, and the one that stands in on others (where POSIX's clock is)."""
    if triple and not hasattr(time, "clock_gettime"):
        pytest.skip("no POSIX clock")
    module = Module()
    e = Emitter(module, "now", (), "i64", linkage="")
    symbol = ticks_function(module, triple or target().triple)
    e.ret(f"i64 {e.assign(f'call i64 {symbol}()')}")
    module.add(e)
    library = compiled(module.text(), ["now"])
    now = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("now"))
    first = now()
    time.sleep(0.02)
    passed = now() - first
    rate = 1e9 if triple else ticks_per_second()
    assert 0.015 < passed / rate < 10.0
