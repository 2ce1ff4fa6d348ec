"""The memory plan: places in one block, handed out and taken back while code is written."""

from __future__ import annotations

import bisect

_ALIGNMENT = 64


class Arena:
    """Hands out offsets; what is released is used again.

    >>> arena = Arena()
    >>> first = arena.allocate(100)
    >>> arena.release(first)
    >>> arena.allocate(64) == first, arena.size
    (True, 128)
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []
        self._taken: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """Return the offset of a place of at least so many bytes, aligned to a cache line."""
        size = max(_ALIGNMENT, -(-size // _ALIGNMENT) * _ALIGNMENT)
        fitting = [(length, start) for start, length in self._free if length >= size]
        if fitting:
            length, start = min(fitting)
            self._free.remove((start, length))
            if length > size:
                bisect.insort(self._free, (start + size, length - size))
        else:
            start = self.size
            if self._free and sum(self._free[-1]) == self.size:  # the last place can grow
                start = self._free.pop()[0]
            self.size = start + size
        self._taken[start] = size
        return start

    def beyond(self, size: int) -> int:
        """Return the offset of a place that shares nothing with any other, ever."""
        start = self.size
        self.size += -(-size // _ALIGNMENT) * _ALIGNMENT
        return start

    def release(self, start: int) -> None:
        """Take a place back."""
        size = self._taken.pop(start)
        bisect.insort(self._free, (start, size))
        merged: list[tuple[int, int]] = []
        for begin, length in self._free:
            if merged and sum(merged[-1]) == begin:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((begin, length))
        self._free = merged
