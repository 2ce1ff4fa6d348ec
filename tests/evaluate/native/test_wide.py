"""Loops written with vectors give what the reference evaluator gives, at every length."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pytest

import clew
from clew.evaluate.native import wide
from clew.evaluate.native.emitter import INT64, Emitter, Value
from clew.evaluate.native.host import Host, host
from clew.evaluate.native.program import Program
from clew.evaluate.native.wide import vector_loop, widened
from tests.evaluate.native.compiling import Loops

HOST = Host(64, 32, True)
FLOAT = np.dtype(float)
needs_masks = pytest.mark.skipif(host().vector < 32, reason="needs loads under masks")
LENGTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 256, 1000, 1023]
EXACT = {"float64": 1e-13, "float32": 1e-5, "int64": 0, "int32": 0, "bool": 0}


def agree(f: Any, *args: Any, bound: float = 1e-12) -> None:
    """Compare native code, on one thread and on two, with the function on NumPy's arrays."""
    expected = f(*args)
    before, found = clew.threads(), []
    for count in (1, 2):
        clew.set_threads(count)
        found.append(clew.jit(f)(*args))
    clew.set_threads(before)
    for one, other, wanted in zip(*map(flat, (*found, expected)), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
        assert (one.dtype, one.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "c":
            one, wanted = (np.stack([each.real, each.imag]) for each in (one, wanted))
        finite = np.isfinite(wanted)
        assert np.array_equal(one[~finite], wanted[~finite], equal_nan=True)
        scale = np.max(np.abs(wanted[finite].astype(float)), initial=0.0)
        error = np.abs(one[finite].astype(float) - wanted[finite].astype(float))
        assert np.max(error, initial=0.0) <= bound * scale


def flat(result: Any) -> list[np.ndarray]:
    return [np.asarray(each) for each in (result if isinstance(result, tuple) else (result,))]


def array(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.4
    if dtype.startswith("int"):
        return rng.integers(-50, 50, shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


# --- which bodies -----------------------------------------------------------------------------


def lines(stride: int, kind: str = "double", store: str = "%o1") -> tuple[str, ...]:
    return (
        f"  %o1 = mul nsw i64 %i, {stride}",
        f"  %v2 = getelementptr inbounds {kind}, ptr %p0, i64 %o1",
        f"  %v3 = load {kind}, ptr %v2",
        f"  %v4 = getelementptr inbounds {kind}, ptr %p1, i64 %n",
        f"  %v5 = load {kind}, ptr %v4",
        f"  %v6 = fadd {kind} %v3, %v5",
        f"  %v7 = getelementptr inbounds {kind}, ptr %p2, i64 {store}",
        f"  store {kind} %v6, ptr %v7",
    )


def test_what_differs_from_element_to_element() -> None:
    found = widened(lines(1), "%i", HOST, None)
    assert found is not None
    assert found.lanes == 8
    assert {name: found.strides[name] for name in ("%o1", "%v2", "%v7")} == {
        "%o1": 1,
        "%v2": 8,
        "%v7": 8,
    }
    assert found.wide == {"%v3", "%v6"}
    assert found.same("%v5")
    narrow = widened(lines(1, "float"), "%i", HOST, None)
    assert narrow is not None
    assert narrow.lanes == 16


def test_elements_a_little_apart_are_left_to_llvm() -> None:
    assert widened(lines(3), "%i", HOST, None) is None
    assert widened(lines(-1), "%i", HOST, None) is None
    assert widened(lines(7), "%i", HOST, None) is not None
    assert widened(lines(1, store="0"), "%i", HOST, None) is None
    assert widened(lines(1), "%i", Host(16, 32, True), None) is None


def test_elements_a_little_apart_do_not_matter_where_much_is_done_with_them() -> None:
    *before, address, store = lines(3)
    value = store.split()[2].rstrip(",")
    for extra, left in ((10, True), (80, False)):
        chain = [f"  %c{n} = fmul double {f'%c{n - 1}' if n else value}, 2.0" for n in range(extra)]
        text = (*before, *chain, address, store.replace(value, f"%c{extra - 1}"))
        assert (widened(text, "%i", HOST, None) is None) == left


def words(*text: str, kind: str = "double") -> tuple[str, ...]:
    """A body that computes a place ``%o9``, and writes what ``%p0`` holds there to ``%p1``."""
    return (
        *(f"  {line}" for line in text),
        f"  %v2 = getelementptr inbounds {kind}, ptr %p0, i64 %o9",
        f"  %v3 = load {kind}, ptr %v2",
        f"  %v7 = getelementptr inbounds {kind}, ptr %p1, i64 %i",
        f"  store {kind} %v3, ptr %v7",
    )


@pytest.mark.parametrize(
    ("text", "stride"),
    [
        (["%o9 = add nsw i64 %i, %n"], 8),
        (["%o9 = sub i64 %n, %i", "%x = add i64 %i, 1"], None),  # backwards: a little apart
        (["%o1 = mul i64 12, %i", "%o2 = mul i64 %i, -11", "%o9 = add i64 %o1, %o2"], 8),
        (["%o1 = mul i64 %i, -9", "%o9 = sub i64 %n, %o1"], 72),
        (["%o1 = mul i64 %i, -5", "%o9 = add i64 %o1, 7"], -40),
        (["%o9 = sub i64 %i, %i"], None),  # grows by nothing
    ],
)
def test_words_that_grow_evenly(text: list[str], stride: int | None) -> None:
    found = widened(words(*text), "%i", HOST, None)
    assert (found and found.strides["%v2"]) == stride


@pytest.mark.parametrize(
    "line",
    [
        "%o9 = mul i64 %i, %n",
        "%o9 = shl i64 %i, 3",
        "%o9 = srem i64 %i, 5",
        "%o9 = call i64 @llvm.smin.i64(i64 %i, i64 9)",
        "%o9 = select i1 %c, i64 %i, i64 0",
    ],
)
def test_words_that_do_not_are_gathered(line: str) -> None:
    found = widened(words(line), "%i", HOST, None)
    assert found is not None
    assert {"%o9", "%v2", "%v3"} <= found.wide
    narrow = widened(words(line, kind="float"), "%i", HOST, None)
    assert narrow is not None
    assert narrow.lanes == 8  # addresses are wide


def test_what_is_stored() -> None:
    def stored(where: str, *more: str) -> Any:
        made = "  %o9 = add i64 %i, 0", *(f"  {line}" for line in more)
        return widened((*made, *lines(1, store=where)), "%i", HOST, None)

    assert stored("%o1") is not None
    assert stored("%i") is not None
    far = stored("%x", "%x = mul i64 %i, 6")
    assert far is not None
    assert far.strides["%v7"] == 48
    assert stored("%x", "%x = mul i64 %i, 2") is None
    assert stored("%x", "%x = mul i64 %i, %i") is None  # computed
    assert stored("%n") is None  # all to the same place
    for pointer, possible in (("%p0", True), ("%p1", False)):  # %p1 is the same for all
        text = tuple(line.replace("%p2", pointer) for line in lines(1))
        assert (widened(text, "%i", HOST, None) is not None) is possible


# --- what is written ----------------------------------------------------------------------------


def loop(stop: Value | int, stride: int = 1, to: int = 1) -> Loops:
    """A function ``(x, y, n)``: ``y[to * i] = x[stride * i] + 3 * i``."""
    loops = Loops()
    parameters = [("ptr", "x", "noalias"), ("ptr", "y", "noalias"), ("i64", "n", "")]
    e = Emitter(loops.module, "run", parameters, linkage="external")

    def body(i: Value) -> None:
        x = e.load("%x", FLOAT, e.mul(i, e.constant(INT64, stride)))
        more = e.convert(e.mul(i, e.constant(INT64, 3)), FLOAT)
        e.store("%y", e.add(x, more), e.mul(i, e.constant(INT64, to)))

    assert vector_loop(e, 0, stop, body)
    e.ret()
    loops.module.add(e)
    return loops


@needs_masks
def test_vectors_are_written_and_their_ends() -> None:
    lanes = host().vector // 8

    def text(stop: Value | int, *strides: int) -> str:
        return loop(stop, *strides).module.text()

    assert f"load <{lanes} x double>" in text(4 * lanes)
    assert "masked" not in text(4 * lanes)
    assert all(f"@llvm.masked.{each}" in text(Value(INT64, "%n")) for each in ("load", "store"))
    assert "@llvm.masked.gather" in text(100, 9)
    assert "@llvm.masked.scatter" in text(100, 1, 9)
    assert "<2 x double>" in text(8 * lanes + 2)
    assert "<1 x double>" in text(8 * lanes + 1)


@needs_masks
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forbids a page")
@pytest.mark.parametrize("strides", [(1, 1), (7, 1), (1, 9)])
def test_nothing_beyond_the_end_is_touched(strides: tuple[int, int]) -> None:
    arrays, page = [], mmap.PAGESIZE
    for _ in range(2):
        memory = np.frombuffer(mmap.mmap(-1, 4 * page), np.uint8)
        behind = ctypes.c_void_p(memory.ctypes.data + 3 * page)
        assert ctypes.CDLL(None).mprotect(behind, page, 0) == 0
        arrays.append(memory[: 3 * page].view(float))
    library = loop(Value(INT64, "%n"), *strides).compiled(vectorise=False)
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64)
    run = kind(library.engine.get_function_address("run"))
    source, target = arrays
    source[:] = np.arange(source.size)
    for n in range(1, 40):
        target[:] = -1.0
        x, y = (a[a.size - (n - 1) * s - 1 :] for a, s in zip(arrays, strides, strict=True))
        run(x.ctypes.data, y.ctypes.data, n)
        assert np.array_equal(y[:: strides[1]], x[:: strides[0]] + 3.0 * np.arange(n))
        assert np.count_nonzero(target != -1.0) == n


def test_how_a_loop_of_known_length_ends() -> None:
    def made(extent: int) -> Any:
        return widened(lines(1), "%i", HOST, extent)

    assert [made(n).lanes for n in (2, 3, 5, 8, 100)] == [2, 4, 8, 8, 8]
    assert [made(n).copies for n in (8, 16, 40, 1000)] == [1, 2, 4, 4]
    assert made(100).pieces  # 96 and 4
    assert made(47).pieces  # a short loop
    assert not made(1021).pieces  # a mask is better than four more pieces


@needs_masks
def test_llvm_does_not_see_the_counter_of_a_loop_of_several_turns() -> None:
    lanes = host().vector // 8
    # That of whole turns, and that of what is left.
    assert loop(Value(INT64, "%n"), 1).module.text().count('asm ""') == 2
    assert loop(64 * lanes, 1).module.text().count('asm ""') == 1
    assert 'asm ""' not in loop(lanes, 1).module.text()


@needs_masks
def test_chunks_of_one_loop_are_whole_vectors() -> None:
    def text(length: int) -> str:
        graph = clew.trace(lambda x: np.exp(np.sin(x)) * np.cos(x))(array("float64", length))
        return Program(graph).module.text()

    assert "masked" not in text(10_000)  # 16 times 640, but for the last
    assert "masked" in text(9_999)
    for length in (9_999, 10_000, 16_384 + 1, 30_000):
        agree(lambda x: (np.exp(np.sin(x)) * np.cos(x), np.sum(x * x)), array("float64", length))


@needs_masks
def test_loops_alike_are_written_once() -> None:
    wide._known.clear()
    f = clew.jit(lambda x, y: (np.sum(x * x), np.sum(y * y)))
    f(array("float64", 500), array("float64", 500))
    assert 1 <= len(wide._known) <= 2


# --- elements and sums at every length ----------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arithmetic_and_functions(dtype: str, length: int) -> None:
    def f(x, y):
        z = np.where(x > y, np.exp(-x * x) + y, np.tanh(y) / (1 + x * x))
        return z, np.sum(z), np.max(z), np.min(x), np.prod(1 + 0.01 * y)

    agree(f, array(dtype, length), array(dtype, length, seed=1), bound=EXACT[dtype])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_whole_numbers_and_truth(dtype: str, length: int) -> None:
    def f(x, y):
        return x | y, x & y, np.sum(x), np.any(x), np.all(y), np.max(x), x == y

    agree(f, array(dtype, length), array(dtype, length, seed=1), bound=0.0)


@pytest.mark.parametrize("length", LENGTHS)
def test_division_of_whole_numbers(length: int) -> None:
    x, y = array("int64", length), array("int64", length, seed=1)
    y[y == 0] = 7
    agree(lambda x, y: (x // y, x % y, abs(x), np.sign(x)), x, y, bound=0.0)


@pytest.mark.parametrize("length", [5, 16, 41, 300])
def test_mixed_types(length: int) -> None:
    x, n, z = array("float32", length), array("int64", length), array("float64", length)
    agree(lambda x, n: (x * n, n + x.astype(np.int64)), x, n, bound=0.0)
    agree(lambda x, z: (x + z, np.sum(x * z)), x, z)
    agree(lambda z: z * np.arange(length) + np.arange(length)[::-1], z)


@pytest.mark.parametrize("shape", [(7, 45), (45, 7), (3, 5, 33), (130, 64), (1, 300), (300, 1)])
def test_sums_over_axes(shape: tuple[int, ...]) -> None:
    x = array("float64", *shape)
    for axis in range(len(shape)):
        agree(lambda x, axis=axis: (np.sum(x, axis=axis), np.max(x, axis=axis)), x)
        agree(lambda x, axis=axis: x - np.mean(x, axis=axis, keepdims=True), x)


def test_special_values() -> None:
    x = array("float64", 333)
    for place, value in ((3, np.nan), (100, np.inf), (200, -np.inf), (331, -0.0)):
        y = x.copy()
        y[place] = value
        agree(lambda y: (np.max(y), np.min(y), np.where(y > 0, y, -y)), y)
    for dtype in (np.float32, np.float64):
        for value in (-np.inf, np.inf):
            agree(lambda y: (np.max(y), np.min(y)), np.full(50, value, dtype))


def test_rare_cases_in_some_lanes() -> None:
    x = array("float64", 203)
    x[[0, 9, 77, 202]] = 1e12, -3e18, 2e300, 1e9
    agree(lambda x: (np.sin(x), np.cos(x) + 1.0, np.sum(np.sin(x) ** 2)), x)
    y = np.where(np.abs(x) < 1e30, x, 1e30).astype(np.float32)
    agree(lambda y: np.sin(y), y, bound=1e-6)


def test_reads_in_other_orders() -> None:
    x = array("float64", 61, 83)
    places = np.random.default_rng(2).integers(0, 61, 200)
    for f in (
        lambda x: x.T * 2.0,
        lambda x: np.sum(x.T * np.arange(61), axis=1),
        lambda x: x[::-1] + x[:, ::-1],
        lambda x: x[::3] * 2.0,
        lambda x: x[:, ::7] + 1.0,
        lambda x: np.exp(x[:, ::2]),
        lambda x: x[places] * 2.0,
        lambda x: np.sum(x[places, 5]),
        lambda x: np.concatenate([x[:, 40:], x[:, :40]], axis=1) - x,
    ):
        agree(f, x)


def test_writes_in_place() -> None:
    def f(x):
        x = x.copy()
        x[2:50] = np.tanh(x[1:49])
        x[:, 3::9] = 2.0 * x[:, 2::9][:, : x[:, 3::9].shape[1]]
        x *= 1.5
        return x

    agree(f, array("float64", 61, 83))


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (4, 0, 3)])
def test_nothing(shape: tuple[int, ...]) -> None:
    agree(lambda x: (np.exp(x) * 2.0, np.sum(x), np.any(x, axis=-1)), np.zeros(shape))


def test_complex_numbers_are_left_to_llvm() -> None:
    z = array("float64", 77) + 1j * array("float64", 77, seed=1)
    agree(lambda z: (z * z + 1.0, np.abs(z)), z)


def test_indices_outside_are_found() -> None:
    f = clew.jit(lambda x, n: x[n] * 2.0)
    x = array("float64", 50)
    for place in (0, 9, 98):
        n = np.arange(99) % 50
        n[place] = 50
        with pytest.raises(IndexError, match="length is 50"):
            f(x, n)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_signs_and_odd_values_to_the_bit(dtype: str, length: int) -> None:
    rng = np.random.default_rng(length)
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, -2.5, 1e-40, -1e30], dtype)
    x, y = (
        np.where(rng.random(length) < 0.4, rng.choice(odd, length), odd.dtype.type(1.5))
        for _ in range(2)
    )

    def f(x, y):
        z = np.where(x > y, x, -y), np.abs(x), np.copysign(x, y), np.sqrt(np.abs(y)), np.rint(x)
        return *z, np.floor(x), np.trunc(x), 0.0 * x, x <= y, x != y, np.isnan(x), np.isinf(y)

    with np.errstate(invalid="ignore"):
        expected = f(x, y)
    for found, wanted in zip(clew.jit(f)(x, y), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted, equal_nan=True)
        number = ~np.isnan(wanted)
        assert np.array_equal(np.signbit(1.0 * found)[number], np.signbit(1.0 * wanted)[number])


@pytest.mark.parametrize("length", [1, 3, 8, 15, 17, 65, 1000])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_whole_numbers_of_every_size(dtype: str, length: int) -> None:
    rng, limits = np.random.default_rng(length), np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, length, dtype=dtype, endpoint=True)
    y = rng.integers(0, 6, length).astype(dtype)  # zeros among them

    def f(x, y):
        divided = x // np.where(y == 0, np.ones_like(y), y), np.where(y != 0, x % (y + (y == 0)), y)
        ends = np.max(x | limits.min), np.min(x & limits.max), np.max(x), np.min(x)
        return *divided, *ends, x // 3, x * y, x ^ y, x >> 1, x * 1.0

    agree(f, x, y, bound=0.0)
    agree(lambda x: (np.sum(x), np.prod(x | 1)), x, bound=0.0)


