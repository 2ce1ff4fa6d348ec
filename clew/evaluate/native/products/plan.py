"""How a contraction is cut up: which axes make the tiles, blocks for the caches, copies, chunks.

All choices follow from sizes, strides and the host alone, never from the number of threads, so
results do not depend on it. Costs are rough counts of cycles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from clew.evaluate.native.host import Host
from clew.evaluate.native.products.contraction import Axis, Contraction, count, even
from clew.evaluate.native.products.copies import turns

_LINE = 64
_PAGE = 4096
_PAGES = 64
"""So many pages can be read in turn without waiting for their addresses."""
_CALL = 14.0
"""Cycles to enter and leave a kernel."""
_FROM_SECOND = 1.03
"""How much slower a kernel is whose rows of B come from the second cache."""
_STAGE = 1 << 20
"""Elements of the largest result that a worker may keep a copy of."""
_CROWD = 1.15
"""How much slower a kernel is whose rows of A push each other out of the first cache."""


@dataclass(frozen=True)
class Plan:
    """A contraction with everything decided.

    Parameters
    ----------
    contraction : Contraction
        With left and right as the kernels want them.
    inside : bool
        Whether the lanes are along the innermost summed index (an inner tile).
    lanes, tile_rows, tile_columns : int
        The largest tile; ``tile_columns`` are columns, a multiple of the lanes in outer tiles.
    row, column : Axis
        The axes that the tiles cut; all others are loops around them.
    inner : tuple of Axis
        Summed indices from the outside to the inside.
    level, block : int
        Indices from ``inner[level]`` inwards are summed in one kernel call, ``block`` values of
        ``inner[level]`` at a time.
    panel, slab : bool
        Whether the right (left) operand is copied.
    width, height : int
        Tiles in a block of columns, and in a block of rows, that are copied at once.
    parts : tuple of four int
        Into how many parts batch, rows around, tiles of rows and tiles of columns are cut.
    cost, copying, extra : float
        Cycles altogether, for an element of the panel, and for what several chunks do again.
    """

    contraction: Contraction
    inside: bool
    lanes: int
    tile_rows: int
    tile_columns: int
    row: Axis
    column: Axis
    inner: tuple[Axis, ...]
    level: int
    block: int
    panel: bool
    slab: bool
    width: int
    height: int
    cost: float
    parts: tuple[int, ...] = (1, 1, 1, 1)
    copying: float = 0.0
    extra: float = 0.0

    @property
    def around_rows(self) -> tuple[Axis, ...]:
        """Row axes that are loops around the tiles."""
        return tuple(axis for axis in self.contraction.rows if axis is not self.row)

    @property
    def around(self) -> tuple[Axis, ...]:
        """Batch axes and column axes that are loops around everything."""
        columns = tuple(axis for axis in self.contraction.columns if axis is not self.column)
        return (*self.contraction.batch, *columns)

    @property
    def row_tiles(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The longer and the shorter tiles' rows, and how many there are of each."""
        return even(self.row.size, self.tile_rows)

    @property
    def column_tiles(self) -> tuple[int, int]:
        """How many full tiles of columns there are, and the columns of the last, smaller one."""
        return divmod(self.column.size, self.tile_columns)

    @property
    def chunks(self) -> int:
        """Independent pieces of work."""
        a, b, c, d = self.parts
        return a * b * c * d


Choice = tuple[float, Callable[[], Plan]]
"""What a plan costs, and how it is made."""


@lru_cache(maxsize=4096)
def make_plan(contraction: Contraction, host: Host, wanted: int | None = None) -> Plan:
    """Return the cheapest plan found, in ``wanted`` chunks, or in as many as its work is worth."""
    ones = [contraction, contraction.swapped()]
    if contraction.elements <= _STAGE:
        ones += [one.in_stages() for one in ones if not _side_by_side(one)]
    choices = [
        each for one in ones for make in (_outer_plans, _inner_plans) for each in make(one, host)
    ]
    choices.sort(key=lambda each: each[0])
    least = choices[0][0]
    if wanted is None:
        wanted = chunks_for(work(contraction))
    if wanted == 1:
        best = choices[0][1]()
        return replace(best, extra=_extra(best, host, best.parts, {}))
    near = [make() for cost, make in choices[:4] if cost <= 1.2 * least]
    return min((in_parts(plan, host, wanted) for plan in near), key=lambda pair: pair[0])[1]


