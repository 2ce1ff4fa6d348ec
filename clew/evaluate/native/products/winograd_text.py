"""The functions that Winograd's filtering is made of: frames, points, and the ways between.

A *frame* holds some rows of a picture as (row, column, channel), zeros around, so that vectors run
along the channels and no tile has an edge. *Points* are what tiles become: 16 matrices (tiles,
channels), one for each place of a transformed tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.products.contraction import Axis
from clew.evaluate.native.products.copies import strided_copy, transposed
from clew.evaluate.native.products.writer import VectorEmitter, zero

Pair = tuple[int, int]
_ATTRIBUTES = "nounwind noinline"
_LINE = 64


@dataclass(frozen=True)
class Numbers:
    """Numbers of one dtype, and how many of them a vector holds."""

    dtype: np.dtype
    lanes: int

    def rounded(self, many: int) -> int:
        """Return how many numbers whole vectors for so many have."""
        return -(-many // self.lanes) * self.lanes


@dataclass(frozen=True)
class Points:
    """16 matrices of ``tiles`` rows, ``pitch`` elements each.

    They begin ``apart`` elements from each other, an odd number of lines, so that the places of a
    tile do not compete for one set of the cache.
    """

    tiles: int
    pitch: int
    apart: int

    @staticmethod
    def of(numbers: Numbers, tiles: int, channels: int) -> Points:
        """Return the points of so many channels, padded to whole vectors."""
        pitch = numbers.rounded(channels)
        line = _LINE // numbers.dtype.itemsize
        lines = -(-tiles * pitch // line) | 1
        return Points(tiles, pitch, lines * line)

    @property
    def size(self) -> int:
        """Elements altogether."""
        return 16 * self.apart


@dataclass(frozen=True)
class Picture:
    """One example as it lies: its strides over (channel, row, column), zeros ``before`` it."""

    channels: int
    space: Pair
    strides: tuple[int, int, int]
    before: Pair


@dataclass(frozen=True)
class Frame:
    """Rows of a picture, for tiles of ``taps`` x ``taps`` every two rows and columns."""

    tile_rows: int
    tile_columns: int
    taps: int
    pitch: int

    @property
    def rows(self) -> int:
        """Rows of numbers that the tiles cover."""
        return 2 * self.tile_rows + self.taps - 2

    @property
    def columns(self) -> int:
        """Columns of numbers that the tiles cover."""
        return 2 * self.tile_columns + self.taps - 2

    @property
    def size(self) -> int:
        """Elements altogether."""
        return self.rows * self.columns * self.pitch


# --- copies ------------------------------------------------------------------------------


def turned(
    module: Module, numbers: Numbers, columns: Pair, depth: Pair, padded: bool = False
) -> str:
    """Add ``(c = rows, a = columns)``, which turns columns into rows, square by square.

    ``columns`` is how many and their stride in a, where each lies side by side, ``depth`` how many
    rows and their stride in c. Where rows are ``padded``, zeros fill the last vector.
    """
    lanes = numbers.lanes
    w = VectorEmitter(module, "turned", numbers.dtype, "c a", _ATTRIBUTES)
    for first, stop, many in _pieces(columns[0], lanes):
        for start, end, deep in _pieces(depth[0], lanes):
            square = _square(module, numbers, (many, columns[1]), (deep, depth[1]), padded)
            with w.loop(first, stop, lanes) as j, w.loop(start, end, lanes) as i:
                to = w.at(w.at("%c", j), i, depth[1])
                source = w.at(w.at("%a", i), j, columns[1])
                w.e.line(f"call void {square}(ptr {to}, ptr {source})")
    return w.finish()


def _pieces(total: int, lanes: int) -> list[tuple[int, int, int]]:
    """Cut a length into whole vectors and what is left: (first, end, how many each)."""
    full, rest = divmod(total, lanes)
    pieces = [(0, full * lanes, lanes), (full * lanes, total, rest)]
    return [piece for piece in pieces if piece[2] and piece[1] > piece[0]]


def _square(module: Module, numbers: Numbers, columns: Pair, depth: Pair, padded: bool) -> str:
    lanes = numbers.lanes
    w = VectorEmitter(module, "square", numbers.dtype, "c a", _ATTRIBUTES)
    inside, written = w.mask(lanes, depth[0]), w.mask(lanes, lanes if padded else columns[0])
    square = [w.load(w.at("%a", j * columns[1]), lanes, inside) for j in range(columns[0])]
    square += ["zeroinitializer"] * (lanes - columns[0])
    for i, value in enumerate(transposed(w, square, lanes)[: depth[0]]):
        w.store(w.at("%c", i * depth[1]), lanes, value, written)
    return w.finish()


def fill(module: Module, numbers: Numbers, picture: Picture, frame: Frame) -> str:
    """Add ``(c = frame, a = picture, first)``, which copies rows; the first may be outside."""
    w = VectorEmitter(module, "fill", numbers.dtype, "c a first", _ATTRIBUTES)
    left, skipped = max(0, picture.before[1]), max(0, -picture.before[1])
    left = min(left, frame.columns)
    many = max(0, min(picture.space[1] - skipped, frame.columns - left))
    channel, down, across = picture.strides
    if across == 1:
        copy = turned(module, numbers, (picture.channels, channel), (many, frame.pitch), True)
    else:
        axes = (
            Axis(picture.channels, left=channel, result=1),
            Axis(many, left=across, result=frame.pitch),
        )
        copy = strided_copy(module, numbers.dtype, axes)

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


def deliver(module: Module, numbers: Numbers, picture: Picture, pitch: int) -> str:
    """Add ``(c = a picture's row, a = columns of channels)``, which brings a row to its place."""
    channel, _, across = picture.strides
    if across == 1:
        return turned(module, numbers, (picture.space[1], pitch), (picture.channels, channel))
    axes = (
        Axis(picture.channels, left=1, result=channel),
        Axis(picture.space[1], left=pitch, result=across),
    )
    return strided_copy(module, numbers.dtype, axes)


# --- tiles and points --------------------------------------------------------------------


class Maps:
    """The transforms along one axis, on vectors."""

    def __init__(self, w: VectorEmitter, lanes: int) -> None:
        self.w = w
        self.lanes = lanes

    def _sum(self, x: str, y: str) -> str:
        return self.w.add(x, y, self.lanes)

    def _difference(self, x: str, y: str) -> str:
        return self.w.subtract(x, y, self.lanes)

    def points(self, d: Sequence[str]) -> list[str]:
        """Return the points of four numbers of a signal, or of two of a result's cotangent."""
        if len(d) == 2:
            return [d[0], self._sum(*d), self._difference(*d), d[1]]
        return [
            self._difference(d[0], d[2]),
            self._sum(d[1], d[2]),
            self._difference(d[2], d[1]),
            self._difference(d[3], d[1]),
        ]

    def result(self, m: Sequence[str]) -> list[str]:
        """Return the two numbers of a result for its four points."""
        return [
            self._sum(self._sum(m[1], m[2]), m[0]),
            self._sum(self._difference(m[1], m[2]), m[3]),
        ]


def to_points(module: Module, numbers: Numbers, frame: Frame, points: Points) -> str:
    """Add ``(c = points, a = frame)``, which transforms all tiles of a frame.

    A column of numbers is transformed once for the two tiles that it belongs to.
    """
    w = VectorEmitter(module, "points", numbers.dtype, "c a", _ATTRIBUTES)
    lanes, pitch = numbers.lanes, frame.pitch
    maps = Maps(w, lanes)
    down = frame.columns * pitch
    kept = [[w.place(lanes) for _ in range(4)] for _ in range(frame.taps - 2)]

    def column(a: str) -> list[str]:
        return maps.points([w.load(w.at(a, k * down), lanes) for k in range(frame.taps)])

    def keep(columns: list[list[str]]) -> None:
        for places, values in zip(kept, columns, strict=False):
            for place, value in zip(places, values, strict=True):
                w.set(place, lanes, value)

    with w.loop(0, frame.tile_rows) as r, w.loop(0, pitch, lanes) as v:
        a = w.at(w.at("%a", r, 2 * down), v)
        c = w.at(w.at("%c", r, frame.tile_columns * pitch), v)
        keep([column(w.at(a, j * pitch)) for j in range(len(kept))])
        with w.loop(0, frame.tile_columns) as x:
            here, to = w.at(a, x, 2 * pitch), w.at(c, x, pitch)
            old = [[w.get(place, lanes) for place in places] for places in kept]
            new = [column(w.at(here, j * pitch)) for j in range(len(kept), frame.taps)]
            for i, line in enumerate(zip(*old, *new, strict=True)):
                for j, value in enumerate(maps.points(line)):
                    w.store(w.at(to, (4 * i + j) * points.apart), lanes, value)
            keep(new)
    return w.finish()


def from_points(module: Module, numbers: Numbers, tiles: int, points: Points) -> str:
    """Add ``(c = two rows of results, a = points)``, for one row of tiles."""
    w = VectorEmitter(module, "results", numbers.dtype, "c a", _ATTRIBUTES)
    lanes, pitch = numbers.lanes, points.pitch
    maps = Maps(w, lanes)
    with w.loop(0, pitch, lanes) as v, w.loop(0, tiles) as x:
        a, c = w.at(w.at("%a", v), x, pitch), w.at(w.at("%c", v), x, 2 * pitch)
        columns = [
            maps.result([w.load(w.at(a, (4 * i + j) * points.apart), lanes) for i in range(4)])
            for j in range(4)
        ]
        for i, line in enumerate(zip(*columns, strict=True)):
            for j, value in enumerate(maps.result(line)):
                w.store(w.at(c, (2 * i * tiles + j) * pitch), lanes, value)
    return w.finish()
