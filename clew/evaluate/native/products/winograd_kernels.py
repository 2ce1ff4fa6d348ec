"""Kernels of 3 x 3 into points, and sums over points into gradients of kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clew.evaluate.native.emitter import INT64, Emitter, Module, Value
from clew.evaluate.native.products.writer import VectorEmitter, zero

Strides = tuple[int, int, int, int]
_PARAMETERS = "c a b scratch chunk"
_Map = Callable[[Emitter, Sequence[Value]], list[Value]]


def _points(e: Emitter, g: Sequence[Value]) -> list[Value]:
    """Return the four points of three numbers of a kernel."""
    half = e.like(g[0], 0.5)
    outer, middle = e.mul(e.add(g[0], g[2]), half), e.mul(g[1], half)
    return [g[0], e.add(outer, middle), e.sub(outer, middle), g[2]]


def _numbers(e: Emitter, p: Sequence[Value]) -> list[Value]:
    """Return three numbers of a kernel's gradient for the sums over its four points."""
    half = e.like(p[0], 0.5)
    total = e.mul(e.add(p[1], p[2]), half)
    return [e.add(p[0], total), e.mul(e.sub(p[1], p[2]), half), e.add(total, p[3])]


def _both_axes(e: Emitter, mapped: _Map, square: list[list[Value]]) -> list[list[Value]]:
    """Apply a map along columns and rows."""
    columns = [mapped(e, column) for column in zip(*square, strict=True)]
    return [mapped(e, row) for row in zip(*columns, strict=True)]


def _square(w: VectorEmitter, a: str, size: int, down: int, across: int) -> list[list[Value]]:
    return [
        [w.e.load(w.at(a, i * down + j * across), w.dtype) for j in range(size)]
        for i in range(size)
    ]


def kernels_to_points(
    module: Module, dtype: np.dtype, sizes: tuple[int, int], strides: Strides, chunks: int
) -> str:
    """Add ``(c = points, b = kernels)``: 16 matrices (channels in, channels out).

    ``sizes`` and ``strides`` are those of channels out and in, then of rows and columns.
    """
    made, taken = sizes
    w = VectorEmitter(module, "kernels", dtype, _PARAMETERS, "nounwind noinline")
    with w.loop(*w.share(taken, Value(INT64, "%chunk"), chunks)) as c:
        source, to = w.at("%b", c, strides[1]), w.at("%c", c, made)
        with w.loop(0, made, plain=True) as o:
            square = _square(w, w.at(source, o, strides[0]), 3, *strides[2:])
            for i, row in enumerate(_both_axes(w.e, _points, square)):
                for j, value in enumerate(row):
                    w.e.store(w.at(w.at(to, o), (4 * i + j) * made * taken), value)
    return w.finish()


def points_to_kernels(
    module: Module,
    dtype: np.dtype,
    sizes: tuple[int, int],
    pieces: tuple[int, int],
    strides: Strides,
    parts: int,
    chunks: int,
) -> str:
    """Add ``(c = gradient, b = sums)``, which adds up the ``parts`` sums in their order.

    The sums lie as pieces of channels out, of channels in, parts, points, channels in and out.
    A worker needs memory for ``16 made`` numbers.
    """
    made, taken = pieces
    apart = made * taken
    w = VectorEmitter(module, "gradient", dtype, _PARAMETERS, "nounwind noinline")
    with w.loop(*w.share(sizes[1], Value(INT64, "%chunk"), chunks)) as c:
        inner, row = w.divided(c, taken)
        with w.loop(0, sizes[0] // made) as outer:
            number = w.plus(w.times(outer, sizes[1] // taken), inner)
            first = w.at(w.at("%b", number, 16 * parts * apart), row, made)
            to = w.at(w.at("%c", c, strides[1]), outer, made * strides[0])
            zero(w, "%scratch", 16 * made)
            with w.loop(0, parts) as part, w.loop(0, 16) as point:
                total = w.at("%scratch", point, made)
                more = w.at(w.at(first, point, apart), part, 16 * apart)
                with w.loop(0, made, plain=True) as o:
                    both = [w.e.load(w.at(each, o), dtype) for each in (total, more)]
                    w.e.store(w.at(total, o), w.e.add(*both))
            with w.loop(0, made, plain=True) as o:
                square = _square(w, w.at("%scratch", o), 4, 4 * made, made)
                for i, line in enumerate(_both_axes(w.e, _numbers, square)):
                    for j, value in enumerate(line):
                        place = w.at(w.at(to, o, strides[0]), i * strides[2] + j * strides[3])
                        w.e.store(place, value)
    return w.finish()
