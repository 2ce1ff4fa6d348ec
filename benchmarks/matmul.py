"""The product of two square f32 matrices, and the machine's peak that it is compared with."""

from __future__ import annotations

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

import clew
from benchmarks.measure import Aim, Side, Work
from benchmarks.peers import THREADS, compile_c, jax_side, load_torch


def example(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two matrices."""
    generator = np.random.default_rng(0)
    return tuple(generator.normal(size=(2, n, n)).astype(np.float32))


def product(a: Any, b: Any) -> Any:
    """Return ``a @ b``."""
    return a @ b


def ours(a: np.ndarray, b: np.ndarray) -> Side:
    """Return Clew's side."""
    function = clew.jit(product)
    return Side(lambda: function(a, b))


# --- peers -----------------------------------------------------------------------------------


def with_numpy(a: np.ndarray, b: np.ndarray) -> Side:
    """Return NumPy's."""
    return Side(lambda: a @ b)


def with_torch(a: np.ndarray, b: np.ndarray) -> Side:
    """Return PyTorch's."""
    torch = load_torch()
    left, right = torch.tensor(a), torch.tensor(b)
    return Side(lambda: left @ right)


def work(n: int = 256) -> Work:
    """Return the work for n-by-n matrices."""
    a, b = example(n)
    return Work(
        f"matmul{n}",
        f"matrix product, n={n}, f32",
        lambda: ours(a, b),
        {
            "NumPy": lambda: with_numpy(a, b),
            "PyTorch": lambda: with_torch(a, b),
            "JAX": lambda: jax_side(product, a, b),
        },
        (Aim(1.5, ("NumPy", "PyTorch")),),
        tolerance=1e-5,
        flops=2.0 * n**3,
    )


WORKS = {f"matmul{n}": partial(work, n) for n in (64, 256, 1024)}

# --- the peak --------------------------------------------------------------------------------

LEAST_SHARE = 0.8
"""Of the peak, from n = 256 on."""


def least_share(flops: float) -> float:
    """Return the share of the peak that a product of this many operations should reach."""
    return LEAST_SHARE if flops >= 2.0 * 256**3 else 0.0


FMA = """
#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
typedef float vector __attribute__((vector_size(4 * WIDTH)));
float fma_loop(long turns, float *result) {
    vector sums[12], a = {0}, b = {0};
    a += 0.999f; b += 1e-3f;
    for (int i = 0; i < 12; i++) sums[i] = b * (float)i;
    for (long turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) sums[i] = sums[i] * a + b;
    }
    for (int i = 1; i < 12; i++) sums[0] += sums[i];
    *result = sums[0][0];
    return 24.0f * WIDTH;
}
"""


def peak(repeats: int = 7) -> float:
    """Return f32 operations per second of two threads doing nothing but FMAs; needs gcc.

    Twelve independent chains of multiply-adds, the widest vectors; the best of some runs.
    """
    library = compile_c(FMA)
    library.fma_loop.restype = ctypes.c_float
    turns = 4_000_000

    def run(_: int) -> float:
        return library.fma_loop(ctypes.c_long(turns), ctypes.byref(ctypes.c_float()))

    best = 0.0
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            done = sum(pool.map(run, range(THREADS)))
            best = max(best, turns * done / (time.perf_counter() - start))
    return best
