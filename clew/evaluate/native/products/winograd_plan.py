"""How a convolution is filtered: tiles, blocks for the caches, pieces of work, and its cost.

All choices follow from sizes, strides and the host alone, as those of ``plan`` do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Axis, Contraction
from clew.evaluate.native.products.convolution import Convolution
from clew.evaluate.native.products.plan import FAR, NEAR, Plan, balanced, chunks_for, make_plan
from clew.evaluate.native.products.winograd_text import Kind, Pair, Points

_SHAPES = (2, 2), (2, 4)
"""Results of a tile that are tried. With (4, 4) a sixth faster, but errors twice as large."""
_TILES, _DEPTH = 32, 64
"""Fewer tiles at once are too few rows of a product, and too few terms of its sums."""
_CHANNELS = 64
"""Channels that are taken together, about."""
_PARTS = 8
"""Sums over tiles that are formed apart."""
_SPREAD, _GATHER, _KERNEL = 4.5, 2.5, 1.5
"""Cycles for a vector of one point: of a signal, of results; and for one point of a kernel."""
_NEAT, _STRAY = 0.6, 1.5
"""Cycles to copy a number in squares that are turned or in rows, and one by one."""


@dataclass(frozen=True)
class Blocks:
    """Tiles that are worked on together: some ``rows`` of tiles of one or several ``images``.

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


