"""What each output of a graph depends on, found by walking it equation by equation.

The linear part of a push-forward is walked with a :class:`Reach` in place of each tangent.
``clew.calculus.dependence`` has the rules for single equations; loops, branches and calls are
walked through their graphs here. A pattern may be larger than need be and is never too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clew.calculus.dependence import UNKNOWN, Entry, Reading, conservative, reach_of
from clew.calculus.reach import Reach, TooManyEntries, collected, everything, seeds
from clew.calculus.reverse import TwoStage
from clew.core.errors import MemoryLimitError
from clew.core.graph import Equation, Graph, Var, interpret
from clew.core.kinds import Control, Linear
from clew.core.tape import Tape, TapeType
from clew.core.types import Type, type_of

_UNROLLED = 64


@dataclass
class Walk:
    """One walk over a graph and the graphs within it.

    ``table`` has the sets of the seeds. ``moved`` notes, for values whose elements are each a
    seed or zero, the number of that seed from 1 on, or 0.
    """

    reading: Reading = field(default_factory=Reading)
    table: Any = None
    moved: dict[Var, np.ndarray] = field(default_factory=dict)

    def graph(self, graph: Graph, entries: Sequence[Entry]) -> list[Entry]:
        """Return what is known of a graph's outputs from what is known of its inputs."""
        shaped = [
            entry if entry.reach is None else Entry(entry.reach.at(var.type.shape))
            for entry, var in zip(entries, graph.inputs, strict=True)
        ]
        return [_entry(x) for x in interpret(graph, shaped, self.equation)]

    def equation(self, equation: Equation, operands: list[Any]) -> Any:
        """Return the entry, or entries, of an equation's outputs."""
        entries = [_entry(x) for x in operands]
        try:
            found = self._outputs(equation, entries)
        except TooManyEntries as error:
            raise _too_many(error.args[0], equation) from None
        return found if equation.primitive.multiple else found[0]

    def _outputs(self, equation: Equation, entries: list[Entry]) -> list[Entry]:
        if all(entry.reach is None for entry in entries):
            return _evaluated(equation, entries)
        if equation.primitive.name in _WITH_GRAPHS:
            return _WITH_GRAPHS[equation.primitive.name](self, equation, entries)
        if equation.primitive.multiple or isinstance(equation.primitive, Control):
            return conservative(self.reading, equation, entries)
        reach = reach_of(self.reading, equation, entries)
        if reach is None:
            return conservative(self.reading, equation, entries)
        primitive = equation.primitive
        if isinstance(primitive, Linear) and primitive.moves and reach.sets is self.table:
            self.moved[equation.outputs[0]] = reach.at(equation.outputs[0].type.shape).ids
        return [Entry(reach)]


def _entry(value: Any) -> Entry:
    return value if isinstance(value, Entry) else Entry(None, value, True)


