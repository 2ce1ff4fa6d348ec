"""Units are compiled while others are written, once, on several threads; errors lose nothing."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clew.evaluate.native import cache, compiling, toolchain
from clew.evaluate.native.compiling import Compiler, Unit, compiled
from clew.evaluate.native.toolchain import ToolchainError

UNARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEW_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CLEW_CACHE", "1")


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many threads there are to compile with."""
    monkeypatch.setattr(compiling, "threads", lambda: request.param)
    return request.param


def scaled(factor: int) -> str:
    """A function that multiplies by a whole number."""
    return f"define double @f(double %x) {{\n  %y = fmul double %x, {factor}.0\n  ret double %y\n}}"


def value(code: bytes) -> float:
    """What the function in an object gives for 2."""
    library = toolchain.loaded([code], ["f"])
    return UNARY(library.address("f"))(2.0)


@pytest.mark.usefixtures("threads")
def test_units_are_compiled_whatever_the_threads() -> None:
    interval = sys.getswitchinterval()
    with Compiler() as compiler:
        tasks = [compiler.add(Unit(scaled(i), ("f",), i % 4)) for i in range(1, 12)]
        tasks += compiler.finish([Unit(scaled(i), ("f",)) for i in range(12, 15)])
    assert [value(task.result) for task in tasks] == [2.0 * i for i in range(1, 15)]
    assert sys.getswitchinterval() == interval


def test_a_unit_is_compiled_while_its_caller_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "threads", lambda: 2)
    made = threading.Event()
    object_code = toolchain.object_code

    def noted(text: str, level: int) -> bytes:
        found = object_code(text, level)
        made.set()
        return found

    monkeypatch.setattr(toolchain, "object_code", noted)
    with Compiler() as compiler:
        compiler.add(Unit(scaled(3), ("f",)))
        assert made.wait(timeout=60)
        compiler.finish()


def test_the_second_time_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(scaled(7), ["f"])
    monkeypatch.setattr(toolchain, "object_code", lambda *_: pytest.fail("compiled again"))
    library = compiled(scaled(7), ["f"])
    assert UNARY(library.address("f"))(2.0) == 14.0
    assert library.cached
    with pytest.raises(pytest.fail.Exception):
        compiled(scaled(7), ["f"], 2)


@pytest.mark.usefixtures("threads")
def test_the_first_error_is_raised_and_the_next_program_compiles() -> None:
    kept = sys.getswitchinterval(), threading.active_count()
    with Compiler() as compiler:
        for text in (scaled(3), "define nonsense", "define other", scaled(4)):
            compiler.add(Unit(text, ("f",)))
        with pytest.raises(ToolchainError, match="nonsense"):
            compiler.finish()
    assert (sys.getswitchinterval(), threading.active_count()) == kept
    assert value(toolchain.object_code(scaled(3))) == 6.0


@pytest.mark.usefixtures("threads")
def test_an_error_of_the_writer_ends_the_threads() -> None:
    kept = sys.getswitchinterval(), threading.active_count()
    with contextlib.suppress(ZeroDivisionError), Compiler() as compiler:
        for i in range(8):
            compiler.add(Unit(scaled(60 // (7 - i)), ("f",)))
    assert (sys.getswitchinterval(), threading.active_count()) == kept
    assert value(toolchain.object_code(scaled(5))) == 10.0


def test_without_more_threads_the_caller_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(compiling, "threads", lambda: 4)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Compiler() as compiler:
        task = compiler.add(Unit(scaled(6), ("f",)))
        compiler.finish()
    assert value(task.result) == 12.0


@pytest.mark.usefixtures("threads")
def test_a_program_compiled_while_another_is_written() -> None:
    with Compiler() as compiler:
        tasks = [compiler.add(Unit(scaled(i), ("f",))) for i in range(1, 6)]
        library = compiled(scaled(50), ["f"])
        tasks += [compiler.add(Unit(scaled(i), ("f",))) for i in range(6, 9)]
        compiler.finish()
    assert UNARY(library.address("f"))(2.0) == 100.0
    assert [value(task.result) for task in tasks] == [2.0 * i for i in range(1, 9)]


def test_what_is_not_finished_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "threads", lambda: 1)
    stored = []
    monkeypatch.setattr(cache, "store", lambda key, _: stored.append(key))
    with Compiler() as compiler, pytest.raises(ToolchainError):
        compiler.finish([Unit("define nonsense", ()), Unit(scaled(8), ("f",))])
    assert stored == []


def test_many_threads_compile_at_once() -> None:
    results = {}

    def work(number: int) -> None:
        for i in range(5):
            library = compiled(scaled(100 * number + i), ["f"])
            results[number, i] = UNARY(library.address("f"))(1.0)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {(k, i): 100.0 * k + i for k in range(6) for i in range(5)}


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_child_compiles_though_the_parent_was_compiling() -> None:
    program = f"""
import ctypes, os, threading
from clew.evaluate.native.compiling import compiled
text = {scaled(2)!r}
stop = threading.Event()
def work():
    i = 0
    while not stop.is_set():
        i += 1
        compiled(text.replace("2.0", f"{{i}}.0"), ["f"])
thread = threading.Thread(target=work)
thread.start()
for i in range(8):
    child = os.fork()
    if child == 0:
        library = compiled(text.replace("2.0", f"{{i}}.5"), ["f"])
        f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("f"))
        os._exit(0 if f(2.0) == 2 * i + 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print("done")
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "done\n"


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts itself by a signal")
def test_interrupts_leave_nothing_locked() -> None:
    program = """
import os, signal, threading
import numpy as np
import clew
from clew.evaluate.native import toolchain
os.environ["CLEW_CACHE"] = "0"
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
clew.set_threads(8)
interrupted = 0
for number in range(24):
    weights = [np.full((9, 9), 0.1 * i) for i in range(5)]
    def f(x):
        for w in weights:
            x = np.tanh(x @ w) + np.sin(x) / (1.0 + number + x * x)
        return np.sum(x)
    slope = clew.jit(clew.grad(f))
    x = np.ones((4, 9))
    after = 0.003 + 0.004 * number
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        slope(x)
        timer.join()
    except KeyboardInterrupt:
        interrupted += 1
    assert toolchain.lock.acquire(timeout=0)
    toolchain.lock.release()
    np.testing.assert_allclose(slope(x), clew.grad(f)(x), rtol=1e-10)
print(interrupted > 12)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "True\n", done.stderr
