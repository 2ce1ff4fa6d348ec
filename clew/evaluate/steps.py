"""The steps of compiled programs as lines of text, for explanations and profiles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from clew.core.graph import Graph
from clew.core.memory import readable
from clew.core.source import Where
from clew.evaluate.native.notes import Notes, StepNote
from clew.evaluate.native.program import NoNativeForm, Program

_MOST_NAMES = 5
_MOST_LINES = 3
_COMMAND_LINE = (os.path.join("click", "core.py"), "<frozen runpy>")


@dataclass(frozen=True)
class ProgramReport:
    """A native program: what it is made of, and how it was made.

    Attributes
    ----------
    graph : Graph
    """

    graph: Graph
    _written: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def reason(self) -> str:
        """Why the reference evaluator runs the graph; empty if native code does."""
        if "why not native" in self.graph.programs:
            return self.graph.programs["why not native"]
        _ = self.steps
        return "" if self._written else "a tape that native code cannot hold"

    @property
    def compiled(self) -> bool:
        """Whether there is code already."""
        return self.graph.programs.get("native") is not None

    @cached_property
    def steps(self) -> tuple[StepNote, ...]:
        """The steps, written anew to be looked at; none if there is no native form."""
        notes = Notes()
        try:
            program = Program(self.graph, notes)
        except NoNativeForm:
            return ()
        self._written["arena"] = program.arena.size
        self._written["callouts"] = len(program.callouts)
        return tuple(notes.steps)

    @property
    def arena(self) -> int:
        """Bytes of memory that a call works in, besides arguments and results."""
        _ = self.steps
        return self._written.get("arena", 0)

    @property
    def call_outs(self) -> tuple[StepNote, ...]:
        """The steps that Python evaluates."""
        return tuple(each for each in every(self.steps) if each.kind == "call-out")

    @property
    def size(self) -> int:
        """Bytes of code; 0 before it is compiled."""
        return self.graph.programs["native"].facts.size if self.compiled else 0

    @property
    def seconds(self) -> float:
        """Seconds that making the code took; 0.0 before it is compiled."""
        return self.graph.programs["native"].facts.seconds if self.compiled else 0.0

    @property
    def cached(self) -> bool:
        """Whether the code was found on disk."""
        return self.compiled and self.graph.programs["native"].facts.cached

    def lines(self) -> list[str]:
        """Return the report as lines."""
        if self.reason:
            return [f"reference evaluator: {self.reason}"]
        made = "not compiled yet"
        if self.compiled:
            source = "from the cache on disk" if self.cached else "compiled"
            made = f"{readable(self.size)} of code, {source} in {duration(self.seconds)}"
        count = len(self.steps)
        first = f"native: {count} {'step' if count == 1 else 'steps'}, {made}"
        return [f"{first}, works in {readable(self.arena)}", *_lines(self.steps, 1)]


def every(steps: Iterable[StepNote]) -> Iterator[StepNote]:
    """Yield steps and the steps inside them."""
    for step in steps:
        yield step
        yield from every(step.inside)


def _lines(steps: Sequence[StepNote], depth: int) -> list[str]:
    from clew.evaluate.native.machine import machine

    found = []
    for step in steps:
        words = [title(step)]
        if step.kind not in ("registers", "check"):
            words += _amounts(step)
            seconds = machine().seconds(step)
            words += [] if seconds is None else [f"predicted {duration(seconds)}"]
        where = places(step.lines)
        words += [f"at {where}"] if where else []
        found.append(f"{'  ' * depth}{', '.join(words)}")
        found += _lines(step.inside, depth + 1)
    return found


def _amounts(step: StepNote) -> list[str]:
    if step.kind in ("loop", "branches", "group"):
        return []
    words = [f"reads {readable(step.read)}", f"writes {readable(step.written)}"]
    if step.operations:
        words.append(f"{step.operations:,} operations")
    if step.chunks > 1:
        words.append(f"in {step.chunks} chunks{' with the step before' if step.rides else ''}")
    return words


def title(step: StepNote) -> str:
    """Return what a step is: its kind, its loops, and what was put together in it."""
    if step.kind == "call-out":
        return f"call-out {step.equations[0].primitive.name}, {step.reason}"
    if step.kind == "loop":
        length = "unknown length" if step.length is None else f"{step.length:,} times"
        return f"loop {length}"
    if step.kind in ("branches", "group"):
        return step.kind
    if step.kind in ("product", "copy", "scatter", "routine"):
        name = step.equations[0].primitive.name
        types = " x ".join(str(atom.type) for atom in step.equations[0].inputs)
        return f"{step.kind} {name} {types}"
    loops = " x ".join(str(extent) for extent in step.extents)
    total = len(step.equations)
    counted = f"{total} equation{'' if total == 1 else 's'} ({_named(step.names)})"
    return f"{step.kind}{f' {loops}' if loops else ''}: {counted}"


def _named(names: dict[str, int]) -> str:
    shown = list(names.items())[:_MOST_NAMES]
    words = [name if count == 1 else f"{count} {name}" for name, count in shown]
    if len(names) > len(shown):
        words.append(f"{len(names) - len(shown)} more")
    return ", ".join(words)


def places(lines: Sequence[Where]) -> str:
    """Return lines of source in few words; those by which the command line calls are left out.

    >>> places([Where("a/m.py", 3), Where("a/m.py", 5), Where("a/n.py", 7)])
    'm.py:3,5 n.py:7'
    """
    by_file: dict[str, list[int]] = {}
    for where in lines:
        if where.file.endswith(_COMMAND_LINE):
            continue
        name = str(where).rsplit(":", 1)[0]
        by_file.setdefault(name, []).append(where.line)
    words = []
    for name, numbers in by_file.items():
        shown = [str(number) for number in numbers[:_MOST_LINES]]
        more = "..." if len(numbers) > len(shown) else ""
        words.append(f"{name}:{','.join(shown)}{more}")
    return " ".join(words)


def duration(seconds: float) -> str:
    """Return a time as people write it.

    >>> duration(0.25), duration(3.2e-6), duration(12.0)
    ('250 ms', '3.2 us', '12 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