def _side_by_side(one: Contraction) -> bool:
    return not one.columns or any(axis.result == 1 for axis in one.columns)


def work(one: Contraction) -> int:
    """Return the number of multiplications."""
    return one.elements * count(one.inner)


def chunks_for(multiplications: int) -> int:
    """Return into how many chunks so much work should be cut."""
    return max(1, min(_MOST, multiplications // _PIECE))


def _choices(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return axes or (Axis(1, 1, 1, 1),)


def _tileable(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Axes that tiles may cut: all places of a tile must have the same terms."""
    return tuple(axis for axis in axes if not axis.name) or (Axis(1, 1, 1, 1),)


def _orders(axes: tuple[Axis, ...]) -> list[tuple[Axis, ...]]:
    """Orders of the summed indices: small steps of either operand inside."""
    axes = _choices(axes)
    orders = [
        tuple(sorted(axes, key=lambda axis: -abs(axis.left))),
        tuple(sorted(axes, key=lambda axis: -abs(axis.right))),
    ]
    return orders if orders[0] != orders[1] else orders[:1]


# --- outer tiles -------------------------------------------------------------------------


def _outer_plans(one: Contraction, host: Host) -> Iterator[Choice]:
    size = one.dtype.itemsize
    for row in _tileable(one.rows):
        for column in _tileable(one.columns):
            lanes = host.lanes(size)
            while lanes > 1 and lanes // 2 >= column.size:
                lanes //= 2
            for vectors in range(1, min(4, -(-column.size // lanes)) + 1):
                # A tile's rows of B stay in the first cache while rows of A and of C pass by; or,
                # where that is worth fewer passes over C, come from the second one.
                most = host.level1 * 3 // 2 // (vectors * lanes * size)
                deep = (most, 4 * most) if count(one.inner) > most else (most,)
                for rows in _heights(row.size, _rows_for(vectors, host.registers)):
                    for inner, depth in itertools.product(_orders(one.inner), deep):
                        tile = (lanes, rows, vectors)
                        near = depth == most
                        yield _outer_plan(one, host, row, column, inner, tile, depth, near)


def _rows_for(vectors: int, registers: int) -> int:
    """The rows of accumulators that leave registers for a row of B and numbers of A.

    With fewer left over, LLVM's allocator begins to spill, which costs half the speed.
    """
    spare = 2 if registers > 16 else 1
    return (registers - spare) // vectors - 1


def _heights(size: int, most: int) -> Iterator[int]:
    """Rows of a tile: as many as there can be, and fewer that make a few tiles even in number."""
    if most < 1:
        return
    yield most
    tiles = -(-size // most)
    if tiles % 2 and tiles <= 5:
        yield -(-size // (tiles + 1))


def _outer_plan(
    one: Contraction,
    host: Host,
    row: Axis,
    column: Axis,
    inner: tuple[Axis, ...],
    tile: tuple[int, int, int],
    most: int,
    near: bool,
) -> Choice:
    lanes, rows, vectors = tile
    size = one.dtype.itemsize
    wide = vectors * lanes
    most = max(64, most)
    # Sums that are cut pass over the same operands once for each tap.
    level, block = _blocks(inner, most // 3 if one.windows else most)
    depth, total = block * count(inner[level + 1 :]), count(inner)
    blocks = -(-total // depth)
    around_rows = count(one.rows) // max(1, row.size)
    tiles = -(-column.size // wide)
    slab = tiles >= 8 and not one.windows and _scattered(row.left, inner[-1], size)
    cost = _tiles_cost(row.size, rows, column.size, vectors, lanes, total, blocks)
    if not slab:
        cost *= _slow_rows(row, rows, inner[-1], host, size)
    cost *= around_rows * (1.0 if near else _FROM_SECOND)
    turned = turns(inner[-1].right, inner[-1].size, lanes)
    each = 0.13 if column.right == 1 else 0.35 if turned else 1.2
    slow = _slow_columns(inner[level:], block, depth * column.size, wide * size, host, size, rows)
    panel = column.right != 1 or (slow - 1) * cost > total * column.size * each
    cost = cost + total * column.size * each if panel else slow * cost
    if column.result != 1:
        cost += around_rows * row.size * column.size * (2.0 + 6.0 * (blocks - 1))
    if slab:
        cost += count(one.rows) * total * 0.3
    width = max(1, host.level2 // 2 // (depth * wide * size)) if panel else 1 << 40
    cost += 2 * (blocks - 1) * _moved(count(one.rows) * column.size * size, host)
    cost += (-(-tiles // width) - 1) * _moved(count(one.rows) * total * size, host)
    cost *= count(one.batch) * (count(one.columns) / max(1, column.size))
    cost += _stage_cost(one)
    return cost, partial(
        Plan,
        contraction=one,
        inside=False,
        lanes=lanes,
        tile_rows=rows,
        tile_columns=wide,
        row=row,
        column=column,
        inner=inner,
        level=level,
        block=block,
        panel=panel,
        slab=slab,
        width=width,
        height=max(1, host.level2 // 4 // (depth * rows * size)),
        cost=cost,
        copying=each if panel else 0.0,
    )


def _moved(size: int, host: Host) -> float:
    """Cycles to move so many bytes once more, if they are not near."""
    return size / FAR if size > host.level2 // 2 else 0.0


def _scattered(stride: int, last: Axis, size: int) -> bool:
    """Say whether rows of A are read in steps so large that addresses have to be waited for."""
    pages = abs(last.left) * size >= _PAGE // 2 and last.size >= _PAGES
    return last.left != 1 and (stride != 1 or pages)


def _slow_rows(row: Axis, rows: int, last: Axis, host: Host, size: int) -> float:
    """How much slower tiles are whose rows of A are far apart, or push each other out."""
    lines = ((min(row.size, rows), row.left),)
    slow = _CROWD if _competes(lines, size, host.level1 * 5 // 6, size) else 1.0
    jumps = row.left != 1 and abs(last.left) * size >= _LINE
    far = abs(row.left) * size >= 16 * _PAGE
    return slow * (1.8 if jumps and far else 1.15 if jumps else 1.1 if far else 1.0)


def _slow_columns(
    inner: tuple[Axis, ...], block: int, whole: int, run: int, host: Host, size: int, rows: int
) -> float:
    """How much slower tiles are that read B where it lies, not in the first cache."""
    axes = [(axis.size if i else block, axis.right) for i, axis in enumerate(inner)]
    crowded = _competes(tuple(axes), run, host.level1, size)
    pages = abs(inner[-1].right) * size >= _PAGE // 2 and inner[-1].size >= _PAGES
    beyond = whole * size > host.level2 // 2
    # Each tile fetches B anew from the second cache; high ones have more to do with it.
    return 1.0 + 1.5 / rows * crowded + 0.04 * pages + 0.15 * beyond


def _tiles_cost(
    rows: int, most: int, columns: int, vectors: int, lanes: int, total: int, blocks: int
) -> float:
    """Cycles of all tiles, two multiply-adds or loads at a time."""
    groups = -(-columns // lanes)
    full, rest = divmod(groups, vectors)
    cost = 0.0
    for height, many in even(rows, most):
        for wide, times in ((vectors, full), (rest, 1)):
            if wide and many:
                loads = height + wide
                steps = max(height * wide / 2 + 0.04 * loads, 0.6 * loads, 1.0)
                cost += many * times * (total * steps + blocks * (_CALL + height * wide * 0.8))
    return cost


def _stage_cost(one: Contraction) -> float:
    """Cycles to bring a staged result to its place."""
    return 2.5 * one.elements if one.staged else 0.0


def _blocks(inner: tuple[Axis, ...], most: int) -> tuple[int, int]:
    """Return the level and the block of summed indices for kernel calls of at most ``most``."""
    depth = 1
    for level in range(len(inner) - 1, -1, -1):
        size = max(1, inner[level].size)
        if depth * size > most:
            parts = -(-size // max(1, most // depth))
            return level, -(-size // parts)
        depth *= size
    return 0, max(1, inner[0].size)


@lru_cache(maxsize=4096)
def _competes(axes: tuple[tuple[int, int], ...], run: int, level1: int, size: int) -> bool:
    """Say whether what is read along (size, stride) axes competes for few sets of a cache."""
    sets = 64
    ways = max(1, level1 // (sets * _LINE))
    if -(-run // _LINE) * math.prod(many for many, _ in axes) <= ways:
        return False
    offsets = np.arange(0, run, _LINE)
    for many, stride in reversed(axes):
        if len(offsets) * many > 1 << 14:
            break
        offsets = np.add.outer(np.arange(many) * (stride * size), offsets).ravel()
    filled = np.bincount(np.unique(offsets // _LINE) % sets)
    return bool(filled.max(initial=0) > ways)


# --- inner tiles -------------------------------------------------------------------------


def _inner_plans(one: Contraction, host: Host) -> Iterator[Choice]:
    most = host.lanes(one.dtype.itemsize)
    if most == 1:
        return
    for inner in _orders(one.inner):
        last = inner[-1]
        if (last.left, last.right) != (1, 1) or last.size < most // 2:
            continue
        for row in _tileable(one.rows):
            for column in _tileable(one.columns):
                for columns in range(1, min(6, column.size) + 1):
                    rows = min((host.registers - 2) // columns - 1, 8)
                    if rows >= 1:
                        yield _inner_plan(one, host, row, column, inner, most, rows, columns)


def _inner_plan(
    one: Contraction,
    host: Host,
    row: Axis,
    column: Axis,
    inner: tuple[Axis, ...],
    lanes: int,
    rows: int,
    columns: int,
) -> Choice:
    size = one.dtype.itemsize
    # A tile's columns stay in the first cache while rows pass by.
    level, block = _blocks(inner, max(8 * lanes, host.level1 // 2 // (columns * size)))
    total = count(inner)
    passing = row.size * total * size > host.level1 // 2
    blocks = -(-total // (block * count(inner[level + 1 :])))
    last = inner[-1].size
    steps = total / max(1, last) * -(-last // lanes)
    cost = 0.0
    full, rest = divmod(column.size, columns)
    for height, many in even(row.size, rows):
        for wide, times in ((columns, full), (rest, 1)):
            if wide and many:
                loads = (height + wide) * (2.0 if passing else 0.5)
                each = max(height * wide / 2, loads, 1)
                ends = blocks * (_CALL + height * wide * 5.0)
                cost += many * times * (steps * each + ends)
    others = count(one.rows) * count(one.columns) / max(1, row.size * column.size)
    cost *= count(one.batch) * others
    cost += _stage_cost(one)
    return cost, partial(
        Plan,
        contraction=one,
        inside=True,
        lanes=lanes,
        tile_rows=rows,
        tile_columns=columns,
        row=row,
        column=column,
        inner=inner,
        level=level,
        block=block,
        panel=False,
        slab=False,
        width=1 << 40,
        height=1 << 40,
        cost=cost,
    )


# --- chunks ------------------------------------------------------------------------------

_PIECE = 1 << 17
"""Multiply-adds worth a chunk of their own (about a microsecond)."""
_MOST = 16
"""Chunks of the largest products."""
_SCATTERED = 1.03
"""What it costs if no kernel can run in the same chunks, while their results are near."""
FAR, NEAR = 11.0, 40.0
"""Bytes a cycle from memory that all cores share, and from a core's own."""


def in_parts(plan: Plan, host: Host, wanted: int) -> tuple[float, Plan]:
    """Return the best way to cut a plan into at most about ``wanted`` chunks, after its cost.

    Each chunk reads its operands and makes its own copies; and what is cut into three keeps one
    of two workers waiting.
    """
    (_, long), (_, short) = plan.row_tiles
    full, rest = plan.column_tiles
    dims = (count(plan.around), count(plan.around_rows), long + short, full + (rest > 0))
    best = (math.inf, plan)
    choices = [
        sorted({p for p in (1, 2, 3, 4, 6, 8, 16, many) if p <= min(many, 2 * wanted)})
        for many in dims
    ]
    extents: dict[tuple[object, ...], float] = {}
    size = plan.contraction.dtype.itemsize
    written = plan.contraction.elements
    for parts in itertools.product(*choices):
        chunks = math.prod(parts)
        if chunks > 2 * wanted:
            continue
        spare = math.prod(
            -(-many // part) * part / many for many, part in zip(dims, parts, strict=True)
        )
        longer = spare * waiting(chunks, host)
        if plan.cost * longer >= best[0]:
            continue
        extra = _extra(plan, host, parts, extents)
        score = (plan.cost + extra) * longer
        cut = replace(plan, parts=parts, extra=extra)
        far = written * size > chunks * host.level2 // 2
        if chunks > 1 and (far or pieces(cut, True) is None):
            score *= _SCATTERED
        if score < best[0]:
            best = (score, cut)
    return best


@lru_cache(maxsize=1024)
def waiting(chunks: int, host: Host) -> float:
    """Return how much longer work takes because it cannot be shared evenly.

    The mean over numbers of workers. Three chunks take two workers as long as four do.

    >>> waiting(1, Host(cores=2)), waiting(2, Host(cores=2)), waiting(3, Host(cores=2))
    (1.5, 1.0, 1.1666666666666665)
    """
    many = (1, *host.workers())
    return sum(n * -(-chunks // n) / chunks for n in many) / len(many)


def _extra(
    plan: Plan, host: Host, parts: tuple[int, ...], known: dict[tuple[object, ...], float]
) -> float:
    """Cycles to read operands in each chunk, and to copy again what others copy too."""

    def extent(side: str, *cut: int) -> float:
        key = (side, *cut)
        if key not in known:
            known[key] = _extent(plan, side, cut)
        return known[key]

    one = plan.contraction
    size = one.dtype.itemsize
    whole = size * (extent("left", 1, 1, 1, 1) + extent("right", 1, 1, 1, 1))
    speed = NEAR if whole < host.level2 // 2 else FAR
    around, above, high, wide = parts
    chunks = math.prod(parts)
    read = extent("left", around, above, high, 1) + extent("right", around, 1, 1, wide)
    copies = 0.0
    inner = count(plan.inner)
    if plan.panel:
        copies += (above * high - 1) * inner * count(one.columns) * plan.copying
    if plan.slab:
        copies += (wide - 1) * inner * count(one.rows) * 0.3
    written = one.elements
    passes = -(-count(plan.inner) // (plan.block * count(plan.inner[plan.level + 1 :])))
    if written * size < chunks * host.level2 // 2:  # a chunk's part stays near
        passes = 1
    moved = chunks * read + 2 * passes * written
    return moved * size / speed + copies * count(one.batch)


def _extent(plan: Plan, side: str, parts: tuple[int, ...]) -> float:
    """How many elements of an operand a chunk reads: no more than there are."""
    elements, reach = 1.0, 1.0
    line = _LINE // plan.contraction.dtype.itemsize
    groups = (plan.around, plan.around_rows, (plan.row,), (plan.column,), plan.inner)
    for axes, part in zip(groups, (*parts, 1), strict=True):
        for axis in axes:
            stride = abs(getattr(axis, side))
            if stride:
                many = max(1.0, axis.size / part)
                if stride == 1:  # whole lines
                    many = min(axis.size, -(-many // line) * line)
                elements *= many
                reach += (many - 1) * stride
    return min(elements, reach)


@dataclass(frozen=True)
class Pieces:
    """Which elements of the result each chunk computes: one run each, in order.

    Parameters
    ----------
    starts : tuple of int
        Where the runs begin, in elements, and where the last one ends.
    apart : bool
        Whether no chunk writes elements of another, though it were with the same numbers.
    """

    starts: tuple[int, ...]
    apart: bool


def pieces(plan: Plan, apart: bool) -> Pieces | None:
    """Return what each chunk of a plan computes; None if that is not a run of elements."""
    one = plan.contraction
    cut = [number for number, many in enumerate(plan.parts) if many > 1]
    if len(cut) != 1 or cut[0] == 3:
        return None
    axes = (plan.around, plan.around_rows, (plan.row,))[cut[0]]
    stride = unit = axes[-1].final if one.staged else axes[-1].result
    for axis in reversed(axes):
        if (axis.final if one.staged else axis.result) != stride:
            return None
        stride *= axis.size
    if stride != one.elements:
        return None
    (_, longer), (short, shorter) = plan.row_tiles
    tiles = cut[0] == 2
    total = longer + shorter if tiles else count(axes)
    many = plan.parts[cut[0]]
    begins = [total * part // many for part in range(many + 1)]
    if tiles:
        begins = [tile * short + min(tile, longer) for tile in begins]
    return Pieces(tuple(unit * each for each in begins), apart or not tiles)


def balanced(most: int, wanted: int) -> int:
    """Return about as many parts as wanted, cutting evenly where that is possible.

    >>> balanced(10, 4), balanced(3, 2), balanced(64, 16)
    (5, 3, 16)
    """
    if wanted <= 1 or most <= 1:
        return 1
    for parts in range(wanted, 2 * wanted + 1):
        if most % parts == 0:
            return parts
    return min(most, 2 * wanted)
