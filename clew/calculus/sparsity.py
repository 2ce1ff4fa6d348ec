"""Sparsity of Jacobians, found from the graph: what depends on what, whatever the values are.

The linear part of a push-forward is walked equation by equation with a :class:`Reach` in
place of each tangent. The rules go by kind of record:

- elementwise: the union of the operands' sets, place by place;
- records that move or add elements: set numbers go through the record's own evaluation (or,
  where it adds, places go through its own transpose), so slices, gathers, scatters, joins and
  reductions need no rule of their own;
- contractions and convolutions: what is held counts as full, unless its zeros are constants;
- loops, branches and calls: their graphs, walked in turn;
- anything else: every output element depends on all of the operands.

So a pattern may be larger than need be and is never too small. Indices and constant zeros
were read at the arguments of the call; the pattern keeps note of which (see ``consulted``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from clew.calculus.reach import Reach, TooManyEntries, Unions, collected, everything, mixed, seeds
from clew.calculus.reverse import TwoStage
from clew.core.errors import MemoryLimitError
from clew.core.graph import Equation, Graph, Var, interpret
from clew.core.kinds import Bilinear, Control, Elementwise, Linear
from clew.core.tape import Tape, TapeType
from clew.core.types import Type, type_of

_UNROLLED = 64
_PROBES = 2**11
_PROBE_WORK = 2**28
_EXPANDED = 2**26
_LANES = ("cumsum", "fft", "irfft", "rfft")


class Entry(NamedTuple):
    """What is known of a value: its reach if it is a tangent, else the value itself, if known.

    ``fixed`` says that the value is the same for all arguments; ``origins`` are the numbers of
    the carried values and constants that it was computed from, and ``direct`` that it is one.
    """

    reach: Reach | None = None
    value: Any = None
    fixed: bool = False
    origins: frozenset[int] = frozenset()
    direct: bool = False


_UNKNOWN = Entry()


@dataclass
class Walk:
    """One walk over a graph, and the values that it had to look at.

    ``consulted`` holds pairs of an origin's number and "value", or "zeros" if only the places
    of its zeros were used.
    """

    unions: Unions = field(default_factory=Unions)
    consulted: set[tuple[int, str]] = field(default_factory=set)

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

    def read(self, entry: Entry, what: str = "value") -> Any:
        """Return a known value, noting that the pattern depends on it."""
        how = what if entry.direct else "value"
        self.consulted.update((number, how) for number in entry.origins)
        return entry.value

    def _outputs(self, equation: Equation, entries: list[Entry]) -> list[Entry]:
        if all(entry.reach is None for entry in entries):
            return _evaluated(equation, entries)
        if equation.primitive.name in _WITH_GRAPHS:
            return _WITH_GRAPHS[equation.primitive.name](self, equation, entries)
        if equation.primitive.multiple or isinstance(equation.primitive, Control):
            return self.conservative(equation, entries)
        reach = self._reach(equation, entries)
        return self.conservative(equation, entries) if reach is None else [Entry(reach)]

    def _reach(self, equation: Equation, entries: list[Entry]) -> Reach | None:
        primitive, kind = equation.primitive, equation.outputs[0].type
        if any(isinstance(atom.type, TapeType) for atom in (*equation.inputs, *equation.outputs)):
            return None
        if isinstance(primitive, Elementwise):
            return self._elementwise(equation, entries)
        if isinstance(primitive, Linear) and primitive.moves:
            found = _moved(self, equation, entries)
            if found is not None:
                return found
        if primitive.name in _LANES:
            return _lanes(equation, entries)
        if primitive.name == "solve" and entries[0].reach is None:
            return _solved(equation, entries, kind)
        if isinstance(primitive, Bilinear):
            of_side = _contracted if primitive.name == "contract" else _probed
            sides = [of_side(self, equation, entries, i) for i in (0, 1) if entries[i].reach]
            found = [side for side in sides if side is not None]
            return self.unions.of(found, kind.shape) if len(found) == len(sides) else None
        return None

    def _elementwise(self, equation: Equation, entries: list[Entry]) -> Reach:
        shape = equation.outputs[0].type.shape
        reaches = []
        for number, entry in enumerate(entries):
            if entry.reach is None:
                continue
            reach = entry.reach.at(shape)
            kept = self._where_nonzero(equation, entries, number)
            if kept is not None:
                ids = np.where(np.broadcast_to(kept, shape), reach.ids, 0)
                reach = reach.with_ids(ids)
            reaches.append(reach)
        return self.unions.of(reaches, shape)

    def _where_nonzero(self, equation: Equation, entries: list[Entry], number: int) -> Any:
        """Return where constant zeros, or a constant choice, let an operand through."""
        name = equation.primitive.name
        if name == "multiply":
            other = entries[1 - number]
            if other.fixed and other.value is not None:
                return self._zeros_used(other, np.asarray(other.value) != 0)
        if name == "where" and entries[0].fixed and entries[0].value is not None:
            chosen = np.asarray(entries[0].value, bool)
            return self._zeros_used(entries[0], chosen if number == 1 else ~chosen)
        return None

    def _zeros_used(self, entry: Entry, kept: np.ndarray) -> np.ndarray | None:
        if kept.all():
            return None
        self.read(entry, "zeros")
        return kept

    def conservative(self, equation: Equation, entries: list[Entry]) -> list[Entry]:
        """Let every element of every output depend on all of the operands."""
        reaches = [entry.reach for entry in entries if entry.reach is not None]
        return [
            Entry(everything(reaches, var.type.shape, self.unions))
            if var.type.inexact
            else _UNKNOWN
            for var in equation.outputs
        ]


def _entry(value: Any) -> Entry:
    return value if isinstance(value, Entry) else Entry(None, value, True)


def _evaluated(equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Evaluate an equation without tangents, if its operands are known."""
    if any(entry.value is None for entry in entries):
        return [_UNKNOWN for _ in equation.outputs]
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


