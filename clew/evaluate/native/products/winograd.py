"""Winograd's minimal filtering of 3 x 3 kernels: 2.25 times fewer multiplications.

Tiles of 4 x 4 numbers that overlap by two become 16 *points*, sums of the numbers; kernels become
16 points as well; the products of the points, summed over the channels, are 16 matrix products;
and 2 x 2 results are sums of these. F(2 x 2, 3 x 3) of A. Lavin and S. Gray, Fast algorithms for
convolutional neural networks, CVPR 2016, section 4.1, after S. Winograd, Arithmetic complexity of
computations, SIAM 1980. The gradient of the kernels is the transposed algorithm: points of the
signal times points of the cotangent, summed over all tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Axis, Contraction
from clew.evaluate.native.products.convolution import Convolution, lines
from clew.evaluate.native.products.driver import Emitted, emit_plan
from clew.evaluate.native.products.plan import FAR, NEAR, Plan, balanced, chunks_for, make_plan
from clew.evaluate.native.products.winograd_kernels import kernels_to_points, points_to_kernels
from clew.evaluate.native.products.winograd_text import (
    Frame,
    Numbers,
    Picture,
    Points,
    deliver,
    fill,
    from_points,
    to_points,
)
from clew.evaluate.native.products.writer import VectorEmitter, zero

_TILES = 32
"""Fewer tiles at once are too few for the kernels of the products."""
_CHANNELS = 64
"""Channels that are taken together, about."""
_PARTS = 8
"""Sums over tiles that are formed apart."""
_POINTS, _RESULTS, _KERNEL = 75.0, 35.0, 20.0
"""Cycles to transform a vector of tiles, of sums, and one kernel."""


@dataclass(frozen=True)
class Blocks:
    """Tiles that are worked on together: some rows of tiles, of one or several images.

    There are ``groups`` of images, each with as many ``bands`` of rows.
    """

    images: int
    rows: int
    columns: int
    groups: int
    bands: int

    @property
    def tiles(self) -> int:
        """Tiles of a block."""
        return self.images * self.rows * self.columns

    @property
    def many(self) -> int:
        """How many blocks there are."""
        return self.groups * self.bands


def blocks_of(batch: int, places: tuple[int, ...], most: int) -> Blocks:
    """Return blocks of about ``most`` tiles.

    >>> blocks_of(32, (32, 32), 128)
    Blocks(images=1, rows=8, columns=16, groups=32, bands=2)
    >>> blocks_of(6, (5, 8), 40)
    Blocks(images=3, rows=3, columns=4, groups=2, bands=1)
    """
    high, wide = (-(-n // 2) for n in places)
    fitting = (n for n in range(1, batch + 1) if batch % n == 0 and n * high * wide <= most)
    images = max(fitting, default=1)
    rows = -(-high // min(high, -(-high * wide // most)))
    return Blocks(images, rows, wide, batch // images, -(-high // rows))


def piece(channels: int) -> int:
    """Return how many channels to take together, all pieces alike.

    >>> piece(32), piece(256), piece(70)
    (32, 64, 70)
    """
    sizes = [n for n in range(1, channels + 1) if channels % n == 0]
    return min(sizes, key=lambda n: abs(math.log(n / _CHANNELS)))


@dataclass(frozen=True)
class Way:
    """How a convolution is filtered.

    Parameters
    ----------
    gradient : bool
        Whether the sums are over all places, as in the gradient of the kernels.
    taken, made : int
        Channels of the first operand that a block takes, and of the second or the result.
    signal, other : Points
        Of a block: of its signal, and of its cotangent or its result.
    plan : Plan
        The 16 products of a block.
    chunks, parts : int
        Pieces of work, and sums over tiles that are formed apart.
    cost : float
        Cycles.
    """

    one: Convolution
    gradient: bool
    numbers: Numbers
    blocks: Blocks
    taken: int
    made: int
    signal: Points
    other: Points
    plan: Plan
    chunks: int
    parts: int
    cost: float


def filtered(one: Convolution, host: Host) -> Way | None:
    """Return how to filter a convolution; None if it is not one of 3 x 3 kernels."""
    steps = {*one.stride, *one.dilation, *one.spread, one.groups}
    if len(one.space) != 2 or steps != {1} or one.accumulate:
        return None
    numbers = Numbers(np.dtype(one.dtype), host.lanes(np.dtype(one.dtype).itemsize))
    if one.lengths == (3, 3):
        return _forward(one, numbers, host)
    return _gradient(one, numbers, host) if one.places == (3, 3) else None


def _most(host: Host, numbers: Numbers, channels: int, tiles: int, wanted: int) -> int:
    """How many tiles make a block: their points stay in the second cache."""
    held = host.level2 // 4 // (16 * channels * numbers.dtype.itemsize)
    return max(_TILES, min(held, tiles // wanted))


def _forward(one: Convolution, numbers: Numbers, host: Host) -> Way:
    made = piece(one.made)
    tiles = one.batch * math.prod(-(-n // 2) for n in one.places)
    wanted = chunks_for(16 * tiles * one.taken * one.made)
    most = _most(host, numbers, one.taken + made, tiles, wanted)
    blocks = blocks_of(one.batch, one.places, most)
    signal = Points.of(numbers, blocks.tiles, one.taken)
    other = Points.of(numbers, blocks.tiles, made)
    contraction = Contraction(
        numbers.dtype,
        (Axis(16, signal.apart, one.taken * one.made, other.apart),),
        (Axis(blocks.tiles, left=signal.pitch, result=other.pitch),),
        (Axis(one.taken, left=1, right=one.made),),
        (Axis(made, right=1, result=1),),
    )
    plan = make_plan(contraction, host, 1)
    passes = one.made // made
    kernels = one.made * one.taken
    speed = FAR if 16 * kernels * numbers.dtype.itemsize > host.level2 // 2 else NEAR
    each = passes * plan.cost + 16 * kernels * numbers.dtype.itemsize / speed
    each += blocks.tiles * signal.pitch * (_POINTS / numbers.lanes + _copied(one.signal, blocks))
    each += blocks.tiles * one.made * (_RESULTS / numbers.lanes + _copied(one.result))
    return Way(
        one=one,
        gradient=False,
        numbers=numbers,
        blocks=blocks,
        taken=one.taken,
        made=made,
        signal=signal,
        other=other,
        plan=plan,
        chunks=balanced(blocks.many, wanted),
        parts=1,
        cost=blocks.many * each + _KERNEL * kernels,
    )


def _gradient(one: Convolution, numbers: Numbers, host: Host) -> Way:
    taken, made = piece(one.batch), piece(one.made)
    passes = one.batch // taken, one.made // made
    tiles = one.taken * math.prod(-(-n // 2) for n in one.lengths)
    wanted = chunks_for(16 * tiles * one.batch * one.made)
    parts = min(_PARTS, -(-wanted // math.prod(passes)))
    most = _most(host, numbers, taken + made, tiles, parts)
    blocks = blocks_of(one.taken, one.lengths, most)
    signal = Points.of(numbers, blocks.tiles, taken)
    other = Points.of(numbers, blocks.tiles, made)
    contraction = Contraction(
        numbers.dtype,
        (Axis(16, signal.apart, other.apart, taken * made),),
        (Axis(taken, left=1, result=made),),
        (Axis(blocks.tiles, left=signal.pitch, right=other.pitch),),
        (Axis(made, right=1, result=1),),
        accumulate=True,
    )
    plan = make_plan(contraction, host, 1)
    parts = balanced(blocks.many, parts)
    each = plan.cost
    each += blocks.tiles * signal.pitch * (_POINTS / numbers.lanes + _copied(one.signal, blocks))
    each += blocks.tiles * other.pitch * (_POINTS / numbers.lanes + _copied(one.kernel))
    return Way(
        one=one,
        gradient=True,
        numbers=numbers,
        blocks=blocks,
        taken=taken,
        made=made,
        signal=signal,
        other=other,
        plan=plan,
        chunks=parts * math.prod(passes),
        parts=parts,
        cost=math.prod(passes) * blocks.many * each + (_KERNEL + 4 * parts) * one.batch * one.made,
    )


def _copied(strides: tuple[int, ...], blocks: Blocks | None = None) -> float:
    """Cycles to copy the four numbers of a tile, and those above that other blocks copy too."""
    many = 4 + 4 / blocks.rows if blocks else 4
    return many * (0.7 if 1 in strides[-1:] + strides[:2] else 1.5)


# --- writing -----------------------------------------------------------------------------


class Worker:
    """Writes a function of chunks, whose scratch memory is taken piece by piece."""

    def __init__(self, module: Module, name: str, numbers: Numbers) -> None:
        parameters = "c a b scratch chunk"
        self.w = VectorEmitter(module, name, numbers.dtype, parameters, "nounwind noinline")
        self.scratch = 0

    def take(self, elements: int, more: int = 0) -> str:
        """Return a pointer to memory for so many elements, and bytes, that begins a line."""
        pointer = self.w.e.assign(f"getelementptr i8, ptr %scratch, i64 {self.scratch}")
        self.scratch += lines(elements * self.w.dtype.itemsize + more)
        return pointer

    def call(self, symbol: str, *arguments: str | Value) -> None:
        """Call a function with pointers and words."""
        given = [f"i64 {x.name}" if isinstance(x, Value) else f"ptr {x}" for x in arguments]
        self.w.e.line(f"call void {symbol}({', '.join(given)})")


def emit_filtered(module: Module, way: Way, host: Host) -> Emitted:
    """Write a filtered convolution; see :class:`Emitted`. Two functions are called in turn."""
    one, dtype = way.one, way.numbers.dtype
    if way.gradient:
        first = _emit_sums(module, way, host)
        sizes, pieces = (one.made, one.batch), (way.made, way.taken)
        strides = (one.result[1], one.result[0], *one.result[2:])
        chunks = balanced(one.batch, chunks_for(16 * way.parts * one.made * one.batch))
        symbol = points_to_kernels(module, dtype, sizes, pieces, strides, way.parts, chunks)
        last = Emitted(symbol, chunks, 16 * way.made * dtype.itemsize)
        between = 16 * way.parts * one.made * one.batch
    else:
        sizes = one.made, one.taken
        chunks = balanced(one.taken, chunks_for(16 * one.made * one.taken))
        symbol = kernels_to_points(module, dtype, sizes, one.kernel, chunks)
        first, last = Emitted(symbol, chunks, 0), _emit_results(module, way, host)
        between = 16 * one.made * one.taken
    return replace(last, first=first, between=lines(between * dtype.itemsize))


def _emit_results(module: Module, way: Way, host: Host) -> Emitted:
    """Write ``(c = result, a = signal, b = points of the kernels)``."""
    one, blocks, numbers = way.one, way.blocks, way.numbers
    frame = Frame(blocks.rows, blocks.columns, 4, way.signal.pitch)
    picture = Picture(one.taken, one.space, one.signal[1:], one.before)
    copy_in = fill(module, numbers, picture, frame)
    transform = to_points(module, numbers, frame, way.signal)
    product = emit_plan(module, way.plan, host, "products")
    back = from_points(module, numbers, blocks.columns, way.other)
    result = Picture(way.made, one.places, one.result[1:], (0, 0))
    copy_out = deliver(module, numbers, result, way.other.pitch)

    worker = Worker(module, "filtered", numbers)
    w = worker.w
    framed, signal, made = (worker.take(each.size) for each in (frame, way.signal, way.other))
    line = 2 * blocks.columns * way.other.pitch
    lines, scratch = worker.take(2 * line), worker.take(0, product.scratch)

    def deliver_rows(c: str, m: str, row: Value) -> None:
        worker.call(back, lines, m)
        for k in range(2):
            with w.e.when(w.e.lt(w.plus(row, k), w.word(one.places[0]))):
                worker.call(copy_out, w.at(c, w.plus(row, k), one.result[2]), w.at(lines, k * line))

    with w.loop(*w.share(blocks.many, Value(INT64, "%chunk"), way.chunks)) as block:
        group, band = w.divided(block, blocks.bands)
        image, row = w.times(group, blocks.images), w.times(band, 2 * blocks.rows)
        with w.loop(0, blocks.images) as i:
            worker.call(copy_in, framed, w.at("%a", w.plus(image, i), one.signal[0]), row)
            worker.call(transform, _tiles(w, signal, way.signal, blocks, i), framed)
        with w.loop(0, one.made, way.made) as o:
            worker.call(product.symbol, made, signal, w.at("%b", o), scratch, w.word(0))
            with w.loop(0, blocks.images) as i, w.loop(0, blocks.rows) as r:
                c = w.at(w.at("%c", w.plus(image, i), one.result[0]), o, one.result[1])
                deliver_rows(
                    c,
                    _tiles(w, made, way.other, blocks, i, r),
                    w.plus(row, w.times(r, 2)),
                )
    return Emitted(w.finish(), way.chunks, worker.scratch)


def _tiles(
    w: VectorEmitter, start: str, points: Points, blocks: Blocks, image: Value, row: Value | int = 0
) -> str:
    """Where the points of an image's row of tiles begin."""
    step = blocks.columns * points.pitch
    return w.at(w.at(start, image, blocks.rows * step), row, step)