def blocks_of(images: int, grid: Pair, most: int) -> Blocks:
    """Cut images, each a grid of tiles, into blocks of about ``most`` tiles.

    >>> blocks_of(32, (16, 16), 128)
    Blocks(images=1, rows=8, columns=16, groups=32, bands=2)
    >>> blocks_of(6, (3, 4), 40)
    Blocks(images=3, rows=3, columns=4, groups=2, bands=1)
    """
    high, wide = grid
    fitting = (n for n in range(1, images + 1) if images % n == 0 and n * high * wide <= most)
    together = max(fitting, default=1)
    rows = -(-high // min(high, -(-high * wide // most)))
    return Blocks(together, rows, wide, images // together, -(-high // rows))


def piece(channels: int) -> int:
    """Return how many channels to take together, all pieces alike.

    >>> piece(32), piece(256), piece(70)
    (32, 64, 70)
    """
    sizes = (n for n in range(1, channels + 1) if channels % n == 0)
    return min(sizes, key=lambda n: abs(math.log(n / _CHANNELS)))


@dataclass(frozen=True)
class Way:
    """A convolution with everything decided.

    Parameters
    ----------
    gradient : bool
        Whether the sums are over all places, as in the gradient of kernels of 3 x 3.
    tile : two int
        Results of a tile, down and across.
    taken, made : int
        Channels of the signal that a block takes, and of the result or the cotangent.
    signal, other : Points
        Of a block: of its signal, and of its results or its cotangent.
    plan : Plan
        The products of a block, one for each point.
    chunks, parts : int
        Pieces of work, and sums over tiles that are formed apart.
    cost : float
        Cycles.
    """

    one: Convolution
    gradient: bool
    kind: Kind
    tile: Pair
    blocks: Blocks
    taken: int
    made: int
    signal: Points
    other: Points
    plan: Plan
    chunks: int
    parts: int
    cost: float

    @property
    def points(self) -> int:
        """Points of a tile."""
        return self.signal.many


def filtered(one: Convolution, host: Host) -> Way | None:
    """Return the cheapest way to filter; None if the kernels are not of 3 x 3, in single steps."""
    steps = {*one.stride, *one.dilation, *one.spread, one.groups}
    make = {one.places: _gradient, one.lengths: _forward}.get((3, 3))
    sizes = (one.batch, one.taken, one.made, *one.space, *one.lengths, *one.places)
    if make is None or steps != {1} or one.accumulate or not all(sizes):
        return None
    dtype = np.dtype(one.dtype)
    kind = Kind(dtype, host.lanes(dtype.itemsize), host.fma)
    return min((make(one, kind, tile, host) for tile in _SHAPES), key=lambda way: way.cost)


def _grid(places: tuple[int, ...], tile: Pair) -> Pair:
    high, wide = (-(-n // size) for n, size in zip(places, tile, strict=True))
    return high, wide


def _most(host: Host, least: int, channels: int, size: int, tiles: int) -> int:
    """How many of some tiles make a block: as many as a quarter of the second cache holds."""
    return max(least, min(host.level2 // 4 // (channels * size), tiles))


def _forward(one: Convolution, kind: Kind, tile: Pair, host: Host) -> Way:
    points, size = (tile[0] + 2) * (tile[1] + 2), kind.dtype.itemsize
    grid, made, kernels = _grid(one.places, tile), piece(one.made), one.made * one.taken
    tiles = one.batch * math.prod(grid)
    wanted = chunks_for(points * tiles * kernels)
    most = _most(host, _TILES, one.taken + made, points * size, tiles // wanted)
    blocks = blocks_of(one.batch, grid, most)
    signal = Points.of(kind, points, blocks.tiles, one.taken)
    other = Points.of(kind, points, blocks.tiles, made)
    contraction = Contraction(
        kind.dtype,
        (Axis(points, signal.apart, kernels, other.apart),),
        (Axis(blocks.tiles, left=signal.pitch, result=other.pitch),),
        (Axis(one.taken, left=1, right=one.made),),
        (Axis(made, right=1, result=1),),
    )
    plan = make_plan(contraction, host, 1)
    # Whole images, where there are enough: then other kernels may run in the same chunks.
    pieces = blocks.groups if blocks.groups >= wanted else blocks.many
    passes, held = one.made // made, points * kernels * size
    cost = passes * plan.cost + held / (FAR if held > host.level2 // 2 else NEAR)
    cost += _read(one.signal[1:], tile, blocks, signal, kind)
    cost += blocks.tiles * passes * other.pitch * points * _GATHER / kind.lanes
    cost += blocks.tiles * one.made * math.prod(tile) * _copied(one.result[1:])
    return Way(
        one=one,
        gradient=False,
        kind=kind,
        tile=tile,
        blocks=blocks,
        taken=one.taken,
        made=made,
        signal=signal,
        other=other,
        plan=plan,
        chunks=balanced(pieces, wanted),
        parts=1,
        cost=blocks.many * cost + _KERNEL * points * kernels,
    )


def _gradient(one: Convolution, kind: Kind, tile: Pair, host: Host) -> Way:
    points, size = (tile[0] + 2) * (tile[1] + 2), kind.dtype.itemsize
    grid, kernels = _grid(one.lengths, tile), one.batch * one.made
    taken, made = piece(one.batch), piece(one.made)
    passes = kernels // (taken * made)
    tiles = one.taken * math.prod(grid)
    wanted = min(_PARTS, -(-chunks_for(points * tiles * kernels) // passes))
    most = _most(host, _DEPTH, taken + made, points * size, tiles // wanted)
    blocks = blocks_of(one.taken, grid, most)
    signal = Points.of(kind, points, blocks.tiles, taken)
    other = Points.of(kind, points, blocks.tiles, made)
    contraction = Contraction(
        kind.dtype,
        (Axis(points, signal.apart, other.apart, taken * made),),
        (Axis(taken, left=1, result=made),),
        (Axis(blocks.tiles, left=signal.pitch, right=other.pitch),),
        (Axis(made, right=1, result=1),),
        accumulate=True,
    )
    plan = make_plan(contraction, host, 1)
    parts = balanced(blocks.many, min(wanted, blocks.many // 2))
    sums = points * kernels * size
    cost = plan.cost + 2 * sums / passes / NEAR
    cost += _read((one.signal[0], *one.signal[2:]), tile, blocks, signal, kind)
    cost += _read((one.kernel[0], *one.kernel[2:]), tile, blocks, other, kind)
    return Way(
        one=one,
        gradient=True,
        kind=kind,
        tile=tile,
        blocks=blocks,
        taken=taken,
        made=made,
        signal=signal,
        other=other,
        plan=plan,
        chunks=parts * passes,
        parts=parts,
        cost=passes * blocks.many * cost + parts * sums / FAR + _KERNEL * points * kernels,
    )


def _copied(strides: tuple[int, ...]) -> float:
    """Cycles to copy a number of a picture with strides over (channel, row, column)."""
    return _NEAT if 1 in (strides[0], strides[2]) else _STRAY


def _read(
    strides: tuple[int, ...], tile: Pair, blocks: Blocks, points: Points, kind: Kind
) -> float:
    """Cycles to copy a block's part of a picture and to transform it."""
    rows = blocks.images * (tile[0] * blocks.rows + 2)
    copied = rows * tile[1] * blocks.columns * points.pitch * _copied(strides)
    return copied + blocks.tiles * points.pitch * points.many * _SPREAD / kind.lanes
