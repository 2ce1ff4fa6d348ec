"""A progress bar for people, silent when no one is looking; and Ctrl-C that loses nothing."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Bar:
    """A line that shows how far a run is.

    Parameters
    ----------
    shown : bool, optional
        By default only if the standard error output is a terminal.
    """

    def __init__(self, title: str, limit: int, shown: bool | None = None) -> None:
        self.title = title
        self.limit = limit
        self.shown = sys.stderr.isatty() if shown is None else shown
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("step {task.completed}"),
                TextColumn("{task.fields[facts]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._progress.start()
            self._task = self._progress.add_task(self.title, total=self.limit, facts="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, step: int, loss: float, gradient_norm: float) -> None:
        """Show a step."""
        if self._progress is not None:
            facts = f"loss {loss:.6g}  gradient {gradient_norm:.1e}"
            self._progress.update(self._task, completed=step, facts=facts)


class Interruption:
    """Ctrl-C ends the run at once, but never in the middle of its bookkeeping.

    The first Ctrl-C raises ``KeyboardInterrupt`` inside :meth:`allowed` and is remembered
    elsewhere; a second one is always raised. Off the main thread, or where Ctrl-C is ignored,
    nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._allowed = False
        self._before: Any = None
        self._installed = False

    def __enter__(self) -> Interruption:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._interrupt)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if self._allowed or again:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let Ctrl-C through."""
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep Ctrl-C back until the block has ended."""
        before, self._allowed = self._allowed, False
        try:
            yield
        finally:
            self._allowed = before
