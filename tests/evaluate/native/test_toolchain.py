"""Modules are compiled, loaded, freed; what cannot be is an error, never the end of the process."""

from __future__ import annotations

import ctypes
import gc
import math
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clew.evaluate.native import toolchain
from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.toolchain import ToolchainError, assembly, loaded, object_code, symbols

llvm = pytest.importorskip("llvmlite.binding")

UNARY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEW_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CLEW_CACHE", "1")


@pytest.fixture
def _fresh_target() -> Iterator[None]:
    toolchain._target.cache_clear()
    toolchain._machines.clear()
    yield
    toolchain._target.cache_clear()
    toolchain._machines.clear()


def scaled(factor: int) -> str:
    """A function that multiplies by a whole number."""
    return f"define double @f(double %x) {{\n  %y = fmul double %x, {factor}.0\n  ret double %y\n}}"


def sum_of_squares() -> str:
    module = Module()
    f64 = np.dtype(np.float64)
    parameters = [("ptr", "a", "noalias"), ("i64", "n", "")]
    e = Emitter(module, "f", parameters, "double", "contract reassoc nsz", linkage="")
    total = e.slot(f64)
    e.set(total, e.constant(f64, 0.0))
    with e.loop(0, Value(INT64, "%n")) as i:
        x = e.load("%a", f64, i)
        e.set(total, e.add(e.get(total), e.mul(x, x)))
    e.ret(f"double {e.get(total).name}")
    module.add(e)
    return module.text()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_loops_give_the_same_at_every_level(level: int) -> None:
    library = compiled(sum_of_squares(), ["f"], level)
    signature = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_int64)
    function = signature(library.address("f"))
    for count in (0, 1, 7, 1000):
        x = np.arange(float(count))
        assert function(x.ctypes.data, count) == np.sum(x * x)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_long_straight_line_code(level: int) -> None:
    rng = random.Random(3)
    lines = ["define double @f(double %v0) {"]
    values = [0.7]
    for i in range(1, 2001):
        a, b = rng.randrange(max(0, i - 50), i), rng.randrange(i)
        word = rng.choice(["fadd", "fsub", "fmul"])
        x, y = values[a], values[b]
        result = {"fadd": x + y, "fsub": x - y, "fmul": x * y}[word]
        if not 1e-3 < abs(result) < 1e3:
            word, result = "fadd", x + 1.0
            lines.append(f"  %v{i} = fadd double %v{a}, 1.0")
        else:
            lines.append(f"  %v{i} = {word} double %v{a}, %v{b}")
        values.append(result)
    lines += ["  ret double %v2000", "}"]
    library = compiled("\n".join(lines), ["f"], level)
    assert UNARY(library.address("f"))(0.7) == values[-1]


@pytest.mark.skipif("+avx512f" not in toolchain.target().features, reason="needs AVX-512")
def test_loops_use_the_whole_width_of_the_machine() -> None:
    assert "zmm" in assembly(sum_of_squares())
    assert "zmm" in assembly(sum_of_squares(), 2)
    assert "zmm" not in assembly(sum_of_squares(), 1)


def test_several_entry_points() -> None:
    text = scaled(2) + "\n" + scaled(3).replace("@f", "@g")
    library = compiled(text, ["f", "g"])
    assert [UNARY(library.address(name))(5.0) for name in "fg"] == [10.0, 15.0]


def test_functions_of_the_c_library_are_found() -> None:
    text = """
    declare double @llvm.exp.f64(double)
    declare double @llvm.fma.f64(double, double, double)
    declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
    declare double @lgamma(double)
    define double @f(double %x) {
      %e = call double @llvm.exp.f64(double %x)
      %r = frem double %e, %x
      %l = call double @lgamma(double %r)
      %y = call double @llvm.fma.f64(double %l, double %x, double 1.0)
      ret double %y
    }
    define void @clear(ptr %p, i64 %n) {
      call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 false)
      ret void
    }
    """
    library = compiled(text, ["f", "clear"])
    expected = math.lgamma(math.fmod(math.exp(0.7), 0.7)) * 0.7 + 1.0
    assert UNARY(library.address("f"))(0.7) == pytest.approx(expected, rel=1e-14)
    data = np.ones(100)
    clear = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address("clear"))
    clear(data.ctypes.data, 8 * 60)
    assert np.array_equal(data, np.repeat([0.0, 1.0], [60, 40]))


def test_registered_symbols_are_found() -> None:
    callback = UNARY(lambda x: x + 0.5)
    llvm.add_symbol("clew_test_half", ctypes.cast(callback, ctypes.c_void_p).value)
    text = """
    declare double @clew_test_half(double)
    define double @f(double %x) {
      %y = call double @clew_test_half(double %x)
      ret double %y
    }
    """
    library = compiled(text, ["f"])
    assert UNARY(library.address("f"))(1.0) == 1.5