# --- records that move or add elements -------------------------------------------------------


def _moved(walk: Walk, equation: Equation, entries: list[Entry]) -> Reach | None:
    """Send set numbers through the evaluation, or places through the transpose.

    The coefficients are 0 and 1, so a record applied to ones counts what it adds: where that
    is at most one element, it hands on the number of that element unchanged.
    """
    primitive = equation.primitive
    assert isinstance(primitive, Linear)
    linear = primitive.linear_in
    linear = tuple(range(len(entries))) if linear is None else linear
    others = {i: entry for i, entry in enumerate(entries) if i not in linear}
    if any(entry.value is None for entry in others.values()):
        return None
    held = {i: walk.read(entry) for i, entry in others.items()}
    types = [atom.type for atom in equation.inputs]
    ones = [held.get(i, np.ones(kind.shape, np.int64)) for i, kind in enumerate(types)]
    if np.max(primitive.eval(np, *ones, **equation.params), initial=0) <= 1:
        return _selected(primitive, equation, entries, held)
    kinds = [held.get(i, Type(kind.shape, np.int64)) for i, kind in enumerate(types)]
    shape = equation.outputs[0].type.shape
    size = equation.outputs[0].type.size
    spread = primitive.transpose(np.ones(shape, np.int64), *kinds, **equation.params)
    reached = [i for i, entry in enumerate(entries) if entry.reach is not None]
    if any(np.max(spread[i], initial=0) > 1 for i in reached):
        return None
    numbers = np.arange(1, size + 1).reshape(shape)
    places = primitive.transpose(numbers, *kinds, **equation.params)
    parts = []
    for i in reached:
        reach = entries[i].reach
        assert reach is not None
        to = np.asarray(places[i])
        parts.append(collected(np.maximum(to - 1, 0), reach, np.where(to > 0, reach.ids, 0), shape))
    return walk.unions.of(parts, shape)


