"""Notes on a program while it is written: its steps, what each computes and moves, and why.

They are taken only for somebody who asked (:func:`clew.explain`, :func:`clew.profile`); a program
written for use has none.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clew.core.cost import bytes_of, measured
from clew.core.graph import Atom, Equation, Var
from clew.core.source import Where
from clew.core.tape import TapeType
from clew.evaluate.native.clocks import Clock
from clew.evaluate.native.kernel import weight
from clew.evaluate.native.schedule import Schedule, Step
from clew.evaluate.native.spaces import is_view
from clew.evaluate.native.storage import Splat

_KINDS = {
    "loop": "loop",
    "replay": "loop",
    "switch": "branches",
    "remat": "group",
    "guard": "check",
    "check": "check",
    "contract": "product",
    "conv": "product",
    "concatenate": "copy",
    "update": "copy",
    "scatter_add": "scatter",
    "scatter_set": "scatter",
}


@dataclass(eq=False)
class StepNote:
    """One step of a program.

    Attributes
    ----------
    kind : str
        ``kernel`` (a nest of loops), ``registers`` (a few numbers), ``product``, ``copy``,
        ``scatter``, ``loop``, ``branches``, ``group`` (a graph kept whole), ``check``,
        ``routine`` (any other rule), ``call-out`` (Python evaluates it).
    equations : list of Equation
        Those of bodies are in ``inside``.
    extents : tuple of int
        Of the loops of a kernel.
    read, written : int
        Bytes of memory, each time that the step runs.
    operations : int
        Floating-point operations, each time.
    work : int
        The same, functions such as ``exp`` counted by what they take.
    chunks : int
        Parts that threads may share out.
    length : int or None
        How often the steps inside run; None if that is found when running.
    reason : str
        Why Python evaluates a call-out.
    inside : list of StepNote
        The steps of a loop, of branches, or of a group.
    rides : bool
        Whether it runs in the chunks of a step before it, whose time includes its own.
    row : int or None
        In the table of the clock, if there is one. Steps in registers are counted, not timed.
    """

    kind: str
    equations: list[Equation]
    extents: tuple[int, ...] = ()
    read: int = 0
    written: int = 0
    operations: int = 0
    work: int = 0
    chunks: int = 1
    rides: bool = False
    length: int | None = 1
    reason: str = ""
    inside: list[StepNote] = field(default_factory=list)
    row: int | None = None

    @property
    def timed(self) -> bool:
        """Whether the clock measures its duration."""
        return self.row is not None and self.kind != "registers"

    @property
    def names(self) -> dict[str, int]:
        """The primitives of the equations, counted, the most frequent first."""
        return dict(Counter(each.primitive.name for each in self.equations).most_common())

    @property
    def lines(self) -> tuple[Where, ...]:
        """The lines of the source that the equations come from, in order."""
        found = {each.where for each in self.equations if each.where}
        return tuple(sorted(found, key=lambda where: (where.file, where.line)))

    @property
    def itemsize(self) -> int:
        """Bytes of the widest real number that is computed."""
        dtypes = [var.type.dtype for each in self.equations for var in each.outputs]
        sizes = [d.itemsize // (1 + (d.kind == "c")) for d in dtypes if d.kind in "fc"]
        return max(sizes, default=8)


class Notes:
    """The steps of a program, in the order in which they are written.

    Parameters
    ----------
    clock : Clock, optional
        Then the program measures its steps.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.steps: list[StepNote] = []
        self.clock = clock
        self.total: int | None = None
        """The clock's row for the whole program."""
        self._open: list[StepNote] = []
        self._plan: Schedule | None = None
        """That of the last step in registers: a condition and a body are not joined."""
        self._begun = ""

    def begin(self, program: Any) -> None:
        """Start the clock of the whole program."""
        if self.clock is not None:
            self.clock.begin(program)
            self._begun = self.clock.start(program.e)

    def end(self, program: Any) -> None:
        """Stop the clock of the whole program."""
        if self.clock is not None:
            self.total = self.clock.stop(program.e, self._begun)
            self.clock.end(program)

    @contextlib.contextmanager
    def step(self, frame: Any, plan: Schedule, step: Step) -> Iterator[None]:
        """Note a step that is written in the block."""
        before = self._open[-1].inside if self._open else self.steps
        note = _noted(frame, plan, step)
        e = frame.program.e
        if step.kind == "registers":  # counted only: a clock would take longer than the step
            if before and before[-1].kind == "registers" and plan is self._plan:
                _join(before[-1], note)
            else:
                before.append(note)
                note.row = self.clock.count(e) if self.clock is not None else None
            self._plan = plan
            yield
            return
        before.append(note)
        self._open.append(note)
        started = self.clock.start(e) if self.clock is not None else ""
        yield
        if self.clock is not None:
            note.row = self.clock.stop(e, started)
        self._open.pop()

    def in_chunks(self, count: int) -> None:
        """Note that the step being written is cut into parts for threads."""
        if self._open:
            self._open[-1].chunks = max(self._open[-1].chunks, count)

    def rides(self) -> None:
        """Note that the step being written has run in the chunks of one before it."""
        before = self._open[-2].inside if len(self._open) > 1 else self.steps
        first = next(note for note in reversed(before[:-1]) if note.chunks > 1 and not note.rides)
        self._open[-1].rides = True
        self.in_chunks(first.chunks)

    def called_out(self, equation: Equation) -> None:
        """Note that the step being written is left to Python."""
        note = self._open[-1]
        note.kind = "call-out"
        note.inside = []
        note.reason = no_native_form(equation)


