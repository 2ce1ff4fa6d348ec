"""Run a loop on arrays: its body as one Python function, its stacks in preallocated buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clew.core.cost import bytes_of
from clew.core.graph import Graph
from clew.core.kinds import zeros
from clew.core.memory import readable
from clew.core.program import Source
from clew.core.tape import Tape, TapeType
from clew.core.types import Type
from clew.loops.memory import Budget
from clew.loops.schedule import block_positions
from clew.loops.spec import SNAPSHOTS, Spec

Span = Callable[..., tuple[tuple[Any, ...], int]]
_FIRST_CAPACITY = 64


def span_of(spec: Spec, local_scanned: int = 0, local_stacked: bool = False) -> Span:
    """Return a function that runs some steps of a loop, compiled once for its body.

    ``span(xp, start, stop, step, base, carries, scanned, held, stacked)`` runs the steps
    ``range(start, stop, step)``, fewer if the condition ends it, and returns the carries and
    where it stopped. The first ``local_scanned`` scanned arrays, and the stacks if
    ``local_stacked``, are buffers whose item 0 belongs to step ``base``.
    """
    key = ("span", spec.carries, spec.scanned, local_scanned, local_stacked, spec.condition)
    known = spec.body.programs.get(key)
    if known is None:
        known = _compiled_span(spec, local_scanned, local_stacked)
        spec.body.programs[key] = known
    return known


def _compiled_span(spec: Spec, local_scanned: int, local_stacked: bool) -> Span:
    source = Source()
    groups = spec.inner(
        [
            *(f"c{i}" for i in range(spec.carries)),
            *(f"x{i}" for i in range(spec.scanned)),
            *(f"h{i}" for i in range(len(spec.body.inputs) - spec.carries - spec.scanned)),
        ]
    )
    arrays = [f"a{i}" for i in range(spec.scanned)]
    stacks = [f"s{i}" for i in range(len(spec.body_stacked))]
    lines = source.lines
    lines.append("def span(xp, start, stop, step, base, carries, scanned, held, stacked):")
    for names, whole in (
        (groups.carries, "carries"),
        (arrays, "scanned"),
        (groups.held, "held"),
        (stacks, "stacked"),
    ):
        if names:
            lines.append(f"    {', '.join(names)}, = {whole}")
    lines.append("    for t in range(start, stop, step):")
    if spec.condition is not None:
        inputs = [*groups.carries, *groups.held]
        (answer,) = source.graph(spec.condition, inputs, "w", " " * 8)
        lines.append(f"        if not {answer}:")
        lines.append("            break")
    for number, (name, array) in enumerate(zip(groups.scanned, arrays, strict=True)):
        lines.append(f"        {name} = {array}[{'t - base' if number < local_scanned else 't'}]")
    outputs = source.graph(spec.body, groups.inner(), "v", " " * 8)
    for stack, value in zip(stacks, outputs[spec.carries :], strict=True):
        lines.append(f"        {stack}[{'t - base' if local_stacked else 't'}] = {value}")
    if spec.carries:
        lines.append(
            f"        {', '.join(groups.carries)}, = {', '.join(outputs[: spec.carries])},"
        )
    lines.append("    else:")
    lines.append("        t = stop")
    lines.append(f"    return ({''.join(name + ', ' for name in groups.carries)}), t")
    return source.function("span")


# --- values as the body reads them -----------------------------------------------------------


class _Zeros:
    """Every item the same zeros."""

    def __init__(self, element: Type) -> None:
        self._item = zeros(element)

    def __getitem__(self, step: int) -> Any:
        return self._item


def settled(xp: Any, values: Sequence[Any]) -> tuple[Any, ...]:
    """Make Python numbers NumPy's, whose arithmetic does not raise."""
    return tuple(
        np.asarray(value)[()] if type(value) in (float, int, bool, complex) else value
        for value in values
    )