@pytest.mark.parametrize("length", [1, 7, 16, 33, 100, 1023])
def test_numbers_at_places_that_are_computed(length: int) -> None:
    x, n = array("float32", length), np.random.default_rng(1).integers(-length, length, length)
    agree(lambda x, n: (x[n] + 1.0, np.max(x[n]), x[(n * 7 + 3) % length]), x, n, bound=0.0)
    agree(lambda x, n: np.sum(x.astype(float)[n] * n), x, n)


@pytest.mark.parametrize(
    "shape", [(300_007,), (1000, 333), (70_001, 5), (5, 70_001), (40, 3, 5000)]
)
def test_chunks_of_large_arrays(shape: tuple[int, ...]) -> None:
    x = array("float64", *shape)
    agree(lambda x: (np.tanh(x) * 2.0, x[::-1] - 1.0, x[..., ::7] + 1.0), x)
    for axis in (None, *range(len(shape))):
        agree(lambda x, axis=axis: (np.sum(x * x, axis=axis), np.max(x, axis=axis)), x)
        agree(lambda x, axis=axis: (np.any(x > 4.0, axis=axis), np.all(x < 4.0, axis=axis)), x)


# --- anything together --------------------------------------------------------------------------


def made(rng: np.random.Generator, given: Any, depth: int) -> Any:
    """Return a random expression of arrays of one shape, of the same shape."""
    if depth == 0:
        return given[rng.integers(len(given))]
    a, b = made(rng, given, depth - 1), made(rng, given, int(rng.integers(depth)))
    axis, number = int(rng.integers(a.ndim)), rng.integers(13)
    if number < 4:
        return (np.add, np.multiply, np.maximum, lambda a, b: np.where(a > b, a, b))[number](a, b)
    if number == 4:
        return np.flip(a, axis)
    if number == 5:
        return a[rng.integers(0, a.shape[0], a.shape[0])]
    if a.dtype.kind == "f":
        functions = [np.tanh, np.sin, lambda y: np.exp(-y * y), lambda y: np.sqrt(1.0 + y * y)]
        if number < 10:
            return functions[number - 6](a)
        if number == 10:
            return a - np.mean(a, axis=axis, keepdims=True)
        if number == 11:
            return a / (1.0 + np.max(np.abs(a), axis=axis, keepdims=True))
        return a + np.sum(a * a) / a.size
    if number < 9:
        return (np.equal, np.bitwise_or, lambda a, _: a.astype(np.int16))[number - 6](a, b)
    reduce = (np.max, np.sum, np.any, np.all)[number - 9]
    return np.where(a > 3, a, reduce(a, axis=axis, keepdims=True))


def test_random_expressions_of_whole_numbers() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        shape = tuple(int(n) for n in rng.choice(LENGTHS[:15], rng.integers(1, 3)))
        kinds = rng.choice(["bool", "int8", "int16", "int32", "int64"], 2)
        number = int(rng.integers(1 << 30))

        def f(*given: Any, number: int = number) -> Any:
            return made(np.random.default_rng(number), given, 4)

        agree(f, *(array(str(kind), *shape, seed=seed) for kind in kinds), bound=0.0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_random_expressions_and_their_gradients(dtype: str) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = [(37,), (1000,), (13, 21), (64, 5), (6, 7, 18)][rng.integers(5)]
        x, number = array(dtype, *shape, seed=seed), int(rng.integers(1 << 30))

        def f(x: Any, number: int = number) -> Any:
            return made(np.random.default_rng(number), (x,), 4)

        bound = 1e-12 if dtype == "float64" else 1e-5
        agree(f, x, bound=bound)
        agree(clew.grad(lambda x, f=f: np.sum(f(x) ** 2)), x, bound=10 * bound)