def _emit_sums(module: Module, way: Way, host: Host) -> Emitted:
    """Write ``(c = sums, a = signal, b = cotangent)``; each chunk has sums of its own."""
    one, blocks, numbers = way.one, way.blocks, way.numbers
    signal = Picture(way.taken, one.space, (one.signal[0], *one.signal[2:]), one.before)
    other = Picture(way.made, one.lengths, (one.kernel[0], *one.kernel[2:]), (0, 0))
    frames = [
        Frame(blocks.rows, blocks.columns, taps, points.pitch)
        for taps, points in ((4, way.signal), (2, way.other))
    ]
    steps = [
        (fill(module, numbers, picture, frame), to_points(module, numbers, frame, points))
        for picture, frame, points in zip(
            (signal, other), frames, (way.signal, way.other), strict=True
        )
    ]
    product = emit_plan(module, way.plan, host, "products")

    worker = Worker(module, "sums", numbers)
    w = worker.w
    framed = worker.take(max(frame.size for frame in frames))
    points = worker.take(way.signal.size), worker.take(way.other.size)
    scratch = worker.take(0, product.scratch)
    chunk, part = w.divided(Value(INT64, "%chunk"), way.parts)
    second, first = w.divided(chunk, one.batch // way.taken)
    sizes = 16 * way.taken * way.made
    sums = w.at("%c", Value(INT64, "%chunk"), sizes)
    zero(w, sums, sizes)
    a = w.at("%a", first, way.taken * one.signal[0])
    b = w.at("%b", second, way.made * one.kernel[0])
    with w.loop(*w.share(blocks.many, part, way.parts)) as block:
        group, band = w.divided(block, blocks.bands)
        image, row = w.times(group, blocks.images), w.times(band, 2 * blocks.rows)
        with w.loop(0, blocks.images) as i:
            here = w.plus(image, i)
            sources = w.at(a, here, one.signal[1]), w.at(b, here, one.kernel[1])
            places = zip(points, (way.signal, way.other), strict=True)
            for (copy, transform), source, (start, laid) in zip(
                steps, sources, places, strict=True
            ):
                worker.call(copy, framed, source, row)
                worker.call(transform, _tiles(w, start, laid, blocks, i), framed)
        worker.call(product.symbol, sums, *points, scratch, w.word(0))
    return Emitted(w.finish(), way.chunks, worker.scratch)
