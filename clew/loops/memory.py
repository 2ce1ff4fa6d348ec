"""How much memory there is, and the error of a loop that would need more."""

from __future__ import annotations

import os
from pathlib import Path

from clew.core.errors import MemoryLimitError
from clew.loops.spec import Policy

AUTO_BYTES = 2**26
"""What ``checkpoint="auto"`` may keep if ``memory`` does not say: 64 MiB."""


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
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            break
    else:
        unit = "TiB"
        count /= 1024
    return f"{count:.1f} {unit}"


class Budget:
    """What a loop may store: its policy's ``memory``, or else what the machine has."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._checked = 0

    def require(self, needed: int, what: str, per_step: int = 0) -> None:
        """Raise if ``needed`` bytes are more than there may be; asks the machine rarely."""
        if self._policy.memory is None and needed < self._checked + 2**26:
            return
        allowed = available_memory() if self._policy.memory is None else self._policy.memory
        self._checked = needed
        if needed <= allowed:
            return
        source = "the machine has" if self._policy.memory is None else "memory= allows"
        fitting = max(1, allowed // (2 * per_step)) if per_step else 0
        setting = f'checkpoint="auto" or checkpoint={fitting}' if fitting else 'checkpoint="auto"'
        raise MemoryLimitError(
            f"{self._policy.spelling}: {what} takes {readable(needed)}, "
            f"{source} {readable(allowed)}: {readable(needed - allowed)} too much",
            f"pass {setting}, which keeps snapshots and recomputes between them, "
            "or a larger memory=",
            self._policy.where or None,
        )
