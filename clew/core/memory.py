"""How much memory there is, and the refusal of a graph that would need more."""

from __future__ import annotations

import os
from pathlib import Path

from clew.core.cost import bytes_of, measured
from clew.core.errors import MemoryLimitError
from clew.core.graph import Equation, Graph

_SMALL = 2**28
"""Graphs whose results come to less in all are not looked at more closely."""


def available_memory() -> int:
    """Return the bytes that this process can still get: the machine's, or its container's.

    >>> available_memory() > 0
    True
    """
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, max(int(limit) - used, 0))


def readable(count: float) -> str:
    """Return a number of bytes as people write it.

    >>> readable(64 * 2**20), readable(900)
    ('64.0 MiB', '900 bytes')
    """
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while count >= 1024 and power < len(units) - 1:
        count /= 1024
        power += 1
    return f"{count:.{int(power > 0)}f} {units[power]}"


def require_memory(what: str, graph: Graph) -> None:
    """Raise if running a graph would need more memory than there is.

    Raises
    ------
    MemoryLimitError
        With how much is missing, and the line of the equation that needs most.
    """
    total = sum(bytes_of(var.type) for each in graph.equations for var in each.outputs)
    if total < _SMALL:
        return
    needed, available = graph.cost().peak, available_memory()
    if needed <= available:
        return
    largest = max(graph.equations, key=_held)
    size = readable(_held(largest))
    raise MemoryLimitError(
        f"{what}: holds {readable(needed)} at once, the machine has {readable(available)}: "
        f"{readable(needed - available)} too much; most of it, {size}, is for "
        f"{largest.primitive.name}",
        _setting_that_fits(largest, available),
        largest.where or None,
    )


def _held(equation: Equation) -> int:
    each = measured(equation)
    return sum(each.results) + each.workspace


def _setting_that_fits(equation: Equation, available: int) -> str:
    if equation.primitive.name == "loop":
        return f'pass checkpoint="auto", memory={available // 4} to this loop'
    return "wrap the part that makes it in clew.checkpoint, or run it in a loop with checkpoint="
