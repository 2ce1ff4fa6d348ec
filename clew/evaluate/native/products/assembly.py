"""The kernel of an outer tile in assembly, for processors with AVX-512.

LLVM takes some milliseconds to choose instructions, their order and registers for what is plain
here: accumulators stay where they are, each step loads a row of B and spreads the numbers of A.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
"""

from __future__ import annotations

from collections.abc import Iterator

from clew.evaluate.native.emitter import Module
from clew.evaluate.native.host import Host
from clew.evaluate.native.products.kernels import ADD, ASK, Tile, fetched_lines
from clew.evaluate.native.products.writer import VectorEmitter

_REGISTERS = 32
_BYTES = 64
_FAR = 1 << 31
"""Bytes from a pointer that no instruction can name."""
_FEWEST = 8
"""Accumulators that hide the latency of a multiply-add."""
_C, _MORE, _A, _B, _COUNT = "$3", "$4", "$0", "$1", "$2"


def plain(tile: Tile, host: Host) -> bool:
    """Say whether a tile's kernel can be written: one sum, results side by side."""
    return (
        host.assembly
        and tile.lanes * tile.dtype.itemsize == _BYTES
        and tile.fused
        and len(tile.steps) == 1
        and tile.result_column == 1
        and tile.rows * tile.vectors >= _FEWEST
        and (tile.rows + 1) * tile.vectors < _REGISTERS
        and _reach(tile) < _FAR
    )


def _reach(tile: Tile) -> int:
    """Return the most bytes that an instruction of the kernel goes from its pointer."""
    (step,) = tile.steps
    last = tile.rows - 1
    elements = (last * tile.left_row, last * tile.result_row + tile.columns, step.left, step.right)
    return max(map(abs, elements)) * tile.dtype.itemsize


def outer_assembly(module: Module, tile: Tile, attributes: str) -> str:
    """Add the kernel of an outer tile; return its symbol."""
    w = VectorEmitter(module, "outer", tile.dtype, tile.parameters(), attributes)
    (step,) = tile.steps
    count = "%n0" if step.count is None else str(step.count)
    more = "%more" if tile.mode == ASK else "0"
    text = r"\0A\09".join(_lines(tile))
    changed = "=&r,=&r,=&r"
    given = "r,r,0,1,2"
    registers = ",".join(f"~{{zmm{i}}}" for i in range(_REGISTERS))
    spoiled = f"{registers},~{{k1}},~{{rax}},~{{memory}},~{{dirflag}},~{{fpsr}},~{{flags}}"
    operands = f"ptr %c, i64 {more}, ptr %a, ptr %b, i64 {count}"
    results = "{ ptr, ptr, i64 }"
    w.e.line(f'call {results} asm sideeffect "{text}", "{changed},{given},{spoiled}"({operands})')
    return w.finish()


def _lines(tile: Tile) -> Iterator[str]:
    size = tile.dtype.itemsize
    kind = "ps" if size == 4 else "pd"
    accumulators = range(tile.rows * tile.vectors)
    row = tile.rows * tile.vectors
    (step,) = tile.steps
    used = tile.columns - (tile.vectors - 1) * tile.lanes
    masked = used < tile.lanes
    if masked:
        yield f"movl $${(1 << used) - 1}, %eax"
        yield "kmovw %eax, %k1"
    for offset in fetched_lines(tile):
        yield f"prefetcht0 {offset * size}({_C})"
    for i in accumulators:
        yield f"vpxord %zmm{i}, %zmm{i}, %zmm{i}"
    yield f"testq {_COUNT}, {_COUNT}"
    yield "jle 2f"
    yield ".p2align 4"
    yield "1:"
    for v in range(tile.vectors):
        mask = "{%k1}{z}" if masked and v == tile.vectors - 1 else ""
        yield f"vmovup{kind[1]} {v * _BYTES}({_B}), %zmm{row + v}{mask}"
    for r in range(tile.rows):
        spread = _spread(tile, r)
        yield f"vbroadcasts{kind[1]} {r * tile.left_row * size}({_A}), %zmm{spread}"
        for v in range(tile.vectors):
            yield f"vfmadd231{kind} %zmm{row + v}, %zmm{spread}, %zmm{r * tile.vectors + v}"
    yield f"addq $${step.left * size}, {_A}"
    yield f"addq $${step.right * size}, {_B}"
    yield f"decq {_COUNT}"
    yield "jnz 1b"
    yield "2:"
    if tile.mode == ASK:
        yield f"testq {_MORE}, {_MORE}"
        yield "jz 3f"
        yield from _added(tile, kind, masked)
        yield "3:"
    elif tile.mode == ADD:
        yield from _added(tile, kind, masked)
    for r, v, place in _places(tile):
        mask = "{%k1}" if masked and v == tile.vectors - 1 else ""
        yield f"vmovup{kind[1]} %zmm{r * tile.vectors + v}, {place}({_C}){mask}"
    yield "vzeroupper"


def _spread(tile: Tile, row: int) -> int:
    """The register for a number of A: one after the other, as many as are left."""
    first = (tile.rows + 1) * tile.vectors
    return first + row % (_REGISTERS - first)


def _places(tile: Tile) -> Iterator[tuple[int, int, int]]:
    """Row, vector and place in bytes of each vector of the result."""
    for r in range(tile.rows):
        for v in range(tile.vectors):
            yield r, v, (r * tile.result_row) * tile.dtype.itemsize + v * _BYTES


def _added(tile: Tile, kind: str, masked: bool) -> Iterator[str]:
    """Add what the result holds to the accumulators."""
    for r, v, place in _places(tile):
        mask = "{%k1}{z}" if masked and v == tile.vectors - 1 else ""
        sums = f"%zmm{r * tile.vectors + v}"
        yield f"vadd{kind} {place}({_C}), {sums}, {sums}{mask}"
