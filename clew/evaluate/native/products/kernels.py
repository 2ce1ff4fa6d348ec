"""The innermost functions: one tile of the result, kept in registers, summed over a block.

An *outer* tile holds rows x vectors accumulators, the lanes along the columns: each step reads
a row of B as vectors and the numbers of A one by one (K. Goto and R. van de Geijn, Anatomy of
high-performance matrix multiplication, ACM TOMS 34, 2008). An *inner* tile holds rows x columns
accumulators, the lanes along the summed index, and adds up the lanes at the end; it needs no
order but that in which the two operands lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.products.writer import VectorEmitter

KEEP, ADD, ASK = "keep", "add", "ask"
_DEPTH = 64
"""Steps of a tile after which the lines of the result have arrived."""
_CHAINS = 8
"""Sums in flight that hide the latency of a fused multiply-add."""


@dataclass(frozen=True)
class Step:
    """One loop over summed indices: how often (None: known at run time) and its strides."""

    count: int | None
    left: int
    right: int


@dataclass(frozen=True)
class Tile:
    """What a kernel computes.

    Parameters
    ----------
    lanes, rows : int
    columns : int
        Columns of the result: lanes of vectors in an outer tile, of one each in an inner tile.
    left_row, right_column : int
        Strides of the operands; an outer tile's columns lie side by side.
    result_row, result_column : int
    steps : tuple of Step
        From the outside to the inside.
    mode : str
        Whether the result is set, added to, or that is asked at run time (``more``).
    """

    dtype: np.dtype
    lanes: int
    rows: int
    columns: int
    left_row: int
    right_column: int
    result_row: int
    result_column: int
    steps: tuple[Step, ...]
    mode: str
    fused: bool

    @property
    def vectors(self) -> int:
        """Vectors in a row of an outer tile."""
        return -(-self.columns // self.lanes)

    @property
    def depth(self) -> int:
        """Summed indices, at least those known when emitting."""
        return math.prod(step.count or _DEPTH for step in self.steps)

    def parameters(self) -> str:
        """Return the names of the kernel's parameters."""
        counts = [f"n{i}" for i, step in enumerate(self.steps) if step.count is None]
        return " ".join(["c a b", *counts, *(["more"] if self.mode == ASK else [])])


