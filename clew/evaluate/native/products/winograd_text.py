"""The functions that Winograd's filtering is made of: frames, points, and the ways between.

A *frame* holds some rows of a picture as (row, column, channel), zeros around, so that vectors run
along the channels and no tile has an edge. *Points* are what tiles become: a matrix (tiles,
channels) for each number of a transformed tile.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.compiling import Unit
from clew.evaluate.native.emitter import INT64, Module, Value, llvm_type
from clew.evaluate.native.products.contraction import Axis
from clew.evaluate.native.products.copies import strided_copy, transposed
from clew.evaluate.native.products.winograd_maps import (
    Vectors,
    filter_of,
    points_of,
    results_of,
)
from clew.evaluate.native.products.writer import VectorEmitter, zero

Pair = tuple[int, int]
Ints = tuple[int, ...]
_ATTRIBUTES = "nounwind noinline"
_LINE = 64


@dataclass(frozen=True)
class Kind:
    """What numbers are: their dtype, how many a vector holds, whether ``x y + z`` is one step."""

    dtype: np.dtype
    lanes: int
    fused: bool

    def rounded(self, many: int) -> int:
        """Return how many numbers whole vectors for so many have."""
        return -(-many // self.lanes) * self.lanes


@dataclass(frozen=True)
class Points:
    """``many`` matrices of ``tiles`` rows, ``pitch`` elements each.

    They begin ``apart`` elements from each other, an odd number of lines, so that the points of a
    tile do not compete for one set of the cache.
    """

    many: int
    tiles: int
    pitch: int
    apart: int

    @staticmethod
    def of(kind: Kind, many: int, tiles: int, channels: int) -> Points:
        """Return the points of so many channels, padded to whole vectors."""
        pitch = kind.rounded(channels)
        line = _LINE // kind.dtype.itemsize
        return Points(many, tiles, pitch, (-(-tiles * pitch // line) | 1) * line)

    @property
    def size(self) -> int:
        """Elements altogether."""
        return self.many * self.apart


@dataclass(frozen=True)
class Picture:
    """One example as it lies: its strides over (channel, row, column), zeros ``before`` it."""

    channels: int
    space: Ints
    strides: Ints
    before: Ints


@dataclass(frozen=True)
class Frame:
    """Rows of a picture for ``tiles`` (rows, columns) that begin ``step`` numbers apart.

    They overlap by two numbers in a signal, and not in its result.
    """

    tiles: Pair
    step: Pair
    overlap: int
    pitch: int

    @property
    def rows(self) -> int:
        """Rows of numbers that the tiles cover."""
        return self.step[0] * self.tiles[0] + self.overlap

    @property
    def columns(self) -> int:
        """Columns of numbers that the tiles cover."""
        return self.step[1] * self.tiles[1] + self.overlap

    @property
    def size(self) -> int:
        """Elements altogether."""
        return self.rows * self.columns * self.pitch


# --- copies ------------------------------------------------------------------------------


def turned(module: Module, kind: Kind, columns: Pair, depth: Pair, padded: bool = False) -> str:
    """Add ``(c = rows, a = columns)``, which turns columns into rows, square by square.

    ``columns`` is how many and their stride in a, where each lies side by side, ``depth`` how many
    rows and their stride in c. Where rows are ``padded``, zeros fill the last vector.
    """
    lanes = kind.lanes
    w = VectorEmitter(module, "turned", kind.dtype, "c a", _ATTRIBUTES)
    for first, stop, many in _pieces(columns[0], lanes):
        for start, end, deep in _pieces(depth[0], lanes):
            unit = _square(kind, many, deep, lanes if padded else many)
            square = unit.entry_points[0]
            module.require(unit)
            module.declare(square, f"void @{square}(ptr, ptr, i64, i64)")
            with w.loop(first, stop, lanes) as j, w.loop(start, end, lanes) as i:
                to = w.at(w.at("%c", j), i, depth[1])
                source = w.at(w.at("%a", i), j, columns[1])
                strides = f"i64 {columns[1]}, i64 {depth[1]}"
                w.e.line(f"call void @{square}(ptr {to}, ptr {source}, {strides})")
    return w.finish()


def _pieces(total: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut a length into whole vectors and what is left: (first, end, how many each)."""
    full, rest = divmod(total, lanes)
    pieces = [(0, full * lanes, lanes), (full * lanes, total, rest)]
    return [piece for piece in pieces if piece[2] and piece[1] > piece[0]]


@functools.lru_cache(maxsize=64)
def _square(kind: Kind, columns: int, depth: int, written: int) -> Unit:
    """Return ``(c = rows, a = columns, strides)``; all convolutions share what is compiled."""
    lanes = kind.lanes
    name = f"clew_turned_{columns}_{depth}_{written}_{lanes}_{llvm_type(kind.dtype)}"
    module = Module()
    w = VectorEmitter(module, name, kind.dtype, "c a column row", "nounwind", linkage="")

    def steps(start: str, stride: str, many: int) -> list[str]:
        places = [start]
        for _ in range(many - 1):
            places.append(w.at(places[-1], Value(INT64, stride)))
        return places

    inside, outside = w.mask(lanes, depth), w.mask(lanes, written)
    square = [w.load(place, lanes, inside) for place in steps("%a", "%column", columns)]
    square += ["zeroinitializer"] * (lanes - columns)
    rows = transposed(w, square, lanes)
    for place, value in zip(steps("%c", "%row", depth), rows[:depth], strict=True):
        w.store(place, lanes, value, outside)
    w.finish()
    return Unit(module.text(), (name,), level=1)


