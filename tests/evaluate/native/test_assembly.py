"""The microkernel in assembly: every size of tile, ends of rows and columns, sums in blocks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest

import clew
from clew.evaluate.native.host import Host, host
from clew.evaluate.native.products.assembly import outer_assembly, plain
from clew.evaluate.native.products.kernels import ADD, ASK, KEEP, Step, Tile
from tests.evaluate.native.compiling import Library, Loops

WIDE = Host(64, 32, True, assembly=True)
TILE = Tile(np.dtype(np.float32), 16, 6, 64, 100, 1, 64, 1, (Step(100, 1, 64),), KEEP, True)
needs_vectors = pytest.mark.skipif(host().vector != 64, reason="needs AVX-512")


def check(m: int, k: int, n: int, dtype: type) -> None:
    rng = np.random.default_rng(m + 100 * k + 10_000 * n)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    found = clew.jit(lambda a, b: a @ b)(a, b)
    wanted = a.astype(float) @ b.astype(float)
    bound = np.abs(a.astype(float)) @ np.abs(b.astype(float))
    # Of k roundings, that of each result is bounded by k times the unit (Higham, 2002, 3.5).
    assert np.all(np.abs(found - wanted) <= (k + 2) * np.finfo(dtype).eps * bound)


def test_tiles_that_can_be_written() -> None:
    assert plain(TILE, WIDE)
    assert plain(replace(TILE, mode=ASK, columns=50), WIDE)
    assert plain(replace(TILE, dtype=np.dtype(np.float64), lanes=8, columns=32, mode=ADD), WIDE)
    for other in (
        replace(TILE, result_column=64),
        replace(TILE, steps=(Step(3, 1, 64), Step(3, 1, 64))),
        replace(TILE, rows=1),
        replace(TILE, rows=7),
        replace(TILE, rows=15, columns=32),
        replace(TILE, rows=7, columns=16),
        replace(TILE, dtype=np.dtype(np.float64)),
        replace(TILE, lanes=8),
        replace(TILE, fused=False),
    ):
        assert not plain(other, WIDE)
    for rows, columns in ((14, 32), (14, 17), (9, 48), (30, 16), (8, 1)):
        assert plain(replace(TILE, rows=rows, columns=columns), WIDE)
    assert not plain(TILE, Host(32, 16, True))
    assert not plain(TILE, Host(64, 16, True))
    assert not plain(TILE, Host(16, 32, True))


def compiled(tiles: list[Tile]) -> tuple[Library, list[Callable[..., None]]]:
    """Return what keeps the kernels of some tiles, and the kernels: ``(c, a, b, count, more)``."""
    llvm.initialize_native_asmparser()
    loops, symbols = Loops(), []
    for number, tile in enumerate(tiles):
        symbol = outer_assembly(loops.module, tile, "nounwind noinline")
        given = "ptr %c, ptr %a, ptr %b"
        given += ", i64 %n" if tile.steps[0].count is None else ""
        given += ", i64 %more" if tile.mode == ASK else ""
        head = "define void @NAME(ptr %c, ptr %a, ptr %b, i64 %n, i64 %more)"
        text = f"{head} {{\n  call void {symbol}({given})\n  ret void\n}}"
        symbols.append(loops.module.add_text(f"run{number}", text)[1:])
    library = loops.compiled()
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)
    return library, [kind(library.engine.get_function_address(symbol)) for symbol in symbols]


def random_tiles(rng: np.random.Generator, many: int) -> list[Tile]:
    found: list[Tile] = []
    while len(found) < many:
        dtype = np.dtype([np.float32, np.float64][rng.integers(2)])
        columns, mode = int(rng.integers(1, 90)), (KEEP, ADD, ASK)[rng.integers(3)]
        step = Step([None, 5][rng.integers(2)], 1, columns + 2)
        sizes = (64 // dtype.itemsize, int(rng.integers(1, 32)), columns)
        tile = Tile(dtype, *sizes, 7, 1, columns + 3, 1, (step,), mode, True)
        found += [tile] if plain(tile, WIDE) else []
    return found


@needs_vectors
def test_kernels_write_their_tile_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    tiles = random_tiles(rng, 150)
    kept, kernels = compiled(tiles)
    for tile, kernel in zip(tiles, kernels, strict=True):
        for count, more in ((5, 0), (5, 1)) if tile.steps[0].count else ((0, 1), (1, 0), (7, 1)):
            n = tile.columns
            a = rng.normal(size=(tile.rows, 7)).astype(tile.dtype)
            b = np.full((7, n + 2), np.nan, tile.dtype)
            b[:count, :n] = rng.normal(size=(count, n))
            c = rng.normal(size=(tile.rows, n + 3)).astype(tile.dtype)
            before = c.copy()
            kernel(c.ctypes.data, a.ctypes.data, b.ctypes.data, count, more)
            old = before[:, :n] * float(tile.mode == ADD or (tile.mode == ASK and more))
            left, right = a[:, :count].astype(float), b[:count, :n].astype(float)
            scale = np.abs(left) @ np.abs(right) + np.abs(old)
            bound = (count + 2) * np.finfo(tile.dtype).eps * scale
            assert np.all(np.abs(c[:, :n] - old - left @ right) <= bound), tile
            assert np.array_equal(c[:, n:], before[:, n:])
    assert kept.engine


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [6, 7, 11, 12, 13, 14, 15, 27, 28, 29, 41])
def test_rows(rows: int, dtype: type) -> None:
    check(rows, 70, 64, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [*range(7, 18), 31, 32, 33, 47, 48, 49, 63, 64, 65, 129])
def test_columns(columns: int, dtype: type) -> None:
    check(48, 70, columns, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inner", [1, 2, 63, 64, 255, 257, 1000, 3000])
def test_sums_in_blocks(inner: int, dtype: type) -> None:
    check(29, inner, 70, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_sizes(dtype: type) -> None:
    rng = np.random.default_rng(np.dtype(dtype).itemsize)
    for m, k, n in rng.integers(1, 21, size=(50, 3)):
        check(int(m), int(k), int(n), dtype)


def test_operands_in_any_order() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 190)), rng.normal(size=(210, 300))
    for f in (
        lambda a, b: b @ a,
        lambda a, b: a.T @ b.T,
        lambda a, b: b[::2, ::3] @ a[::3, ::5],
        lambda a, b: (a.T @ b.T).T[:, 3:90] * 2.0,
    ):
        wanted = f(a, b)
        found = clew.jit(f)(a, b)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * np.max(np.abs(wanted)))


@needs_vectors
def test_infinities_and_nan_stay_in_their_rows() -> None:
    a, b = np.ones((40, 50), np.float32), np.ones((50, 70), np.float32)
    a[3, 7], a[20, 0] = np.inf, np.nan
    found = clew.jit(lambda a, b: a @ b)(a, b)
    assert np.all(np.isposinf(found[3]))
    assert np.all(np.isnan(found[20]))
    assert np.all(np.delete(found, [3, 20], axis=0) == 50)


def test_places_too_far_for_an_instruction() -> None:
    for far in (
        replace(TILE, left_row=1 << 28),
        replace(TILE, result_row=1 << 28),
        replace(TILE, steps=(Step(100, 1 << 29, 64),)),
        replace(TILE, steps=(Step(100, 1, 1 << 29),)),
    ):
        assert not plain(far, Host(64, 32, True))
