"""Every chunk is run once, whatever the threads, forks and exits around it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clew.core.errors import InputError
from clew.evaluate.native import threads
from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.pool import Pool, install
from clew.evaluate.native.pool_text import ENTRY_POINTS, pool_text
from clew.evaluate.native.threads import set_threads, workers
from clew.evaluate.native.toolchain import Library, symbols, target

pytest.importorskip("llvmlite.binding")
posix = pytest.mark.skipif(sys.platform == "win32", reason="no threads on Windows")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CHUNKS = """
declare void @clew_parallel(ptr, ptr, i64)
declare double @llvm.sqrt.f64(double)

; Counts how often each chunk was run, and which workers ran any: at context + 4000 words.
define void @count(ptr %context, i64 %chunk, i64 %worker) nounwind {
  %place = getelementptr i64, ptr %context, i64 %chunk
  %a = atomicrmw add ptr %place, i64 1 monotonic
  %ran = getelementptr i64, ptr %context, i64 4000
  %mine = getelementptr i64, ptr %ran, i64 %worker
  %b = atomicrmw add ptr %mine, i64 1 monotonic
  ret void
}

; Chunk i waits until chunk 1 - i has begun, so it takes two threads; gives up after a while.
define void @meet(ptr %context, i64 %chunk, i64 %worker) nounwind {
entry:
  %place = getelementptr i64, ptr %context, i64 %chunk
  store atomic i64 1, ptr %place seq_cst, align 8
  %other = xor i64 %chunk, 1
  %flag = getelementptr i64, ptr %context, i64 %other
  br label %look
look:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %there = load atomic i64, ptr %flag seq_cst, align 8
  %met = icmp ne i64 %there, 0
  br i1 %met, label %end, label %again
again:
  %next = add i64 %i, 1
  %patient = icmp ult i64 %next, 20000000000
  br i1 %patient, label %look, label %end
end:
  %says = getelementptr i64, ptr %context, i64 2
  %mine = getelementptr i64, ptr %says, i64 %chunk
  store i64 %there, ptr %mine
  ret void
}

; Uses most of a MiB of stack, at its far end too.
define void @deep(ptr %context, i64 %chunk, i64 %worker) nounwind {
  %room = alloca [900000 x i8]
  call void @meet(ptr %context, i64 %chunk, i64 %worker)
  store volatile i8 1, ptr %room
  ret void
}

; Each chunk runs ten chunks of its own.
define void @nest(ptr %context, i64 %chunk, i64 %worker) nounwind {
  %offset = mul i64 %chunk, 10
  %place = getelementptr i64, ptr %context, i64 %offset
  call void @PARALLEL(ptr @inner, ptr %place, i64 10)
  ret void
}

define void @inner(ptr %context, i64 %chunk, i64 %worker) nounwind {
  %place = getelementptr i64, ptr %context, i64 %chunk
  %one = add i64 %worker, 1
  %a = atomicrmw add ptr %place, i64 %one monotonic
  ret void
}

; partial[chunk] = sum of sqrt(1000 chunk + i)
define void @sums(ptr %context, i64 %chunk, i64 %worker) nounwind {
entry:
  %first = mul i64 %chunk, 1000
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %sum = phi double [ 0.0, %entry ], [ %more, %body ]
  %number = add i64 %first, %i
  %x = uitofp i64 %number to double
  %root = call double @llvm.sqrt.f64(double %x)
  %more = fadd double %sum, %root
  %next = add i64 %i, 1
  %again = icmp ult i64 %next, 1000
  br i1 %again, label %body, label %end
end:
  %place = getelementptr double, ptr %context, i64 %chunk
  store double %more, ptr %place
  ret void
}
"""

RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
RUN_WITHIN = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2)
NAMES = ["count", "meet", "deep", "nest", "sums"]


class Bench:
    """A pool with functions to run on it."""

    def __init__(self, pool: Pool) -> None:
        import llvmlite.binding as llvm

        self.pool = pool
        symbol = f"clew_test_parallel_{pool.parallel}"
        llvm.add_symbol(symbol, pool.parallel)
        text = CHUNKS.replace("PARALLEL", symbol).replace(
            "declare void @clew_parallel(", f"declare void @{symbol}("
        )
        self.library: Library = compiled(text, NAMES)

    def run(self, name: str, data: np.ndarray, chunks: int, below: int | None = None) -> None:
        """Run the chunks of a function."""
        function = self.library.address(name)
        if below is None:
            RUN(self.pool.parallel)(function, data.ctypes.data, chunks)
        else:
            RUN_WITHIN(self.pool.parallel_within)(function, data.ctypes.data, chunks, below)


@pytest.fixture(scope="module")
def pools() -> dict[str, Bench]:
    """The process's pool, and one that sleeps on condition variables as on macOS."""
    portable = compiled(pool_text(target().triple, portable=True), ENTRY_POINTS)
    return {"usual": Bench(install()), "portable": Bench(Pool(portable))}


