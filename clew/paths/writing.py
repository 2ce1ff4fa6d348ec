"""Write a graph's run out: walk it once with the reference rules, opening what holds graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.core.errors import InputError
from clew.core.graph import Equation, Graph, Literal, Var
from clew.core.kinds import zeros
from clew.core.primitive import PRIMITIVES
from clew.core.program import program
from clew.core.tape import TapeType
from clew.core.types import Type
from clew.loops.batched import graph_of
from clew.loops.replay import expanded
from clew.loops.spec import COUNT, SNAPSHOTS, Spec, spec_of
from clew.paths.written import Frame, Written


class Steps:
    """What a loop stacked: the numbers of its items (None: zeros), and of the array if needed.

    A later loop that scans it reads the items themselves, so that no path runs from one step to
    another through the array.
    """

    def __init__(self, element: Type, items: list[Any] | None) -> None:
        self.element = element
        self.items = items
        self.array: int | None = None


Ref = Any
"""The number of a value, or :class:`Steps`."""


def written_out(graph: Graph, arguments: Sequence[Any] | None, moving: Sequence[int]) -> Written:
    """Return the run of a graph on arguments, written out.

    Parameters
    ----------
    graph : Graph
    arguments : sequence of arrays, or None
        None writes out what does not depend on values, and runs nothing.
    moving : sequence of int
        The inputs that gradients are taken in.

    Raises
    ------
    InputError
        Without arguments, for a branch or a loop whose length is not known.

    >>> import clew
    >>> graph = clew.trace(lambda x: clew.fori_loop(0, 3, lambda i, c: c * x, 1.0))(2.0)
    >>> run = written_out(graph, [2.0], [0])
    >>> [equation.primitive.name for equation in run.equations], run.values[run.outputs[0]]
    (['multiply', 'multiply', 'multiply'], np.float64(8.0))
    """
    writer = _Writer(arguments is not None)
    run = writer.run
    for number, var in enumerate(graph.inputs):
        value = None if arguments is None else np.asarray(arguments[number])[()]
        run.inputs.append(run.value(value, var.type, var.type.inexact and number in moving))
    with np.errstate(all="ignore"):
        found = writer.graph(graph, run.inputs, Frame())
        run.outputs = [writer.whole(ref) for ref in found]
    return run


class _Writer:
    def __init__(self, running: bool) -> None:
        self.run = Written()
        self.run.evaluated = running
        self._constants: dict[Any, tuple[Any, int]] = {}
        self._slices: dict[tuple[Any, Type, int], Equation] = {}

    # --- values ------------------------------------------------------------------------------

    def constant(self, key: Any, value: Any, kind: Type) -> int:
        """Return the number of a constant, the same one each time it is met."""
        known = self._constants.get(id(key))
        if known is None:
            known = (key, self.run.value(value, kind))  # the key is kept: its id stays taken
            self._constants[id(key)] = known
        return known[1]

    def value(self, ref: Ref) -> Any:
        """Return the value itself."""
        return self.run.values[self.whole(ref)]

    def whole(self, ref: Ref) -> int:
        """Return the number of an array."""
        if type(ref) is int:
            return ref
        if ref.array is None:
            ref.array = self.run.value(None, TapeType(ref.element))  # opaque: only loops read it
        return ref.array

    def item(self, ref: Ref, step: int, loop: Equation, frame: Frame) -> Ref:
        """Return what a step of a loop scans: an item of what was stacked, or a slice."""
        if type(ref) is not int:
            item = None if ref.items is None else ref.items[step]
            return self.zeros(ref.element) if item is None else item
        run = self.run
        if not run.active[ref]:
            kind = run.types[ref]
            value = run.values[ref][step] if run.evaluated else None
            return run.value(value, Type(kind.shape[1:], kind.dtype))
        return run.node(self._slice(run.types[ref], step, loop), [ref], frame)[0]

    def _slice(self, kind: Type, step: int, loop: Equation) -> Equation:
        key = (loop, kind, step)
        known = self._slices.get(key)
        if known is None:
            part = Var(Type(kind.shape[1:], kind.dtype))
            params = {"index": (step,)}
            primitive = PRIMITIVES["basic_slice"]
            known = Equation(primitive, (Var(kind),), params, (part,), loop.scope, loop.where)
            self._slices[key] = known
        return known

    def zeros(self, kind: Type) -> Ref:
        """Return zeros of a type."""
        if isinstance(kind, TapeType):
            return Steps(kind.element, None)
        return self.constant(kind, zeros(kind), kind)

    # --- graphs ------------------------------------------------------------------------------

    def graph(self, graph: Graph, arguments: Sequence[Ref], frame: Frame) -> list[Ref]:
        """Write a graph out on these operands; return its outputs."""
        present: dict[Any, Ref] = dict(zip(graph.inputs, arguments, strict=True))
        for var, value in graph.constants.items():
            present[var] = self.constant(var, value, var.type)
        arrays = None
        for equation in graph.equations:
            operands = [
                present[atom] if type(atom) is Var else self._literal(atom)
                for atom in equation.inputs
            ]
            present.update(
                zip(equation.outputs, self._equation(equation, operands, frame), strict=True)
            )
            if equation.primitive.name in ("loop", "replay"):
                arrays = _read_as_arrays(graph) if arrays is None else arrays
                self._join(equation, [present[var] for var in equation.outputs], arrays, frame)
        return [
            present[atom] if type(atom) is Var else self._literal(atom) for atom in graph.outputs
        ]

    def _equation(self, equation: Equation, operands: list[Ref], frame: Frame) -> Sequence[Ref]:
        opened = _OPENED.get(equation.primitive.name)
        if opened is not None and equation.params.get("rule") is None:
            return opened(self, equation, operands, frame)
        if not equation.outputs:
            return ()  # a guard or check, which held when the function was traced
        return self.run.node(equation, [self.whole(ref) for ref in operands], frame)

    def _literal(self, literal: Literal) -> int:
        return self.constant(literal, literal.value, literal.type)

    def _join(
        self, equation: Equation, found: Sequence[Ref], arrays: set[Any], frame: Frame
    ) -> None:
        """Make arrays of the stacks that are not only scanned again."""
        for ref, var in zip(found, equation.outputs, strict=True):
            if type(ref) is int or var not in arrays or isinstance(var.type, TapeType):
                continue
            if ref.items:
                parts = [self.whole(item) for item in ref.items]
                ref.array = self.run.join(parts, var.type, equation, frame)
            else:
                ref.array = self.zeros(var.type)


def _read_as_arrays(graph: Graph) -> set[Any]:
    """Return the variables that something other than a loop's scan reads, or that are returned."""
    read: set[Any] = set(graph.outputs)
    for equation in graph.equations:
        inputs = equation.inputs
        if equation.primitive.name == "loop":
            groups = spec_of(equation).operands(inputs)
            inputs = (*groups.carries, *groups.held)
        read.update(inputs)
    return read


