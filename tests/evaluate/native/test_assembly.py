"""The microkernel in assembly: every size of tile, ends of rows and columns, sums in blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clew
from clew.evaluate.native.host import Host, host
from clew.evaluate.native.products.assembly import plain
from clew.evaluate.native.products.kernels import ADD, ASK, KEEP, Step, Tile

WIDE = Host(64, 32, True)
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
        replace(TILE, rows=8),
        replace(TILE, lanes=8),
        replace(TILE, fused=False),
    ):
        assert not plain(other, WIDE)
    assert not plain(TILE, Host(32, 16, True))


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


def test_small_sizes() -> None:
    rng = np.random.default_rng(0)
    for m, k, n in rng.integers(1, 21, size=(40, 3)):
        check(int(m), int(k), int(n), np.float64)


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