def outer_kernel(module: Module, tile: Tile, attributes: str) -> str:
    """Add the kernel of an outer tile; return its symbol."""
    w = VectorEmitter(module, "outer", tile.dtype, tile.parameters(), attributes)
    shape = (tile.rows, tile.vectors)
    sets = max(1, min(4, _CHAINS // (tile.rows * tile.vectors)))
    places = [_places(w, tile.lanes, shape) for _ in range(sets)]
    used = tile.columns - (tile.vectors - 1) * tile.lanes
    masks = [""] * (tile.vectors - 1) + [w.mask(tile.lanes, used)]

    def step(number: int, a: str, b: str) -> None:
        sums = places[number % sets]
        row = [w.load(w.at(b, i * tile.lanes), tile.lanes, masks[i]) for i in range(tile.vectors)]
        for r in range(tile.rows):
            each = w.splat(w.at(a, r * tile.left_row), tile.lanes)
            for i in range(tile.vectors):
                old = w.get(sums[r][i], tile.lanes)
                new = w.multiply_add(each, row[i], old, tile.lanes, tile.fused)
                w.set(sums[r][i], tile.lanes, new)

    _fetch_result(w, tile)
    unroll = max(sets, 1 if tile.rows * tile.vectors >= 8 else 4)
    _walk(w, tile, unroll, step)
    totals = _joined(w, places, tile.lanes)
    _write(w, tile, lambda add: _store_outer(w, tile, totals, masks, add))
    return w.finish()


def inner_kernel(module: Module, tile: Tile, attributes: str) -> str:
    """Add the kernel of an inner tile; return its symbol."""
    w = VectorEmitter(module, "inner", tile.dtype, tile.parameters(), attributes)
    shape = (tile.rows, tile.columns)
    sets = max(1, min(4, _CHAINS // (tile.rows * tile.columns)))
    places = [_places(w, tile.lanes, shape) for _ in range(sets)]

    def step(number: int, a: str, b: str, mask: str = "") -> None:
        sums = places[number % sets]
        column = [
            w.load(w.at(b, j * tile.right_column), tile.lanes, mask) for j in range(tile.columns)
        ]
        for r in range(tile.rows):
            row = w.load(w.at(a, r * tile.left_row), tile.lanes, mask)
            for j in range(tile.columns):
                old = w.get(sums[r][j], tile.lanes)
                new = w.multiply_add(row, column[j], old, tile.lanes, tile.fused)
                w.set(sums[r][j], tile.lanes, new)

    def last(a: str, b: str, count: Value | int) -> None:
        _walk_vectors(w, tile, sets, step, a, b, count)

    _nest(w, tile.steps, "%a", "%b", last)
    totals = _joined(w, places, tile.lanes)
    numbers = [[w.total(each, tile.lanes) for each in row] for row in totals]
    _write(w, tile, lambda add: _store_inner(w, tile, numbers, add))
    return w.finish()


def _places(w: VectorEmitter, lanes: int, shape: tuple[int, int]) -> list[list[str]]:
    return [[w.place(lanes) for _ in range(shape[1])] for _ in range(shape[0])]


def _joined(w: VectorEmitter, places: list[list[list[str]]], lanes: int) -> list[list[str]]:
    """Read the accumulators, adding those that hold parts of one sum."""
    totals = [[w.get(each, lanes) for each in row] for row in places[0]]
    for more in places[1:]:
        totals = [
            [w.add(x, w.get(y, lanes), lanes) for x, y in zip(xs, ys, strict=True)]
            for xs, ys in zip(totals, more, strict=True)
        ]
    return totals


# --- the loops over the summed indices ---------------------------------------------------


def _nest(
    w: VectorEmitter,
    steps: tuple[Step, ...],
    a: str,
    b: str,
    last: Callable[[str, str, Value | int], None],
    level: int = 0,
) -> None:
    """Write all loops but the innermost, which ``last`` writes."""
    step = steps[level]
    count = Value(INT64, f"%n{level}") if step.count is None else step.count
    if level == len(steps) - 1:
        last(a, b, count)
        return
    if count == 1:
        _nest(w, steps, a, b, last, level + 1)
        return
    with w.loop(0, count) as i:
        _nest(w, steps, w.at(a, i, step.left), w.at(b, i, step.right), last, level + 1)


def _walk(w: VectorEmitter, tile: Tile, unroll: int, step: Callable[..., None]) -> None:
    """Write the loops of an outer tile, the innermost unrolled a little."""
    inner = tile.steps[-1]

    def some(a: str, b: str, many: int) -> None:
        for j in range(many):
            step(j, w.at(a, j * inner.left), w.at(b, j * inner.right))

    def last(a: str, b: str, count: Value | int) -> None:
        if isinstance(count, int):
            if count <= 2 * unroll or count * tile.rows * tile.vectors <= _CHAINS * 8:
                some(a, b, count)
                return
            full = count - count % unroll
        else:
            full = Value(INT64, w.e.assign(f"and i64 {count.name}, {-unroll}"))
        with w.loop(0, full, unroll) as i:
            some(w.at(a, i, inner.left), w.at(b, i, inner.right), unroll)
        if isinstance(full, int) and isinstance(count, int):
            some(w.at(a, full * inner.left), w.at(b, full * inner.right), count - full)
            return
        with w.loop(full, count) as i:
            some(w.at(a, i, inner.left), w.at(b, i, inner.right), 1)

    _nest(w, tile.steps, "%a", "%b", last)


def _walk_vectors(
    w: VectorEmitter,
    tile: Tile,
    sets: int,
    step: Callable[..., None],
    a: str,
    b: str,
    count: Value | int,
) -> None:
    """Write the innermost loop of an inner tile: vectors, then what is left under a mask."""
    lanes = tile.lanes
    if isinstance(count, int):
        groups = count // lanes
        full = groups - groups % sets if groups > 2 * sets else 0
        if full:
            with w.loop(0, full * lanes, sets * lanes) as i:
                for j in range(sets):
                    step(j, w.at(w.at(a, i), j * lanes), w.at(w.at(b, i), j * lanes))
        for j in range(full, groups):
            step(j - full, w.at(a, j * lanes), w.at(b, j * lanes))
        if count % lanes:
            done = groups * lanes
            step(groups - full, w.at(a, done), w.at(b, done), w.mask(lanes, count % lanes))
        return
    full = Value(INT64, w.e.assign(f"and i64 {count.name}, {-lanes}"))
    with w.loop(0, full, lanes) as i:
        step(0, w.at(a, i), w.at(b, i))
    if lanes > 1:
        with w.e.when(w.e.lt(full, count)):
            mask = w.mask_below(lanes, w.minus(count, full))
            step(0, w.at(a, full), w.at(b, full), mask)


def _fetch_result(w: VectorEmitter, tile: Tile) -> None:
    """Ask for the lines of the result before they are needed, if there is time for it."""
    w.e.module.declare("llvm.prefetch.p0", "void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    for offset in fetched_lines(tile):
        where = w.at("%c", offset)
        w.e.line(f"call void @llvm.prefetch.p0(ptr {where}, i32 1, i32 3, i32 1)")


def fetched_lines(tile: Tile) -> list[int]:
    """Return where the lines of the result are that arrive while the tile is computed."""
    if tile.result_column != 1 or tile.depth < _DEPTH:
        return []
    line = 64 // tile.dtype.itemsize
    return [
        r * tile.result_row + start
        for r in range(tile.rows)
        for start in range(0, tile.columns, line)
    ]


# --- writing the result ------------------------------------------------------------------


def _write(w: VectorEmitter, tile: Tile, store: Callable[[bool], None]) -> None:
    if tile.mode != ASK:
        store(tile.mode == ADD)
        return
    added, plain, after = (w.e.new_label(p) for p in ("added", "plain", "after"))
    more = w.e.assign("icmp ne i64 %more, 0")
    w.e.line(f"br i1 {more}, label %{added}, label %{plain}")
    w.e.start(added, falls_through=False)
    store(True)
    w.e.line(f"br label %{after}")
    w.e.start(plain, falls_through=False)
    store(False)
    w.e.start(after)


def _store_outer(
    w: VectorEmitter, tile: Tile, totals: list[list[str]], masks: list[str], add: bool
) -> None:
    for r, row in enumerate(totals):
        start = w.at("%c", r * tile.result_row)
        for i, value in enumerate(row):
            if tile.result_column == 1:
                where = w.at(start, i * tile.lanes)
                if add:
                    value = w.add(w.load(where, tile.lanes, masks[i]), value, tile.lanes)
                w.store(where, tile.lanes, value, masks[i])
                continue
            for lane in range(min(tile.lanes, tile.columns - i * tile.lanes)):
                where = w.at(start, (i * tile.lanes + lane) * tile.result_column)
                _store_number(w, where, w.lane(value, tile.lanes, lane), add)


def _store_inner(w: VectorEmitter, tile: Tile, numbers: list[list[str]], add: bool) -> None:
    for r, row in enumerate(numbers):
        for j, value in enumerate(row):
            where = w.at("%c", r * tile.result_row + j * tile.result_column)
            _store_number(w, where, value, add)


def _store_number(w: VectorEmitter, where: str, value: str, add: bool) -> None:
    align = w.dtype.itemsize
    if add:
        old = w.e.assign(f"load {w.kind}, ptr {where}, align {align}")
        value = w.e.assign(f"fadd {w.kind} {old}, {value}")
    w.e.line(f"store {w.kind} {value}, ptr {where}, align {align}")