# --- equations that hold graphs ------------------------------------------------------------------


def _loop(writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame) -> list[Ref]:
    spec = spec_of(equation)
    given = spec.operands(operands)
    carries = given.carries
    items: list[list[Ref]] = []
    total = _length(writer, spec, given.count)
    ask = None if spec.condition is None else program(spec.condition)
    held = [writer.value(ref) for ref in given.held] if ask else []
    while len(items) != total:
        if ask and not ask(np, *(writer.value(ref) for ref in carries), *held)[0]:
            break
        step = len(items)
        place = total - 1 - step if spec.reverse and total is not None else step
        inner = frame.inside(place, equation.scope)
        now = [writer.item(ref, place, equation, inner) for ref in given.scanned]
        found = writer.graph(spec.body, [*carries, *now, *given.held], inner)
        carries = found[: spec.carries]
        items.append(found[spec.carries :])
    if spec.reverse:
        items.reverse()
    stacks = [
        Steps(atom.type, [each[number] for each in items])
        for number, atom in enumerate(spec.body_stacked)
    ]
    results: list[Ref] = [*carries, *stacks]
    if spec.condition is not None:
        results.append(writer.run.value(np.int64(len(items)), COUNT))
    if spec.snapshots is not None:
        results.append(Steps(SNAPSHOTS.element, None))
    return results


