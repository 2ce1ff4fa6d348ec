"""Threads that wait in native code and run the chunks of a compiled loop.

``clew_parallel(function, context, chunks)`` calls ``function(context, chunk, worker)`` for every
chunk, on the calling thread (worker 0) and on the pool's, and returns when all are done. Which
worker runs a chunk is left to chance. How it works is told in ``pool_text.py``.

A call while the pool is at work, from within a chunk or from another Python thread, runs its chunks
in the calling thread, every one as worker 0: such a call needs scratch memory of its own. (Chunks
of a call that was sent away so may find the pool free again for calls of theirs.) On Windows all
calls run so. A forked child has no threads but the calling one; its pool starts anew.
"""

from __future__ import annotations

import ctypes
import functools
import os

from clew.evaluate.native import threads
from clew.evaluate.native.compiling import compiled
from clew.evaluate.native.pool_text import ENTRY_POINTS, pool_text
from clew.evaluate.native.toolchain import Library, lock, target

# Nanoseconds that a worker without work stays awake: a program's next loop finds it so.
_WATCH = 20_000


class Pool:
    """A pool's compiled functions, and how many threads it may use.

    There is one for the process (:func:`install`); more are of use in tests only.
    """

    def __init__(self, library: Library) -> None:
        # Workers run this code until the process ends.
        library.keep()
        self.parallel = library.address("clew_parallel")
        self.parallel_within = library.address("clew_parallel_within")
        word = ctypes.c_int64
        self._set = ctypes.CFUNCTYPE(None, word, word)(library.address("clew_pool_set"))
        self._started = ctypes.CFUNCTYPE(word)(library.address("clew_pool_started"))
        self._forget = ctypes.CFUNCTYPE(None)(library.address("clew_pool_forget"))
        self._forget()
        self.resize(threads.threads())
        threads.on_change(self.resize)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def resize(self, count: int) -> None:
        """Use this many threads from the next job on."""
        # More threads than processors take turns: one that watches would keep another from work.
        self._set(count, _WATCH if count <= threads.processors() else 0)

    def started(self) -> int:
        """Return how many threads there are, the calling one included."""
        return self._started()


def install() -> Pool:
    """Return this process's pool, and have compiled programs find ``clew_parallel``.

    Also ``clew_parallel_within``, whose fourth argument bounds the worker numbers: with it a
    program cannot meet more workers than it has scratch memory for, whatever ``set_threads`` says.
    """
    with lock:
        return _install()


@functools.lru_cache(maxsize=1)
def _install() -> Pool:
    pool = Pool(compiled(pool_text(target().triple), ENTRY_POINTS))
    import llvmlite.binding as llvm

    llvm.add_symbol("clew_parallel", pool.parallel)
    llvm.add_symbol("clew_parallel_within", pool.parallel_within)
    return pool