def _evaluated(equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Evaluate an equation without tangents, if its operands are known."""
    if any(entry.value is None for entry in entries):
        return [UNKNOWN for _ in equation.outputs]
    values = [entry.value for entry in entries]
    with np.errstate(all="ignore"):
        result = equation.primitive.eval(np, *values, **equation.params)
    results = result if equation.primitive.multiple else (result,)
    fixed = all(entry.fixed for entry in entries)
    origins = frozenset().union(*(entry.origins for entry in entries))
    return [Entry(None, value, fixed, origins) for value in results]


def _too_many(count: int, equation: Equation) -> MemoryLimitError:
    return MemoryLimitError(
        f"mode='sparse': {equation.primitive.name} makes values depend on so many elements that "
        f"the pattern holds at least {count:,} entries: it is not sparse",
        "use clew.jvp, clew.vjp or clew.hvp, which form no matrix; "
        "or return the dense part as an output of its own",
        equation.where or None,
    )


# --- equations that hold graphs ------------------------------------------------------------------


def _body(walk: Walk, equation: Equation, entries: list[Entry]) -> list[Entry]:
    return _aligned(equation, walk.graph(equation.params["body"], entries))


def _pulled(walk: Walk, equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Walk the transpose of a user's pull-back."""
    from clew.calculus.call import _transposed

    graph = _transposed(equation.params["graph"], equation.params["count"])
    return _aligned(equation, walk.graph(graph, entries))


def _switch(walk: Walk, equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Take all branches together: another call may take another one."""
    found = [walk.graph(branch, entries[1:]) for branch in equation.params["branches"]]
    return [
        _either(walk, each, var.type.shape)
        for each, var in zip(zip(*found, strict=True), equation.outputs, strict=True)
    ]


def _either(walk: Walk, entries: Sequence[Entry], shape: tuple[int, ...]) -> Entry:
    reaches = [entry.reach for entry in entries if entry.reach is not None]
    return Entry(walk.reading.unions.of(reaches, shape)) if reaches else UNKNOWN


def _aligned(equation: Equation, entries: Sequence[Entry]) -> list[Entry]:
    """Give tangents the shapes of the outputs: a body may return a literal zero."""
    return [
        Entry(entry.reach.at(var.type.shape)) if entry.reach is not None else entry
        for entry, var in zip(entries, equation.outputs, strict=True)
    ]


def _loop(walk: Walk, equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Walk the body once for each step if there are few, else until nothing is added."""
    params = equation.params
    length, condition = params["length"], params["condition"]
    first = int(length is None and condition is None)
    carries = entries[first : first + params["carries"]]
    scanned = entries[first + params["carries"] :][: params["scanned"]]
    held = entries[first + params["carries"] + params["scanned"] :]
    extra = sum(1 for each in (condition, params["snapshots"]) if each is not None)
    if length is not None and 0 < length <= _UNROLLED:
        carries, stacked = _unrolled(walk, params, carries, scanned, held)
    else:
        carries, stacked = _settled(walk, params, carries, scanned, held)
        if carries is None:
            return conservative(walk.reading, equation, entries)
    whole = [
        _stack_of(walk, each, atom.type)
        for each, atom in zip(stacked, equation.outputs[params["carries"] :], strict=False)
    ]
    return _aligned(equation, [*carries, *whole, *(UNKNOWN for _ in range(extra))])


def _unrolled(walk: Walk, params: Any, carries: Any, scanned: Any, held: Any) -> Any:
    steps: list[list[Entry]] = [[] for _ in range(params["length"])]
    order = range(params["length"])
    for step in reversed(order) if params["reverse"] else order:
        now = [_step_of(entry, step) for entry in scanned]
        found = walk.graph(params["body"], [*carries, *now, *held])
        carries = found[: params["carries"]]
        steps[step] = found[params["carries"] :]
    return carries, list(zip(*steps, strict=True))


def _step_of(entry: Entry, step: int) -> Entry:
    """Return what is known of one step's slice of something scanned."""
    if entry.reach is not None:
        ids = entry.reach.ids
        return Entry(entry.reach.with_ids(ids[step] if ids.ndim else ids))
    value = entry.value
    if isinstance(value, Tape):
        value = None if value.items is None else value.items[step]
    elif value is not None:
        value = value[step]
    return entry._replace(value=value, direct=False)


def _settled(walk: Walk, params: Any, carries: Any, scanned: Any, held: Any) -> Any:
    """Add what a step adds until that is nothing; None for the carries if it does not end."""
    any_step = [_any_step(walk, entry) for entry in scanned]
    kinds = [var.type for var in params["body"].inputs[: params["carries"]]]
    carries = [entry if entry.reach is not None else UNKNOWN for entry in carries]
    for _ in range(_UNROLLED):
        found = walk.graph(params["body"], [*carries, *any_step, *held])
        joined = [
            _either(walk, [x for x in (old, new) if x.reach is not None] or [UNKNOWN], kind.shape)
            for old, new, kind in zip(carries, found, kinds, strict=False)
        ]
        if all(_same(old, new) for old, new in zip(carries, joined, strict=True)):
            return carries, [(entry,) for entry in found[params["carries"] :]]
        carries = joined
    return None, None


def _same(old: Entry, new: Entry) -> bool:
    if old.reach is None or new.reach is None:
        return old.reach is new.reach
    return old.reach.sets is new.reach.sets and np.array_equal(old.reach.ids, new.reach.ids)


def _any_step(walk: Walk, entry: Entry) -> Entry:
    """Return what is known of a slice that may be that of any step."""
    reach = entry.reach
    if reach is None or not reach.ids.ndim:
        return entry if reach is not None else UNKNOWN
    shape = reach.ids.shape[1:]
    numbers = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return Entry(collected(numbers, reach, reach.ids, shape))


def _stack_of(walk: Walk, steps: Sequence[Entry], kind: Type) -> Entry:
    """Stack what the steps gave; one entry stands for all steps."""
    reaches = [entry.reach for entry in steps if entry.reach is not None]
    if not reaches:
        return UNKNOWN
    if isinstance(kind, TapeType):
        return Entry(everything(reaches, (), walk.reading.unions))
    if len(steps) == 1:
        return Entry(reaches[0].at(kind.shape))
    parts = []
    for number, entry in enumerate(steps):
        if entry.reach is not None:
            places = np.arange(kind.size).reshape(kind.shape)[number]
            ids = np.broadcast_to(entry.reach.ids, kind.shape[1:])
            parts.append(collected(places, entry.reach, ids, kind.shape))
    return Entry(walk.reading.unions.of(parts, kind.shape))


_Rule = Callable[[Walk, Equation, list[Entry]], list[Entry]]
_WITH_GRAPHS: dict[str, _Rule] = {
    "call": _body,
    "remat": _body,
    "pulled": _pulled,
    "switch": _switch,
    "loop": _loop,
}

# --- whole patterns --------------------------------------------------------------------------


@dataclass(frozen=True)
class Pattern:
    """Where the Jacobian of a two-stage push-forward can be nonzero.

    ``outputs`` has the reach of each output with a path; ``consulted`` says which carried
    values and constants the answer depends on (see :func:`value_of`); ``moved`` is that of
    :class:`Walk`.
    """

    outputs: list[Reach]
    consulted: frozenset[tuple[int, str]]
    moved: dict[Var, np.ndarray]


def pattern_of(stages: TwoStage, carried: Sequence[Any], kinds: Sequence[Type]) -> Pattern:
    """Return the pattern of the second stage, linear in its last inputs of these types.

    A carried value that is not known is None.
    """
    second = stages.second
    moving = _moving(stages.first)
    results = stages.first.outputs[len(stages.first.outputs) - len(carried) :]
    entries = [
        Entry(None, value, type(atom) is not Var or atom not in moving, frozenset([number]), True)
        for number, (value, atom) in enumerate(zip(carried, results, strict=True))
    ]
    constants = {
        var: Entry(None, value, True, frozenset([len(carried) + number]), True)
        for number, (var, value) in enumerate(second.constants.items())
    }
    graph = Graph(second.inputs, second.equations, second.outputs, constants)
    start = seeds(kinds)
    walk = Walk(table=start[0].sets)
    found = walk.graph(graph, [*entries, *map(Entry, start)])
    outputs = []
    for entry, atom in zip(found, second.outputs, strict=True):
        reach = entry.reach
        if reach is None:
            reach = Reach(np.zeros(type_of(atom).shape, np.int64), start[0].sets)
        outputs.append(reach)
    return Pattern(outputs, frozenset(walk.reading.consulted), walk.moved)


def value_of(number: int, carried: Sequence[Any], graph: Graph) -> Any:
    """Return the carried value or constant with a number."""
    if number < len(carried):
        return carried[number]
    return list(graph.constants.values())[number - len(carried)]


def _moving(graph: Graph) -> set[Var]:
    """Return the variables that can change with the arguments."""
    moving: set[Any] = set(graph.inputs)
    for equation in graph.equations:
        if any(atom in moving for atom in equation.inputs):
            moving.update(equation.outputs)
    return moving