def _length(writer: _Writer, spec: Spec, count: Sequence[Ref]) -> int | None:
    if spec.length is not None:
        return spec.length
    if not writer.run.evaluated:
        policy = spec.policy
        raise InputError(
            f"the {policy.spelling} at {policy.where} has no fixed length, so its paths are not "
            "known before it runs",
            "use clew.flow(f)(*args), which runs it",
            policy.where,
        )
    return max(0, int(writer.value(count[0]))) if spec.counted else None


def _switch(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    if not writer.run.evaluated:
        raise InputError(
            f"the {equation.primitive.name} at {equation.where} takes one of several ways, so its "
            "paths are not known before it runs",
            "use clew.flow(f)(*args), which runs it",
            equation.where,
        )
    branches = equation.params["branches"]
    number = min(max(int(writer.value(operands[0])), 0), len(branches) - 1)
    return writer.graph(branches[number], operands[1:], frame)


def _call(writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame) -> list[Ref]:
    return writer.graph(equation.params["body"], operands, frame)


def _replay(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    """Write out the two loops that a replay stands for."""
    kinds = [atom.type for atom in equation.inputs]
    graph = graph_of(lambda *values: expanded(values, **equation.params), kinds)
    return writer.graph(graph, operands, frame)


# --- operations on tapes: the same for every item ------------------------------------------------


def _each(
    writer: _Writer, name: str, params: dict[str, Any], steps: Sequence[Steps], like: Equation,
    frame: Frame,
) -> Steps:  # fmt: skip
    """Apply an operation to the items of tapes, step by step."""
    rows = zip(*(each.items for each in steps), strict=True)
    items: list[Ref] = []
    element = steps[0].element
    for row in rows:
        if type(row[0]) is Steps:
            items.append(_each(writer, name, params, row, like, frame))
            element = TapeType(items[-1].element)
            continue
        kinds = [writer.run.types[number] for number in row]
        element = PRIMITIVES[name].result_type(kinds, params)
        inputs = tuple(Var(kind) for kind in kinds)
        each = Equation(PRIMITIVES[name], inputs, params, (Var(element),), like.scope, like.where)
        items.append(writer.run.node(each, row, frame)[0])
    return Steps(element, items)


def _add_tapes(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    kept = [steps for steps in operands if steps.items is not None]
    if len(kept) < len(operands):
        return [(kept or operands)[0]]
    return [_each(writer, "add", {}, kept, equation, frame)]


def _widen_tape(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    (tape,) = operands
    kind: Any = equation.outputs[0].type
    if tape.items is None:
        return [Steps(kind.element, None)]
    while isinstance(kind, TapeType):
        kind = kind.element
    return [_each(writer, "broadcast_to", {"shape": kind.shape}, [tape], equation, frame)]


def _narrow_tape(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    (tape,) = operands
    kind: Any = equation.outputs[0].type
    if tape.items is None:
        return [Steps(kind.element, None)]
    return [_each(writer, "sum", {"axis": (0,)}, [tape], equation, frame)]


def _join_tapes(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    return [Steps(equation.outputs[0].type, list(operands))]


def _pick_tape(
    writer: _Writer, equation: Equation, operands: Sequence[Ref], frame: Frame
) -> list[Ref]:
    (joined,) = operands
    kind: Any = equation.outputs[0].type
    empty = joined.items is None
    return [Steps(kind.element, None) if empty else joined.items[equation.params["number"]]]


_OPENED: dict[str, Any] = {
    "loop": _loop,
    "replay": _replay,
    "switch": _switch,
    "remat": _call,
    "call": _call,
    "add_tapes": _add_tapes,
    "widen_tape": _widen_tape,
    "narrow_tape": _narrow_tape,
    "join_tapes": _join_tapes,
    "pick_tape": _pick_tape,
}
