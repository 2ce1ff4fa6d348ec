"""Copies of operands into scratch memory, where they lie as the kernels want them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clew.evaluate.native.compiling import Unit
from clew.evaluate.native.emitter import INT64, Module, Value, llvm_type
from clew.evaluate.native.products.contraction import Axis, merged
from clew.evaluate.native.products.kernels import Step
from clew.evaluate.native.products.writer import VectorEmitter


@dataclass(frozen=True)
class Panel:
    """A block of B, ``columns`` wide, as rows that follow one another (zeros up to ``width``).

    ``steps`` have the strides of B as ``left`` and those of the panel's rows as ``right``;
    ``depth`` is how many values the innermost has.
    """

    dtype: np.dtype
    lanes: int
    columns: int
    width: int
    right_column: int
    steps: tuple[Step, ...]
    depth: int


def turns(stride: int, size: int, lanes: int) -> bool:
    """Say whether a panel is copied in squares turned in registers: worth it for whole ones."""
    return stride == 1 and lanes > 1 and 2 * size >= lanes


def shared(panel: Panel) -> bool:
    """Say whether a panel is copied by a function that all products share."""
    (*outer, last) = panel.steps
    whole = panel.right_column == 1 or turns(last.left, panel.depth, panel.lanes)
    return whole and not outer


def panel_copy(module: Module, panel: Panel) -> str:
    """Add the function ``(c = panel, a = B, counts...)`` that copies a panel."""
    counts = [f"n{i}" for i, step in enumerate(panel.steps) if step.count is None]
    parameters = " ".join(["c a", *counts])
    w = VectorEmitter(module, "panel", panel.dtype, parameters, "nounwind noinline")
    if shared(panel):
        (step,) = panel.steps
        turned = panel.right_column != 1
        unit = _shared(panel.dtype, panel.lanes, panel.columns, panel.width, turned)
        symbol = unit.entry_points[0]
        if turned:
            module.require(_square(panel.dtype, panel.lanes))
        module.require(unit)
        module.declare(symbol, f"void @{symbol}(ptr, ptr, i64, i64)")
        count = "%n0" if step.count is None else step.count
        stride = panel.right_column if turned else step.left
        w.e.line(f"call void @{symbol}(ptr %c, ptr %a, i64 {count}, i64 {stride})")
    else:
        _nest(w, panel, "%c", "%a", 0)
    return w.finish()


@functools.lru_cache(maxsize=256)
def _shared(dtype: np.dtype, lanes: int, columns: int, width: int, turned: bool) -> Unit:
    """Return ``(c = panel, a = B, n = rows, stride)``, where ``stride`` is that of B's rows.

    Of its columns, if they are to be turned.
    """
    kind = "turned" if turned else "rows"
    name = f"clew_{kind}_{columns}_{width}_{llvm_type(dtype)}_{lanes}"
    module = Module()
    w = VectorEmitter(module, name, dtype, "c a n stride", "nounwind", linkage="")
    stride, count = Value(INT64, "%stride"), Value(INT64, "%n")
    panel = Panel(dtype, lanes, columns, width, 1, (), 0)
    if turned:
        _copy_turned(w, panel, "%c", "%a", stride, count)
    else:
        with w.loop(0, count) as i:
            _copy_row(w, panel, w.at("%c", i, width), w.at("%a", w.e.mul(i, stride)))
    w.finish()
    return Unit(module.text(), (name,), level=0)


def _nest(w: VectorEmitter, panel: Panel, c: str, a: str, level: int) -> None:
    step = panel.steps[level]
    count = Value(INT64, f"%n{level}") if step.count is None else step.count
    if level < len(panel.steps) - 1:
        with w.loop(0, count) as i:
            _nest(w, panel, w.at(c, i, step.right), w.at(a, i, step.left), level + 1)
        return
    if panel.right_column == 1:
        with w.loop(0, count) as i:
            _copy_row(w, panel, w.at(c, i, step.right), w.at(a, i, step.left))
    elif turns(step.left, panel.depth, panel.lanes):
        given = w.word(count) if isinstance(count, int) else count
        _copy_turned(w, panel, c, a, w.word(panel.right_column), given)
    else:
        with w.loop(0, count) as i:
            _gather_row(w, panel, w.at(c, i, step.right), w.at(a, i, step.left))


def _copy_row(w: VectorEmitter, panel: Panel, c: str, a: str) -> None:
    for start in range(0, panel.width, panel.lanes):
        used = max(0, min(panel.lanes, panel.columns - start))
        mask = w.mask(panel.lanes, used)
        value = w.load(w.at(a, start), panel.lanes, mask) if used else "zeroinitializer"
        w.store(w.at(c, start), panel.lanes, value)


def _gather_row(w: VectorEmitter, panel: Panel, c: str, a: str) -> None:
    zero = "0.0"
    with w.loop(0, panel.columns) as j:
        value = w.e.assign(f"load {w.kind}, ptr {w.at(a, j, panel.right_column)}")
        w.e.line(f"store {w.kind} {value}, ptr {w.at(c, j)}")
    for j in range(panel.columns, panel.width):
        w.e.line(f"store {w.kind} {zero}, ptr {w.at(c, j)}")


def _copy_turned(
    w: VectorEmitter, panel: Panel, c: str, a: str, stride: Value, count: Value
) -> None:
    """Read columns, ``stride`` apart, as vectors, and turn squares of them in registers."""
    lanes, row = panel.lanes, panel.width
    unit = _square(panel.dtype, lanes)
    square = unit.entry_points[0]
    w.e.module.require(unit)
    w.e.module.declare(square, f"void @{square}(ptr, ptr, i64, i64, i64, i64)")
    with w.loop(0, panel.columns, lanes) as j:
        columns = w.least(w.minus(panel.columns, j), lanes)
        to, source = w.at(c, j), w.at(a, w.e.mul(j, stride))
        with w.loop(0, count, lanes) as i:
            depth = w.least(w.minus(count, i), lanes)
            pointers = f"ptr {w.at(to, i, row)}, ptr {w.at(source, i)}"
            words = f"i64 {columns.name}, i64 {depth.name}, i64 {stride.name}, i64 {row}"
            w.e.line(f"call void @{square}({pointers}, {words})")


@functools.lru_cache(maxsize=16)
def _square(dtype: np.dtype, lanes: int) -> Unit:
    """Return ``(c = rows, a = columns, n = columns, m = depth, strides)``, which turns a square.

    Columns that are not there are the last one again; what that writes is never read, nor are
    the rows beyond the depth. LLVM takes longer for it than for a product, so all share it; and the
    shuffles that it chooses when in a hurry are the faster ones.
    """
    name = f"clew_square_{lanes}_{llvm_type(dtype)}"
    module = Module()
    w = VectorEmitter(module, name, dtype, "c a n m column row", "nounwind", linkage="")
    mask = w.mask_below(lanes, Value(INT64, "%m"))
    last = w.minus(Value(INT64, "%n"), 1)

    def at(pointer: str, number: Value, stride: str) -> str:
        return w.at(pointer, w.e.mul(number, Value(INT64, stride)))

    columns = [at("%a", w.least(last, j), "%column") for j in range(lanes)]
    square = [w.load(column, lanes, mask) for column in columns]
    for i, value in enumerate(transposed(w, square, lanes)):
        w.store(at("%c", w.word(i), "%row"), lanes, value)
    w.finish()
    return Unit(module.text(), (name,), level=0)


def transposed(w: VectorEmitter, square: list[str], lanes: int) -> list[str]:
    """Return the columns of a square of vectors, by exchanging ever larger blocks."""
    vector, half = w.vector(lanes), 1
    while half < lanes:
        result = list(square)
        for i in range(lanes):
            if i & half:
                continue
            low, high = square[i], square[i + half]
            # Lane j of the first comes from the low row where bit `half` of j is clear.
            first = [j if not j & half else lanes + j - half for j in range(lanes)]
            second = [j + half if not j & half else lanes + j for j in range(lanes)]
            for place, order in ((i, first), (i + half, second)):
                text = ", ".join(f"i32 {k}" for k in order)
                result[place] = w.e.assign(
                    f"shufflevector {vector} {low}, {vector} {high}, <{lanes} x i32> <{text}>"
                )
        square, half = result, 2 * half
    return square


@dataclass(frozen=True)
class Slab:
    """Some rows of A; the copy has ``left`` strides turned into ``right`` ones."""

    dtype: np.dtype
    lanes: int
    rows: int
    left_row: int
    copied_row: int
    steps: tuple[Step, ...]


def slab_copy(module: Module, slab: Slab) -> str:
    """Add the function ``(c = copy, a = A, counts...)`` that copies a tile's rows of A.

    Plain loops: LLVM makes vectors, or calls of ``memcpy``, of what lies side by side.
    """
    counts = [f"n{i}" for i, step in enumerate(slab.steps) if step.count is None]
    w = VectorEmitter(module, "slab", slab.dtype, " ".join(["c a", *counts]), "nounwind noinline")

    def number(c: str, a: str) -> None:
        value = w.e.assign(f"load {w.kind}, ptr {a}")
        w.e.line(f"store {w.kind} {value}, ptr {c}")

    def rows(c: str, a: str, then: Callable[[str, str], None]) -> None:
        with w.loop(0, slab.rows) as r:
            then(w.at(c, r, slab.copied_row), w.at(a, r, slab.left_row))

    def steps(c: str, a: str, then: Callable[[str, str], None], level: int = 0) -> None:
        if level == len(slab.steps):
            then(c, a)
            return
        step = slab.steps[level]
        count = Value(INT64, f"%n{level}") if step.count is None else step.count
        with w.loop(0, count, plain=step.left == 1) as i:
            steps(w.at(c, i, step.right), w.at(a, i, step.left), then, level + 1)

    def side_by_side(c: str, a: str) -> None:
        for start in range(0, slab.rows, slab.lanes):
            mask = w.mask(slab.lanes, min(slab.lanes, slab.rows - start))
            value = w.load(w.at(a, start), slab.lanes, mask)
            w.store(w.at(c, start), slab.lanes, value, mask)

    if slab.left_row == 1:
        steps("%c", "%a", side_by_side)
    else:
        rows("%c", "%a", lambda c, a: steps(c, a, number))
    return w.finish()


def strided_copy(module: Module, dtype: np.dtype, axes: tuple[Axis, ...]) -> str:
    """Add the function ``(c = copy, a = source)`` that copies along axes.

    The axes' ``left`` strides are the source's, the ``result`` strides the copy's.
    """
    w = VectorEmitter(module, "copy", dtype, "c a", "nounwind noinline")
    ordered = sorted(merged(axes), key=lambda axis: -axis.result)

    def walk(c: str, a: str, level: int) -> None:
        if level == len(ordered):
            value = w.e.assign(f"load {w.kind}, ptr {a}")
            w.e.line(f"store {w.kind} {value}, ptr {c}")
            return
        axis = ordered[level]
        # Side by side in both: LLVM makes vectors, or a call of memcpy.
        plain = axis.left == axis.result == 1
        with w.loop(0, axis.size, plain=plain) as i:
            walk(w.at(c, i, axis.result), w.at(a, i, axis.left), level + 1)

    walk("%c", "%a", 0)
    return w.finish()
