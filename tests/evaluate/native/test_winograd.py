"""Filtered convolutions against sums in double precision, emitted alone and through ``jit``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clew.evaluate.native.host import Host
from clew.evaluate.native.products import emit_convolution, library, winograd_plan
from clew.evaluate.native.products.convolution import Convolution
from clew.evaluate.native.products.winograd import emit_first, emit_last
from clew.evaluate.native.products.winograd_maps import filter_of
from clew.evaluate.native.products.winograd_plan import Way, filtered
from clew.nn import convolution
from tests.evaluate.native.holding import hold, threads_as_before
from tests.evaluate.native.test_convolutions import elements, laid, reference
from tests.evaluate.native.test_products import GUARD, HOSTS, NARROW, WIDE, Compiled

__all__ = ["threads_as_before"]

FIRST, LAST, MIXED = (0, 1, 2, 3), (0, 2, 3, 1), (2, 1, 3, 0)
ERROR = {"f4": 2e-6, "f8": 4e-15}
"""Of the norm; in single precision it is 2e-7 to 1e-6."""


def made(
    sizes: tuple[int, int, int],
    space: tuple[int, int],
    padding: Any = ((1, 1), (1, 1)),
    gradient: bool = False,
    dtype: Any = np.float32,
    order: tuple[int, ...] = FIRST,
    mean: float = 0.0,
) -> tuple[Convolution, Any, Any, Any]:
    """A convolution of 3 x 3 kernels, or their gradient, with operands and room for the result.

    ``sizes`` are batch, channels in and channels out.
    """
    rng = np.random.default_rng(sum(sizes) + sum(space))
    batch, taken, out = sizes
    places = tuple(n + sum(sides) - 2 for n, sides in zip(space, padding, strict=True))
    x = laid(rng, dtype, (batch, taken, *space), order) + dtype(mean)
    y = laid(rng, dtype, (batch, out, *places), order)
    w = laid(rng, dtype, (out, taken, 3, 3), order)
    a, b, c = (x.swapaxes(0, 1), y.swapaxes(0, 1), w.swapaxes(0, 1)) if gradient else (x, w, y)
    one = Convolution(
        dtype=np.dtype(dtype),
        batch=a.shape[0],
        groups=1,
        taken=a.shape[1],
        made=b.shape[0],
        space=a.shape[2:],
        lengths=b.shape[2:],
        places=c.shape[2:],
        stride=(1, 1),
        dilation=(1, 1),
        spread=(1, 1),
        before=tuple(before for before, _ in padding),
        signal=elements(a),
        kernel=elements(b),
        result=elements(c),
    )
    return one, a, b, np.full_like(c, np.nan)


def run(way: Way, on: Host, a: Any, b: Any, c: Any) -> None:
    """Compute c, chunks in any order; nothing may be written behind the memory between."""
    rng = np.random.default_rng(0)

    first = Compiled(lambda module: emit_first(module, way, on))
    last = Compiled(lambda module: emit_last(module, way, on))
    size = last.emitted.between
    between = np.full(size + GUARD, 77, np.uint8)
    first(between, a, b, rng.permutation(first.emitted.chunks))
    last(c, a, between, rng.permutation(last.emitted.chunks))
    assert (between[size:] == 77).all()


def exact(one: Convolution, a: Any, b: Any, padding: Any) -> Any:
    """The result in double precision, and the same of absolute values."""
    return tuple(reference(f(a), f(b), one, padding) for f in (np.positive, np.abs))


def check(on: Host, padding: Any = ((1, 1), (1, 1)), **given: Any) -> None:
    """Hold a filtered convolution to the exact result."""
    one, a, b, c = made(padding=padding, **given)
    way = filtered(one, on)
    assert way is not None
    run(way, on, a, b, c)
    expected, _ = exact(one, a, b, padding)
    error = np.linalg.norm(c - expected)
    assert error <= ERROR[one.dtype.str[1:]] * np.linalg.norm(expected)


@pytest.mark.parametrize("results", [2, 4])
def test_matrices_give_a_sum_of_three_terms_and_its_transposes(results):
    rng = np.random.default_rng(0)
    f, d = filter_of(results), rng.standard_normal(results + 2)
    g, t = rng.standard_normal(3), rng.standard_normal(results)
    summed = [d[i : i + 3] @ g for i in range(results)]
    assert f.result @ ((f.kernel @ g) * (f.signal @ d)) == pytest.approx(summed, rel=1e-12)
    slope = [d[k : k + results] @ t for k in range(3)]
    assert f.kernel.T @ ((f.result.T @ t) * (f.signal @ d)) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("tile", [(2, 2), (2, 4), (4, 2)])
@pytest.mark.parametrize("name", HOSTS)
def test_random_sizes(name, tile, gradient, monkeypatch):
    monkeypatch.setattr(winograd_plan, "_SHAPES", (tile,))
    rng = np.random.default_rng(len(name) + sum(tile) + gradient)
    padding = tuple((int(a), int(b)) for a, b in rng.integers(-1, 3, (2, 2)))
    check(
        HOSTS[name],
        sizes=(int(rng.integers(1, 7)), int(rng.integers(1, 71)), int(rng.integers(1, 71))),
        space=tuple(int(n) for n in rng.integers(5, 20, 2)),
        padding=padding,
        gradient=gradient,
        dtype=(np.float32, np.float64)[rng.integers(2)],
        order=(FIRST, LAST, MIXED)[rng.integers(3)],
    )


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(
    ("sizes", "space", "padding"),
    [
        ((1, 1, 1), (3, 3), ((0, 0), (0, 0))),
        ((2, 5, 3), (1, 1), ((1, 1), (1, 1))),
        ((1, 3, 2), (1, 4), ((2, 2), (2, 0))),
        ((3, 2, 70), (2, 9), ((4, 0), (0, 5))),
        ((1, 2, 3), (7, 2), ((-2, 0), (4, -1))),
    ],
)
def test_edges(sizes, space, padding, gradient):
    check(WIDE, sizes=sizes, space=space, padding=padding, gradient=gradient)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("order", [FIRST, LAST])
def test_several_pieces_of_channels_and_blocks(order, gradient):
    """More channels and images than are taken together, blocks that end early."""
    given = {"sizes": (9, 96, 130), "space": (11, 21), "gradient": gradient, "order": order}
    way = filtered(made(**given)[0], NARROW)
    assert way is not None
    assert way.made < 130
    assert way.blocks.many > 1
    check(NARROW, **given)


@pytest.mark.parametrize(
    ("gradient", "cancels", "most"),
    [(False, False, 2), (True, False, 2), (False, True, 6), (True, True, 2)],
)
def test_digits_lost_to_an_offset(gradient, cancels, most):
    """Errors are bounded by those of a direct sum, also where the offset leaves the result."""
    padding = ((0, 0), (0, 0))
    one, a, b, c = made((4, 32, 32), (16, 16), padding, gradient=gradient, mean=1000.0)
    if cancels:
        b -= b.mean((2, 3), keepdims=True)
    way = filtered(one, WIDE)
    assert way is not None
    run(way, WIDE, a, b, c)
    expected, scale = exact(one, a, b, padding)
    other = np.full_like(c, np.nan)
    Compiled(lambda module: emit_convolution(module, one, WIDE))(other, a, b)
    mine, direct = (np.linalg.norm(each - expected) for each in (c, other))
    assert mine <= most * direct
    assert np.max(np.abs(c - expected) / scale) <= 1e-6


@pytest.mark.parametrize("gradient", [False, True])
def test_a_chunk_computes_the_elements_that_it_says(gradient):
    """Other kernels run in the same chunks and read them."""
    one, a, b, c = made((32, 16, 16), (16, 16), gradient=gradient)
    c = np.empty(c.shape, np.float32)
    way = filtered(replace(one, result=elements(c)), WIDE)
    assert way is not None
    first = Compiled(lambda module: emit_first(module, way, WIDE))
    last = Compiled(lambda module: emit_last(module, way, WIDE))
    between = np.empty(last.emitted.between, np.uint8)
    first(between, a, b)
    pieces = last.emitted.pieces
    assert pieces is not None
    assert len(pieces.starts) == last.emitted.chunks + 1 > 2
    for chunk in range(last.emitted.chunks):
        c[...] = np.nan
        last(c, a, between, [chunk])
        written = np.flatnonzero(~np.isnan(c.ravel()))
        assert written.tolist() == list(range(*pieces.starts[chunk : chunk + 2]))


def test_what_is_not_filtered():
    one = made((4, 32, 32), (16, 16))[0]
    assert filtered(one, WIDE) is not None
    for change in (
        {"stride": (1, 2)},
        {"dilation": (2, 1)},
        {"spread": (2, 2)},
        {"groups": 2},
        {"accumulate": True},
        {"batch": 0},
        {"lengths": (3, 1)},
        {"space": (4,), "lengths": (3,), "places": (4,), "stride": (1,)},
    ):
        assert filtered(replace(one, **change), WIDE) is None, change


def ratio(one: Convolution) -> float:
    """Cycles of the direct sum for each of the filtered one."""
    way = filtered(one, WIDE)
    assert way is not None
    return library.cheapest(one, WIDE).cost / way.cost


@pytest.mark.parametrize("gradient", [False, True])
def test_filtering_pays_with_channels_enough(gradient):
    assert ratio(made((32, 32, 32), (32, 32), gradient=gradient)[0]) > 1.5
    assert ratio(made((32, 3, 32), (32, 32), gradient=gradient)[0]) < 1
    assert ratio(made((32, 8, 8), (32, 32), gradient=gradient)[0]) < 1


@pytest.fixture
def always(monkeypatch) -> Iterator[list[Way]]:
    """Filter whatever can be; collect what was."""
    ways: list[Way] = []

    def emit(module: Any, way: Way, on: Host) -> Any:
        ways.append(way)
        return emit_last(module, way, on)

    monkeypatch.setattr(library, "_GAIN", np.inf)
    monkeypatch.setattr(library, "emit_last", emit)
    library._written.cache_clear()
    yield ways
    library._written.cache_clear()


def test_programs_and_their_gradients(always):
    """All three convolutions, on one thread and two, against the reference evaluator."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 20, 26, 30)), rng.standard_normal((18, 20, 3, 3))

    def of_signal(x: Any) -> Any:
        return (convolution(x, w, padding="same") ** 2).sum()

    def of_kernel(w: Any) -> Any:
        return (convolution(x, w, padding=((2, 0), (1, 2))) ** 2).sum()

    hold([of_signal, of_kernel], [x, w], level=1)
    assert {way.gradient for way in always} == {False, True}
    assert len(always) >= 4
    assert any(way.chunks > 1 for way in always)