def fill(module: Module, kind: Kind, picture: Picture, frame: Frame) -> str:
    """Add ``(c = frame, a = picture, first)``, which copies rows; they may be outside."""
    w = VectorEmitter(module, "fill", kind.dtype, "c a first", _ATTRIBUTES)
    left, skipped = max(0, picture.before[1]), max(0, -picture.before[1])
    left = min(left, frame.columns)
    many = max(0, min(picture.space[1] - skipped, frame.columns - left))
    channel, down, across = picture.strides
    if across == 1:
        copy = turned(module, kind, (picture.channels, channel), (many, frame.pitch), True)
    else:
        axes = (
            Axis(picture.channels, left=channel, result=1),
            Axis(many, left=across, result=frame.pitch),
        )
        copy = strided_copy(module, kind.dtype, axes)

    def clear(line: str, first: int, stop: int) -> None:
        size = (stop - first) * frame.pitch
        if size:
            zero(w, w.at(line, first * frame.pitch), size)

    with w.loop(0, frame.rows) as r:
        row = w.minus(w.plus(Value(INT64, "%first"), r), picture.before[0])
        line = w.at("%c", r, frame.columns * frame.pitch)
        inside = w.e.and_(w.e.le(w.word(0), row), w.e.lt(row, w.word(picture.space[0])))
        with w.e.when(inside):
            clear(line, 0, left)
            source = w.at(w.at("%a", row, down), skipped * across)
            w.e.line(f"call void {copy}(ptr {w.at(line, left * frame.pitch)}, ptr {source})")
            clear(line, left + many, frame.columns)
        with w.e.when(w.e.not_(inside)):
            clear(line, 0, frame.columns)
    return w.finish()


def deliver(module: Module, kind: Kind, picture: Picture, pitch: int) -> str:
    """Add ``(c = a picture's row, a = columns of channels)``, which brings a row to its place."""
    channel, _, across = picture.strides
    if across == 1:
        return turned(module, kind, (picture.space[1], pitch), (picture.channels, channel))
    axes = (
        Axis(picture.channels, left=1, result=channel),
        Axis(picture.space[1], left=pitch, result=across),
    )
    return strided_copy(module, kind.dtype, axes)


# --- tiles and points --------------------------------------------------------------------


def to_points(module: Module, kind: Kind, frame: Frame, points: Points) -> str:
    """Add ``(c = points, a = frame)``, which transforms all tiles of a frame.

    A column of numbers is transformed once for the two tiles that it belongs to.
    """
    w = VectorEmitter(module, "points", kind.dtype, "c a", _ATTRIBUTES)
    lanes, pitch, overlap = kind.lanes, frame.pitch, frame.overlap
    on = Vectors(w, lanes, kind.fused)
    maps = [filter_of(size) for size in frame.step]
    down, across = (each.signal if overlap else each.result.T for each in maps)
    high, wide = down.shape[1], across.shape[1]
    line = frame.columns * pitch
    kept = [[w.place(lanes) for _ in down] for _ in range(overlap)]

    def column(a: str) -> list[str]:
        return points_of(on, down, [w.load(w.at(a, k * line), lanes) for k in range(high)])

    def keep(columns: list[list[str]]) -> None:
        for places, values in zip(kept, columns, strict=True):
            for place, value in zip(places, values, strict=True):
                w.set(place, lanes, value)

    with w.loop(0, frame.tiles[0]) as r, w.loop(0, pitch, lanes) as v:
        a = w.at(w.at("%a", r, frame.step[0] * line), v)
        c = w.at(w.at("%c", r, frame.tiles[1] * pitch), v)
        keep([column(w.at(a, j * pitch)) for j in range(overlap)])
        with w.loop(0, frame.tiles[1]) as x:
            here, to = w.at(a, x, frame.step[1] * pitch), w.at(c, x, pitch)
            columns = [[w.get(place, lanes) for place in places] for places in kept]
            columns += [column(w.at(here, j * pitch)) for j in range(overlap, wide)]
            keep(columns[wide - overlap :])
            rows = [points_of(on, across, row) for row in zip(*columns, strict=True)]
            for i, value in enumerate(value for row in rows for value in row):
                w.store(w.at(to, i * points.apart), lanes, value)
    return w.finish()


def from_points(module: Module, kind: Kind, frame: Frame, points: Points) -> str:
    """Add ``(c = frame, a = points)``, for a frame of one row of tiles of results."""
    w = VectorEmitter(module, "results", kind.dtype, "c a", _ATTRIBUTES)
    lanes, pitch = kind.lanes, points.pitch
    on = Vectors(w, lanes, kind.fused)
    down, across = (filter_of(size).result for size in frame.step)
    high, wide = down.shape[1], across.shape[1]
    with w.loop(0, pitch, lanes) as v, w.loop(0, frame.tiles[1]) as x:
        a, c = w.at(w.at("%a", v), x, pitch), w.at(w.at("%c", v), x, frame.step[1] * pitch)

        def column(j: int, a: str = a) -> list[str]:
            places = (w.at(a, (i * wide + j) * points.apart) for i in range(high))
            return results_of(on, down, [w.load(place, lanes) for place in places])

        rows = zip(*(column(j) for j in range(wide)), strict=True)
        for i, row in enumerate(rows):
            for j, value in enumerate(results_of(on, across, row)):
                w.store(w.at(c, (i * frame.columns + j) * pitch), lanes, value)
    return w.finish()
