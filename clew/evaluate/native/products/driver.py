"""The loops around the tiles, as one function that computes one chunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from clew.evaluate.native.emitter import INT64, Module, Value
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.assembly import outer_assembly, plain
from clew.evaluate.native.products.contraction import Axis, Window, count
from clew.evaluate.native.products.copies import Panel, Slab, panel_copy, shared, slab_copy
from clew.evaluate.native.products.kernels import (
    ADD,
    ASK,
    KEEP,
    Step,
    Tile,
    inner_kernel,
    outer_kernel,
)
from clew.evaluate.native.products.plan import Pieces, Plan, pieces
from clew.evaluate.native.products.writer import VectorEmitter

Range = tuple[Value, Value]
_TWICE = 0.04
"""Share of the rows that may be computed twice to have one kernel less to compile."""


@dataclass(frozen=True)
class Emitted:
    """A function ``void(ptr C, ptr A, ptr B, ptr scratch, i64 chunk)``, and how to call it.

    Parameters
    ----------
    symbol : str
        Its name, with ``@``.
    chunks : int
        Independent pieces of work, to be run in any order, possibly at once.
    scratch : int
        Bytes of 64-byte aligned memory that each worker needs.
    pieces : Pieces, optional
        Which elements of the result each chunk computes, if that is a run of them.
    first : Emitted, optional
        To be called before, with other memory as C: what it writes there stands for B then.
    between : int
        Bytes of that memory.
    simple : bool
        Whether it is only loops around kernels in assembly, with nothing for LLVM to improve.
    """

    symbol: str
    chunks: int
    scratch: int
    pieces: Pieces | None = None
    first: Emitted | None = None
    between: int = 0
    simple: bool = False

    @property
    def stages(self) -> tuple[Emitted, ...]:
        """The functions in the order in which they are called."""
        return (*(self.first.stages if self.first else ()), self)


@dataclass(frozen=True)
class Place:
    """Where a loop nest has got: pointers to result, left and right, and named indices."""

    c: str
    a: str
    b: str
    indices: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Block:
    """The summed indices of one round: those around, and a piece of the next one.

    ``many`` is the piece's length, None if that is known when emitting; ``seen`` is zero in the
    first round alone.
    """

    around: tuple[Value, ...]
    start: Value
    many: Value | None
    seen: Value


class Nest:
    """Writes the loops of a plan into one function, and the functions that they call."""

    def __init__(self, w: VectorEmitter, plan: Plan, host: Host) -> None:
        self.w = w
        self.plan = plan
        self.host = host
        self.module = w.e.module
        one = plan.contraction
        inner = plan.inner[plan.level :]
        first = min(plan.block, inner[0].size)
        self.depths = (first, *(axis.size for axis in inner[1:]))
        self.depth = math.prod(self.depths)
        self.exact = inner[0].size % plan.block == 0
        taps = {window.tap for window in one.windows}
        around = any(axis.name in taps for axis in plan.inner[: plan.level])
        asked = [axis.name in taps for axis in inner]
        asked[0] = asked[0] or around or not self.exact
        self._steps = [
            Step(None if ask else size, axis.left, axis.right)
            for ask, size, axis in zip(asked, self.depths, inner, strict=True)
        ]
        whole = self.depth == count(plan.inner) and self.exact
        self.mode = ADD if one.accumulate and not one.staged else KEEP if whole else ASK
        height = max(size for size, many in plan.row_tiles if many)
        self._height = height
        self._rounded = -(-self.depth // plan.lanes) * plan.lanes + plan.lanes
        wide = min(plan.width, -(-plan.column.size // plan.tile_columns))
        size = one.dtype.itemsize
        self.panel_bytes = wide * self._panel_stride() * size if plan.panel else 0
        self.panel_bytes = -(-self.panel_bytes // 64) * 64
        high = min(plan.height, sum(many for _, many in plan.row_tiles))
        self.slab_bytes = high * self._slab_stride() * size if plan.slab else 0
        self._kernels: dict[tuple[int, int], str] = {}
        self.simple = not (plan.slab or one.staged)
        copied = one.elements * size
        self.stage_bytes = -(-copied // 64) * 64 if one.staged else 0

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory that the loops use."""
        return self.panel_bytes + self.slab_bytes + self.stage_bytes

    def _panel_stride(self) -> int:
        """Elements from one tile of the panel to the next."""
        return self._rounded * self.plan.tile_columns

    # --- copies ------------------------------------------------------------------------

    def _flat(self, step: int) -> list[int]:
        """Strides of the kernel's summed indices in a copy in which they are laid out in order."""
        strides, total = [], step
        for size in reversed(self.depths):
            strides.append(total)
            total *= size
        return strides[::-1]

    def _width(self, columns: int) -> int:
        return -(-columns // self.plan.lanes) * self.plan.lanes

    def _copy_panel(self, columns: int) -> str:
        plan = self.plan
        width = self._width(columns)
        steps = tuple(
            Step(step.count, step.right, flat)
            for step, flat in zip(self._steps, self._flat(width), strict=True)
        )
        panel = Panel(
            plan.contraction.dtype,
            plan.lanes,
            columns,
            width,
            plan.column.right,
            steps,
            self.depths[-1],
        )
        self.simple = self.simple and shared(panel)
        return panel_copy(self.module, panel)

    def _slab_strides(self) -> tuple[int, list[int]]:
        """The row stride and the summed indices' strides in the copy of A."""
        if self.plan.row.left == 1:
            return 1, self._flat(self._height)
        # An odd number of lines from row to row: no two rows compete for one set of the cache.
        line = 64 // self.plan.contraction.dtype.itemsize
        lines = -(-self.depth // line)
        return min((lines | 1) * line, self._rounded), self._flat(1)

    def _copy_slab(self, rows: int) -> str:
        plan = self.plan
        copied, flat = self._slab_strides()
        steps = tuple(
            Step(step.count, step.left, new) for step, new in zip(self._steps, flat, strict=True)
        )
        return slab_copy(
            self.module,
            Slab(plan.contraction.dtype, plan.lanes, rows, plan.row.left, copied, steps),
        )

    # --- kernels -----------------------------------------------------------------------

    def _kernel_strides(self, columns: int) -> tuple[list[int], list[int]]:
        """The strides of the summed indices in what a kernel reads."""
        lefts = [step.left for step in self._steps]
        rights = [step.right for step in self._steps]
        if self.plan.slab:
            lefts = self._slab_strides()[1]
        if self.plan.panel:
            rights = self._flat(self._width(columns))
        return lefts, rights

    def _kernel(self, rows: int, columns: int) -> str:
        known = self._kernels.get((rows, columns))
        if known is not None:
            return known
        plan = self.plan
        one = plan.contraction
        lefts, rights = self._kernel_strides(columns)
        left_row = self._slab_strides()[0] if plan.slab else plan.row.left
        right_column = 1 if plan.panel else plan.column.right
        counts = [step.count for step in self._steps]
        tile = Tile(
            one.dtype,
            plan.lanes,
            rows,
            columns,
            left_row,
            right_column,
            plan.row.result,
            plan.column.result,
            tuple(Step(*each) for each in zip(counts, lefts, rights, strict=True)),
            self.mode,
            self.host.fma,
        )
        write = inner_kernel if plan.inside else outer_kernel
        if not plan.inside and plain(tile, self.host):
            write = outer_assembly
        else:
            self.simple = False
        symbol = write(self.module, tile, "nounwind noinline")
        self._kernels[rows, columns] = symbol
        return symbol

    def _call(self, symbol: str, pointers: list[str], words: list[str]) -> None:
        arguments = [f"ptr {each}" for each in pointers] + [f"i64 {each}" for each in words]
        self.w.e.line(f"call void {symbol}({', '.join(arguments)})")

    # --- loops -------------------------------------------------------------------------

    def moved(self, place: Place, axis: Axis, index: Value) -> Place:
        """Return the place some steps along an axis."""
        w = self.w
        return Place(
            w.at(place.c, index, axis.result),
            w.at(place.a, index, axis.left),
            w.at(place.b, index, axis.right),
            (*place.indices, (axis.name, index)) if axis.name else place.indices,
        )

    def decoded(self, place: Place, axes: tuple[Axis, ...], index: Value) -> Place:
        """Return the place that a running number over several axes stands for."""
        for axis in reversed(axes[1:]):
            index, rest = self.w.divided(index, axis.size)
            place = self.moved(place, axis, rest)
        return self.moved(place, axes[0], index) if axes else place

    def emit(self, place: Place, ranges: tuple[Range, Range, Range, Range]) -> None:
        """Write everything, for ranges of batch, rows around, row tiles and column tiles."""
        if not self.plan.contraction.staged:
            self._products(place, ranges)
            return
        where = self.panel_bytes + self.slab_bytes
        stage = self.w.e.assign(f"getelementptr i8, ptr %scratch, i64 {where}")
        self._products(replace(place, c=stage), ranges)
        self._deliver(Place(place.c, stage, stage), ranges)

    def _deliver(self, place: Place, ranges: tuple[Range, Range, Range, Range]) -> None:
        """Write the loops that bring elements of the staged result to their places."""
        w, plan = self.w, self.plan
        around, rows_around, (first, stop), (start, end) = ranges
        (_, many), (short, _) = plan.row_tiles

        def row_of(tile: Value) -> Value:
            start = w.times(tile, short)
            return w.plus(start, w.least(tile, many)) if many else start

        def final(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
            """The axes as those of a copy."""
            return tuple(Axis(axis.size, left=axis.result, result=axis.final) for axis in axes)

        (row,), (column,) = final((plan.row,)), final((plan.column,))
        last = w.least(w.times(end, plan.tile_columns), column.size)
        with w.loop(*around) as g:
            outer = self.decoded(place, final(plan.around), g)
            with w.loop(*rows_around) as i:
                middle = self.decoded(outer, final(plan.around_rows), i)
                with w.loop(row_of(first), row_of(stop)) as r:
                    line = self.moved(middle, row, r)
                    with w.loop(w.times(start, plan.tile_columns), last) as j:
                        here = self.moved(line, column, j)
                        self._deliver_one(here)

    def _deliver_one(self, place: Place) -> None:
        w = self.w
        value = w.e.assign(f"load {w.kind}, ptr {place.a}")
        if self.plan.contraction.accumulate:
            old = w.e.assign(f"load {w.kind}, ptr {place.c}")
            value = w.e.assign(f"fadd {w.kind} {old}, {value}")
        w.e.line(f"store {w.kind} {value}, ptr {place.c}")

    def _products(self, place: Place, ranges: tuple[Range, Range, Range, Range]) -> None:
        w, plan = self.w, self.plan
        around, rows_around, row_tiles, (first, stop) = ranges

        def blocks(here: Place, start: Value, end: Value) -> None:
            def summed(there: Place, block: Block) -> None:
                if plan.panel:
                    self._panels(there, start, end, block)
                with w.loop(*rows_around) as i:
                    self._rows(
                        self.decoded(there, plan.around_rows, i),
                        row_tiles,
                        (start, end),
                        block,
                    )

            self._summed(here, summed)

        def batch(here: Place) -> None:
            tiles = -(-plan.column.size // plan.tile_columns)
            if plan.width >= tiles:
                blocks(here, first, stop)
                return
            with w.loop(first, stop, plan.width) as start:
                blocks(here, start, w.least(w.plus(start, plan.width), stop))

        with w.loop(*around) as g:
            batch(self.decoded(place, plan.around, g))

    def _summed(self, place: Place, then: Callable[[Place, Block], None]) -> None:
        """Write the loops over blocks of summed indices."""
        w, plan = self.w, self.plan

        def level(here: Place, around: tuple[Value, ...], seen: Value) -> None:
            axis = plan.inner[len(around)]
            if len(around) < plan.level:
                with w.loop(0, axis.size) as i:
                    moved = replace(self.moved(here, axis, i), indices=here.indices)
                    level(moved, (*around, i), w.plus(seen, i))
            elif plan.block >= axis.size:
                then(here, Block(around, w.word(0), None, seen))
            else:
                with w.loop(0, axis.size, plan.block) as i:
                    moved = replace(self.moved(here, axis, i), indices=here.indices)
                    many = w.least(w.minus(axis.size, i), plan.block)
                    then(moved, Block(around, i, None if self.exact else many, w.plus(seen, i)))

        level(place, (), w.word(0))

    def _counts(self, block: Block) -> list[str]:
        """The arguments of copies: how many of each index that is not known when emitting."""
        sizes = [str(size) for size in self.depths]
        if block.many is not None:
            sizes[0] = block.many.name
        return [size for size, step in zip(sizes, self._steps, strict=True) if step.count is None]

    def _limited(self, place: Place, block: Block, columns: int) -> tuple[Value, Value, list[str]]:
        """Cut the block's indices to their windows.

        Return how far the operands' pointers move, and the kernel's arguments.
        """
        w, plan = self.w, self.plan
        lefts, rights = self._kernel_strides(columns)
        first = w.word(self.depths[0]) if block.many is None else block.many
        counts = [first, *(w.word(size) for size in self.depths[1:])]
        moved_a = moved_b = w.word(0)
        names = [axis.name for axis in plan.inner]
        for window in plan.contraction.windows:
            position = names.index(window.tap) - plan.level
            low, high = self._range(window, dict(place.indices)[window.place])
            if position < 0:
                i = block.around[position + plan.level]
                inside = w.e.and_(w.e.le(low, i), w.e.lt(i, high))
                counts[0] = w.e.select(inside, counts[0], w.word(0))
                continue
            if position == 0:
                end = w.plus(block.start, first)
                low = w.minus(w.least(w.most(low, block.start), end), block.start)
                high = w.minus(w.least(w.most(high, block.start), end), block.start)
            inside = w.e.lt(low, high)
            here = w.e.select(inside, w.minus(high, low), w.word(0))
            counts[position] = w.e.select(w.e.lt(w.word(0), counts[position]), here, w.word(0))
            moved_a = w.plus(moved_a, w.times(low, lefts[position]))
            moved_b = w.plus(moved_b, w.times(low, rights[position]))
        words = [
            each.name for each, step in zip(counts, self._steps, strict=True) if step.count is None
        ]
        return moved_a, moved_b, words + ([block.seen.name] if self.mode == ASK else [])

    def _range(self, window: Window, place: Value) -> Range:
        """The first tap of a place, and the one after the last."""
        w = self.w
        size = next(axis.size for axis in self.plan.inner if axis.name == window.tap)
        first = w.minus(window.before, w.times(place, window.scale))
        last = w.plus(first, window.length)
        low, high = (
            w.divided(w.plus(w.most(each, 0), window.step - 1), window.step)[0]
            for each in (first, last)
        )
        return w.least(low, size), w.least(high, size)

    def _panel_at(self, start: Value, tile: Value) -> str:
        number = self.w.minus(tile, start)
        return self.w.at("%scratch", number, self._panel_stride())

    def _panels(self, place: Place, start: Value, end: Value, block: Block) -> None:
        """Copy the block of B."""

        def copy(tile: Value, columns: int) -> None:
            source = self.w.at(place.b, tile, self.plan.tile_columns * self.plan.column.right)
            target = self._panel_at(start, tile)
            self._call(self._copy_panel(columns), [target, source], self._counts(block))

        self._column_tiles(start, end, copy)

    def _column_tiles(self, start: Value, end: Value, then: Callable[[Value, int], None]) -> None:
        """Write the loop over full tiles of columns, and the smaller tile at the end."""
        w = self.w
        full, rest = self.plan.column_tiles
        if full:
            with w.loop(start, w.least(end, full) if rest else end) as j:
                then(j, self.plan.tile_columns)
        if rest:
            with w.e.when(w.e.lt(w.word(full), end)):
                then(w.word(full), rest)

    def _slab_stride(self) -> int:
        """Elements from one tile of the slab to the next: whole lines."""
        line = 64 // self.plan.contraction.dtype.itemsize
        return -(-self._height * self._rounded // line) * line

    def _slab_at(self, start: Value, tile: Value) -> str:
        base = self.w.e.assign(f"getelementptr i8, ptr %scratch, i64 {self.panel_bytes}")
        return self.w.at(base, self.w.minus(tile, start), self._slab_stride())

    def _row_tiles(
        self, start: Value, end: Value, then: Callable[[Value, Value, int], None]
    ) -> None:
        """Write the loops over tiles of rows, longer ones first."""
        w = self.w
        (long, many), (short, others) = self.plan.row_tiles
        if self.overlaps:
            with w.loop(start, end) as i:
                then(i, w.plus(w.times(i, short), w.least(i, many - 1)), long)
            return
        if many:
            with w.loop(start, w.least(end, many) if others else end) as i:
                then(i, w.times(i, long), long)
        if others:
            with w.loop(w.most(start, many) if many else start, end) as i:
                then(i, w.plus(w.times(i, short), many), short)

    @property
    def overlaps(self) -> bool:
        """Whether shorter tiles begin a row early: one kernel less, a few rows computed twice."""
        (_, many), (_, others) = self.plan.row_tiles
        again = others <= _TWICE * self.plan.row.size
        return self.mode == KEEP and many > 0 and others > 0 and again

    def _rows(self, place: Place, tiles: Range, columns: Range, block: Block) -> None:
        """Write the loops over blocks of rows."""
        w, plan = self.w, self.plan
        first, stop = tiles
        if not plan.slab or plan.height >= sum(many for _, many in plan.row_tiles):
            self._block(place, tiles, columns, block)
            return
        with w.loop(first, stop, plan.height) as start:
            end = w.least(w.plus(start, plan.height), stop)
            self._block(place, (start, end), columns, block)

    def _block(self, place: Place, tiles: Range, columns: Range, block: Block) -> None:
        """Write the loops over the tiles of a block, rows inside."""
        w, plan = self.w, self.plan
        (top, bottom), (start, end) = tiles, columns

        def copy(i: Value, row: Value, rows: int) -> None:
            pointers = [self._slab_at(top, i), w.at(place.a, row, plan.row.left)]
            self._call(self._copy_slab(rows), pointers, self._counts(block))

        def column(j: Value, wide: int) -> None:
            moved_a, moved_b, words = self._limited(place, block, wide)
            c = w.at(place.c, j, plan.tile_columns * plan.column.result)
            if plan.panel:
                b = self._panel_at(start, j)
            else:
                b = w.at(place.b, j, plan.tile_columns * plan.column.right)
            b = w.at(b, moved_b)

            def tile(i: Value, row: Value, rows: int) -> None:
                here = w.at(c, row, plan.row.result)
                a = self._slab_at(top, i) if plan.slab else w.at(place.a, row, plan.row.left)
                self._call(self._kernel(rows, wide), [here, w.at(a, moved_a), b], words)

            self._row_tiles(top, bottom, tile)

        if plan.slab:
            self._row_tiles(top, bottom, copy)
        self._column_tiles(start, end, column)


def ranges_of(
    w: VectorEmitter, plan: Plan, chunk: Value
) -> tuple[tuple[Range, Range, Range, Range], Value]:
    """Return what a chunk computes, and the number that is left when its parts are taken off."""
    (_, longer), (_, shorter) = plan.row_tiles
    full, last = plan.column_tiles
    totals = (
        count(plan.around),
        count(plan.around_rows),
        longer + shorter,
        full + (last > 0),
    )
    parts: list[Value] = []
    for many in plan.parts:
        chunk, part = w.divided(chunk, many)
        parts.append(part if many > 1 else w.word(0))
    a, b, c, d = (
        w.share(total, part, many)
        for total, part, many in zip(totals, parts, plan.parts, strict=True)
    )
    return (a, b, c, d), chunk


def emit_plan(module: Module, plan: Plan, host: Host, name: str) -> Emitted:
    """Write a plan as a function of its own."""
    one = plan.contraction
    w = VectorEmitter(module, name, one.dtype, "c a b scratch chunk", "nounwind noinline")
    nest = Nest(w, plan, host)
    ranges, _ = ranges_of(w, plan, Value(INT64, "%chunk"))
    operands = ("%b", "%a") if one.exchanged else ("%a", "%b")
    nest.emit(Place("%c", *operands), ranges)
    symbol = w.finish()
    own = pieces(plan, not nest.overlaps)
    return Emitted(symbol, plan.chunks, nest.scratch, own, simple=nest.simple)
