"""``profile``: how long each step of a function's native code takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clew.core.errors import InputError
from clew.core.graph import Graph
from clew.evaluate.jit import Cache, jit
from clew.evaluate.native.clocks import Clock, Clocked, Session, clocked
from clew.evaluate.native.machine import machine
from clew.evaluate.native.notes import StepNote
from clew.evaluate.steps import duration, places, title

_SECONDS = 0.2
"""A function is called again and again for so long, unless told how often."""
_MOST_RUNS = 1000
_WIDEST = 64
"""Characters of a step that are printed."""
_HEADINGS = ("step", "calls", "time", "share", "predicted", "GB/s", "GFLOP/s", "at")


@dataclass(frozen=True)
class ProfileRow:
    """One step of a program, and how long it took in one call of the function.

    Attributes
    ----------
    step : StepNote
    depth : int
        How many loops, branches and groups it stands in.
    calls : float
        How often it ran.
    seconds : float
        All its calls together.
    clocked : bool
        Whether it has a clock of its own. Steps in registers have none: they are given what their
        surroundings leave over, in proportion to their operations.
    share : float
        Of the time spent in native programs.
    predicted : float or None
        Seconds that the model of the machine predicts for these calls.
    """

    step: StepNote
    depth: int
    calls: float
    seconds: float
    clocked: bool
    share: float
    predicted: float | None

    @property
    def bytes_per_second(self) -> float:
        """Memory read and written in a second; 0.0 for what consists of other steps."""
        return self._rate(self.step.read + self.step.written)

    @property
    def operations_per_second(self) -> float:
        """Floating-point operations in a second; 0.0 for what consists of other steps."""
        return self._rate(self.step.operations)

    def _rate(self, amount: int) -> float:
        return amount * self.calls / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class ProgramProfile:
    """One native program: how often it ran, and for how long, in one call of the function."""

    graph: Graph
    calls: float
    seconds: float
    rows: tuple[ProfileRow, ...]

    def __str__(self) -> str:
        inputs = ", ".join(str(var.type) for var in self.graph.inputs)
        outputs = ", ".join(str(atom.type) for atom in self.graph.outputs)
        return f"({inputs}) -> ({outputs})"


@dataclass(frozen=True)
class Profile:
    """Where the time of a function goes; prints as a table.

    Attributes
    ----------
    name : str
    runs : int
        Calls that were measured; all figures are means over them.
    seconds : float
        One call, with the clocks on: Python around the native programs included.
    programs : tuple of ProgramProfile
        The slowest first. There are several where Python conditions divide the function.
    reference : tuple of str
        Why graphs ran on the reference evaluator, if any did.
    """

    name: str
    runs: int
    seconds: float
    programs: tuple[ProgramProfile, ...]
    reference: tuple[str, ...]

    @property
    def native_seconds(self) -> float:
        """The part of a call spent in native programs, what they call in Python included."""
        return sum(program.seconds for program in self.programs)

    @property
    def rows(self) -> tuple[ProfileRow, ...]:
        """The steps of all programs."""
        return tuple(row for program in self.programs for row in program.rows)

    def __str__(self) -> str:
        rest = max(self.seconds - self.native_seconds, 0.0)
        calls = "call" if self.runs == 1 else "calls"
        lines = [
            f"{self.name}: {duration(self.seconds)} a call, {duration(self.native_seconds)} of it "
            f"in native code, {duration(rest)} in Python (mean of {self.runs:,} {calls})"
        ]
        lines += [f"reference evaluator: {reason}" for reason in self.reference]
        if not self.programs:
            return "\n".join(lines)
        table: list[tuple[str, ...]] = [_HEADINGS]
        for program in self.programs:
            table.append(_program_cells(program, self.native_seconds))
            table += [_cells(row) for row in program.rows]
        return "\n".join([*lines, *_aligned(table), f"predicted for {machine()}"])

    __repr__ = __str__


def profile(f: Callable[..., Any], *, runs: int | None = None) -> Callable[..., Profile]:
    """Return a function that measures each step of ``f`` for its arguments.

    The function is traced and compiled anew, with a clock around each kernel, product, copy, loop
    and call of Python, called until 0.2 s have passed (or ``runs`` times), and the means are
    reported. The code of ``f`` itself, if it is compiled, stays as it is. A clock takes some 10
    to 30 ns, so a loop over very short steps looks slower than it is without.

    Parameters
    ----------
    f : callable
        Compiled by :func:`clew.jit` or not.
    runs : int, optional
        Calls to be measured.

    Returns
    -------
    callable
        Takes the arguments of ``f``; returns a :class:`Profile`.

    >>> import clew, numpy as np
    >>> def f(x):
    ...     return clew.scan(lambda c, _: (np.sin(c) * x, None), x, length=10)[0]
    >>> report = profile(f, runs=5)(np.ones(1000))
    >>> [(row.step.kind, row.depth, row.calls) for row in report.rows]
    [('loop', 0, 1.0), ('kernel', 1, 10.0)]
    >>> report.rows[0].seconds >= report.rows[1].seconds > 0
    True
    """
    if runs is not None and (type(runs) is not int or runs < 1):
        raise InputError(f"profile: runs={runs!r}", "measure at least 1 call")
    cache = getattr(f, "paths", None)
    function = cache.function if isinstance(cache, Cache) else f

    def measured(*args: Any, **kwargs: Any) -> Profile:
        own = jit(function)
        with clocked() as session:
            own(*args, **kwargs)
            own(*args, **kwargs)
            session.reset()
            count = 0
            begun = time.perf_counter()
            passed = 0.0
            while count < (runs or _MOST_RUNS) and (runs or not count or passed < _SECONDS):
                own(*args, **kwargs)
                count += 1
                passed = time.perf_counter() - begun
        name = getattr(function, "__name__", "a function")
        return profile_of(session, name, count, passed)

    return measured


def profile_of(session: Session, name: str, runs: int, seconds: float) -> Profile:
    """Return what the clocks of a session show, after so many calls in so many seconds."""
    clocks = [each for each in session.programs.values() if each.notes is not None]
    total = sum(_total(each)[1] for each in clocks)
    programs = [_of_program(each, runs, total) for each in clocks if _total(each)[0]]
    programs.sort(key=lambda program: -program.seconds)
    reasons = [
        str(each.graph.programs.get("why not native", "no native form"))
        for each in session.programs.values()
        if each.notes is None
    ]
    return Profile(name, runs, seconds / runs, tuple(programs), tuple(dict.fromkeys(reasons)))


def _total(each: Clocked) -> tuple[int, float]:
    """Return how often a program ran, and for how many seconds in all."""
    notes = each.notes
    assert notes is not None
    assert notes.clock is not None
    assert notes.total is not None
    return notes.clock.calls(notes.total), notes.clock.seconds(notes.total)


def _of_program(each: Clocked, runs: int, total: float) -> ProgramProfile:
    calls, seconds = _total(each)
    assert each.notes is not None
    assert each.notes.clock is not None
    rows = tuple(_rows(each.notes.steps, each.notes.clock, 0, seconds, runs, total))
    return ProgramProfile(each.graph, calls / runs, seconds / runs, rows)


def _rows(
    steps: Sequence[StepNote],
    clock: Clock,
    depth: int,
    seconds: float,
    runs: int,
    total: float,
) -> Iterator[ProfileRow]:
    """Yield the rows of steps that took so many seconds together."""
    known = {id(s): clock.seconds(s.row) for s in steps if s.timed and s.row is not None}
    left = max(seconds - sum(known.values()), 0.0)
    counts = [0 if step.row is None else clock.calls(step.row) for step in steps]
    work = sum(n * s.work for n, s in zip(counts, steps, strict=True) if id(s) not in known)
    for step, own_calls in zip(steps, counts, strict=True):
        own = known.get(id(step), left * (own_calls * step.work / work) if work else 0.0)
        once = machine().seconds(step)
        yield ProfileRow(
            step,
            depth,
            own_calls / runs,
            own / runs,
            step.timed,
            own / total if total else 0.0,
            None if once is None else once * own_calls / runs,
        )
        yield from _rows(step.inside, clock, depth + 1, own, runs, total)


def _program_cells(program: ProgramProfile, total: float) -> tuple[str, ...]:
    share = f"{program.seconds / total:.1%}" if total else ""
    calls = f"{program.calls:.4g}"
    name = _cut(f"program {program}")
    return name, calls, duration(program.seconds), share, "", "", "", ""


def _cells(row: ProfileRow) -> tuple[str, ...]:
    container = row.step.kind in ("loop", "branches", "group")
    moved, done = row.bytes_per_second / 1e9, row.operations_per_second / 1e9
    return (
        _cut("  " * (row.depth + 1) + title(row.step)),
        f"{row.calls:.4g}",
        f"{'' if row.clocked else '~'}{duration(row.seconds)}",
        f"{row.share:.1%}",
        "" if row.predicted is None else duration(row.predicted),
        "" if container or not moved else f"{moved:.3g}",
        "" if container or not done else f"{done:.3g}",
        places(row.step.lines),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cells[i]) for cells in table) for i in range(len(_HEADINGS))]
    lines = []
    for cells in table:
        first, *middle, last = (
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        lines.append("  ".join([first, *middle, last]).rstrip())
    return lines
