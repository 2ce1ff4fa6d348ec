"""Units of code, compiled on other threads while more of them are written.

Python writes a program for as long as LLVM compiles it. So what is finished is compiled at once, by
as many threads as programs may use; the thread that writes takes its part when nothing is left
to write. LLVM asks only that no two modules share a context.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
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
        except Exception as error:
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
        self._waiting: list[Task] = []
        self._made: list[Task] = []
        self._change = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._open = True
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
            self._close()
        finally:
            toolchain.lock.release()
        toolchain.close_waiting()

    def add(self, unit: Unit) -> Task:
        """Have a unit compiled, if it is not in the cache, while its caller goes on."""
        task = self._added(unit)
        self._start(len(self._waiting))
        return task

    def finish(self, units: Sequence[Unit] = ()) -> list[Task]:
        """Compile some more units, and wait for all; raise what was raised for the first."""
        tasks = [self._added(unit) for unit in units]
        self._start(len(self._waiting) - 1)
        while (task := self._next(wait=False)) is not None:
            task.run()
        self._close()
        for task in self._made:
            if isinstance(task.result, Exception):
                raise task.result
            cache.store(task.key, task.result)
        return tasks

    def _added(self, unit: Unit) -> Task:
        task = Task(unit, cache.key(unit.text, *self._described, str(unit.level)))
        if not task.cached:
            self._made.append(task)
            with self._change:
                self._waiting.append(task)
                self._change.notify()
        return task

    def _start(self, wanted: int) -> None:
        """Start as many threads as are wanted and not there yet."""
        for _ in range(len(self._threads), min(wanted, threads() - 1)):
            thread = threading.Thread(target=self._work)
            with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter ends
                thread.start()
                self._threads.append(thread)
                sys.setswitchinterval(min(_SWITCH, self._interval))

    def _work(self) -> None:
        while (task := self._next(wait=True)) is not None:
            task.run()

    def _next(self, wait: bool) -> Task | None:
        """Take the longest task; None if there is none, and there will be none."""
        with self._change:
            while wait and self._open and not self._waiting:
                self._change.wait()
            if not self._waiting:
                return None
            longest = max(self._waiting, key=lambda task: task.length)
            self._waiting.remove(longest)
            return longest

    def _close(self) -> None:
        """End the threads; what nobody has begun is dropped."""
        with self._change:
            self._open = False
            self._waiting.clear()
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        if self._threads:
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
