"""Loops written with vectors give what the reference evaluator gives, at every length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clew
from clew.evaluate.native import wide
from clew.evaluate.native.host import Host
from clew.evaluate.native.wide import widened

HOST = Host(64, 32, True)
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


def test_how_a_loop_of_known_length_ends() -> None:
    def made(extent: int) -> Any:
        return widened(lines(1), "%i", HOST, extent)

    assert [made(n).lanes for n in (2, 3, 5, 8, 100)] == [2, 4, 8, 8, 8]
    assert [made(n).copies for n in (8, 16, 40, 1000)] == [1, 2, 4, 4]
    assert made(100).pieces  # 96 and 4
    assert made(47).pieces  # a short loop
    assert not made(1021).pieces  # a mask is better than four more pieces


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
    agree(lambda y: (np.max(y), np.min(y)), np.full(50, -np.inf))


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


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0)])
def test_nothing(shape: tuple[int, ...]) -> None:
    agree(lambda x: (np.exp(x) * 2.0, np.sum(x)), np.zeros(shape))


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


# --- anything together --------------------------------------------------------------------------


def made(rng: np.random.Generator, x: Any, depth: int) -> Any:
    """Return a random expression of an array, of the same shape."""
    if depth == 0:
        return x
    a = made(rng, x, depth - 1)
    number = rng.integers(12)
    if number < 4:
        b = made(rng, x, int(rng.integers(depth)))
        return [a + b, a * b, np.maximum(a, b), np.where(a > b, a, 0.5 * b)][number]
    if number < 8:
        functions = [np.tanh, np.sin, lambda y: np.exp(-y * y), lambda y: np.sqrt(1.0 + y * y)]
        return functions[number - 4](a)
    axis = int(rng.integers(a.ndim))
    if number == 8:
        return a - np.mean(a, axis=axis, keepdims=True)
    if number == 9:
        return a / (1.0 + np.max(np.abs(a), axis=axis, keepdims=True))
    return np.flip(a, axis) * 0.5 if number == 10 else a + np.sum(a * a) / a.size


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_random_expressions_and_their_gradients(dtype: str) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = [(37,), (1000,), (13, 21), (64, 5), (6, 7, 18)][rng.integers(5)]
        x, number = array(dtype, *shape, seed=seed), int(rng.integers(1 << 30))

        def f(x: Any, number: int = number) -> Any:
            return made(np.random.default_rng(number), x, 4)

        bound = 1e-12 if dtype == "float64" else 1e-5
        agree(f, x, bound=bound)
        agree(clew.grad(lambda x, f=f: np.sum(f(x) ** 2)), x, bound=10 * bound)
