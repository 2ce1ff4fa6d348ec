"""How many threads compiled programs use."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable

from clew.core.errors import InputError
from clew.core.source import Where

# Slots for threads in the native pool.
MOST = 256

_chosen: int | None = None
_listeners: list[Callable[[int], None]] = []


def threads() -> int:
    """Return how many threads compiled programs use.

    Unless :func:`set_threads` was called it is ``$CLEW_THREADS``, else the number of processors
    that this process may run on. The calling thread is one of them.
    """
    if _chosen is not None:
        return _chosen
    wanted = os.environ.get("CLEW_THREADS", "").strip()
    if not wanted:
        return min(processors(), MOST)
    try:
        return _checked(int(wanted))
    except ValueError:
        raise InputError(
            f"CLEW_THREADS is {wanted!r}, which is not a number from 1 to {MOST}",
            "set it to the number of threads, or unset it to use every processor",
            Where(),
        ) from None


def set_threads(n: int) -> None:
    """Choose how many threads compiled programs use, the calling one included.

    Results do not depend on it. Threads start when there is first work for them.

    >>> before = threads()
    >>> set_threads(2)
    >>> threads()
    2
    >>> set_threads(before)
    """
    global _chosen
    _chosen = _checked(n)
    for listener in _listeners:
        listener(_chosen)


def workers() -> int:
    """Return the number after the highest worker number that a program can meet now."""
    return threads()


def processors() -> int:
    """Return how many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_change(listener: Callable[[int], None]) -> None:
    """Have a function called with the new number whenever it is set."""
    _listeners.append(listener)


def _checked(n: int) -> int:
    try:
        count = operator.index(n)
    except TypeError:
        count = 0
    if isinstance(n, bool) or not 1 <= count <= MOST:
        raise InputError(
            f"set_threads: n is {n!r}, which is not a whole number from 1 to {MOST}",
            f"pass how many threads to use, for example clew.set_threads({processors()})",
        )
    return count