@pytest.fixture(params=["usual", "portable"])
def bench(request: pytest.FixtureRequest, pools: dict[str, Bench]) -> Bench:
    return pools[request.param]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    count, chosen = threads.threads(), threads._chosen
    yield
    set_threads(count)
    threads._chosen = chosen


def counted(bench: Bench, chunks: int, below: int | None = None) -> np.ndarray:
    """Run the chunks; return how many each worker ran, after a look at how often each one was."""
    data = np.zeros(4300, np.int64)
    bench.run("count", data, chunks, below)
    assert np.all(data[:chunks] == 1)
    assert not np.any(data[chunks:4000])
    return data[4000:]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("chunks", [0, 1, 2, 7, 1000])
def test_every_chunk_is_run_once(bench: Bench, count: int, chunks: int) -> None:
    set_threads(count)
    for _ in range(20):
        ran = counted(bench, chunks)
        assert ran.sum() == chunks
        assert not np.any(ran[count:])


def test_no_chunks_of_a_negative_number(bench: Bench) -> None:
    set_threads(2)
    data = np.zeros(4300, np.int64)
    bench.run("count", data, -1)
    assert not data.any()


@posix
@pytest.mark.parametrize("name", ["meet", "deep"])
def test_threads_run_at_the_same_time(bench: Bench, name: str) -> None:
    set_threads(2)
    for _ in range(10):
        data = np.zeros(4, np.int64)
        bench.run(name, data, 2)
        assert data.tolist() == [1, 1, 1, 1]


@posix
def test_a_sleeping_worker_is_woken(bench: Bench) -> None:
    set_threads(2)
    for _ in range(5):
        threading.Event().wait(0.01)  # far longer than a worker watches
        data = np.zeros(4, np.int64)
        bench.run("meet", data, 2)
        assert data.tolist() == [1, 1, 1, 1]


def test_sums_do_not_depend_on_the_number_of_threads(bench: Bench) -> None:
    found = []
    for count in (1, 2, 5):
        set_threads(count)
        data = np.zeros(300)
        bench.run("sums", data, 300)
        found.append(data.tobytes())
    assert found[0] == found[1] == found[2]
    expected = np.sqrt(np.arange(300_000.0)).reshape(300, 1000).sum(axis=1)
    np.testing.assert_allclose(np.frombuffer(found[0]), expected, rtol=1e-12)


def test_nested_calls_run_in_the_calling_thread(bench: Bench) -> None:
    set_threads(3)
    for _ in range(50):
        data = np.zeros(400, np.int64)
        bench.run("nest", data, 40)
        assert np.all(data == 1)  # each by worker 0


def test_many_python_threads_call_at_once(bench: Bench) -> None:
    set_threads(3)
    wrong = []

    def work() -> None:
        for _ in range(200):
            data = np.zeros(4300, np.int64)
            bench.run("count", data, 20)
            if not np.all(data[:20] == 1) or data[4000:].sum() != 20:
                wrong.append(data)

    callers = [threading.Thread(target=work) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_the_number_of_threads_grows_and_shrinks(bench: Bench) -> None:
    for count in (1, 4, 2, 9, 1, 3):
        set_threads(count)
        assert workers() == count
        for _ in range(100):
            assert not np.any(counted(bench, 30)[count:])
        if sys.platform != "win32":
            assert bench.pool.started() >= count


@posix
def test_threads_start_when_there_is_work_for_them() -> None:
    pool = Pool(compiled(pool_text(target().triple) + "; another pool\n", ENTRY_POINTS))
    bench = Bench(pool)
    set_threads(8)
    assert pool.started() == 1
    counted(bench, 1)
    assert pool.started() == 1
    counted(bench, 3)
    assert pool.started() == 3
    counted(bench, 100)
    assert pool.started() == 8


def test_a_bound_on_the_workers(bench: Bench) -> None:
    set_threads(8)
    counted(bench, 100)
    for below in (1, 2, 3):
        for _ in range(100):
            assert not np.any(counted(bench, 50, below)[below:])


def test_many_more_threads_than_processors(bench: Bench) -> None:
    set_threads(64)
    for _ in range(50):
        counted(bench, 200)


@linux
def test_signals_are_left_to_the_main_thread(bench: Bench) -> None:
    set_threads(2)
    counted(bench, 2)
    blocked = []
    for task in Path("/proc/self/task").iterdir():
        status = (task / "status").read_text()
        line = next(x for x in status.splitlines() if x.startswith("SigBlk:"))
        blocked.append(int(line.split()[1], 16))
    interrupt, fault = 1 << (2 - 1), 1 << (11 - 1)
    assert any(mask & interrupt and not mask & fault for mask in blocked)
    main = Path(f"/proc/self/task/{os.getpid()}/status").read_text()
    assert "SigBlk:\t0000000000000000" in main


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "arm64-apple-darwin"])
@pytest.mark.parametrize("portable", [False, True])
def test_other_machines_need_only_the_c_library(triple: str, portable: bool) -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        machine = llvm.Target.from_triple(triple).create_target_machine(opt=3)
    except RuntimeError:
        pytest.skip(f"this llvmlite has no {triple}")
    with (
        llvm.create_context() as context,
        llvm.parse_assembly(pool_text(triple, portable), context) as module,
    ):
        module.triple = triple
        module.verify()
        defined, wanted = symbols(machine.emit_object(module))
    assert defined == set(ENTRY_POINTS)
    names = ("pthread_", "sig", "sched_", "clock_gettime", "syscall", "memset", "bzero")
    assert all(name.startswith(names) for name in wanted)