def no_native_form(equation: Equation) -> str:
    """Say why Python evaluates an equation.

    >>> import clew, numpy as np
    >>> graph = clew.trace(np.sort)(np.ones(3, complex))
    >>> no_native_form(graph.equations[0])
    'no native form: sort of complex128'
    """
    kinds = [atom.type for atom in (*equation.inputs, *equation.outputs)]
    dtypes = dict.fromkeys(str(kind.dtype) for kind in kinds if not isinstance(kind, TapeType))
    return f"no native form: {equation.primitive.name} of {', '.join(dtypes) or 'nothing'}"


def _join(note: StepNote, other: StepNote) -> None:
    note.equations += other.equations
    note.operations += other.operations
    note.work += other.work


def _noted(frame: Any, plan: Schedule, step: Step) -> StepNote:
    kind, equations = step.kind, list(step.equations)
    if kind == "opaque":
        kind = _KINDS.get(equations[0].primitive.name, "routine")
    note = StepNote(kind, equations, step.extents)
    if kind == "loop":
        note.length = equations[0].params.get("length")
    if kind in ("loop", "branches", "group"):
        return note
    for equation in equations:
        operations = measured(equation).operations
        note.operations += operations
        note.work += operations * (weight(equation) if kind != "product" else 1)
    if kind == "kernel":
        note.read, note.written = _read(frame, plan, equations), _written(plan, equations)
    elif kind not in ("registers", "check"):
        note.read = sum(bytes_of(atom.type) for atom in equations[0].inputs)
        note.written = sum(bytes_of(var.type) for var in equations[0].outputs)
    return note


def _read(frame: Any, plan: Schedule, equations: Sequence[Equation]) -> int:
    """Return the bytes that a kernel reads: of each array at most all, of a part the part."""
    own = {var for equation in equations for var in equation.outputs}
    atoms: dict[Var, int] = {}
    for equation in equations:
        for number, atom in enumerate(equation.inputs):
            if type(atom) is not Var:
                continue
            most = bytes_of(atom.type)
            if equation.primitive.name == "gather" and not number:
                most = min(most, bytes_of(equation.outputs[0].type))
            atoms[atom] = max(atoms.get(atom, 0), most)
    roots: dict[Var, int] = {}
    for atom, most in atoms.items():
        root, size = _behind_views(plan, atom)
        if isinstance(root, Var) and root not in own and not _one_number(frame, plan, root):
            roots[root] = min(bytes_of(root.type), roots.get(root, 0) + min(most, size))
    return sum(roots.values())


def _behind_views(plan: Schedule, atom: Atom) -> tuple[Atom, int]:
    """Return what a value is a view of, and how many bytes of it at most."""
    size = bytes_of(atom.type)
    while isinstance(atom, Var):
        maker = plan.maker.get(atom)
        if maker is None or not is_view(maker):
            break
        atom = maker.inputs[0]
        size = min(size, bytes_of(atom.type))
    return atom, size


def _one_number(frame: Any, plan: Schedule, root: Var) -> bool:
    """Whether an argument or constant is one number for all elements."""
    return root not in plan.maker and isinstance(frame.storage(root), Splat)


def _written(plan: Schedule, equations: Sequence[Equation]) -> int:
    made = [var for equation in equations for var in equation.outputs]
    return sum(bytes_of(var.type) for var in made if var in plan.stored)
