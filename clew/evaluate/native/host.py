"""What native code needs to know of the machine: vector width, registers, caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """A machine as the emitters see it.

    Parameters
    ----------
    vector : int
        Bytes in a vector register; 0 where there are none.
    registers : int
        How many vector registers (or scalar ones, without vectors) there are.
    fma : bool
        Whether ``x y + z`` is one instruction.
    level1, level2, level3 : int
        Bytes of data cache for one core (level 3: for all).
    cores : int
        Processors of the machine, whether they are used or not.
    assembly : bool
        Whether kernels may be written in the assembly of AVX-512.

    >>> Host(vector=32, registers=16, fma=True).lanes(4)
    8
    """

    vector: int = 0
    registers: int = 16
    fma: bool = False
    level1: int = 32 << 10
    level2: int = 512 << 10
    level3: int = 4 << 20
    cores: int = 2
    assembly: bool = False

    def lanes(self, itemsize: int) -> int:
        """Return how many numbers of this size a register holds, at least one."""
        return max(1, self.vector // itemsize)

    def workers(self) -> tuple[int, ...]:
        """Return numbers of workers for which work should be cut well.

        >>> Host(cores=12).workers()
        (2, 4, 8)
        """
        return tuple(n for n in (2, 4, 8) if n <= max(2, self.cores))


def vectors_of(features: dict[str, bool]) -> tuple[int, int, bool]:
    """Return (bytes in a vector register, registers, fused multiply-add) for LLVM's features.

    >>> vectors_of({"avx": True, "avx2": True, "fma": True})
    (32, 16, True)
    >>> vectors_of({})
    (0, 16, False)
    """
    has = {name for name, there in features.items() if there}
    if "avx512f" in has:
        return 64, 32, True
    if "avx" in has:
        return 32, 16, "fma" in has
    if "neon" in has or "asimd" in has:
        return 16, 32, True
    if "sse2" in has:
        return 16, 16, False
    return 0, 16, False


def cache_sizes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> dict[int, int]:
    """Return the bytes of data cache by level, as far as the system tells."""
    sizes: dict[int, int] = {}
    for entry in sorted(folder.glob("index*")):
        try:
            level = int((entry / "level").read_text())
            if (entry / "type").read_text().strip() == "Instruction":
                continue
            sizes[level] = _bytes((entry / "size").read_text().strip())
        except (OSError, ValueError):
            continue
    names = getattr(os, "sysconf_names", {})
    for level, name in (
        (1, "SC_LEVEL1_DCACHE_SIZE"),
        (2, "SC_LEVEL2_CACHE_SIZE"),
        (3, "SC_LEVEL3_CACHE_SIZE"),
    ):
        if level not in sizes and name in names:
            try:
                size = os.sysconf(name)
            except (OSError, ValueError):
                continue
            if size > 0:
                sizes[level] = size
    return sizes


_ALWAYS = {"aarch64": {"neon": True}, "arm64": {"neon": True}, "x86_64": {"sse2": True}}
"""What every processor of an architecture has, also where the system does not say so."""


def _bytes(text: str) -> int:
    """Read a size as Linux writes it, ``48K``."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * unit


@cache
def host() -> Host:
    """Return this machine; what cannot be found out has a cautious value."""
    import llvmlite.binding as llvm

    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know how to ask this system
        features = {}
    architecture = llvm.get_process_triple().partition("-")[0]
    vector, registers, fma = vectors_of({**_ALWAYS.get(architecture, {}), **features})
    usual = Host()
    sizes = cache_sizes()
    return Host(
        vector,
        registers,
        fma,
        level1=max(sizes.get(1, usual.level1), 16 << 10),
        level2=max(sizes.get(2, usual.level2), 128 << 10),
        level3=max(sizes.get(3, usual.level3), sizes.get(2, 0)),
        cores=os.cpu_count() or 1,
        assembly=architecture == "x86_64" and vector == 64,
    )