PROGRAM = f"""
import ctypes, os, sys, threading, time
import numpy as np
from clew.evaluate.native import threads
from clew.evaluate.native.pool import install
from clew.evaluate.native.compiling import compiled
pool = install()
library = compiled({CHUNKS.replace("PARALLEL", "clew_parallel")!r}, {NAMES!r})
call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(pool.parallel)
def run(name, data, chunks):
    call(library.address(name), data.ctypes.data, chunks)
def good():
    data = np.zeros(4, np.int64)
    run("meet", data, 2)
    return data.all()
def keep_busy():
    data = np.zeros(4300, np.int64)
    while True:
        run("count", data, 100)
threads.set_threads(2)
"""


def output(program: str) -> str:
    """What a program prints; it must end by itself, and well."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@posix
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    program = """
assert good()
for i in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if pool.started() == 1 and good() and pool.started() == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert good()
print("done")
"""
    assert output(program) == "done\n"


@posix
def test_a_fork_while_the_pool_is_at_work() -> None:
    program = """
threading.Thread(target=keep_busy, daemon=True).start()
time.sleep(0.05)
for i in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if good() else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done")
sys.stdout.flush()
"""
    assert output(program) == "done\n"


def test_the_interpreter_exits_while_workers_watch() -> None:
    program = """
run("count", np.zeros(4300, np.int64), 100)
print("done")
"""
    for _ in range(3):
        assert output(program) == "done\n"


def test_the_interpreter_exits_while_workers_work() -> None:
    program = """
for _ in range(2):
    threading.Thread(target=keep_busy, daemon=True).start()
time.sleep(0.05)
print("done")
"""
    for _ in range(3):
        assert output(program) == "done\n"


@linux
def test_threads_that_the_system_refuses_are_done_without() -> None:
    program = """
import resource
size = int(open("/proc/self/statm").read().split()[0]) * 4096
data = np.zeros(4300, np.int64)
resource.setrlimit(resource.RLIMIT_AS, (size + 40 * 2**20, resource.RLIM_INFINITY))
threads.set_threads(200)
for i in range(3):
    run("count", data, 1000)
print(1 <= pool.started() < 30, (data[:1000] == 3).all())
"""
    assert output(program) == "True True\n"


# --- the number of threads ----------------------------------------------------------------


@pytest.fixture
def _not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.delenv("CLEW_THREADS", raising=False)


@pytest.mark.usefixtures("_not_chosen")
def test_as_many_threads_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads.threads() == min(threads.processors(), 256)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert threads.threads() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(500)))
    assert threads.threads() == 256


@pytest.mark.usefixtures("_not_chosen")
def test_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_THREADS", "5")
    assert threads.threads() == 5
    set_threads(3)
    assert threads.threads() == 3


@pytest.mark.usefixtures("_not_chosen")
@pytest.mark.parametrize("value", ["many", "0", "-1", "2.5", "257"])
def test_a_wrong_environment_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_THREADS", value)
    with pytest.raises(InputError) as caught:
        threads.threads()
    assert caught.value.asked == f"CLEW_THREADS is {value!r}, which is not a number from 1 to 256"
    assert "unset it" in caught.value.fix


@pytest.mark.parametrize("value", [0, -2, 257, 2.0, "4", None, True])
def test_a_wrong_number_is_an_error(value: object) -> None:
    with pytest.raises(InputError, match="not a whole number from 1 to 256") as caught:
        set_threads(value)  # type: ignore[arg-type]
    assert "clew.set_threads(" in caught.value.fix


def test_whole_numbers_of_numpy() -> None:
    set_threads(np.int64(3))  # type: ignore[arg-type]
    assert threads.threads() == 3
