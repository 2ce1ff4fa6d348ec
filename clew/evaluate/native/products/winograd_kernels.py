"""Kernels of 3 x 3 into points, and sums over points into gradients of kernels."""

from __future__ import annotations

from collections.abc import Callable

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.products.winograd_maps import Numbers, filter_of, points_of, results_of
from clew.evaluate.native.products.winograd_plan import Way
from clew.evaluate.native.products.winograd_text import Pair
from clew.evaluate.native.products.writer import VectorEmitter, zero

Square = list[list[Value]]
_PARAMETERS, _ATTRIBUTES = "c a b scratch chunk", "nounwind noinline"


def _loaded(w: VectorEmitter, a: str, sizes: Pair, strides: Pair) -> Square:
    return [
        [w.e.load(w.at(a, i * strides[0] + j * strides[1]), w.dtype) for j in range(sizes[1])]
        for i in range(sizes[0])
    ]


def _mapped(w: VectorEmitter, tile: Pair, square: Square, back: bool) -> Square:
    """Map the columns of a square, then its rows."""
    move: Callable[..., list[Value]] = results_of if back else points_of
    down, across = (filter_of(size).kernel for size in tile)
    if back:
        down, across = down.T, across.T
    columns = [move(Numbers(w), down, column) for column in zip(*square, strict=True)]
    return [move(Numbers(w), across, row) for row in zip(*columns, strict=True)]


def kernels_to_points(module: Module, way: Way, chunks: int) -> str:
    """Add ``(c = points, b = kernels)``: a matrix (channels in, channels out) for each point."""
    one = way.one
    w = VectorEmitter(module, "kernels", way.kind.dtype, _PARAMETERS, _ATTRIBUTES)
    with w.loop(*w.share(one.taken, Value(INT64, "%chunk"), chunks)) as c:
        source, to = w.at("%b", c, one.kernel[1]), w.at("%c", c, one.made)
        with w.loop(0, one.made, plain=True) as o:
            down, across = one.kernel[2:]
            square = _loaded(w, w.at(source, o, one.kernel[0]), (3, 3), (down, across))
            points = [value for row in _mapped(w, way.tile, square, back=False) for value in row]
            for i, value in enumerate(points):
                w.e.store(w.at(w.at(to, o), i * one.made * one.taken), value)
    return w.finish()


def points_to_kernels(module: Module, way: Way, chunks: int) -> str:
    """Add ``(c = gradient, b = sums)``, which adds up the ``parts`` sums in their order.

    The sums lie as pieces of channels out, of channels in, parts, points, channels in and out.
    A worker needs memory for a row of each point.
    """
    one, made = way.one, way.made
    high, wide = (size + 2 for size in way.tile)
    w = VectorEmitter(module, "gradient", way.kind.dtype, _PARAMETERS, _ATTRIBUTES)
    with w.loop(*w.share(one.batch, Value(INT64, "%chunk"), chunks)) as c:
        inner, row = w.divided(c, way.taken)
        with w.loop(0, one.made // made) as outer:
            piece = w.plus(w.times(outer, one.batch // way.taken), inner)
            apart = way.taken * made
            first = w.at(w.at("%b", piece, way.points * way.parts * apart), row, made)
            zero(w, "%scratch", way.points * made)
            with w.loop(0, way.points * way.parts) as number:
                _, point = w.divided(number, way.points)
                total, more = w.at("%scratch", point, made), w.at(first, number, apart)
                with w.loop(0, made, plain=True) as o:
                    both = [w.e.load(w.at(each, o), w.dtype) for each in (total, more)]
                    w.e.store(w.at(total, o), w.e.add(*both))
            to = w.at(w.at("%c", c, one.result[0]), outer, made * one.result[1])
            with w.loop(0, made, plain=True) as o:
                square = _loaded(w, w.at("%scratch", o), (high, wide), (wide * made, made))
                for i, line in enumerate(_mapped(w, way.tile, square, back=True)):
                    for j, value in enumerate(line):
                        place = i * one.result[2] + j * one.result[3]
                        w.e.store(w.at(w.at(to, o, one.result[1]), place), value)
    return w.finish()
