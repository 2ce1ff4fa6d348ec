"""Units of code, compiled on other threads while more of them are written.

Python writes a program for as long as LLVM compiles it. So what is finished is compiled at once, by
as many threads as programs may use. LLVM asks only that no two modules share a context.

Beside others, the thread that writes does not compile itself: an interrupt (Ctrl-C), which strikes
the main thread only, might leave it with the one lock of llvmlite, and them waiting forever.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, final

from clew.evaluate.native import cache, toolchain
from clew.evaluate.native.threads import threads
from clew.evaluate.native.toolchain import Library, Target, loaded, target

_SWITCH = 5e-5
"""Seconds until the thread that writes hands over the interpreter.

Between two calls of LLVM others need it for microseconds; they would wait 5 ms for it each time.
"""


@final
@dataclass(frozen=True, slots=True)
class Unit:
    """The text of a module, and the functions in it that others call.

    Entry points must not have internal linkage. For the levels see
    :func:`clew.evaluate.native.toolchain.object_code`.
    """

    text: str
    entry_points: tuple[str, ...] = ()
    level: int = 3


@final
class Task:
    """A unit whose code is found on disk, or being made."""

    __slots__ = ("cached", "key", "result", "unit")

    def __init__(self, unit: Unit, key: str) -> None:
        self.unit = unit
        self.key = key
        self.result: Any = cache.load(key)
        """The object, or why there is none; None as long as it is not made."""
        self.cached = self.result is not None

    def run(self) -> None:
        """Make the object."""
        try:
            self.result = toolchain.object_code(self.unit.text, self.unit.level)
        except BaseException as error:
            self.result = error

    @property
    def length(self) -> int:
        """About how long it takes: several times as long where vectors are looked for."""
        return len(self.unit.text) * (4 if self.unit.level >= 2 else 1)


@final
class Compiler:
    """Compiles the units that it is given; to be used in a ``with`` statement, by one thread.

    Others that compile, or fork, wait until the end of that statement.

    >>> square = "define double @square(double %x) { %y = fmul double %x, %x  ret double %y }"
    >>> with Compiler() as compiler:
    ...     task = compiler.add(Unit(square, ("square",)))
    ...     _ = compiler.finish()
    >>> type(task.result)
    <class 'bytes'>
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()
        self._made: list[Task] = []
        self._threads: list[threading.Thread] = []
        self._interval = 0.0

    def __enter__(self) -> Compiler:
        toolchain.lock.acquire()
        try:
            made_for = target()
        except BaseException:
            toolchain.lock.release()
            raise
        self._described = [getattr(made_for, part) for part in Target.__slots__]
        self._interval = sys.getswitchinterval()
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            list(self._drop())
            self._join()
        finally:
            toolchain.lock.release()
        toolchain.close_waiting()

    def add(self, unit: Unit) -> Task:
        """Have a unit compiled, if it is not in the cache, while its caller goes on."""
        task = self._task(unit)
        if not task.cached:
            self._waiting.put(task)
            self._start(threads() - 1)
        return task

    def finish(self, units: Sequence[Unit] = ()) -> list[Task]:
        """Compile some more units, and wait for all; raise what was raised for the first."""
        tasks = [self._task(unit) for unit in units]
        for task in sorted(tasks, key=lambda task: -task.length):
            if not task.cached:
                self._waiting.put(task)
        alone = threads() == 1 or (not self._threads and self._waiting.qsize() < 2)
        self._start(0 if alone else threads())
        if not self._threads:
            for task in self._drop():
                task.run()
        self._join()
        for task in self._made:
            if isinstance(task.result, BaseException):
                raise task.result
            cache.store(task.key, task.result)
        return tasks

    def _task(self, unit: Unit) -> Task:
        task = Task(unit, cache.key(unit.text, *self._described, str(unit.level)))
        if not task.cached:
            self._made.append(task)
        return task

    def _start(self, most: int) -> None:
        """Start a thread for each task that waits, up to so many in all."""
        for _ in range(min(most - len(self._threads), self._waiting.qsize())):
            thread = threading.Thread(target=self._work)
            self._threads.append(thread)  # before it starts: an interrupt may come in between
            sys.setswitchinterval(min(_SWITCH, self._interval))
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter ends
                self._threads.pop()

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            task.run()
        self._waiting.put(None)  # for the next one

    def _drop(self) -> Iterator[Task]:
        """Take what nobody has begun."""
        with contextlib.suppress(Empty):
            while (task := self._waiting.get_nowait()) is not None:
                yield task

    def _join(self) -> None:
        """Wait until the threads have done what is left."""
        self._waiting.put(None)
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):  # an interrupt came before it started
                thread.join()
        self._threads.clear()
        sys.setswitchinterval(self._interval)


def compiled(text: str, entry_points: Sequence[str], level: int = 3) -> Library:
    """Return the machine code of one module, from the cache if it was compiled before.

    Outside functions are found among those of ``llvmlite.binding.add_symbol`` and those of the C
    library.

    >>> import ctypes
    >>> square = "define double @square(double %x) { %y = fmul double %x, %x  ret double %y }"
    >>> library = compiled(square, ["square"])
    >>> ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("square"))(3.0)
    9.0
    """
    with Compiler() as compiler:
        (task,) = compiler.finish([Unit(text, tuple(entry_points), level)])
        library = loaded([task.result], entry_points)
    library.cached = task.cached
    return library
