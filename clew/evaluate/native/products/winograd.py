"""Winograd's minimal filtering of 3 x 3 kernels: 2.25 or 3 times fewer multiplications.

Tiles of numbers that overlap by two become *points*, sums of the numbers; kernels become as many
points; the products of the points, summed over the channels, are one matrix product for each
point; and the results of a tile are sums of these. F(2 x 2, 3 x 3) and F(2 x 4, 3 x 3) of A. Lavin
and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016, section 4. The gradient
of the kernels is the transposed algorithm: points of the signal times points of the cotangent,
summed over all tiles.

Errors, as a share of the result's norm, are 2e-7 to 1e-6 in single precision, where those of a
direct sum are 2e-7 to 6e-7. Where a large offset cancels, under kernels that sum to zero, errors
are three to seven times those of a direct sum; in the kernels' gradient they are alike. An
infinity makes NaN of all results of its tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.convolution import examples, lines
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import balanced, chunks_for
from clew.evaluate.native.products.winograd_kernels import kernels_to_points, points_to_kernels
from clew.evaluate.native.products.winograd_plan import Way
from clew.evaluate.native.products.winograd_text import (
    Frame,
    Picture,
    Points,
    deliver,
    fill,
    from_points,
    to_points,
)
from clew.evaluate.native.products.writer import VectorEmitter, zero

_NUMBER = 16
"""Multiply-adds of a product that take as long as one number of a point or of a sum here."""


def emit_first(module: Module, way: Way, host: Host) -> Emitted:
    """Write what is done first: points of the kernels, or the sums for the kernels' gradient.

    What it writes stands for the second operand in :func:`emit_last`. The two are apart, so that
    convolutions whose kernels lie otherwise, as in a gradient, share what they can.
    """
    if way.gradient:
        return _emit_sums(module, way, host)
    chunks = balanced(way.one.taken, chunks_for(_NUMBER * _between(way)))
    return Emitted(kernels_to_points(module, way, chunks), chunks, 0)


def emit_last(module: Module, way: Way, host: Host) -> Emitted:
    """Write the function that gives the result; see :class:`Emitted`."""
    numbers, size = _between(way), way.kind.dtype.itemsize
    if way.gradient:
        chunks = balanced(way.one.batch, chunks_for(_NUMBER * numbers))
        symbol = points_to_kernels(module, way, chunks)
        row = way.points * way.made * size
        last = Emitted(symbol, chunks, row, examples(way.one, chunks))
    else:
        last = _emit_results(module, way, host)
    return replace(last, between=lines(numbers * size))


def _between(way: Way) -> int:
    """How many numbers the first function writes."""
    channels = way.one.batch if way.gradient else way.one.taken
    return way.points * way.parts * channels * way.one.made


@dataclass(frozen=True)
class _Band:
    """Where a block is: the numbers of its first image, and of its first row of results."""

    image: Value
    row: Value


class _Worker:
    """Writes a function of chunks, whose scratch memory is taken piece by piece."""

    def __init__(self, module: Module, name: str, way: Way) -> None:
        parameters = "c a b scratch chunk"
        self.w = VectorEmitter(module, name, way.kind.dtype, parameters, "nounwind noinline")
        self.way = way
        self.scratch = 0

    def take(self, size: int) -> str:
        """Return a pointer to so many bytes of scratch memory, on lines of their own."""
        pointer = self.w.e.assign(f"getelementptr i8, ptr %scratch, i64 {self.scratch}")
        self.scratch += lines(size)
        return pointer

    def place(self, laid: Frame | Points) -> str:
        """Return a pointer to scratch memory for a frame or points."""
        return self.take(laid.size * self.way.kind.dtype.itemsize)

    def call(self, symbol: str, *arguments: str | Value) -> None:
        """Call a function with pointers and words."""
        given = [f"i64 {x.name}" if isinstance(x, Value) else f"ptr {x}" for x in arguments]
        self.w.e.line(f"call void {symbol}({', '.join(given)})")

    @contextmanager
    def blocks(self, part: Value, parts: int) -> Iterator[_Band]:
        """Write the loop over the blocks of a part."""
        w, blocks = self.w, self.way.blocks
        with w.loop(*w.share(blocks.many, part, parts)) as block:
            group, band = w.divided(block, blocks.bands)
            image = w.times(group, blocks.images)
            yield _Band(image, w.times(band, self.way.tile[0] * blocks.rows))

    def tiles(self, start: str, points: Points, image: Value, row: Value | int = 0) -> str:
        """Return where the points of a row of tiles begin."""
        step = self.way.blocks.columns * points.pitch
        return self.w.at(self.w.at(start, image, self.way.blocks.rows * step), row, step)


def _emit_results(module: Module, way: Way, host: Host) -> Emitted:
    """Write ``(c = result, a = signal, b = points of the kernels)``."""
    one, blocks, kind = way.one, way.blocks, way.kind
    frame = Frame((blocks.rows, blocks.columns), way.tile, 2, way.signal.pitch)
    picture = Picture(one.taken, one.space, one.signal[1:], one.before)
    read = fill(module, kind, picture, frame)
    spread = to_points(module, kind, frame, way.signal)
    product = emit_plan(module, way.plan, host, "products")
    row = Frame((1, blocks.columns), way.tile, 0, way.other.pitch)
    gather = from_points(module, kind, row, way.other)
    result = Picture(way.made, one.places, one.result[1:], (0, 0))
    write = deliver(module, kind, result, way.other.pitch)

    worker = _Worker(module, "filtered", way)
    w = worker.w
    framed, signal, made, results = map(worker.place, (frame, way.signal, way.other, row))
    scratch = worker.take(product.scratch)

    def deliver_rows(c: str, first: Value) -> None:
        for k in range(row.rows):
            number = w.plus(first, k)
            with w.e.when(w.e.lt(number, w.word(one.places[0]))):
                source = w.at(results, k * row.columns * row.pitch)
                worker.call(write, w.at(c, number, one.result[2]), source)

    with worker.blocks(Value(INT64, "%chunk"), way.chunks) as band:
        with w.loop(0, blocks.images) as i:
            a = w.at("%a", w.plus(band.image, i), one.signal[0])
            worker.call(read, framed, a, band.row)
            worker.call(spread, worker.tiles(signal, way.signal, i), framed)
        with w.loop(0, one.made, way.made) as o:
            worker.call(product.symbol, made, signal, w.at("%b", o), scratch, w.word(0))
            with w.loop(0, blocks.images) as i, w.loop(0, blocks.rows) as r:
                worker.call(gather, results, worker.tiles(made, way.other, i, r))
                c = w.at(w.at("%c", w.plus(band.image, i), one.result[0]), o, one.result[1])
                deliver_rows(c, w.plus(band.row, w.times(r, way.tile[0])))
    whole = blocks.groups % way.chunks == 0
    pieces = examples(one, way.chunks) if whole else None
    return Emitted(w.finish(), way.chunks, worker.scratch, pieces)


def _emit_sums(module: Module, way: Way, host: Host) -> Emitted:
    """Write ``(c = sums, a = signal, b = cotangent)``; each chunk has sums of its own."""
    one, blocks, kind = way.one, way.blocks, way.kind
    grid = (blocks.rows, blocks.columns)
    product = emit_plan(module, way.plan, host, "products")
    signal = Picture(way.taken, one.space, (one.signal[0], *one.signal[2:]), one.before)
    other = Picture(way.made, one.lengths, (one.kernel[0], *one.kernel[2:]), (0, 0))
    steps = []
    for picture, points, overlap in ((signal, way.signal, 2), (other, way.other, 0)):
        frame = Frame(grid, way.tile, overlap, points.pitch)
        read = fill(module, kind, picture, frame)
        steps.append((read, to_points(module, kind, frame, points), frame, points))

    worker = _Worker(module, "sums", way)
    w = worker.w
    places = [(worker.place(frame), worker.place(points)) for _, _, frame, points in steps]
    scratch = worker.take(product.scratch)
    number = Value(INT64, "%chunk")
    chunk, part = w.divided(number, way.parts)
    second, first = w.divided(chunk, one.batch // way.taken)
    size = way.points * way.taken * way.made
    sums = w.at("%c", number, size)
    zero(w, sums, size)
    a = w.at("%a", first, way.taken * one.signal[0])
    b = w.at("%b", second, way.made * one.kernel[0])
    with worker.blocks(part, way.parts) as band:
        with w.loop(0, blocks.images) as i:
            image = w.plus(band.image, i)
            sources = w.at(a, image, one.signal[1]), w.at(b, image, one.kernel[1])
            for source, step, (framed, start) in zip(sources, steps, places, strict=True):
                read, spread, _, points = step
                worker.call(read, framed, source, band.row)
                worker.call(spread, worker.tiles(start, points, i), framed)
        starts = [start for _, start in places]
        worker.call(product.symbol, sums, *starts, scratch, w.word(0))
    return Emitted(w.finish(), way.chunks, worker.scratch)
