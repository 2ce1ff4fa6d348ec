"""How one equation hands on what its operands depend on: rules by kind of record.

- elementwise: the union of the operands' sets, place by place;
- records that move or add elements: set numbers go through the record's own evaluation (or,
  where it adds, places go through its own transpose), so slices, gathers, scatters, joins and
  reductions need no rule of their own;
- contractions and convolutions: what is held counts as full, unless its zeros are constants;
- anything else: every output element depends on all of the operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from clew.calculus.reach import Reach, Unions, collected, everything, mixed
from clew.core.graph import Equation
from clew.core.kinds import Bilinear, Elementwise, Linear
from clew.core.tape import TapeType
from clew.core.types import Type

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


UNKNOWN = Entry()


@dataclass
class Reading:
    """What a walk computes once, and the values that it had to look at.

    ``consulted`` holds pairs of an origin's number and "value", or "zeros" if only the places
    of its zeros were used.
    """

    unions: Unions = field(default_factory=Unions)
    consulted: set[tuple[int, str]] = field(default_factory=set)

    def read(self, entry: Entry, what: str = "value") -> Any:
        """Return a known value, noting that the pattern depends on it."""
        how = what if entry.direct else "value"
        self.consulted.update((number, how) for number in entry.origins)
        return entry.value


def reach_of(reading: Reading, equation: Equation, entries: list[Entry]) -> Reach | None:
    """Return the reach of an equation's only output; None if no rule knows it."""
    primitive, kind = equation.primitive, equation.outputs[0].type
    if any(isinstance(atom.type, TapeType) for atom in (*equation.inputs, *equation.outputs)):
        return None
    if isinstance(primitive, Elementwise):
        return _elementwise(reading, equation, entries)
    if isinstance(primitive, Linear) and primitive.moves:
        found = _moved(reading, equation, entries)
        if found is not None:
            return found
    if primitive.name in _LANES:
        return _lanes(equation, entries)
    if primitive.name == "solve" and entries[0].reach is None:
        return _solved(equation, entries, kind)
    if isinstance(primitive, Bilinear):
        of_side = _contracted if primitive.name == "contract" else _probed
        sides = [of_side(reading, equation, entries, i) for i in (0, 1) if entries[i].reach]
        found = [side for side in sides if side is not None]
        return reading.unions.of(found, kind.shape) if len(found) == len(sides) else None
    return None


def conservative(reading: Reading, equation: Equation, entries: list[Entry]) -> list[Entry]:
    """Let every element of every output depend on all of the operands."""
    reaches = [entry.reach for entry in entries if entry.reach is not None]
    return [
        Entry(everything(reaches, var.type.shape, reading.unions)) if var.type.inexact else UNKNOWN
        for var in equation.outputs
    ]


def _elementwise(reading: Reading, equation: Equation, entries: list[Entry]) -> Reach:
    shape = equation.outputs[0].type.shape
    reaches = []
    for number, entry in enumerate(entries):
        if entry.reach is None:
            continue
        reach = entry.reach.at(shape)
        kept = _where_nonzero(reading, equation, entries, number)
        if kept is not None:
            ids = np.where(np.broadcast_to(kept, shape), reach.ids, 0)
            reach = reach.with_ids(ids)
        reaches.append(reach)
    return reading.unions.of(reaches, shape)


def _where_nonzero(reading: Reading, equation: Equation, entries: list[Entry], number: int) -> Any:
    """Return where constant zeros, or a constant choice, let an operand through."""
    name = equation.primitive.name
    if name == "multiply":
        other = entries[1 - number]
        if other.fixed and other.value is not None:
            return _zeros_used(reading, other, np.asarray(other.value) != 0)
    if name == "where" and entries[0].fixed and entries[0].value is not None:
        chosen = np.asarray(entries[0].value, bool)
        return _zeros_used(reading, entries[0], chosen if number == 1 else ~chosen)
    return None


def _zeros_used(reading: Reading, entry: Entry, kept: np.ndarray) -> np.ndarray | None:
    if kept.all():
        return None
    reading.read(entry, "zeros")
    return kept


# --- records that move or add elements -------------------------------------------------------


def _moved(reading: Reading, equation: Equation, entries: list[Entry]) -> Reach | None:
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
    held = {i: reading.read(entry) for i, entry in others.items()}
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
    return reading.unions.of(parts, shape)


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


def _contracted(reading: Reading, equation: Equation, entries: list[Entry], side: int) -> Reach:
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
            reading.read(held, "zeros")
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
    grid = np.indices(lengths).reshape(len(free), int(np.prod(lengths)))
    places.update({label: grid[axis][None, :] for axis, label in enumerate(free)})
    ids = reach.ids[tuple(places[label] for label in mine)]
    to: Any = np.zeros((1, 1), np.int64)
    for label, length in zip(out, shape, strict=True):
        to = to * length + places[label]
    return collected(to, reach, ids, shape)


def _probed(reading: Reading, equation: Equation, entries: list[Entry], side: int) -> Reach | None:
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