def test_missing_symbols_are_an_error() -> None:
    text = """
    declare void @clew_test_nowhere()
    define void @f() {
      call void @clew_test_nowhere()
      ret void
    }
    """
    with pytest.raises(ToolchainError, match="not on this machine: clew_test_nowhere"):
        compiled(text, ["f"])


def test_entry_points_must_be_defined() -> None:
    with pytest.raises(ToolchainError, match="does not define g"):
        compiled(scaled(2), ["g"])
    with pytest.raises(ToolchainError, match="does not define f"):
        compiled(scaled(2).replace("define", "define internal"), ["f"])


@pytest.mark.parametrize(
    "text",
    [
        "define void @f() { ret i32 0 }",
        "define double @f(double %x) { ret double %unknown }",
        "define i64 @f() { %x = add i64 %y, 1  %y = add i64 %x, 1  ret i64 %x }",
        "not a module",
    ],
)
def test_modules_that_are_not_valid_are_an_error(text: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        compiled(text, ["f"])
    assert caught.value.asked.startswith("native: LLVM refused the module")
    assert caught.value.fix


@pytest.mark.usefixtures("_fresh_target")
def test_without_llvmlite_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(ToolchainError, match="cannot be used on this machine") as caught:
        compiled(scaled(2), ["f"])
    assert "llvmlite" in caught.value.fix


@pytest.mark.usefixtures("_fresh_target")
def test_memory_that_may_not_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(13, "cannot allocate executable memory")

    monkeypatch.setattr(llvm, "check_jit_execution", refuse)
    with pytest.raises(ToolchainError, match="executable memory"):
        compiled(scaled(2), ["f"])


@pytest.mark.usefixtures("_fresh_target")
def test_a_processor_that_llvm_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "generic")
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap())
    library = compiled(scaled(2), ["f"])
    assert UNARY(library.address("f"))(4.0) == 8.0


def test_objects_that_are_loaded_as_one_call_each_other() -> None:
    inner = "define hidden double @inner(double %x) { %y = fadd double %x, 1.0  ret double %y }"
    outer = """declare double @inner(double)
define double @outer(double %x) { %y = call double @inner(double %x)  ret double %y }"""
    library = loaded([object_code(outer), object_code(inner, 0)], ["outer"])
    assert UNARY(library.address("outer"))(2.0) == 3.0


def resident() -> int:
    """Bytes of memory that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@linux
def test_code_that_is_collected_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", "0")
    for i in range(60):
        compiled(scaled(i), ["f"])
    gc.collect()
    before = resident()
    for i in range(300):
        compiled(scaled(i), ["f"])
    gc.collect()
    # llvmlite keeps 1.5 KB for each run of its passes.
    assert resident() - before < 300 * 4096


@linux
def test_code_lives_as_long_as_its_library() -> None:
    def mapped(address: int) -> bool:
        for line in Path("/proc/self/maps").read_text().splitlines():
            first, last = (int(x, 16) for x in line.split()[0].split("-"))
            if first <= address < last:
                return line.split()[1] == "r-xp"
        return False

    library = compiled(scaled(2), ["f"])
    address = library.address("f")
    assert mapped(address)
    del library
    gc.collect()
    assert not mapped(address)
    library = compiled(scaled(2), ["f"])
    address = library.address("f")
    library.keep()
    del library
    gc.collect()
    assert mapped(address)


def test_code_dropped_by_a_thread_that_may_not_wait() -> None:
    libraries = [compiled(scaled(11), ["f"])]
    with toolchain.lock:
        thread = threading.Thread(target=libraries.clear)
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert len(toolchain._closing) == 1
    compiled(scaled(12), ["f"])
    assert not toolchain._closing


@pytest.mark.parametrize("triple", ["arm64-apple-darwin", "x86_64-unknown-linux-gnu"])
def test_symbols_of_objects(triple: str) -> None:
    text = """
    declare double @sin(double)
    @table = private constant [2 x double] [double 1.0, double 2.0]
    define internal double @inner(double %x) noinline {
      %y = call double @sin(double %x)
      ret double %y
    }
    define double @outer(double %x, i64 %i) {
      %y = call double @inner(double %x)
      %p = getelementptr double, ptr @table, i64 %i
      %t = load double, ptr %p
      %z = fmul double %y, %t
      ret double %z
    }
    """
    code = object_for(triple, text)
    assert symbols(code) == ({"outer"}, {"sin"})


def test_objects_of_another_format_are_an_error() -> None:
    code = object_for("x86_64-pc-windows-msvc", scaled(2))
    with pytest.raises(ToolchainError, match="neither ELF nor Mach-O"):
        symbols(code)


def object_for(triple: str, text: str) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite has no {triple}")
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = triple
    return target.create_target_machine(codemodel="default").emit_object(module)
