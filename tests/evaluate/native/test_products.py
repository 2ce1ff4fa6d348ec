"""Emitted matrix products against NumPy's, for hosts of several vector widths."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import Host, cache_sizes, host, vectors_of
from clew.evaluate.native.products import Emitted, Product, emit_product
from clew.evaluate.native.products.contraction import even
from clew.evaluate.native.products.plan import make_plan
from tests.evaluate.native.compiling import linked

WIDE = Host(64, 32, True, level1=48 << 10, level2=2 << 20, assembly=host().assembly)
NARROW = Host(32, 16, True)
PLAIN = Host()
SMALL_CACHES = Host(32, 16, True, level1=2 << 10, level2=16 << 10)
HOSTS = {"wide": WIDE, "narrow": NARROW, "plain": PLAIN, "small caches": SMALL_CACHES}
GUARD = 64


class Compiled:
    """An emitted function, ready to be called chunk by chunk."""

    def __init__(self, write: Callable[[Module], Emitted]) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = Module()
        self.emitted = write(module)
        words = "ptr %c, ptr %a, ptr %b, ptr %s, i64 %n"
        body = f"call void {self.emitted.symbol}({words})"
        module.add_text("run", f"define void @NAME({words}) {{\n  {body}\n  ret void\n}}")
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=2,
            jit=True,
        )
        needed = Module()
        needed.required = module.required
        linked(needed, [])
        parsed = llvm.parse_assembly(module.text())
        parsed.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(parsed, builder)
        self.engine = llvm.create_mcjit_compiler(parsed, machine)
        self.engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)
        self.call = kind(self.engine.get_function_address("run"))

    def __call__(self, c: Any, a: Any, b: Any, order: Any = None) -> None:
        """Run all chunks; nothing may be written behind the scratch memory."""
        size = self.emitted.scratch
        raw = np.full(size + GUARD + 64, 77, np.uint8)
        start = -raw.ctypes.data % 64
        for chunk in range(self.emitted.chunks) if order is None else order:
            pointers = (each.ctypes.data for each in (c, a, b))
            self.call(*pointers, raw.ctypes.data + start, int(chunk))
        assert (raw[start + size : start + size + GUARD] == 77).all()


def strided(rng: Any, dtype: Any, shape: tuple[int, ...], order: Any, broadcast: bool = False):
    """Return a random array whose axes lie in memory in the given order, and its strides."""
    sizes = [1 if broadcast and i == 0 else n for i, n in enumerate(shape)]
    array = rng.standard_normal([sizes[i] for i in order]).astype(dtype)
    array = array.transpose(np.argsort(order))
    strides = tuple(step // array.itemsize for step in array.strides)
    if broadcast:
        return np.broadcast_to(array, shape), (0, *strides[1:])
    return array, strides


def check(
    seed: int,
    on: Host,
    dtype: Any,
    sizes: tuple[int, int, int, int],
    orders: tuple[Any, Any, Any] = ((0, 1, 2),) * 3,
    broadcast: tuple[bool, bool] = (False, False),
    accumulate: bool = False,
) -> Emitted:
    rng = np.random.default_rng(seed)
    batch, rows, inner, columns = sizes
    a, left = strided(rng, dtype, (batch, rows, inner), orders[0], broadcast[0])
    b, right = strided(rng, dtype, (batch, inner, columns), orders[1], broadcast[1])
    c, result = strided(rng, dtype, (batch, rows, columns), orders[2])
    product = Product(np.dtype(dtype), *sizes, left, right, result, accumulate)
    compiled = Compiled(lambda module: emit_product(module, product, on))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    if accumulate:
        exact, scale = exact + c, scale + np.abs(c)
    else:
        c[...] = np.nan
    compiled(c, a, b, rng.permutation(compiled.emitted.chunks))
    error = np.max(np.abs(c - exact) / np.where(scale, scale, 1), initial=0.0)
    assert error <= 8 * np.finfo(dtype).eps
    return compiled.emitted


SIZES = (0, 1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 64, 70)
ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_shapes_and_strides(name, dtype):
    rng = np.random.default_rng(len(name) + np.dtype(dtype).itemsize)
    for seed in range(12):
        batch, rows, inner, columns = rng.choice([1, 1, 2, 5]), *rng.choice(SIZES, 3)
        orders = tuple(
            ORDERS[rng.integers(6)] if rng.random() < 0.6 else (0, 1, 2) for _ in range(3)
        )
        broadcast = (rng.random() < 0.2, rng.random() < 0.2)
        sizes = (int(batch), int(rows), int(inner), int(columns))
        check(seed, HOSTS[name], dtype, sizes, orders, broadcast, bool(rng.random() < 0.3))


@pytest.mark.parametrize(
    ("sizes", "orders"),
    [
        ((1, 130, 700, 90), ((0, 1, 2), (0, 1, 2), (0, 1, 2))),
        ((1, 256, 256, 256), ((0, 1, 2), (0, 2, 1), (0, 1, 2))),
        ((1, 128, 512, 128), ((0, 2, 1), (0, 1, 2), (0, 1, 2))),
        ((3, 64, 300, 200), ((0, 2, 1), (0, 2, 1), (0, 2, 1))),
        ((2, 40, 2000, 30), ((1, 2, 0), (2, 1, 0), (1, 2, 0))),
    ],
)
@pytest.mark.parametrize("name", ["wide", "small caches"])
@pytest.mark.parametrize("accumulate", [False, True])
def test_blocks_and_copies(name, sizes, orders, accumulate):
    check(0, HOSTS[name], np.float32, sizes, orders, accumulate=accumulate)


def test_tiles_that_overlap_fill_every_row():
    symbols = set()
    for rows in (127, 128, 129, 400):
        for columns, orders in ((32, ((0, 1, 2),) * 3), (64, ((0, 1, 2), (0, 2, 1), (0, 1, 2)))):
            check(rows, WIDE, np.float32, (2, rows, 48, columns), orders)
        module = Module()
        strides = ((0, 48, 1), (0, 32, 1), (0, 32, 1))
        emit_product(module, Product(np.dtype("f4"), 1, rows, 48, 32, *strides), WIDE)
        symbols.add(module.text().count("define internal void @outer"))
    assert symbols == {1}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("turned", [False, True])
def test_vectors(name, turned):
    order = (0, 2, 1) if turned else (0, 1, 2)
    for sizes in [(1, 100, 70, 1), (1, 1, 70, 100), (1, 1, 333, 1), (1, 40, 1, 50), (4, 1, 9, 1)]:
        check(1, HOSTS[name], np.float64, sizes, (order, order, (0, 1, 2)))


def test_no_terms_make_zeros():
    c = np.full((3, 4), np.nan)
    product = Product(c.dtype, 1, 3, 0, 4, (0, 0, 1), (0, 4, 1), (0, 4, 1))
    Compiled(lambda module: emit_product(module, product, host()))(c, c, c)
    assert (c == 0).all()


def test_no_terms_add_nothing():
    c = np.ones((3, 4))
    product = Product(c.dtype, 1, 3, 0, 4, (0, 0, 1), (0, 4, 1), (0, 4, 1), accumulate=True)
    Compiled(lambda module: emit_product(module, product, host()))(c, c, c)
    assert (c == 1).all()


def test_not_a_number_goes_only_where_it_belongs():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((37, 29)), rng.standard_normal((29, 19)), np.empty((37, 19))
    a[5] = np.nan
    b[:, 18] = np.inf
    product = Product(a.dtype, 1, 37, 29, 19, (0, 29, 1), (0, 19, 1), (0, 19, 1))
    Compiled(lambda module: emit_product(module, product, WIDE))(c, a, b)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(c), np.isfinite(a @ b))


def test_results_do_not_depend_on_the_order_of_chunks():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((200, 200)).astype(np.float32) for _ in range(2))
    product = Product(a.dtype, 1, 200, 200, 200, *((0, 200, 1),) * 3)
    compiled = Compiled(lambda module: emit_product(module, product, host()))
    assert compiled.emitted.chunks > 1
    results = []
    for order in (range(compiled.emitted.chunks), reversed(range(compiled.emitted.chunks))):
        results.append(np.empty_like(a))
        compiled(results[-1], a, b, order)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("cores", [2, 8])
def test_a_larger_product_has_several_chunks_and_a_small_one_has_one(cores):
    def chunks(n: int) -> int:
        product = Product(np.dtype("f4"), 1, n, n, n, *((0, n, 1),) * 3)
        return emit_product(Module(), product, replace(WIDE, cores=cores)).chunks

    assert chunks(16) == 1
    assert chunks(64) >= 2
    assert chunks(1024) >= cores


def test_equal_kernels_are_written_once():
    module = Module()
    product = Product(np.dtype("f4"), 1, 32, 32, 32, *((0, 32, 1),) * 3)
    first, second = (emit_product(module, product, WIDE) for _ in range(2))
    assert first == second


def test_plans_fit_the_registers():
    for on in HOSTS.values():
        for n in (8, 64, 300):
            product = Product(np.dtype("f4"), 1, n, n, n, *((0, n, 1),) * 3)
            plan = make_plan(product.contraction(), on)
            vectors = plan.tile_columns // plan.lanes
            assert plan.tile_rows * vectors + vectors < on.registers


def test_even_parts_make_up_the_whole():
    for total in range(1, 60):
        for most in range(1, 20):
            (long, many), (short, others) = even(total, most)
            assert long * many + short * others == total
            assert max(long if many else 0, short if others else 0) <= most


# --- the host ----------------------------------------------------------------------------


def test_this_host_is_known():
    here = host()
    assert here.lanes(4) >= 1
    assert 16 << 10 <= here.level1 <= here.level2


@pytest.mark.parametrize(
    ("features", "vector", "registers"),
    [
        ({"avx512f": True, "avx": True}, 64, 32),
        ({"avx512f": False, "avx": True, "fma": True}, 32, 16),
        ({"neon": True}, 16, 32),
        ({"sse2": True}, 16, 16),
        ({"something": True}, 0, 16),
    ],
)
def test_vectors_follow_from_features(features, vector, registers):
    assert vectors_of(features)[:2] == (vector, registers)


def test_cache_sizes_are_read(tmp_path):
    for i, (level, kind, size) in enumerate([(1, "Data", "48K"), (1, "Instruction", "32K")]):
        entry = tmp_path / f"index{i}"
        entry.mkdir()
        (entry / "level").write_text(f"{level}\n")
        (entry / "type").write_text(f"{kind}\n")
        (entry / "size").write_text(f"{size}\n")
    assert cache_sizes(tmp_path)[1] == 48 << 10


def test_unreadable_caches_are_left_out(tmp_path):
    entry = tmp_path / "index0"
    entry.mkdir()
    (entry / "level").write_text("one")
    assert all(size > 0 for size in cache_sizes(tmp_path).values())