def _selected(
    primitive: Linear, equation: Equation, entries: list[Entry], held: dict[int, Any]
) -> Reach:
    """Send the set numbers of several operands through, told apart by where they begin."""
    from scipy import sparse

    tables: list[Any] = []
    starts: list[int] = []
    operands: list[Any] = []
    total = 0
    for number, (entry, atom) in enumerate(zip(entries, equation.inputs, strict=True)):
        reach = entry.reach
        if reach is None:
            operands.append(held.get(number, np.zeros(atom.type.shape, np.int64)))
            continue
        same = [start for table, start in zip(tables, starts, strict=True) if table is reach.sets]
        if not same:
            same = [total]
            tables.append(reach.sets)
            starts.append(total)
            total += reach.sets.shape[0]
        operands.append(np.where(reach.ids > 0, reach.ids + same[0], 0))
    ids = np.asarray(primitive.eval(np, *operands, **equation.params))
    if len(tables) == 1:
        return Reach(ids, tables[0])
    return Reach(ids, sparse.csr_array(sparse.vstack(tables, format="csr")))


def _lanes(equation: Equation, entries: list[Entry]) -> Reach:
    """Mix along the axes of a running sum or a Fourier transform."""
    params = equation.params
    reach = entries[0].reach
    assert reach is not None
    for axis in params.get("axes") or (params["axis"],):
        length, made = reach.ids.shape[axis], equation.outputs[0].type.shape[axis]
        mixing = np.ones((made, length), bool)
        if equation.primitive.name == "cumsum":
            mixing = np.tri(length, dtype=bool)
        reach = mixed(reach, axis, mixing)
    return reach


def _solved(equation: Equation, entries: list[Entry], kind: Type) -> Reach:
    """Let every column of a solution depend on that column of the right-hand side."""
    reach = entries[1].reach
    assert reach is not None
    n = kind.shape[-2]
    mixing = {"lower": np.tri(n, dtype=bool), "upper": np.tri(n, dtype=bool).T}
    full = mixing.get(equation.params["form"], np.ones((n, n), bool))
    return mixed(reach.at(kind.shape), kind.ndim - 2, full)


# --- products that sum -------------------------------------------------------------------------


def _contracted(walk: Walk, equation: Equation, entries: list[Entry], side: int) -> Reach:
    reach, held = entries[side].reach, entries[1 - side]
    assert reach is not None
    names = (equation.params["left"], equation.params["right"])
    mine, other, out = names[side], names[1 - side], equation.params["out"]
    shape = equation.outputs[0].type.shape
    if held.fixed and held.value is not None:
        value = np.asarray(held.value)
        free = [label for label in mine if label not in other]
        rest = [reach.ids.shape[mine.index(label)] for label in free]
        used = np.argwhere(value != 0)
        if len(used) < value.size and len(used) * int(np.prod(rest)) <= _EXPANDED:
            walk.read(held, "zeros")
            return _contracted_with(used, reach, (mine, other, out), shape)
    lengths = dict(zip(mine, reach.ids.shape, strict=True))
    kept = [label for label in out if label in mine]
    wide = [lengths[label] if label in kept else 1 for label in out]
    if len(kept) == len(mine):
        ids = np.transpose(reach.ids, [mine.index(label) for label in kept])
        return reach.with_ids(ids.reshape(wide)).at(shape)
    numbers = np.arange(int(np.prod([lengths[label] for label in kept], dtype=np.int64)))
    numbers = numbers.reshape([lengths[label] for label in kept])
    axes = [label for label in mine if label in kept]
    numbers = np.transpose(numbers, [kept.index(label) for label in axes])
    numbers = numbers.reshape([lengths[label] if label in kept else 1 for label in mine])
    joined = collected(numbers, reach, reach.ids, tuple(lengths[label] for label in kept))
    return joined.with_ids(joined.ids.reshape(wide)).at(shape)


def _contracted_with(
    used: np.ndarray, reach: Reach, names: Sequence[Sequence[int]], shape: tuple[int, ...]
) -> Reach:
    """Go through the nonzero elements of what is held, for every position of the free axes."""
    mine, other, out = names
    free = [label for label in mine if label not in other]
    places = {label: used[:, axis][:, None] for axis, label in enumerate(other)}
    lengths = [reach.ids.shape[mine.index(label)] for label in free]
    grid = np.indices(lengths).reshape(len(free), -1)
    places.update({label: grid[axis][None, :] for axis, label in enumerate(free)})
    ids = reach.ids[tuple(places[label] for label in mine)]
    to: Any = np.zeros((1, 1), np.int64)
    for label, length in zip(out, shape, strict=True):
        to = to * length + places[label]
    return collected(to, reach, ids, shape)