def scannable(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return what is indexed at each step: arrays, and the items of tapes."""
    found = []
    for value in values:
        if type(value) is Tape:
            zero = value.items is None
            value = _Zeros(value.type.element) if zero else value.items
        found.append(value)
    return tuple(found)


class Buffers:
    """Where the stacked outputs go: arrays of known length, or arrays that grow."""

    def __init__(self, xp: Any, elements: Sequence[Type], capacity: int) -> None:
        self._elements = elements
        self.items = [_buffer(xp, each, capacity) for each in elements]
        self.capacity = capacity

    @property
    def per_step(self) -> int:
        """Bytes of one step."""
        return all_bytes(self._elements)

    def grow(self, capacity: int) -> None:
        """Make room for more steps."""
        for buffer, element in zip(self.items, self._elements, strict=True):
            if isinstance(buffer, np.ndarray):
                buffer.resize((capacity, *element.shape), refcheck=False)
            else:
                buffer.extend([None] * (capacity - len(buffer)))
        self.capacity = capacity

    def cut(self, count: int) -> None:
        """Give back the room that was not used."""
        for number, buffer in enumerate(self.items):
            if isinstance(buffer, np.ndarray):
                buffer.resize((count, *self._elements[number].shape), refcheck=False)
            else:
                del buffer[count:]

    def results(self, xp: Any, types: Sequence[Type]) -> list[Any]:
        """Return the stacks as arrays or tapes."""
        found = []
        for buffer, kind in zip(self.items, types, strict=True):
            if isinstance(kind, TapeType):
                found.append(Tape(kind, buffer))
            elif isinstance(buffer, np.ndarray):
                found.append(buffer)
            else:
                found.append(xp.stack(buffer) if buffer else xp.zeros(kind.shape, kind.dtype))
        return found


def all_bytes(kinds: Sequence[Type]) -> int:
    """Return the bytes of one value of each type."""
    return sum(bytes_of(kind) for kind in kinds)


def _buffer(xp: Any, element: Type, capacity: int) -> Any:
    if xp is np and type(element) is not TapeType:
        return np.empty((capacity, *element.shape), element.dtype)
    return [None] * capacity


# --- loops -----------------------------------------------------------------------------------


def run_loop(xp: Any, *operands: Any, **params: Any) -> tuple[Any, ...]:
    """Run a loop; the outputs are as in ``clew.loops.spec``."""
    spec = Spec(**params)
    with np.errstate(all="ignore"):
        if spec.condition is not None:
            return _run_while(xp, spec, operands)
        groups = spec.operands(operands)
        total = int(groups.count[0]) if spec.counted else spec.length
        return _run_counted(xp, spec, groups, total)


def _run_counted(xp: Any, spec: Spec, groups: Any, total: Any) -> tuple[Any, ...]:
    elements = [atom.type for atom in spec.body_stacked]
    per_step = all_bytes(elements)
    Budget(spec.policy).require(total * per_step, f"what {total:,} steps save", per_step)
    buffers = Buffers(xp, elements, total)
    carries = settled(xp, groups.carries)
    held = settled(xp, groups.held)
    scanned = scannable(groups.scanned)
    taken = None if spec.snapshots is None else Snapshots(spec, total)
    if taken is not None and total <= taken.limit:
        start, stop, step = steps(spec.reverse, 0, total, total)
        stores = [*buffers.items, *taken.every_step(total)]
        carries, _ = span_of(with_states(spec))(
            xp, start, stop, step, 0, carries, scanned, held, stores
        )
    else:
        marks = [0] if taken is None else block_positions(total, taken.limit)
        for first, last in zip(marks, [*marks[1:], total], strict=True):
            if taken is not None:
                taken.keep(first, carries)
            start, stop, step = steps(spec.reverse, first, last, total)
            carries, _ = span_of(spec)(
                xp, start, stop, step, 0, carries, scanned, held, buffers.items
            )
    stacked = buffers.results(xp, [spec.stacked_type(each) for each in elements])
    return (*carries, *stacked, *([] if taken is None else [taken]))


def steps(reverse: bool, first: int, last: int, total: int) -> tuple[int, int, int]:
    """Return the range of indices of the steps ``first`` to ``last``, counted as they run.

    >>> list(range(*steps(True, 0, 2, 5)))
    [4, 3]
    """
    if reverse:
        return total - 1 - first, total - 1 - last, -1
    return first, last, 1


def with_states(spec: Spec) -> Spec:
    """Return the loop that also stacks its carries, as they are before each step."""
    known = spec.body.programs.get("with_states")
    if known is None:
        inputs = spec.body.inputs
        outputs = (*spec.body.outputs, *inputs[: spec.carries])
        known = Graph(inputs, spec.body.equations, outputs, spec.body.constants)
        spec.body.programs["with_states"] = known
    return spec.with_(body=known, snapshots=None)


def _run_while(xp: Any, spec: Spec, operands: Sequence[Any]) -> tuple[Any, ...]:
    groups = spec.operands(operands)
    elements = [atom.type for atom in spec.body_stacked]
    carries = settled(xp, groups.carries)
    held = settled(xp, groups.held)
    budget = Budget(spec.policy)
    buffers = Buffers(xp, elements, 0)
    taken = None if spec.snapshots is None else Snapshots(spec, None)
    step = stop = 0
    while step == stop:
        if step >= buffers.capacity:
            more = max(_FIRST_CAPACITY, step + step // 2)
            budget.require(more * buffers.per_step, "its tape", buffers.per_step)
            buffers.grow(more)
        stop = buffers.capacity
        if taken is None:
            run = span_of(spec)
            stores = buffers.items
        else:
            stop = min(stop, taken.next_stop(step, carries))
            run = span_of(with_states(spec) if taken.stride == 1 else spec)
            stores = [*buffers.items, *(taken.items if taken.stride == 1 else ())]
        carries, step = run(xp, step, stop, 1, 0, carries, (), held, stores)
    buffers.cut(step)
    if taken is not None:
        taken.end(step)
    stacked = buffers.results(xp, [spec.stacked_type(each) for each in elements])
    return (*carries, *stacked, np.int64(step), *([] if taken is None else [taken]))


class Snapshots:
    """Carries kept during a first run: at binomial steps, or at a stride that doubles.

    ``positions`` are steps counted as they run; if ``dense``, every step is there, and
    ``items`` are indexed like what the loop stacks.
    """

    type = SNAPSHOTS

    def __init__(self, spec: Spec, total: int | None) -> None:
        self._kinds = spec.carry_types()
        self._budget = Budget(spec.policy)
        self._store = Buffers(np, self._kinds, 0)
        self.limit = max(1, spec.snapshots or 1)
        self.positions: list[int] = []
        self.dense = False
        self.stride = 1
        if total is not None:
            self._grow(len(block_positions(total, self.limit)))

    def __repr__(self) -> str:
        return f"Snapshots({len(self.positions)} of {self.limit}, {readable(self.nbytes)})"

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._store.per_step * self._store.capacity

    @property
    def items(self) -> list[Any]:
        """One buffer for each carry."""
        return self._store.items

    def _grow(self, capacity: int) -> None:
        self._budget.require(capacity * self._store.per_step, f"{capacity:,} snapshots")
        self._store.grow(capacity)

    def every_step(self, total: int) -> list[Any]:
        """Return buffers into which the loop itself writes the carries of all its steps."""
        self.positions = list(range(total))
        self.dense = True
        return self._store.items

    def keep(self, position: int, carries: Sequence[Any]) -> None:
        """Keep the carries before a step."""
        slot = len(self.positions)
        if slot >= self._store.capacity:
            self._grow(min(self.limit, max(_FIRST_CAPACITY, 2 * slot)))
        self.positions.append(position)
        for buffer, value in zip(self._store.items, carries, strict=True):
            buffer[slot] = value

    def next_stop(self, step: int, carries: Sequence[Any]) -> int:
        """In a run of unknown length: keep the carries if it is time to; say when it is next.

        While the stride is 1 the loop itself writes into ``items``.
        """
        if self.stride == 1:
            if step < self.limit:
                self._grow(min(self.limit, max(_FIRST_CAPACITY, 2 * step)))
                return self._store.capacity
            self.positions = list(range(step))
            self._thin()
        if step % self.stride == 0:
            if len(self.positions) >= self.limit:
                self._thin()
            if step % self.stride == 0:
                self.keep(step, carries)
        return (step // self.stride + 1) * self.stride

    def end(self, total: int) -> None:
        """Say that the run took so many steps."""
        if self.stride == 1:
            self.every_step(total)
            self._store.cut(total)
        self.positions = [position for position in self.positions if position < total]

    def _thin(self) -> None:
        self.stride *= 2
        kept = [i for i, position in enumerate(self.positions) if position % self.stride == 0]
        for buffer in self._store.items:
            for slot, old in enumerate(kept):
                buffer[slot] = buffer[old]
        self.positions = [self.positions[i] for i in kept]

    def at(self, slot: int) -> tuple[Any, ...]:
        """Return the carries of a snapshot."""
        return tuple(buffer[slot] for buffer in self._store.items)