def _probed(walk: Walk, equation: Equation, entries: list[Entry], side: int) -> Reach | None:
    """Apply any other product to one element of an operand at a time, where that is small."""
    reach = entries[side].reach
    assert reach is not None
    ids = reach.ids.astype(np.float64)
    kinds = [atom.type for atom in equation.inputs]
    shape = equation.outputs[0].type.shape
    work = max(kind.size for kind in (*kinds, equation.outputs[0].type))

    def applied(mine: np.ndarray, others: np.ndarray) -> np.ndarray:
        pair = (mine, others) if side == 0 else (others, mine)
        return np.rint(equation.primitive.eval(np, *pair, **equation.params)).astype(np.int64)

    small, large = kinds[1 - side], kinds[side]
    by_held = small.size <= large.size
    probes = min(small.size, large.size)
    if probes > _PROBES or probes * work > _PROBE_WORK:
        return None
    to: list[np.ndarray] = []
    of: list[np.ndarray] = []
    for number in range(probes):
        unit = np.zeros(probes)
        unit[number] = 1.0
        if by_held:
            unit = unit.reshape(small.shape)
            if np.max(applied(np.ones(large.shape), unit), initial=0) > 1:
                return None
            found = applied(ids, unit).ravel()
        else:
            meets = applied(unit.reshape(large.shape), np.ones(small.shape)).ravel()
            found = np.where(meets > 0, reach.ids.ravel()[number], 0)
        places = np.flatnonzero(found)
        to.append(places)
        of.append(found[places])
    if not to:
        return reach.with_ids(np.zeros(shape, np.int64))
    return collected(np.concatenate(to), reach, np.concatenate(of), shape)


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
    return Entry(walk.unions.of(reaches, shape)) if reaches else _UNKNOWN


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
            return walk.conservative(equation, entries)
    whole = [
        _stack_of(walk, each, atom.type)
        for each, atom in zip(stacked, equation.outputs[params["carries"] :], strict=False)
    ]
    return _aligned(equation, [*carries, *whole, *(_UNKNOWN for _ in range(extra))])


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
    carries = [entry if entry.reach is not None else _UNKNOWN for entry in carries]
    for _ in range(_UNROLLED):
        found = walk.graph(params["body"], [*carries, *any_step, *held])
        joined = [
            _either(walk, [x for x in (old, new) if x.reach is not None] or [_UNKNOWN], kind.shape)
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
        return entry if reach is not None else _UNKNOWN
    shape = reach.ids.shape[1:]
    numbers = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return Entry(collected(numbers, reach, reach.ids, shape))


def _stack_of(walk: Walk, steps: Sequence[Entry], kind: Type) -> Entry:
    """Stack what the steps gave; one entry stands for all steps."""
    reaches = [entry.reach for entry in steps if entry.reach is not None]
    if not reaches:
        return _UNKNOWN
    if isinstance(kind, TapeType):
        return Entry(everything(reaches, (), walk.unions))
    if len(steps) == 1:
        return Entry(reaches[0].at(kind.shape))
    parts = []
    for number, entry in enumerate(steps):
        if entry.reach is not None:
            places = np.arange(kind.size).reshape(kind.shape)[number]
            ids = np.broadcast_to(entry.reach.ids, kind.shape[1:])
            parts.append(collected(places, entry.reach, ids, kind.shape))
    return Entry(walk.unions.of(parts, kind.shape))


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
    values and constants the answer depends on (see :func:`value_of`).
    """

    outputs: list[Reach]
    consulted: frozenset[tuple[int, str]]


def pattern_of(stages: TwoStage, carried: Sequence[Any], kinds: Sequence[Type]) -> Pattern:
    """Return the pattern of the second stage, linear in its last inputs of these types."""
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
    walk = Walk()
    start = seeds(kinds)
    found = walk.graph(graph, [*entries, *map(Entry, start)])
    outputs = []
    for entry, atom in zip(found, second.outputs, strict=True):
        reach = entry.reach
        if reach is None:
            reach = Reach(np.zeros(type_of(atom).shape, np.int64), start[0].sets)
        outputs.append(reach)
    return Pattern(outputs, frozenset(walk.consulted))


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
